"""The training history on disk: no finished epoch is lost, and reading one runs nothing.

A history is a dict of metric name to list of floats, one per epoch, as Keras's `History`
keeps it. The file is a pickle that a bare `pickle.load` reads.
"""

import contextlib
import math
import os
import pickle
import sys

from pyimagesearch import safe_pickle
from pyimagesearch.cli import UserError

# Bytes: room for some 25,000 epochs of four metrics. What is larger is no history.
LARGEST = 1_000_000
# What `--reasons` adds to a history, and the third panel is drawn from.
REASONS = ("loss_at_end", "val_loss_regularized")


class HistoryFile:
    """A history file that is whole at every moment of a training run.

    The finished epochs are in `PATH.part`. What an earlier run left in `PATH` stays
    there until `complete` puts this run's history in its place.

    Parameters
    ----------
    path : str
        PATH, where the complete history goes.

    Raises
    ------
    UserError
        If nothing could be written there: better now than after an hour of training.
    """

    def __init__(self, path):
        self.path = str(path)
        self.part = f"{path}.part"
        self.epochs = 0
        if not self.path:
            raise UserError("--history is empty: name a file")
        folder = os.path.dirname(self.path) or "."
        if not os.path.isdir(folder):
            raise UserError(
                f"there is no folder {folder}: make it, or name another file"
            )
        for name in (self.path, self.part):
            if os.path.exists(name) and not os.path.isfile(name):
                raise UserError(f"{name} is not a file: name one with --history")
            if os.path.exists(name) and not os.access(name, os.W_OK):
                raise UserError(f"{name} is write-protected: name another --history")
        self._write(b"", rehearsal=True)

    def save(self, history):
        """Put the history so far into `PATH.part`, in one step.

        Whoever reads the file meanwhile, or after a power cut, finds the history of this
        epoch or of the last one, never half of one.

        Parameters
        ----------
        history : dict of str to list of float
            One number per epoch.

        Raises
        ------
        UserError
            If it cannot be written. `PATH.part` is then as it was before.
        """
        self._write(pickle.dumps(history))
        self.epochs = len(history["loss"])

    def complete(self):
        """Make `PATH.part` the new `PATH`.

        Raises
        ------
        UserError
            If that cannot be done. `PATH.part` stays.
        """
        try:
            os.replace(self.part, self.path)
        except OSError as error:
            raise self._error(self.path, error) from error
        self.part = self.path

    def summary(self):
        """Return how many epochs are saved, and where, in words."""
        if self.epochs == 0:
            return "no epoch was finished, so nothing was saved"
        epochs = "1 epoch is" if self.epochs == 1 else f"{self.epochs} epochs are"
        return f"{epochs} saved: plot_shift.py --input {self.part} draws them"

    def _write(self, content, rehearsal=False):
        """Write a new file beside `PATH.part`, then let it take that name."""
        new = f"{self.part}.new"
        try:
            with open(new, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if not rehearsal:
                os.replace(new, self.part)
                self._sync_folder()
        except OSError as error:
            raise self._error(self.part, error) from error
        finally:
            if os.path.isfile(new):
                os.remove(new)

    def _sync_folder(self):
        """Make sure, where the system can, that a power cut keeps the new name, too."""
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(os.path.dirname(self.part) or ".", os.O_DIRECTORY)
            with contextlib.suppress(OSError):
                os.fsync(folder)
            os.close(folder)

    def _error(self, name, error):
        """Return the UserError for a file that cannot be written."""
        saved = f"; {self.summary()}" if self.epochs else ""
        return UserError(f"cannot write {name}: {error.strerror}{saved}")


def load_history(path, metric="loss"):
    """Read a training history, also from a file that is not to be trusted.

    Parameters
    ----------
    path : str
        A pickle of a history.
    metric : str
        A metric that must be in it, together with its twin on the validation data.

    Returns
    -------
    dict of str to list of float
        The metric and its `val_` twin; with the loss also the two curves of `--reasons`,
        if the history has them. All are of equal length, one number per epoch. NaN stands
        for a number that is not finite; where there are some, a line on stderr says so.

    Raises
    ------
    UserError
        If the file cannot be read, or does not hold that.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        advice = "run fashion_mnist.py first, or name another --input"
        if os.path.exists(f"{path}.part"):
            advice = f"--input {path}.part draws what an unfinished run has left"
        raise UserError(f"{path} does not exist: {advice}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not content:
        raise UserError(f"{path} is empty: run fashion_mnist.py again")
    if len(content) > LARGEST:
        raise UserError(f"{path} is too large to be a training history")
    try:
        history = safe_pickle.loads(content)
    except safe_pickle.ForeignObject as error:
        raise UserError(
            f"{path} is not a plain history and was not opened: it asks for {error}"
        ) from error
    except ValueError as error:
        raise UserError(f"{path} is {error}") from error
    if not isinstance(history, dict):
        kind = type(history).__name__
        raise UserError(f"{path} holds a {kind}, but a history is a dict of lists")
    names = [metric, f"val_{metric}"]
    measured = [name for name in REASONS if name in history and metric == "loss"]
    if len(measured) == 1:
        (missing,) = set(REASONS).difference(measured)
        raise UserError(
            f"{path} has {measured[0]}, but not {missing}, which belongs to it"
        )
    for name in names:
        if name not in history:
            known = ", ".join(one for one in history if f"val_{one}" in history)
            raise UserError(
                f"{path} has no {name}; metrics with a val_ twin in it: {known or 'none'}"
            )
    names += measured
    curves = {name: _floats(path, name, history[name]) for name in names}
    epochs = len(curves[metric])
    for name, curve in curves.items():
        if len(curve) != epochs:
            raise UserError(
                f"{path} has {epochs} epochs of {metric}, but {len(curve)} of {name}: which "
                "belong together is not known, unless fit has a validation_freq of 1"
            )
    for name, curve in curves.items():
        missing = sum(map(math.isnan, curve))
        if missing == epochs:
            raise UserError(
                f"{path} has no epoch with a finite {name}: try a lower --lr"
            )
        if missing:
            print(
                f"warning: {name} is not finite in {missing} of {epochs} epochs; "
                "drawing the others",
                file=sys.stderr,
            )
    return curves


def _floats(path, name, values):
    """Return a list of numbers as floats, NaN for infinity; raise UserError otherwise."""
    if not isinstance(values, list | tuple):
        raise UserError(f"{path}: {name} is a {type(values).__name__}, not a list")
    if not values:
        raise UserError(f"{path}: {name} is empty, not one epoch was finished")
    for epoch, value in enumerate(values):
        if not isinstance(value, int | float):
            kind = type(value).__name__
            raise UserError(
                f"{path}: {name} of epoch {epoch} is a {kind}, not a number"
            )
    # Infinity, and an int too large for a float, are drawn like NaN: as a gap. Matplotlib
    # needs some room above the largest number.
    return [float(value) if abs(value) < 1e300 else math.nan for value in values]
