"""A place for the figure, and its third panel. Not needed for the story."""

import os
import re
import sys

from pyimagesearch.cli import ENVIRONMENT, UserError, check_writable

# Before all other packages: who has none of them is told so in one line.
try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}: {ENVIRONMENT}")
except ValueError:  # MPLBACKEND names one that is not there, as in a notebook's shell
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

    Where no window can open, it goes beside its source, to a file whose name no other
    source or metric has. UserError is raised if a file cannot be written.
    """
    why = ""
    if output == "window":
        # The name of the window system that the backend draws on, None for files only.
        if figure.canvas.required_interactive_framework:
            return plt.show()
        # No dot in the metric: what stands before the last two dots is the source.
        output = f"{source}.{re.sub('[^A-Za-z0-9_]', '-', metric)}.png"
        why = "no window can open here; "
    try:
        figure.savefig(output)
    except OSError as error:
        reason = f"cannot write {output}: {error.strerror}; name another --output"
        raise UserError(reason) from error
    print(f"[INFO] {why}the figure is in {output}")


def draw_terms(figure, terms):
    """Add a third panel below the two of a figure: the terms as bars, the gap as a line.

    The figure grows, and the two panels keep their height. The terms are those of
    `gap.split`: what pushes the validation loss below the training loss is stacked above
    0, and what pushes it above, below 0.
    """
    grid = figure.add_gridspec(3, 1)
    for panel, place in zip(figure.axes, grid):
        panel.set_subplotspec(place)
    figure.set_figheight(figure.get_figheight() * 1.55)
    panel = figure.add_subplot(grid[2], sharex=figure.axes[0])
    names, epochs = term_names(terms), np.arange(len(terms["gap"]))
    above, below = np.zeros(len(epochs)), np.zeros(len(epochs))
    # Other colours than those of the two losses, and hatches for who sees no colours.
    for name, color, hatch in zip(
        names, ("C5", "C2", "C3", "C4"), ("", "//", "...", "")
    ):
        sizes = np.nan_to_num(terms[name])
        start = np.where(sizes > 0, above, below)
        style = {"width": 0.7, "color": color, "hatch": hatch, "edgecolor": "white"}
        error = terms["error"] if name == names[-1] else None
        panel.bar(
            epochs, sizes, bottom=start, label=name, yerr=error, capsize=2, **style
        )
        above += np.maximum(sizes, 0)
        below += np.minimum(sizes, 0)
    panel.axhline(0, color="black", linewidth=1)
    panel.plot(epochs, terms["gap"], "ko-", markersize=4, label="gap")
    panel.set(xlabel="Epoch #", ylabel="Training - validation loss")
    panel.set_title("What Makes the Gap")
    # Below the panel, where it hides nothing.
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=5, fontsize=8.5)
    # For three panels; for two it would cost a tenth of the time of the script.
    figure.tight_layout()
