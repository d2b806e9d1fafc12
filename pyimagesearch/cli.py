"""What a script owes the person at the terminal: one line where a traceback is no help."""

import argparse
import math
import sys


class UserError(SystemExit):
    """Something that the person at the terminal can put right.

    Uncaught, a SystemExit with a text ends the program with that text on stderr,
    exit code 1 and no traceback. All other errors are bugs and keep theirs.

    Parameters
    ----------
    message : str
        One line. What a file brought into it, such as line breaks, becomes printable.
    """

    def __init__(self, message):
        printable = (one if one.isprintable() else "?" for one in message)
        super().__init__("error: " + "".join(printable))


def number(kind, minimum, maximum=math.inf):
    """Return an argparse `type`: a finite `kind` (int or float) within the two bounds.

    Raises
    ------
    argparse.ArgumentTypeError
        By the returned function, for a text that is not such a number.
    """

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if minimum <= value <= maximum and value != math.inf:
            return value
        name = {int: "whole number", float: "number"}[kind]
        end = "or more" if maximum == math.inf else f"to {maximum}"
        raise argparse.ArgumentTypeError(f"{text!r} is not a {name} of {minimum} {end}")

    return convert


def exit_on_interrupt(consequence):
    """Let Ctrl-C end the program in one line and with exit code 130, as shells expect.

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
        # Python would now end itself by the signal; exit codes reach scripts better.
        sys.exit(130)

    sys.excepthook = hook


def end_progress_bar():
    """Start a new line in a terminal, where Keras's progress bar may not have ended."""
    if sys.stdout.isatty():
        print(flush=True)
