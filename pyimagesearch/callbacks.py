"""What happens after every epoch: it is measured, and its numbers saved and printed."""

import math
import sys
import time

from pyimagesearch.backend import keras
from pyimagesearch.cli import UserError, end_progress_bar


def after_epoch(history_file, reasons, training_data, validation_data, batch_size):
    """Return arguments for `fit` with which it saves the history after every epoch.

    In a terminal, `fit` shows its progress bar. Elsewhere it prints a line an epoch: a
    bar that nobody sees would cost some 5% of the time of training.

    Parameters
    ----------
    history_file : pyimagesearch.history.HistoryFile
        Where the finished epochs go.
    reasons : bool
        Whether `fit` is also to measure the three reasons after every epoch. How many
        validation images are training images as well is then looked up, and printed,
        at once.
    training_data, validation_data : (images, labels)
        What `fit` gets; NumPy arrays.
    batch_size : int
        What `fit` gets.

    Returns
    -------
    dict
        The arguments `callbacks` and `verbose`. With them, `fit` raises a `UserError` if
        the history cannot be saved, or if a loss became NaN or infinite. What was saved
        before stays saved, and in the second case that epoch as well.
    """
    callbacks, history = [], {}
    if reasons:
        # Imported late: that imports TensorFlow.
        from pyimagesearch.reasons import MeasureReasons, count_leaks

        callbacks.append(MeasureReasons(training_data, validation_data, batch_size))
        leaks = count_leaks(training_data[0], validation_data[0])
        print(
            f"[INFO] {leaks} of {len(validation_data[0])} validation images are also "
            "training images, pixel for pixel"
        )
    terminal = sys.stdout.isatty()
    start = time.perf_counter()

    def save_print_and_check(epoch, logs):
        nonlocal start
        for name, value in logs.items():
            history.setdefault(name, []).append(float(value))
        try:
            history_file.save(history)
            if not all(map(math.isfinite, logs.values())):
                raise UserError(
                    f"a loss of epoch {epoch + 1} is not a finite number: try a lower "
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
    callbacks.append(callback)
    return {"callbacks": callbacks, "verbose": 1 if terminal else 0}
