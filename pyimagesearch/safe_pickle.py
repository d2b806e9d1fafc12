"""Safe reading of a history, also a stranger's. Not needed to follow the story.

Only dicts, lists, texts and numbers are read. A pickle is a program for a small stack
machine, and one of its instructions calls any function of any module. The standard
library's recipe against that, an Unpickler whose `find_class` says no, leaves doors
open: a few bytes can make it fill the memory (a memo index of two billion) or run for
years (dict keys that take so long to hash). So the pickle is rewritten and looked
through first.
"""

import io
import math
import os
import pickle
import pickletools
import re

import numpy as np

from pyimagesearch.cli import UserError, command, warn

# What `--reasons` adds to a history, and the third panel is drawn from.
REASONS = ("loss_at_end", "val_loss_regularized")


class _NumPyType:
    """Stands in for `numpy.dtype`: the type of a number."""

    order = "<"

    def __init__(self, name, align=False, copy=True):
        # NumPy reads a long name slowly, and a small file could ask for it many times.
        if not re.fullmatch("[fiu][1248]", name):
            raise pickle.UnpicklingError(f"no history has NumPy values {name:.80}")
        self.name = name

    def __setstate__(self, state):
        self.order = ">" if state[1] == ">" else "<"

    def number(self, content):
        """Decode the bytes of a number; protocols 0 to 2 have them as Latin-1 text."""
        content = content.encode("latin1") if isinstance(content, str) else content
        return np.frombuffer(content, self.order + self.name).item()


class _Unpickler(pickle.Unpickler):
    """The standard library's recipe: it finds three stand-ins, and refuses the rest."""

    def find_class(self, module, name):
        # New functions each time: a pickle may set attributes of what it is given.
        match module, name:
            case "numpy", "dtype":
                return _NumPyType
            case "numpy.core.multiarray" | "numpy._core.multiarray", "scalar":
                return lambda number_type, content: number_type.number(content)
            case "_codecs", "encode":
                return lambda text, encoding: text
        raise pickle.UnpicklingError(f"no history needs {module:.80}.{name:.80}")


def loads(content):
    """Return the object in a pickle of dicts, lists, texts and numbers.

    Parameters
    ----------
    content : bytes
        The pickle, of any protocol from 0 to 5. It may hold NumPy scalars (float16 to
        float64 and integers), which become Python numbers.

    Raises
    ------
    pickle.UnpicklingError
        If the pickle asks for anything else; the message names it. It was not imported.
    Exception
        Of any kind, if the pickle is cut off or otherwise malformed.
    """
    # Numbers the memo anew from 0 on, and drops what is never fetched from it.
    content = pickletools.optimize(content)
    before = ""
    for instruction, argument, _ in pickletools.genops(content):
        name = instruction.name
        # A tuple may only be the arguments of a stand-in. Kept, it could become part of
        # others that share it, until their hash takes years.
        kept = "TUPLE" in before and name not in ("REDUCE", "BUILD", "FRAME")
        # Of floats, and of whole numbers below 2**63, no more than a few dozen have the
        # same hash; of larger ones, and of frozen sets, any number may.
        huge = isinstance(argument, int) and abs(argument) >= 2**63
        if kept or huge or name.endswith("SET"):
            raise pickle.UnpicklingError(f"no history needs {before if kept else name}")
        before = before if name == "FRAME" else name  # which may stand anywhere
    return _Unpickler(io.BytesIO(content), encoding="latin1").load()


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
        The metric and its `val_` twin; with the loss also the two curves of
        `--reasons`, if the history has both. All are of equal length, one number per
        epoch. NaN stands for a number that is not finite, or above 1e300; where there
        are some, a line on stderr says so.

    Raises
    ------
    UserError
        If the file cannot be read, or does not hold that.
    """
    try:
        with open(path, "rb") as file:
            # Room for 25,000 epochs of four metrics; what is larger comes cut off. The
            # braces take nothing but a dict.
            history = {**loads(file.read(1_000_000))}
    except FileNotFoundError as error:
        advice = command("fashion_mnist.py", "--history", path)
        if os.path.exists(f"{path}.part"):  # what an unfinished run has left
            advice = command("plot_shift.py", "--input", f"{path}.part")
        raise UserError(f"{path} does not exist; try: {advice}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    # Whatever goes wrong in a stranger's program is the fault of that program.
    except Exception as error:
        reason = f"{path} is no history, or damaged, or above a megabyte ({error})"
        raise UserError(reason) from error

    names = [metric, f"val_{metric}"]
    measured = [name for name in REASONS if metric == "loss" and name in history]
    if len(measured) == 2:
        names += measured
    elif measured:
        warn(f"{measured[0]} is not drawn: it takes both of {' and '.join(REASONS)}")
    curves = {}
    for name in names:
        values = history.get(name)
        # Set is less than set: the values are some, and of no other types.
        if type(values) is not list or not set() < {*map(type, values)} <= {int, float}:
            there = ", ".join(map(str, history)) or "nothing"
            raise UserError(f"{path} has no numbers of {name}, but has {there:.200}")
        epochs = len(curves.get(metric, values))
        if len(values) != epochs:
            reason = (
                f"{path} has {epochs} epochs of {metric}, but {len(values)} of {name}"
            )
            raise UserError(f"{reason}: each needs one per epoch (validation_freq=1)")
        # Infinity is drawn like NaN, as a gap. So is what is almost as large, since
        # matplotlib needs room above it.
        curve = [float(value) if abs(value) < 1e300 else math.nan for value in values]
        missing = sum(map(math.isnan, curve))
        if missing == epochs:
            raise UserError(f"{path}: {name} is never finite: try a lower --lr")
        if missing:
            warn(f"{name} is not finite in {missing} of {epochs} epochs, left out")
        curves[name] = curve
    return curves
