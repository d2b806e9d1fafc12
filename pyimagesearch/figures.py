"""A place for the figure, and its third panel. Not needed to follow the story."""

import os
import sys

from pyimagesearch.cli import ENVIRONMENT, UserError, rehearse

try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}: {ENVIRONMENT}")

from pyimagesearch.gap import TERMS


def choose_backend(output, source):
    """Choose a window, or drawing without one. Call it before a figure is made.

    Parameters
    ----------
    output : str or None
        The file that the figure is to go to, if the user named one. None stands for a
        window or, where there is no screen, a file.
    source : str
        The file that the figure is drawn from.

    Raises
    ------
    UserError
        If the output cannot be written, has no suffix of a picture, or is the source.
    """
    if output:
        if not output.lower().endswith((".png", ".pdf", ".svg")):
            raise UserError(f"{output} should end in one of .png, .pdf, .svg")
        if os.path.exists(output) and os.path.samefile(output, source):
            raise UserError(f"{output} is the history: name another --output")
        rehearse(output, "--output")
    try:
        plt.switch_backend("agg" if output else plt.get_backend())
    except ImportError:  # MPLBACKEND asks for a window, but there is no screen
        plt.switch_backend("agg")


def show_or_save(figure, output, source, metric):
    """Show a figure in a window, or save it and print where.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    output : str or None
        The file that the user named. With None, the figure is shown or, where no window
        can open, saved in the current folder as a .png named like its source.
    source, metric : str
        The file that the figure was drawn from, and the metric.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    # The name of the window system that the backend draws on, None for files only.
    if not output and figure.canvas.required_interactive_framework:
        return plt.show()
    name = os.path.basename(source).removesuffix(".part").removesuffix(".pickle")
    path = output or f"{name}_{metric}.png"
    try:
        figure.savefig(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    print(f"[INFO] the figure is in {path}")


def draw_terms(figure, terms):
    """Add a third panel below the two of a figure: the gap and its three terms.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        It grows, and the two panels keep their height.
    terms : dict of str to numpy.ndarray
        What `split` returns.
    """
    grid = figure.add_gridspec(3, 1)
    for panel, place in zip(figure.axes, grid):
        panel.set_subplotspec(place)
    # Room for half as much again, and for the legend above it.
    figure.set_figheight(figure.get_figheight() * 1.64)
    panel = figure.add_subplot(grid[2], sharex=figure.axes[0])
    panel.axhline(0, color="black", linewidth=1)
    panel.plot(terms["gap"], "ko-", label="gap: training - validation loss")
    # One for each of TERMS, in other colours than those of the two losses.
    styles = ("s--", "C5"), ("^:", "C2"), ("D-.", "tab:brown")
    for (name, label), (style, color) in zip(TERMS.items(), styles):
        panel.plot(terms[name], style, color=color, label=label)
    plt.setp(panel.get_lines(), markevery=1 + len(terms["gap"]) // 50)
    panel.set(xlabel="Epoch #", ylabel="Difference of losses")
    panel.set_title("What Makes the Gap", pad=34)
    # Above the panel, where it hides no curve.
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 2}
    panel.legend(**above, fontsize=8, frameon=False, columnspacing=1, handlelength=2.2)
    # For three panels; for two it would cost a tenth of the time of the script.
    figure.tight_layout()
