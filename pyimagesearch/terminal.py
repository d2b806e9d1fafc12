"""Plumbing: flags, files, a quiet start of Keras, and errors in one line.

Import it before all that is not Python's own. From then on, what a user can cause ends
in one line on stderr, and printed lines are seen at once. Any other exception keeps its
traceback.
"""

import functools
import os
import sys
from pathlib import Path


class UserError(SystemExit):
    """Something that the person at the terminal can put right.

    It ends a script as `sys.exit` with a message does: the line goes to stderr, the
    exit code is 1, and there is no traceback.
    """

    def __init__(self, message):
        # A name in a file may hold line breaks, or codes that a terminal obeys.
        line = "".join(one if one.isprintable() else "?" for one in message[:1000])
        super().__init__(f"error: {line}")


def explain(kind, value, traceback, table=None):
    """Tell in one line, as `sys.excepthook`, what a user can cause.

    `table` is the file of the finished epochs, where a training has one.
    """
    line, code = f"error: {value}", 1
    if issubclass(kind, ModuleNotFoundError):
        line += ": use .venv/bin/python, or pip install -r requirements.txt"
    elif issubclass(kind, KeyboardInterrupt):
        line, code = "interrupted", 130  # as after any program that Ctrl-C ends
    elif not issubclass(kind, OSError | ImportError):
        return sys.__excepthook__(kind, value, traceback)
    if table and os.path.exists(table):
        lines = Path(table).read_bytes().count(b"\n")  # the first has the names
        line += f"; finished epochs: {max(lines - 1, 0)}, in {table}"
    if sys.stdout.isatty():
        print()  # ends the line that Keras's progress bar may have left open
    print(line, file=sys.stderr)
    # Not by sys.exit: Python would then write once more what a full disk, or a reader
    # that has gone away, did not take.
    os._exit(code)


def parse_training_flags(parser):
    """Add our flags to the tutorial's in the parser of fashion_mnist.py; parse all."""
    for flag, default, meaning in (
        ("--epochs", 25, "passes over the training images"),
        ("--batch-size", 32, "training images for each update of the weights"),
        ("--lr", 0.01, "learning rate of the first update"),
        ("--seed", 42, "decides all that is random: the same seed repeats a run"),
        ("--hold-out", 0, "training images held out to measure on; implies --reasons"),
    ):
        meaning += " (default: %(default)s)"
        parser.add_argument(flag, type=type(default), default=default, help=meaning)
    meaning = "measure what makes the gap; an epoch takes up to a quarter longer"
    parser.add_argument("--reasons", action="store_true", help=meaning)
    parser.add_argument(
        "--no-dropout", action="store_true", help="train without dropout"
    )
    names = ["any", "fashion-mnist", "digits"]
    meaning = "any: Fashion MNIST or, without a network, handwritten digits"
    parser.add_argument("--dataset", choices=names, default="any", help=meaning)
    args = parser.parse_args()
    if not min(args.lr, args.epochs, args.batch_size) > 0:  # so that NaN is not, too
        parser.error("--epochs, --batch-size and --lr must be above 0")
    if not 0 <= args.seed < 2**32:
        parser.error("--seed must be from 0 to 4294967295")
    if args.hold_out and args.hold_out < 5 * args.batch_size:
        parser.error("--hold-out must be 5 batches or more, or the errors are not true")
    args.reasons = args.reasons or args.hold_out > 0
    return args


def start_keras():
    """Import Keras on TensorFlow without what TensorFlow prints, and return it."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    stderr = os.dup(2)  # where its C++ side prints, past sys.stderr
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        import keras
        import tensorflow

        tensorflow.config.list_logical_devices()  # start them now, while it is quiet
    finally:
        os.dup2(stderr, 2)
    keras.config.set_image_data_format("channels_last")  # whatever keras.json says
    return keras


def prepare_history(path):
    """Keep what is in the files of a history, and return the file for its table.

    The two files are PATH and PATH.csv, the table of the epochs. What is there is kept
    as PATH.old and PATH.csv.old. UserError or OSError is raised, before the training,
    if a file cannot be written.
    """
    table = f"{path}.csv"
    for name in (path, table, f"{path}.old", f"{table}.old"):
        if os.path.lexists(name) and not os.path.isfile(name):
            raise UserError(f"{name} is not a file: name another --history")
    for name in (path, table):
        if not os.path.exists(name):
            open(name, "xb").close()  # find out now whether it can be written
            os.remove(name)
        elif os.path.getsize(name):
            os.replace(name, f"{name}.old")
    sys.excepthook = functools.partial(explain, table=table)
    return table


sys.excepthook = explain
if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
    # Also in a file, and also if it cannot show the characters of a name.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
# A notebook's shell hands its backend on to what is no notebook.
if "inline" in os.getenv("MPLBACKEND", "") and "ipykernel" not in sys.modules:
    del os.environ["MPLBACKEND"]
