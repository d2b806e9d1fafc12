"""Plumbing: read a history that anybody saved, and find the curves in it.

A history is a dict by the names of metrics; `path` is its file, for messages.
"""

import codecs
import collections
import contextlib
import csv
import io
import itertools
import json
import pickle
import pickletools
import re

import numpy as np

from pyimagesearch.terminal import UserError, warn

LARGEST = 1_000_000  # bytes: room for thousands of epochs
# What the names of two curves begin or end with. The first that are there are taken, so
# Keras's names come first.
TRAINING = "", "train", "training"
VALIDATION = "val", "valid", "validation", "eval", "test"


def load_history(path):
    """Read a training history, also from a file that is not to be trusted.

    The content tells what it is: a pickle, also by `np.save`; JSON, also with a dict
    for each epoch; or a table with a row for each epoch. Return a dict by the names of
    metrics; the two names in a dict of dicts are joined by a slash. UserError is raised
    if there is no such file, if it is above a megabyte, or if it holds something else.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        advice = "name another --input, or train, with fashion_mnist.py"
        raise UserError(f"{path} does not exist: {advice}") from error
    if len(content) > LARGEST:
        raise UserError(f"{path} is larger than a megabyte: save H.history alone")
    content = content.removeprefix(codecs.BOM_UTF8)
    for read in (_read_pickle, _read_json, _read_table):
        # In a file of another kind, or an untrusted one, anything may be wrong. But a
        # UserError, which is a SystemExit, is raised.
        with contextlib.suppress(Exception):
            return _flatten(read(content, path))
    what = "no pickle, .npy, JSON or CSV of a history"
    raise UserError(f"{path} is {what}; it begins with {content[:40] or 'nothing'}")


class _Type:
    """Stands for `numpy.dtype`, which believes all that a pickle says of a type.

    So a pickle can make NumPy take any bytes for an object, and call what is in them.
    """

    def __init__(self, code, *options):
        self.code = code

    def __setstate__(self, state):
        self.code = state[1] + self.code  # the order of bytes comes first

    def read(self, content, shape=(), order="C"):
        return np.frombuffer(content, self.code).reshape(shape, order=order)


class _Array(list):
    """Stands for `numpy.ndarray`: a list, and also the number in it if there is one."""

    def __setstate__(self, state):
        _, shape, kind, _, content = state
        is_list = isinstance(content, list)
        self[:] = content if is_list else kind.read(content, shape or -1)

    def __float__(self):
        (number,) = self
        return float(number)


# What a pickled history may be made of, besides lists, dicts, texts and numbers.
HARMLESS = {
    "builtins.list": list,
    "builtins.dict": dict,
    "collections.OrderedDict": collections.OrderedDict,
    "collections.defaultdict": collections.defaultdict,
    "_codecs.encode": str.encode,
    "numpy.dtype": _Type,
    "numpy.ndarray": _Array,
    "numpy.core.multiarray._reconstruct": lambda kind, shape, code: _Array(),
    "numpy.core.multiarray.scalar": _Type.read,
    "numpy.core.numeric._frombuffer": lambda data, kind, *more: kind.read(data, *more),
}


class _Unpickler(pickle.Unpickler):
    """The recipe of Python's manual, Restricting Globals: nothing else is called."""

    def find_class(self, module, name):
        name = f"{module}.{name}".replace("__builtin__", "builtins")
        name = name.replace("numpy._core", "numpy.core")
        if name not in HARMLESS:
            raise UserError(f"{self.path} holds a {name}: save H.history alone")
        return HARMLESS[name]


def _read_pickle(content, path):
    """Return the dict in a pickle, or in what `np.save` makes of one."""
    if content.startswith(b"\x93NUMPY"):  # a line, and then the pickle of an array
        content = content.partition(b"\n")[2]
    for instruction, argument, _ in pickletools.genops(content):
        if "PUT" in instruction.name and argument > len(content):
            raise ValueError("places for more than there is, in gigabytes")
    file = io.BytesIO(content)
    unpickler = _Unpickler(file)
    unpickler.path = path
    found = unpickler.load()
    if isinstance(found, _Array) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no dict of lists of numbers: save H.history")
    if file.tell() < len(content):
        warn(f"{path} goes on after its first pickle: only that one is drawn")
    return found


def _read_json(content, path):
    """Return the dict in a JSON file; of a dict for each epoch, the columns."""
    try:
        found = json.loads(content)
    except ValueError:
        found = map(json.loads, content.strip().split(b"\n"))
    if isinstance(found, dict):
        if any(isinstance(values, list | dict) for values in found.values()):
            return found
        found = [found]  # the only line, after one epoch
    return _columns(map(_flatten, found))


def _read_table(content, path):
    """Return the columns of a table, between commas, semicolons or tabs."""
    first, *lines = filter(str.strip, content.decode(errors="replace").splitlines())
    cut_off = b"\r\n" in content and not content.endswith(b"\n")
    if cut_off:
        lines.pop()
    separator = max(",;\t", key=first.count)
    table = csv.reader([first, *lines], delimiter=separator, skipinitialspace=True)
    names = next(table)
    rows = [dict(zip(names, row, strict=True)) for row in table]
    if len(names) < 2 or not re.search(r"\d", "".join(lines)):
        raise ValueError("no columns, or no numbers in them")
    for name, count in collections.Counter(names).items():
        if name and count > 1:
            raise UserError(f"{path} has {count} columns named {name}: rename one")
    if cut_off:
        warn(f"{path} is cut off, as by a full disk: its last line is left out")
    return _columns(rows)


