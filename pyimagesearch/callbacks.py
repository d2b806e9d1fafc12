"""What happens after every epoch: its numbers are saved, printed and checked."""

import math
import sys
import time

from pyimagesearch.backend import keras
from pyimagesearch.cli import UserError, end_progress_bar


class SavedHistory(keras.callbacks.History):
    """Keras's own history of a training run, saved to a file after every epoch.

    Where stdout is not a terminal, and so shows no progress bar, it also prints a line.

    Parameters
    ----------
    history_file : pyimagesearch.history.HistoryFile
        Where the finished epochs go.

    Raises
    ------
    UserError
        From `fit`, if the history cannot be saved, or if a loss became NaN or infinite.
        What was saved before stays saved; of a NaN or infinite loss, that epoch too.
    """

    def __init__(self, history_file):
        super().__init__()
        self.history_file = history_file

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        try:
            self.history_file.save(self.history)
            if not (math.isfinite(logs["loss"]) and math.isfinite(logs["val_loss"])):
                raise UserError(
                    f"the loss of epoch {epoch + 1} is not a finite number: try a lower "
                    f"--lr; {self.history_file.summary()}"
                )
        except UserError:
            end_progress_bar()
            raise
        if not sys.stdout.isatty():
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
            seconds = time.perf_counter() - self.start
            print(
                f"epoch {epoch + 1}/{self.params['epochs']}: {numbers}, {seconds:.0f} s"
            )
