"""Keras on TensorFlow, started quietly. Not needed for the story.

On a machine without a GPU, TensorFlow reports on stderr that it found none, and which
processor instructions it uses. Those lines are dropped. Where stdout is no terminal,
Keras's progress bars are off: they draw with control characters, which a file would
keep. Ctrl-C during the start ends the script in one line.
"""

import os
import subprocess
import sys

from pyimagesearch import cli

CHATTER = (
    r"oneDNN custom|find cuda drivers|call to cuInit|find TensorRT|register cu\w+ factory"
    r"|computation placer already|available CPU|following instructions|messages before absl"
)
# A process of its own, so that it prints what TensorFlow says when this one crashes.
FILTER = (
    "import re, sys; sys.stderr.buffer.writelines(line for line in sys.stdin.buffer"
    " if not re.search(sys.argv[1].encode(), line))"
)

cli.set_up_output()
cli.explain_interrupt()
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
# While Keras and TensorFlow are imported, file descriptor 2 leads to a filter, since
# TensorFlow's C++ side writes there, past sys.stderr. A new session keeps Ctrl-C from
# the filter.
command = [sys.executable, "-c", FILTER, CHATTER]
with subprocess.Popen(
    command, stdin=subprocess.PIPE, start_new_session=True
) as process:
    sys.stderr.flush()
    stderr = os.dup(2)
    os.dup2(process.stdin.fileno(), 2)
    try:
        import keras
        import tensorflow as tf

        tf.config.list_logical_devices()  # start now, while filtered
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
keras.config.set_image_data_format("channels_last")  # whatever ~/.keras/keras.json says
if not sys.stdout.isatty():
    keras.utils.disable_interactive_logging()
