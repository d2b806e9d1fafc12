"""The terminal: flags, output, and errors in one line. Not needed for the story."""

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

    It ends a script as `sys.exit` with a message does: the line goes to stderr, the
    exit code is 1, and there is no traceback.
    """

    def __init__(self, message):
        super().__init__(_printable(f"error: {message}"))


def warn(message):
    """Print a line on stderr, and go on."""
    print(_printable(f"warning: {message}"), file=sys.stderr)


def _printable(text):
    """Return the first 1,000 characters, with ? for line breaks and the like."""
    return "".join(one if one.isprintable() else "?" for one in text[:1000])


def parse_training_flags(parser):
    """Add our flags to the tutorial's, in fashion_mnist.py's parser; then parse all.

    Return what `ArgumentParser.parse_args` returns.
    """
    parser.epilog = "example: python %(prog)s --epochs 2 --reasons"
    numbers = {  # default, lowest and help; all are below 2**32, as seeds must be
        "epochs": (25, 1, "passes over the training images"),
        "batch-size": (32, 1, "training images per update of the weights"),
        "lr": (0.01, 1e-9, "learning rate of the first update"),
        "seed": (42, 0, "decides all that is random; the same one repeats a run"),
        "hold-out": (0, 0, "training images to leave out, for --reasons to measure on"),
    }
    for name, (default, _, meaning) in numbers.items():
        parser.add_argument(
            f"--{name}", type=type(default), default=default, help=meaning, metavar="N"
        )
    parser.add_argument(
        "--dataset",
        choices=["any", "fashion-mnist", "digits"],
        default="any",
        help="the images; any is fashion-mnist, or digits where it cannot be had",
    )
    parser.add_argument(
        "--reasons",
        action="store_true",
        help="measure what makes the gap, epoch by epoch, a third slower",
    )
    parser.add_argument(
        "--no-dropout", action="store_true", help="leave the dropout layers out"
    )
    args = parser.parse_args()
    for name, (_, lowest, _) in numbers.items():
        number = vars(args)[name.replace("-", "_")]
        if not lowest <= number < 2**32:
            bounds = f"from {lowest} to {2**32 - 1}"
            parser.error(f"argument --{name}: {number} is not {bounds}")
    return args


def command(script, *arguments):
    """Return a command, quoted for pasting, for a script beside the running one."""
    path = os.path.join(os.path.dirname(sys.argv[0]), script)
    words = [sys.executable, path, *arguments]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def check_writable(path, flag):
    """Raise UserError if a file cannot be written, with the flag that names another.

    A file that is there keeps its content, and none is left behind.
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


def explain_interrupt(summary=lambda: "nothing was saved"):
    """Let Ctrl-C, and a missing package, end the script in one line instead of many.

    `summary` returns what the line says at Ctrl-C of the work done so far. The exit
    code is 130 then, as after any program that Ctrl-C ends.
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


def end_line():
    """In a terminal, end the line that Keras's progress bar may have left open."""
    if sys.stdout.isatty():
        print(flush=True)


def set_up_output():
    """Show each printed line at once, in a file, too; and never fail at a `print`.

    It does not matter then if the output is closed, if its reader has gone away, or if
    it cannot show the characters of a name. A notebook's output is left as it is.
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


class _Pipe(io.FileIO):
    """Output whose reader may go away, as `head` does: what it misses is dropped."""

    def write(self, content):
        try:
            return super().write(content)
        except BrokenPipeError:
            return len(content)
