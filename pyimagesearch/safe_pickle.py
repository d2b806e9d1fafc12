"""Read a history, also from a stranger: plain containers and numbers, and nothing else.

A pickle is a program for a small stack machine, and one of its instructions calls any
function of any module. The standard library's recipe against that, an Unpickler whose
`find_class` says no, leaves doors open: a few bytes can make it fill the memory (a memo
index of two billion) or run for years (dict keys of tuples that share tuples, or of huge
numbers with one hash). So one look at the instructions comes first.
"""

import io
import math
import os
import pickle
import pickletools
import re

import numpy as np

from pyimagesearch.cli import UserError, command, warn

# Bytes: room for some 25,000 epochs of four metrics. What is larger is no history.
LARGEST = 1_000_000
# What `--reasons` adds to a history, and the third panel is drawn from.
REASONS = ("loss_at_end", "val_loss_regularized")
# Instructions that no history needs: for other objects, for sets, buffers and the like.
UNNEEDED = re.compile("PERSID|^INST|OBJ|EXT|SET$|ADDITEMS|BYTEARRAY|BUFFER|POP|DUP")


class ForeignObject(ValueError):
    """The pickle asks for something that a history does not hold."""

    def __init__(self, what):
        super().__init__(f"no plain history, and was not opened: it asks for {what}")


class NumPyType:
    """Stands in for `numpy.dtype`: the type of a number."""

    order = "<"

    def __init__(self, name, align=False, copy=True):
        # NumPy reads a long name slowly, and a small file could ask for it many times.
        if not re.fullmatch("[fiu][1248]", name):
            raise ForeignObject(f"NumPy values of the type {name:.80}")
        self.name = name

    def __setstate__(self, state):
        self.order = ">" if state[1] == ">" else "<"


def _numpy_scalar(number_type, content):
    """Stands in for NumPy's `scalar`: decode the bytes of one number."""
    # Python 2 wrote bytes as what is read as a text here.
    content = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(content, number_type.order + number_type.name).item()


def _encode(text, encoding="latin1"):
    """Stands in for `_codecs.encode`: protocols 0 to 2 write bytes as Latin-1 text."""
    if len(text) > 8:  # Of a long text, a small file could ask for many copies.
        raise ForeignObject("more bytes than a number has")
    return text.encode("latin1")


# Or BUILD could change the functions.
_numpy_scalar.__setstate__ = _encode.__setstate__ = None
STAND_INS = {"numpy.dtype": NumPyType, "_codecs.encode": _encode}
STAND_INS["numpy.core.multiarray.scalar"] = _numpy_scalar
STAND_INS["numpy._core.multiarray.scalar"] = _numpy_scalar  # from NumPy 2 on


class _Unpickler(pickle.Unpickler):
    """The standard library's recipe: it finds the stand-ins, and refuses the rest."""

    def find_class(self, module, name):
        if (full_name := f"{module:.80}.{name:.80}") not in STAND_INS:
            raise ForeignObject(full_name)
        return STAND_INS[full_name]


def _check(content):
    """Raise ForeignObject for instructions that could take forever, or fill the memory.

    A tuple may only be the arguments of a stand-in. Fetched from the memo, or left on the
    stack, it could become part of others that share it, until their hash takes years. Of
    whole numbers below 2**63, no more than a few have the same hash.
    """
    memo, tuples, last = set(), set(), ""
    for instruction, argument, _ in pickletools.genops(content):
        name = instruction.name
        if "PUT" in name or name == "MEMOIZE":
            index = len(memo) if name == "MEMOIZE" else argument
            memo.add(index)
            if "TUPLE" in last:
                tuples.add(index)
            refused = index > len(content)
        else:
            loose = "TUPLE" in last and name not in ("REDUCE", "BUILD")
            fetched = "GET" in name and argument in tuples
            huge = isinstance(argument, int) and abs(argument) >= 2**63
            refused = loose or fetched or huge or UNNEEDED.search(name)
            last = name
        if refused:
            raise ForeignObject(f"more than lists of numbers: {name}")


def loads(content):
    """Return the object in a pickle of dicts, lists, texts and numbers.

    Parameters
    ----------
    content : bytes
        The pickle, of any protocol from 0 to 5. It may hold NumPy scalars (float16 to
        float64 and integers), which become Python numbers.

    Raises
    ------
    ForeignObject
        If the pickle asks for anything else; the message names it. It was not imported.
    Exception
        Of some kind, if the pickle is cut off or otherwise malformed.
    """
    _check(content)
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
        The metric and its `val_` twin; with the loss also the two curves of `--reasons`,
        if the history has both. All are of equal length, one number per epoch. NaN stands
        for a number that is not finite; where there are some, a line on stderr says so.

    Raises
    ------
    UserError
        If the file cannot be read, or does not hold that.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ForeignObject("more than a megabyte")
        history = loads(content)
    except FileNotFoundError as error:
        advice = command("fashion_mnist.py", "--history", path)
        if os.path.exists(f"{path}.part"):  # what an unfinished run has left
            advice = command("plot_shift.py", "--input", f"{path}.part")
        raise UserError(f"{path} does not exist; try: {advice}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ForeignObject as error:
        raise UserError(f"{path} is {error}") from error
    # Whatever goes wrong in a stranger's program is the fault of that program.
    except Exception as error:
        raise UserError(f"{path} is not a pickle, or cut-off or damaged") from error

    if not isinstance(history, dict):
        raise UserError(f"{path} holds no dict of lists, and so no training history")
    names = [metric, f"val_{metric}"]
    measured = [name for name in REASONS if metric == "loss" and name in history]
    if len(measured) == 2:
        names += measured
    elif measured:
        warn(f"{measured[0]} is not drawn: it takes both of {', '.join(REASONS)}")
    curves = {}
    for name in names:
        values = history.get(name)
        if not isinstance(values, list) or not {*map(type, values)} <= {int, float}:
            there = ", ".join(map(str, history)) or "nothing"
            raise UserError(f"{path} has no numbers of {name}, but has {there:.200}")
        epochs = len(curves.get(metric, values))
        if len(values) != epochs:
            raise UserError(
                f"{path} has {epochs} epochs of {metric}, but {len(values)} of {name}: "
                "which belong together is not known, unless validation_freq is 1"
            )
        # Infinity, and an int too large for a float, are drawn like NaN: as a gap.
        # Matplotlib needs some room above the largest number.
        curve = [float(value) if abs(value) < 1e300 else math.nan for value in values]
        missing = sum(map(math.isnan, curve))
        if missing == epochs:
            raise UserError(f"{path}: {name} is never finite: try a lower --lr")
        if missing:
            warn(f"{name} is not finite in {missing} of {epochs} epochs, left out")
        curves[name] = curve
    return curves
