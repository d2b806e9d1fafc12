"""Errors in one line, where a traceback is no help. Not needed to follow the story."""

import os
import shlex
import subprocess
import sys

# What to do where a package is missing.
ENVIRONMENT = "use .venv/bin/python, after .venv/bin/pip install -r requirements.txt (see README.md)"


class UserError(Exception):
    """Something that the person at the terminal can put right; `begin` reports it.

    All other errors are bugs, and keep their traceback.
    """


def begin(summary=lambda: "nothing was saved"):
    """Let Ctrl-C, a `UserError` and a missing package end the script in one line.

    The line goes to stderr. The exit codes are 130, as after any program that Ctrl-C
    ends, and 1. Line breaks and control characters, which the name of a file may bring
    along, become question marks. Also, each printed line is shown at once, in a file as
    in a terminal.

    Parameters
    ----------
    summary : callable
        Returns what the line at an interrupt says of the work done so far.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # A path that the terminal's encoding cannot show is no reason to stop.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")

    def hook(kind, value, traceback):
        if kind not in (KeyboardInterrupt, UserError, ModuleNotFoundError):
            return sys.__excepthook__(kind, value, traceback)
        if sys.stdout.isatty():
            print(flush=True)  # Keras's progress bar may have left its line open
        interrupted = kind is KeyboardInterrupt
        advice = f": {ENVIRONMENT}" if kind is ModuleNotFoundError else ""
        line = f"interrupted: {summary()}" if interrupted else f"error: {value}{advice}"
        printable = (one if one.isprintable() else "?" for one in line[:1000])
        print("".join(printable), file=sys.stderr)
        sys.exit(130 if interrupted else 1)

    sys.excepthook = hook


def command(script, *arguments):
    """Return a command, quoted for pasting, for a script beside the running one."""
    path = os.path.join(os.path.dirname(sys.argv[0]), script)
    words = [sys.executable, path, *arguments]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def warn(message):
    """Print a line on stderr, and go on."""
    print(f"warning: {message}", file=sys.stderr)


def rehearse(path, flag):
    """Raise UserError if a file cannot be written: better now than when it must be.

    A file that is there keeps its content, and one that is not is not left behind.

    Parameters
    ----------
    path, flag : str
        The file, and the flag with which the user can name another.
    """
    there = os.path.lexists(path)
    if there and not os.path.isfile(path):
        raise UserError(f"{path} is not a file: name one with {flag}")
    try:
        open(path, "ab").close()
        if not there:
            os.remove(path)
    except OSError as error:
        reason = f"cannot write {path}: {error.strerror}; name another {flag}"
        raise UserError(reason) from error
