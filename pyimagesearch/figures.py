"""Where a figure goes: into a file, into a window or, without a screen, into a file."""

from pathlib import Path

import matplotlib.pyplot as plt

from pyimagesearch.cli import UserError

SUFFIXES = (".png", ".pdf", ".svg")
# Matplotlib's backends that draw into files only.
FILES_ONLY = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}


def choose_output(output, source):
    """Return the file that the figure goes to, or None for a window.

    Call it before the first figure is made: it also sees to it that one can be made.

    Parameters
    ----------
    output : str or None
        The file that the user named.
    source : str
        The file that the figure is drawn from. Where neither a file is named nor a
        window can open, the figure goes beside it, with the suffix .png.

    Raises
    ------
    UserError
        If the suffix is none that we draw, or the figure would replace its own source.
    """
    if output is None:
        try:
            plt.switch_backend(plt.get_backend())
        except ImportError:  # a backend was asked for that needs a screen
            plt.switch_backend("agg")
        if plt.get_backend().lower() not in FILES_ONLY:
            return None
        output = Path(source).with_suffix(".png")
    plt.switch_backend("agg")
    if Path(output).suffix.lower() not in SUFFIXES:
        raise UserError(f"{output} should end in one of {', '.join(SUFFIXES)}")
    if Path(output).resolve() == Path(source).resolve():
        raise UserError(f"{output} is the history: name another file with --output")
    return output


def save(figure, output):
    """Write a figure; the suffix of the file chooses the format.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    try:
        figure.savefig(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from error
