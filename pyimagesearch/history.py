"""Save the history after every epoch, safely. Not needed for the story.

A history is a dict of metric name to list of floats, one per epoch, as Keras's
`History` keeps it. The file is a pickle that a bare `pickle.load` reads.
"""

import contextlib
import math
import os
import pathlib
import pickle
import sys

from pyimagesearch import safe_pickle
from pyimagesearch.backend import keras
from pyimagesearch.cli import UserError, check_writable, command, end_line


class SaveHistory(keras.callbacks.History):
    """Keep the finished epochs in `PATH.part`, and the whole history finally in `PATH`.

    What an earlier run left in `PATH` stays there until this run is complete; an
    earlier `PATH.part` is replaced after the first epoch. Where no terminal shows a
    progress bar, each epoch is printed in a line.

    UserError is raised at once if nothing can be written there, or if a file is there
    that is no history: better than after an hour of training. It is raised in `fit` if
    an epoch cannot be saved, or has a loss that is not finite. What was saved stays.
    """

    def __init__(self, path):
        super().__init__()
        self.path, self.part, self.new = path, f"{path}.part", f"{path}.part.new"
        self.saved, self.epochs = self.part, 0
        for name in (self.path, self.part, self.new):
            check_writable(name, "--history")
            if not _is_replaceable(name):
                raise UserError(f"{name} is not a history: name another --history")

    def on_epoch_end(self, epoch, logs):
        """Save and print the numbers of the epoch; stop if a loss is not finite."""
        super().on_epoch_end(epoch, logs)
        self._write(self.part, self.history)
        self.epochs += 1
        losses = [value for name, value in logs.items() if "loss" in name]
        if not all(map(math.isfinite, losses)):
            problem = f"a loss of epoch {epoch + 1} is not finite: try a lower --lr"
            end_line()
            raise UserError(f"{problem}; {self.summary()}")
        if not sys.stdout.isatty():
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
            print(f"epoch {epoch + 1}/{self.params['epochs']}: {numbers}")

    def complete(self, history):
        """Save the whole history in `PATH`, in place of `PATH.part`.

        If that cannot be done, UserError is raised, and `PATH.part` stays.
        """
        self._write(self.path, history)
        self.saved = self.path
        with contextlib.suppress(OSError):
            os.remove(self.part)

    def summary(self):
        """Return how many epochs are saved, and the command that draws them."""
        if self.epochs == 0:
            earlier = [name for name in (self.path, self.part) if os.path.exists(name)]
            still = f"; from an earlier run: {', '.join(earlier)}" if earlier else ""
            return f"nothing was saved{still}"
        saved = f"{self.epochs} of {self.params['epochs']} epochs saved"
        draw = command("plot_shift.py", "--input", self.saved)
        return f"{saved}; to draw them: {draw}"

    def _write(self, path, history):
        """Put a history into a file in one step, so that it is never there in half."""
        try:
            with open(self.new, "wb") as file:
                pickle.dump(history, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(self.new, path)
        except OSError as error:
            end_line()
            reason = f"cannot write {path}: {error.strerror}; {self.summary()}"
            raise UserError(reason) from error
        finally:  # left behind if writing failed
            with contextlib.suppress(OSError):
                os.remove(self.new)


def _is_replaceable(path):
    """Return whether a file is missing, empty, or a history that a run has left."""
    if not os.path.exists(path) or not os.path.getsize(path):
        return True
    try:
        content = pathlib.Path(path).read_bytes()
        history, end = safe_pickle.loads(content)
    except (OSError, ValueError):
        return False
    lists = isinstance(history, dict) and {*map(type, history.values())} == {list}
    return lists and "loss" in history and end == len(content)
