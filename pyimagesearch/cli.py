"""The terminal: flags, output, and errors in one line. Not needed for the story."""

import argparse
import io
import os
import shlex
import subprocess
import sys

# What to do where a package is missing.
ENVIRONMENT = (
    "use .venv/bin/python, after .venv/bin/pip install -r requirements.txt (README.md)"
)


class UserError(SystemExit):
    """Something that the person at the terminal can put right.

    It ends a script as `sys.exit` with a message does: the line goes to stderr, the exit
    code is 1, and there is no traceback. All other errors are bugs, and keep theirs.
    """

    def __init__(self, message):
        super().__init__(_printable(f"error: {message}"))


def _printable(text):
    """Return the beginning of a text, with question marks for line breaks and the like."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:1000])


class _Pipe(io.FileIO):
    """Output whose reader may go away, as `head` does: what it misses is dropped."""

    def write(self, content):
        try:
            return super().write(content)
        except BrokenPipeError:
            return len(content)


def set_up_output():
    """Show each printed line at once, in a file, too; and never fail for the reader.

    That is: where the output is closed, where its reader has gone away, and where a name
    has letters that it cannot show. A notebook's output is left as it is.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (open to the end)
    elif sys.stdout is sys.__stdout__ and not sys.stdout.isatty():
        pipe = io.BufferedWriter(_Pipe(sys.stdout.fileno(), "wb", closefd=False))
        encoding = sys.stdout.encoding
        sys.stdout = io.TextIOWrapper(
            pipe, encoding, errors="backslashreplace", line_buffering=True
        )
    elif hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def end_line():
    """In a terminal, end the line that Keras's progress bar may have left open."""
    if sys.stdout.isatty():
        print(flush=True)


def explain_interrupt(summary=lambda: "nothing was saved"):
    """Let Ctrl-C, and a missing package, end the script in one line instead of many.

    Parameters
    ----------
    summary : callable
        Returns what the line at an interrupt says of the work done so far. The exit code
        is 130 then, as after any program that Ctrl-C ends.
    """

    def hook(kind, value, traceback):
        if kind is KeyboardInterrupt:
            line, code = f"interrupted: {summary()}", 130
        elif kind is ModuleNotFoundError:
            line, code = f"error: {value}: {ENVIRONMENT}", 1
        else:
            return sys.__excepthook__(kind, value, traceback)
        end_line()
        print(_printable(line), file=sys.stderr)
        sys.exit(code)

    sys.excepthook = hook


def parse_training_flags(parser):
    """Add the flags that the tutorial does not have, and return what all of them say.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        That of fashion_mnist.py.

    Returns
    -------
    argparse.Namespace
    """
    parser.epilog = "example: python %(prog)s --epochs 2 --reasons"
    positive = _number(int, lambda number: number >= 1, "from 1 on")
    natural = _number(int, lambda number: 0 <= number < 2**32, "from 0 to 2**32 - 1")
    rate = _number(float, lambda number: 0 < number < float("inf"), "above 0")
    for flag, (kind, default, text) in {
        "--epochs": (positive, 25, "passes over the training images"),
        "--batch-size": (positive, 32, "training images per update of the weights"),
        "--lr": (rate, 0.01, "learning rate of the first update"),
        "--seed": (natural, 42, "decides all that is random: one seed, one history"),
        "--hold-out": (natural, 0, "training images to measure on, not to train on"),
    }.items():
        parser.add_argument(flag, type=kind, default=default, help=text, metavar="N")
    data = "the images; any: fashion-mnist or, where it cannot be had, digits"
    names = ["any", "fashion-mnist", "digits"]
    parser.add_argument("--dataset", choices=names, default="any", help=data)
    text = "measure what makes the gap, epoch by epoch, a third slower"
    parser.add_argument("--reasons", action="store_true", help=text)
    text = "leave the network's dropout layers out"
    parser.add_argument("--no-dropout", action="store_true", help=text)
    return parser.parse_args()


def _number(kind, fits, bounds):
    """Return a function that reads a number within bounds, for argparse."""

    def read(text):
        number = kind(text)
        if fits(number):
            return number
        raise argparse.ArgumentTypeError(f"{text} is not a number {bounds}")

    read.__name__ = kind.__name__  # argparse says that the text is none of these
    return read


def command(script, *arguments):
    """Return a command, quoted for pasting, for a script beside the running one."""
    path = os.path.join(os.path.dirname(sys.argv[0]), script)
    words = [sys.executable, path, *arguments]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def warn(message):
    """Print a line on stderr, and go on."""
    print(_printable(f"warning: {message}"), file=sys.stderr)


def check_writable(path, flag):
    """Raise UserError if a file cannot be written: better now than when it must be.

    A file that is there keeps its content, and one that is not is not left behind.

    Parameters
    ----------
    path, flag : str
        The file, and the flag with which the user can name another.
    """
    is_there = os.path.lexists(path)
    if is_there and not os.path.isfile(path):
        raise UserError(f"{path} is not a file: name one with {flag}")
    try:
        open(path, "ab").close()
        if not is_there:
            os.remove(path)
    except OSError as error:
        reason = f"cannot write {path}: {error.strerror}; name another {flag}"
        raise UserError(reason) from error
