"""Plumbing: flags, files, windows, Keras started quietly, and errors in one line.

Import it before all that is not Python's own. From then on, what a user can cause ends
in one line on stderr, printed lines are seen at once, and a notebook's MPLBACKEND is
not used outside of it. Any other exception keeps its traceback.
"""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

# Passes on all but what TensorFlow says as it starts on a machine without a GPU. It is
# a process of its own, so that it does so when this one crashes, too.
FILTER = """import re, sys
chatter = b"oneDNN custom|find cuda drivers|call to cuInit|find TensorRT|cu.+ factory"
chatter += b"|computation placer already|available CPU|following instr|before absl:"
for line in sys.stdin.buffer:
    re.search(chatter, line) or sys.stderr.buffer.write(line)"""


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


def explain(kind, value, traceback, summary=""):
    """Tell in one line, as `sys.excepthook`, what a user can cause.

    `summary` is what is added to the line.
    """
    line, code = f"error: {value}", 1
    if issubclass(kind, ModuleNotFoundError):
        line += ": use .venv/bin/python, or pip install -r requirements.txt"
    elif issubclass(kind, KeyboardInterrupt):
        line, code = "interrupted", 130  # as after any program that Ctrl-C ends
    elif not issubclass(kind, OSError):
        return sys.__excepthook__(kind, value, traceback)
    if sys.stdout.isatty():
        print()  # ends the line that Keras's progress bar may have left open
    print(_printable(line + summary), file=sys.stderr)
    # Not by sys.exit: Python would then write once more what a full disk, or a reader
    # that has gone away, did not take.
    os._exit(code)


def parse_training_flags(parser):
    """Add our flags to the tutorial's, in fashion_mnist.py's parser; then parse all."""
    numbers = {  # default, lowest and help
        "epochs": (25, 1, "passes over the training images"),
        "batch-size": (32, 1, "training images per update of the weights"),
        "lr": (0.01, 1e-9, "learning rate of the first update"),
        "seed": (42, 0, "decides all that is random; the same one repeats a run"),
        "hold-out": (0, 0, "training images to hold out for --reasons, which it sets"),
    }
    for name, (default, lowest, meaning) in numbers.items():
        how = {"type": type(default), "default": default}
        parser.add_argument(f"--{name}", **how, help=meaning, metavar="N")
    data = ["any", "fashion-mnist", "digits"]
    meaning = "the images; any: Fashion MNIST or, without a network, handwritten digits"
    parser.add_argument("--dataset", choices=data, default="any", help=meaning)
    meaning = "measure what makes the gap; epochs take a tenth to a quarter longer"
    parser.add_argument("--reasons", action="store_true", help=meaning)
    meaning = "leave the dropout layers out"
    parser.add_argument("--no-dropout", action="store_true", help=meaning)
    parser.epilog = "example: python %(prog)s --epochs 2 --reasons --hold-out 5000"
    args = parser.parse_args()
    for name, (_, lowest, _) in numbers.items():
        number = vars(args)[name.replace("-", "_")]
        if not lowest <= number < 2**32:  # no seed may be larger
            bound = "below 2**32" if number > lowest else f"{lowest} or more"
            parser.error(f"argument --{name}: {number} is not {bound}")
    args.reasons = args.reasons or args.hold_out > 0
    if 0 < args.hold_out < 5 * args.batch_size:
        few = f"--hold-out {args.hold_out} is less than 5 batches of {args.batch_size}"
        warn(f"{few}: the errors of what it measures will be too small, or unknown")
    return args