def _columns(rows):
    """Return a dict of columns. Rows that follow each other with one epoch are one."""
    merged = [{}]
    for row in rows:
        row = {name: cell for name, cell in row.items() if cell not in ("", "NA", None)}
        if "epoch" in row and row["epoch"] == merged[-1].get("epoch"):
            merged[-1] |= row
        else:
            merged.append(row)
    names = dict.fromkeys(name for row in merged for name in row if name)
    return {name: [row.get(name) for row in merged[1:]] for name in names}


def _flatten(history):
    """Return a dict of curves: that of {"train": {"loss": [0.5]}} is "train/loss".

    A dict whose keys number the epochs is a curve.
    """
    flat = {}
    for name, values in history.items():
        if isinstance(values, dict) and not "".join(map(str, values)).isdigit():
            for inner, curve in values.items():
                # Cut: a long name of many would fill the memory.
                flat[f"{str(name)[:99]}/{str(inner)[:99]}"] = curve
        else:
            flat[str(name)] = [*values.values()] if isinstance(values, dict) else values
    return flat


def _squash(name):
    """Return a name without capitals and separators; of Loss/train, trainloss."""
    name = re.sub(r"[\W_]", "", name.lower())
    which = "|".join(TRAINING[1:] + VALIDATION)
    return re.sub(f"^(..+?)({which})$", r"\2\1", name)


def _find_pair(history, metric, path):
    """Return the names of a metric's training curve and of its validation curve."""
    curves, pairs = {}, {}
    for name in history:
        curves.setdefault(_squash(name), name)
    for training, validation in itertools.product(TRAINING, VALIDATION):
        for curve, name in curves.items():
            rest = curve.removeprefix(training)
            if curve.startswith(training) and validation + rest in curves:
                pairs.setdefault(rest or "loss", (name, curves[validation + rest]))
    pairs |= {
        name: (name, f"val_{name}") for name in history if f"val_{name}" in history
    }
    for name in (metric, _squash(metric)):
        if name in pairs:
            return pairs[name]
    others = {pair: name for name, pair in pairs.items()}.values()
    advice = f"name them {metric} and val_{metric}, or give fit validation_data"
    advice = f"it has {', '.join(history) or 'nothing':.200}: {advice}"
    advice = f"try --metric {' or '.join(others)}" if others else advice
    missing = f"no training and validation curve of {metric}"
    raise UserError(f"{path} has {missing}; {advice:.400}")


def choose_curves(history, metric, path):
    """Return the training curve of a metric, the validation curve, and two labels.

    The curves are arrays of shape (epochs,). NaN stands for a number that is missing,
    not finite, or above 1e300; a line on stderr says how many there are. Capitals and
    separators in names do not matter, and they may begin or end as `TRAINING` and
    `VALIDATION` say; "train" and "val" alone are the loss. UserError is raised if a
    curve is missing, not made of numbers, never finite, or shorter than the other.
    """
    pair = _find_pair(history, metric, path)
    curves = _read_curves(history, pair, path)
    for name, curve in zip(pair, curves):
        if missing := np.isnan(curve).sum():
            warn(f"{name} is not finite in {missing} of {len(curve)} epochs, left out")
    data = "test" if _squash(pair[1]).startswith("test") else "validation"
    return *curves, (f"training {metric}", f"{data} {metric}")


def measured_numbers(history, metric, path):
    """Return what `MeasureReasons` added for a metric, and its two curves.

    They are arrays in a dict, by its names for them. If it added nothing, the dict is
    empty; so it is, with a line on stderr, if a part is missing, short, not made of
    numbers or never finite. UserError is raised if the metric has no two curves.
    """
    own, _ = _find_pair(history, metric, path)
    parts = ["{}", "val_{}", "val_{}_during", "val_{}_regularized"]
    errors = ["{}_regularization_error", "{}_timing_error", "{}_data_error"]
    if f"held_out_{own}_during" in history or f"{own}_overfitting_error" in history:
        parts.append("held_out_{}_during")
        errors.append("{}_overfitting_error")
    names = [part.format(own) for part in parts + errors]
    if not history.keys() & names[2:]:
        return {}
    try:
        curves = _read_curves(history, names, path, len(parts))
    except UserError as error:
        warn(f"what makes the gap is not drawn, {error}")
        return {}
    return {part.format(metric): curve for part, curve in zip(parts + errors, curves)}


def _read_curves(history, names, path, finite=2):
    """Return curves as arrays of one length, the first few with a finite number."""
    curves = []
    for name in names:
        values = history.get(name)
        curve = []
        with contextlib.suppress(TypeError, ValueError, OverflowError, RecursionError):
            if isinstance(values, list | tuple | np.ndarray):
                curve = [np.nan if one is None else float(one) for one in values]
        if not curve:
            raise UserError(f"{path} has no list of numbers as {name}, one per epoch")
        # What is almost infinite is left out, too: matplotlib needs room above it.
        curves.append(np.array([one if abs(one) < 1e300 else np.nan for one in curve]))
        if len(curve) != len(curves[0]):
            counts = (
                f"{len(curves[0])} epochs of {names[0]}, but {len(curve)} of {name}"
            )
            raise UserError(f"{path} has {counts}: save each epoch (validation_freq=1)")
        if np.isnan(curves[:finite][-1]).all():
            raise UserError(f"{path}: {name} is never finite: lower the learning rate")
    return curves
