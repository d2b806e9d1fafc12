"""What happens after every epoch: its numbers are saved, printed and checked."""

import math
import sys
import time

from pyimagesearch.backend import keras
from pyimagesearch.cli import UserError, end_progress_bar


def after_epoch(history_file):
    """Return a Keras callback that saves the history after every epoch.

    Where stdout is not a terminal, and so shows no progress bar, it also prints a line.

    Parameters
    ----------
    history_file : pyimagesearch.history.HistoryFile
        Where the finished epochs go.

    Returns
    -------
    keras.callbacks.Callback
        It lets `fit` raise a `UserError` if the history cannot be saved, or if a loss
        became NaN or infinite. What was saved before stays saved, and in the second
        case that epoch as well.
    """
    history = {}
    start = time.perf_counter()

    def save_print_and_check(epoch, logs):
        nonlocal start
        for name, value in logs.items():
            history.setdefault(name, []).append(float(value))
        try:
            history_file.save(history)
            if not (math.isfinite(logs["loss"]) and math.isfinite(logs["val_loss"])):
                raise UserError(
                    f"the loss of epoch {epoch + 1} is not a finite number: try a lower "
                    f"--lr; {history_file.summary()}"
                )
        except UserError:
            end_progress_bar()
            raise
        if not sys.stdout.isatty():
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
            seconds = time.perf_counter() - start
            epochs = callback.params["epochs"]
            print(f"epoch {epoch + 1}/{epochs}: {numbers}, {seconds:.0f} s")
        start = time.perf_counter()

    callback = keras.callbacks.LambdaCallback(on_epoch_end=save_print_and_check)
    return callback
