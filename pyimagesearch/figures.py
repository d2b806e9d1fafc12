"""A place for the figure, and its third panel. Not needed for the story."""

import os
import re
import sys

from pyimagesearch.cli import ENVIRONMENT, UserError, check_writable

# Before all other packages, so that a missing one is reported in one line.
try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}: {ENVIRONMENT}")
except ValueError:  # MPLBACKEND names a missing backend, as in a notebook's shell
    os.environ["MPLBACKEND"] = "agg"
    # The import broke off in the middle: once more from the start.
    for half_imported in [name for name in sys.modules if "matplotlib" in name]:
        del sys.modules[half_imported]
    import matplotlib.pyplot as plt

import numpy as np

from pyimagesearch.gap import term_names

# What `--help` says of the flag.
OUTPUT = "where the figure goes: a window, or a file that ends in .png, .pdf or .svg"


def prepare_output(output, source):
    """Choose a window, or drawing without one. Call it before a figure is made.

    `output` is "window" or the file that the figure is to go to; UserError is raised if
    that cannot be written, has no suffix of a picture, or is the source, the history.
    """
    if output != "window":
        if os.path.splitext(output)[1].lower() not in (".png", ".pdf", ".svg"):
            raise UserError(f"{output} should end in one of .png, .pdf, .svg")
        if os.path.exists(output) and os.path.samefile(output, source):
            raise UserError(f"{output} is the history: name another --output")
        check_writable(output, "--output")
    plt.rcParams["text.parse_math"] = False  # a name with a $ is no formula
    try:
        plt.switch_backend(plt.get_backend() if output == "window" else "agg")
    except ImportError:  # MPLBACKEND asks for a window, but there is no screen
        plt.switch_backend("agg")


def show_or_save(figure, output, source, metric):
    """Show a figure in a window, or save it and print where.

    Where no window can open, it goes beside its source, to a file that is named after
    the source and the metric. UserError is raised if a file cannot be written.
    """
    why = ""
    if output == "window":
        # The name of the window system that the backend draws on, None for files only.
        if figure.canvas.required_interactive_framework:
            plt.show()
            return
        output = f"{source}.{re.sub('[^A-Za-z0-9_]', '-', metric)}.png"
        # A notebook shows it as well.
        why = "" if "inline" in plt.get_backend() else "no window can open here; "
    try:
        figure.savefig(output)
    except OSError as error:
        reason = f"cannot write {output}: {error.strerror}; name another --output"
        raise UserError(reason) from error
    print(f"[INFO] {why}the figure is in {output}")


def draw_terms(figure, terms):
    """Add a third panel to a figure of two: the terms as bars, the gap as a line.

    The figure grows, and the two panels about keep their height. The terms are those of
    `gap.split`: what raises the gap is stacked above 0, and what lowers it, below.
    """
    grid = figure.add_gridspec(3, 1)
    for panel, cell in zip(figure.axes, grid):
        panel.set_subplotspec(cell)
    figure.set_figheight(figure.get_figheight() * 1.55)
    panel = figure.add_subplot(grid[2], sharex=figure.axes[0])
    names, epochs = term_names(terms), np.arange(len(terms["gap"]))
    above, below = np.zeros(len(epochs)), np.zeros(len(epochs))
    # Other colours than those of the two losses, and hatches beside them.
    styles = (("C5", ""), ("C2", "//"), ("C3", "..."), ("C4", ""))
    for name, (color, hatch) in zip(names, styles):
        sizes = np.nan_to_num(terms[name])
        # Only of the last term, at the end of the bars: those of two would overlap.
        error = terms.get(f"{name} error") if name == names[-1] else None
        bottom = np.where(sizes > 0, above, below)
        bars = panel.bar(epochs, sizes, 0.7, bottom, yerr=error, capsize=2, color=color)
        plt.setp(bars, hatch=hatch, edgecolor="white")
        bars.set_label(name if error is None else f"{name} ± error")
        above += np.maximum(sizes, 0)
        below += np.minimum(sizes, 0)
    panel.axhline(0, color="black", linewidth=1)
    panel.plot(epochs, terms["gap"], "ko-", markersize=4, label="gap")
    panel.set(xlabel="Epoch #", ylabel="Training - validation loss")
    panel.set_title("What Makes the Gap")
    # Below the panel, where it hides nothing.
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=5, fontsize=8.5)
    # Only here: for two panels it would take a tenth of the script's time.
    figure.tight_layout()
