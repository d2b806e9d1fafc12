"""What happens after every epoch: its numbers are saved, printed and checked."""

import math
import sys
import time

from pyimagesearch.backend import keras
from pyimagesearch.cli import UserError, end_progress_bar


class AfterEpoch(keras.callbacks.Callback):
    """Save the history after every epoch, and stop when a loss is no longer finite.

    Where stdout is not a terminal, and so shows no progress bar, print a line as well.

    Parameters
    ----------
    history_file : pyimagesearch.history.HistoryFile
        Where the finished epochs go.

    Raises
    ------
    UserError
        From `fit`, if the history cannot be saved, or if a loss became NaN or infinite.
        The epochs saved before stay where they are.
    """

    def __init__(self, history_file):
        super().__init__()
        self.history_file = history_file
        self.history = {}
        self.diverged = False

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        # A broken epoch need not run to its end: it has nothing left to learn.
        self._stop_unless_finite(logs)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        try:
            self.history_file.save(self.history)
        except UserError:
            end_progress_bar()
            raise
        self._stop_unless_finite(logs)
        if not sys.stdout.isatty():
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
            seconds = time.perf_counter() - self.start
            print(
                f"epoch {epoch + 1}/{self.params['epochs']}: {numbers}, {seconds:.0f} s"
            )

    def on_train_end(self, logs=None):
        if self.diverged:
            raise UserError(
                "training stopped: the loss is not a finite number any more. Try a lower "
                f"--lr. {self.history_file.summary()}"
            )

    def _stop_unless_finite(self, logs):
        losses = [value for name, value in logs.items() if name.endswith("loss")]
        if not all(math.isfinite(loss) for loss in losses):
            self.diverged = self.model.stop_training = True
