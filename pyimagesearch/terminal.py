"""Plumbing: flags, files, a quiet start of Keras, and errors in one line.

Import it before any package that is not Python's own. From then on, an error that a
user can cause ends in one line on stderr, and printed lines are seen at once. Any other
exception keeps its traceback.
"""

import argparse
import functools
import os
import sys
from pathlib import Path


class UserError(SystemExit):
    """An error that the person at the terminal can put right.

    As after `sys.exit`, its message goes to stderr, the exit code is 1, and there is no
    traceback.
    """

    def __init__(self, message):
        # A name in a file may have line breaks, or codes that control the terminal.
        line = "".join(one if one.isprintable() else "?" for one in message[:1000])
        super().__init__(f"error: {line}")


def explain(kind, value, traceback, table=None):
    """Print an error that a user can cause as one line; it is a `sys.excepthook`.

    `table` is the file of the finished epochs, if a training has begun.
    """
    line, code = f"error: {value}", 1
    if issubclass(kind, ModuleNotFoundError):
        line += ": use .venv/bin/python, or pip install -r requirements.txt"
    elif issubclass(kind, KeyboardInterrupt):
        line, code = "interrupted", 130  # the usual exit code after Ctrl-C
    elif not issubclass(kind, OSError | ImportError):
        return sys.__excepthook__(kind, value, traceback)
    if table and os.path.exists(table):
        lines = Path(table).read_bytes().count(b"\n")  # the first is the header
        line += f"; finished epochs: {max(lines - 1, 0)}, in {table}"
    if sys.stdout.isatty():
        print()  # ends the line that Keras's progress bar may have left open
    print(line, file=sys.stderr)
    # With sys.exit, Python would write its output once more, and fail once more if the
    # disk is full or the reader of a pipe has gone away.
    os._exit(code)


def parse_training_flags(parser):
    """Add our flags to the tutorial's, and return what the command line says."""
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("--epochs", type=int, default=25, help="passes over the images")
    parser.add_argument("--batch-size", type=int, default=32, help="images per update")
    parser.add_argument("--lr", type=float, default=0.01, help="first learning rate")
    parser.add_argument("--seed", type=int, default=42, help="seed of random numbers")
    meaning = "measure what makes the gap; epochs take a quarter longer, more on a GPU"
    parser.add_argument("--reasons", action="store_true", help=meaning)
    meaning = "training images to measure on only; implies --reasons"
    parser.add_argument("--hold-out", type=int, default=0, help=meaning)
    parser.add_argument("--no-dropout", action="store_true", help="leave out dropout")
    names = ["any", "fashion-mnist", "digits"]
    meaning = "any is Fashion MNIST or, if that cannot be downloaded, digits"
    parser.add_argument("--dataset", choices=names, default="any", help=meaning)
    args = parser.parse_args()
    if min(args.epochs, args.batch_size) < 1 or not args.lr > 0:  # NaN is refused, too
        parser.error("--epochs, --batch-size and --lr must be above 0")
    if not 0 <= args.seed < 2**32:
        parser.error("--seed must be from 0 to 4294967295")
    if args.hold_out and args.hold_out < 5 * args.batch_size:
        parser.error("--hold-out must be 0, or at least 5 times --batch-size")
    args.reasons = args.reasons or args.hold_out > 0
    return args


def start_keras():
    """Import Keras on TensorFlow, without TensorFlow's messages, and return it."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    # TensorFlow's C++ code writes to file descriptor 2, and not through sys.stderr.
    stderr = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        import keras
        import tensorflow

        # The devices start now, while their messages are hidden.
        tensorflow.config.list_logical_devices()
    finally:
        os.dup2(stderr, 2)
    return keras


def prepare_history(path):
    """Make room for a history at PATH, and return the file for its table, PATH.csv.

    What is in the two files is kept as PATH.old and PATH.csv.old. From then on, an error
    in one line also tells how many epochs are in the table. UserError or OSError is
    raised if one of the files cannot be written.
    """
    table = f"{path}.csv"
    for name in (path, table, f"{path}.old", f"{table}.old"):
        if os.path.lexists(name) and not os.path.isfile(name):
            raise UserError(f"{name} is not a file: choose another --history")
    for name in (path, table):
        if not os.path.exists(name):
            # This finds out before the training whether it can be written.
            open(name, "xb").close()
            os.remove(name)
        elif os.path.getsize(name):
            os.replace(name, f"{name}.old")
    sys.excepthook = functools.partial(explain, table=table)
    return table


sys.excepthook = explain
if hasattr(sys.stdout, "reconfigure"):  # in a notebook, it has no such method
    # Each line is written at once, and characters that cannot be shown are escaped.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
# A notebook hands its backend on to the scripts that it starts.
if "inline" in os.getenv("MPLBACKEND", "") and "ipykernel" not in sys.modules:
    del os.environ["MPLBACKEND"]
