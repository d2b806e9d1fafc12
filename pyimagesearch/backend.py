"""Keras on TensorFlow, as a script wants it: imported late, started quietly.

TensorFlow takes seconds to import. The `keras` of this module is Keras from its first
use on, and not before, so that a mistake on the command line is answered at once. On a
machine without a GPU, TensorFlow then reports on stderr that it found none, and which
processor instructions it uses. Those lines are dropped; everything else that starting up
writes is passed on. Where stdout is not a terminal, Keras's progress bars are switched
off: they draw with control characters, which a file would keep.
"""

import functools
import os
import re
import sys
import tempfile

CHATTER = re.compile(
    rb"oneDNN custom operations are on"
    rb"|[Cc]ould not find cuda drivers"
    rb"|failed call to cuInit"
    rb"|TF-TRT Warning: Could not find TensorRT"
    rb"|binary is optimized to use available CPU|To enable the following instructions"
    rb"|Unable to register cu\w+ factory|computation placer already registered"
    rb"|All log messages before absl::InitializeLog"
)


class _Keras:
    """Stands in for the package `keras` and imports it when it is first used."""

    def __getattr__(self, name):
        return getattr(_start(), name)


keras = _Keras()


@functools.cache
def _start():
    """Import Keras and let TensorFlow look for devices, with stderr filtered."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # Hides TensorFlow's INFO lines, but neither those it logs before it reads this nor
    # its "error" that a machine without a GPU has no GPU: hence the filter.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured:
        # TensorFlow's C++ side writes to file descriptor 2, past sys.stderr.
        stderr = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            import keras
            import tensorflow

            tensorflow.config.list_logical_devices()
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            for line in captured:
                if not CHATTER.search(line):
                    os.write(2, line)
    if not sys.stdout.isatty():
        keras.utils.disable_interactive_logging()
    return keras
