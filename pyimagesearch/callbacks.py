"""What happens after every epoch: its numbers are saved, printed and checked."""

import math
import sys
import time

from pyimagesearch.backend import keras
from pyimagesearch.cli import UserError, end_progress_bar


def after_epoch(history_file):
    """Return arguments for `fit` with which it saves the history after every epoch.

    In a terminal, `fit` shows its progress bar. Elsewhere it prints a line an epoch: a
    bar that nobody sees would cost some 5% of the time of training.

    Parameters
    ----------
    history_file : pyimagesearch.history.HistoryFile
        Where the finished epochs go.

    Returns
    -------
    dict
        The arguments `callbacks` and `verbose`. With them, `fit` raises a `UserError` if
        the history cannot be saved, or if a loss became NaN or infinite. What was saved
        before stays saved, and in the second case that epoch as well.
    """
    history = {}
    terminal = sys.stdout.isatty()
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
        if not terminal:
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
            seconds = time.perf_counter() - start
            epochs = callback.params["epochs"]
            print(f"epoch {epoch + 1}/{epochs}: {numbers}, {seconds:.0f} s")
        start = time.perf_counter()

    callback = keras.callbacks.LambdaCallback(on_epoch_end=save_print_and_check)
    return {"callbacks": [callback], "verbose": 1 if terminal else 0}