def start_keras():
    """Import Keras on TensorFlow, without TensorFlow's chatter, and return it."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    # TensorFlow's C++ side writes to file descriptor 2, past sys.stderr. So that leads
    # to the filter. A new session keeps Ctrl-C from it.
    command, pipe = [sys.executable, "-c", FILTER], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, start_new_session=True) as process:
        stderr = os.dup(2)
        os.dup2(process.stdin.fileno(), 2)
        try:
            import keras
            import tensorflow

            tensorflow.config.list_logical_devices()  # start now, while filtered
        finally:
            os.dup2(stderr, 2)
    # Whatever ~/.keras/keras.json says.
    keras.config.set_image_data_format("channels_last")
    if not sys.stdout.isatty():  # the progress bar of a download would fill a file
        keras.utils.disable_interactive_logging()
    return keras


def prepare_history(path):
    """Find out before the training whether its files can be written.

    Return the file for its table, PATH.csv. What is there stays as PATH.csv.old. If the
    training ends early, the line that says so tells how to draw what is in the table.
    UserError or OSError is raised if one of the files cannot be written.
    """
    table = f"{path}.csv"
    for name in (path, f"{path}.old", table, f"{table}.old"):
        if os.path.lexists(name) and not os.path.isfile(name):
            raise UserError(f"{name} is not a file: name another --history")
        open(name, "ab").close()
        if not os.path.getsize(name):
            os.remove(name)
    keep_earlier(table)
    sys.excepthook = lambda *error: explain(*error, summary=f"; {how_far(table)}")
    return table


def keep_earlier(path):
    """Rename a file that is there to PATH.old."""
    if os.path.isfile(path):
        os.replace(path, f"{path}.old")


def show_progress(keras):
    """Let Keras print again: bars in a terminal, elsewhere a line for each epoch."""
    keras.utils.enable_interactive_logging()  # now all has been downloaded
    return 1 if sys.stdout.isatty() else 2


def stop_if_not_finite(losses, table):
    """Raise UserError if a training has ended since its loss is no number any more."""
    if not math.isfinite(losses[-1]):
        problem = f"the loss of epoch {len(losses) - 1} is not finite: try a lower --lr"
        raise UserError(f"{problem}; {how_far(table)}" if losses[:-1] else problem)


def how_far(table):
    """Return how many epochs a table has, and the command that draws them."""
    lines = Path(table).read_bytes().count(b"\n") if os.path.isfile(table) else 0
    if lines < 2:  # with that of the names
        return "no epoch was finished"
    return f"finished epochs: {lines - 1}; to draw them: {draw_command(table)}"


def draw_command(history):
    """Return the command that draws a history."""
    plot = os.path.join(os.path.dirname(sys.argv[0]), "plot_shift.py")
    return f"{sys.executable} {plot} --input {history}"


def prepare_output(output):
    """Choose a window, or drawing without one. Call it before a figure is made.

    `output` is "window" or the file that the figure is to go to. UserError is raised if
    that has no suffix of a picture.
    """
    suffix = os.path.splitext(output)[1].lower()
    if output != "window" and suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"{output} is no name of a .png, .pdf or .svg file")
    import matplotlib.pyplot as plt

    plt.rcParams["text.parse_math"] = False  # a name with a $ is no formula
    try:
        plt.switch_backend(plt.get_backend() if output == "window" else "agg")
    except ImportError:  # MPLBACKEND asks for a window, but there is no screen
        plt.switch_backend("agg")


def show_or_save(figure, output, source, metric):
    """Show a figure in a window, or save it and print where.

    Where no window can open, it goes beside its source, to a file that is named after
    the source and the metric.
    """
    import matplotlib.pyplot as plt

    where = "the figure is in"
    if output == "window":
        # The name of the window system that the backend draws on, None for files only.
        if figure.canvas.required_interactive_framework:
            return plt.show()
        if "inline" not in plt.get_backend():  # a notebook shows it as well
            where = f"no window can open here; {where}"
        output = f"{source}.{re.sub('[^A-Za-z0-9_]', '-', metric)}.png"
    figure.savefig(output)
    print(f"[INFO] {where} {output}")


sys.excepthook = explain
if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
    # Also in a file, and also if it cannot show the characters of a name.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
# A notebook's shell hands its backend on to what is no notebook.
if "inline" in os.getenv("MPLBACKEND", "") and "ipykernel" not in sys.modules:
    del os.environ["MPLBACKEND"]
