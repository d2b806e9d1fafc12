"""Where a figure goes: into a file, into a window or, without a screen, into a file."""

import io
from pathlib import Path

import matplotlib.pyplot as plt

from pyimagesearch.cli import UserError

SUFFIXES = (".png", ".pdf", ".svg")


def choose_backend(output):
    """See to it that figures can be made. Call it before the first one is.

    Parameters
    ----------
    output : str or None
        The file that the figure is to go to, if the user named one. No screen is needed
        then, and otherwise only if there is one.
    """
    try:
        plt.switch_backend("agg" if output else plt.get_backend())
    except ImportError:  # MPLBACKEND asks for a window, but there is no screen
        plt.switch_backend("agg")


def show_or_save(figure, output, source):
    """Show a figure in a window, or save it and print where.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    output : str or None
        The file that the user named; its suffix chooses the format. With None, the
        figure is shown or, where no window can open, saved beside its source as .png.
    source : str
        The file that the figure was drawn from.

    Raises
    ------
    UserError
        If the file cannot be written, has another suffix, or is the source itself.
    """
    # The name of the window system that the backend draws on, None for files only.
    if not output and figure.canvas.required_interactive_framework:
        plt.show()
        return
    path = Path(output or Path(source).with_suffix(".png"))
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} should end in one of {', '.join(SUFFIXES)}")
    if path.resolve() == Path(source).resolve():
        raise UserError(f"{path} is the history: name another file with --output")
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix.lower()[1:])
    try:
        path.write_bytes(picture.getvalue())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    print(f"[INFO] the figure is in {path}")
