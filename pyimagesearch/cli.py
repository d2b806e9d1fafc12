"""What a script owes the person at the terminal: one line where a traceback is no help.

Importing this module already makes Ctrl-C end the program in one line. So both scripts
import it, one of them by way of `history`, before anything that takes long to import.
"""

import argparse
import io
import math
import sys


class UserError(SystemExit):
    """Something that the person at the terminal can put right.

    Uncaught, a SystemExit with a text ends the program with that text on stderr,
    exit code 1 and no traceback. All other errors are bugs and keep theirs.

    Parameters
    ----------
    message : str
        What is wrong and what to do, in one line. Line breaks and control characters,
        which the name of a file may bring along, become question marks.
    """

    def __init__(self, message):
        printable = (one if one.isprintable() else "?" for one in message[:1000])
        super().__init__("error: " + "".join(printable))


def number(kind, minimum, maximum=10**9):
    """Return a `type` for argparse: a number from `minimum` to `maximum`.

    Parameters
    ----------
    kind : {int, float}
    minimum, maximum : int or float

    Returns
    -------
    callable
        From a text to its number. Raises `argparse.ArgumentTypeError` with the reason
        if the text is none, or one out of bounds.
    """

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if minimum <= value <= maximum:
            return value
        name = {int: "whole number", float: "number"}[kind]
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a {name} from {minimum} to {maximum}"
        )

    return convert


def on_interrupt(consequence):
    """Let Ctrl-C end the program in one line and with exit code 130.

    Parameters
    ----------
    consequence : callable
        Called at the interrupt; returns what the line says of the work done so far.
    """

    def hook(kind, value, traceback):
        if not issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, value, traceback)
            return
        end_progress_bar()
        print(f"interrupted: {consequence()}", file=sys.stderr)
        # Left alone, Python would now die of the signal, which only shells call 130.
        sys.exit(130)

    sys.excepthook = hook


def end_progress_bar():
    """Start a new line in a terminal, where Keras's progress bar may not have ended."""
    if sys.stdout.isatty():
        print(flush=True)


on_interrupt(lambda: "nothing was saved")
if isinstance(sys.stdout, io.TextIOWrapper):
    # In a file, too, each step is to be seen when it happens, not when a buffer is full;
    # and a path that the terminal's encoding cannot show is no reason to stop.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
