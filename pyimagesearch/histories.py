"""Plumbing: read a training history that somebody saved, and find two curves in it.

A history is a dict of lists with a number for each epoch, as `H.history` is, or a table
with a row for each epoch.
"""

import contextlib
import csv
import io
import json
import os
import pickle
import pickletools

import numpy as np

from pyimagesearch.terminal import UserError

LARGEST = 1_000_000  # bytes: room for thousands of epochs
MISSING = None, "", "NA"  # these stand for a missing number


def load_history(path):
    """Return the curves in a file, as arrays of shape (epochs,) in a dict.

    The file is a pickle, a file of `np.save`, JSON or CSV; its content tells which. No
    code in it is run. NaN stands for a missing number. UserError is raised if there is
    no such file, if it is larger than a megabyte, if it is of another kind, or if its
    `epoch` does not go up by one from row to row.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        advice = "train with fashion_mnist.py, or name another --input"
        for other in (f"{path}.old", f"{path}.csv"):
            if os.path.exists(other) and os.path.getsize(other):
                advice = f"use --input {other}, which is there"
        raise UserError(f"{path} does not exist: {advice}") from error
    if len(content) > LARGEST:
        raise UserError(f"{path} is larger than a megabyte: save H.history alone")
    content = content.removeprefix(b"\xef\xbb\xbf")  # Excel writes this mark
    try:
        if content.startswith((b"\x80", b"\x93NUMPY")):
            curves = _curves(_read_pickle(content))
        elif content.lstrip().startswith(b"{"):
            curves = _curves(json.loads(content))
        else:
            curves = _curves(_read_table(content))
    # In a file of another kind, anything may be wrong. (A UserError passes through.)
    except Exception as error:
        what = f"no history as pickle, JSON or CSV; it begins with {content[:40]}"
        raise UserError(f"{path} is {what}") from error
    epochs = curves.get("epoch", np.zeros(0))
    jumps = np.flatnonzero(np.diff(epochs) != 1)
    if len(jumps):
        last = jumps[0] + 1  # the first epoch that does not follow the one before
        goes = ", ".join(f"{epoch:g}" for epoch in epochs[max(last - 3, 0) : last + 1])
        advice = "give one row for each epoch of one run"
        advice += "; if each row is an epoch, delete that column"
        raise UserError(f"in {path}, epoch goes {goes}, ...: {advice}")
    return curves


def _curves(history):
    """Return the lists of numbers in a dict, as arrays; ValueError if it has none."""
    curves, numbers = {}, 0
    for name, values in history.items():
        if isinstance(values, dict):  # pandas writes a column by row
            values = [*values.values()]
        is_list = isinstance(values, list | tuple | np.ndarray)
        if not isinstance(name, str) or not is_list or not len(values):
            continue
        numbers += len(values)
        if numbers > LARGEST:
            raise ValueError("more numbers than bytes: one list has many names")
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            curve = [np.nan if one in MISSING else float(one) for one in values]
            # A number that is infinite or huge cannot be drawn.
            curves[name] = np.where(np.abs(curve) < 1e300, curve, np.nan)
    if not curves:
        raise ValueError("no numbers")
    return curves


def _read_table(content):
    """Return the columns of a table, between commas, semicolons or tabs."""
    lines = content.decode(errors="replace").splitlines(keepends=True)
    if lines[0].endswith("\r\n") and not lines[-1].endswith("\n"):
        lines.pop()
        print("[INFO] the last row has no end, as if cut off: it is left out")
    separator = max(",;\t", key=lines[0].count)
    names, *rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    columns = zip(*filter(None, rows), strict=True)  # without empty lines
    columns = [*zip(names, columns, strict=True)]
    history = {name: column for name, column in columns if name}
    if len(history) < len([name for name in names if name]):
        raise UserError("two columns have the same name: rename one")
    return history


class _Type:
    """Stands in for `numpy.dtype`, which trusts what a pickle says about a type.

    With the real one, a pickle can pass off any bytes as an object that NumPy calls.
    """

    def __init__(self, code, *options):
        self.code = code

    def __setstate__(self, state):
        # The byte order comes first. A pickle can call this again and again, so both
        # are cut, and the text cannot grow.
        self.code = state[1][:1] + self.code[:9]

    def read(self, content, shape=(), *order):
        if not isinstance(content, list):
            content = np.frombuffer(content, self.code)
        return content if len(shape) < 2 else []  # an array with more axes is no curve


class _Array(list):
    """Stands in for `numpy.ndarray`."""

    def __setstate__(self, state):
        _, shape, kind, _, content = state
        self[:] = kind.read(content, shape)


# A pickled history may have these, besides lists, dicts, texts and numbers. None of
# them copies a list or a dict, or a small pickle could ask for endless copies.
HARMLESS = {
    "collections.OrderedDict": lambda *none: {},
    "_codecs.encode": str.encode,
    "numpy.dtype": _Type,
    "numpy.ndarray": None,  # a pickle names it, but does not call it
    "numpy.core.multiarray._reconstruct": lambda kind, shape, code: _Array(),
    "numpy.core.multiarray.scalar": lambda kind, content: kind.read(content)[0],
    "numpy.core.numeric._frombuffer": lambda data, kind, *more: kind.read(data, *more),
}


class _Unpickler(pickle.Unpickler):
    """Calls only what is HARMLESS, as in Restricting Globals of Python's manual."""

    def find_class(self, module, name):
        name = f"{module}.{name}".replace("numpy._core", "numpy.core")
        if name not in HARMLESS:
            raise UserError(f"the file holds a {name}: save H.history alone")
        return HARMLESS[name]


def _read_pickle(content):
    """Return what is in a pickle, or in what `np.save` makes of a dict."""
    content = content[content.index(b"\x80") :]  # np.save puts a header before it
    for instruction, argument, _ in pickletools.genops(content):
        if "PUT" in instruction.name and argument > len(content):
            raise ValueError("it asks for a memo of gigabytes")
    found = _Unpickler(io.BytesIO(content)).load()
    return found[0] if isinstance(found, _Array) else found


def choose_curves(history, metric, path):
    """Return the training curve and the validation curve of a metric.

    The training curve of the loss is named "loss" or "train_loss". The validation curve
    is named "val_loss", "valid_loss", "validation_loss" or "test_loss". UserError is
    raised if the history lacks one of them, or if they differ in length.
    """
    sets = "val", "valid", "validation", "test"
    training = [name for name in (metric, f"train_{metric}") if name in history]
    validation = [f"{one}_{metric}" for one in sets if f"{one}_{metric}" in history]
    if not training or not validation:
        there = ", ".join(history)
        raise UserError(f"{path} has no {metric} and val_{metric}: it has {there:.200}")
    curves = history[training[0]], history[validation[0]]
    if len(curves[0]) != len(curves[1]):
        names = f"{training[0]} and {validation[0]}"
        raise UserError(f"{path} must have {names} of each epoch (validation_freq=1)")
    return curves
