"""Read a training history as people save it. Not needed to follow the story.

What kind of file it is shows in its content, not in its name. What cannot be drawn is
refused in one line, which says what is wrong and what to do.
"""

import contextlib
import csv
import json
import math
import os
import re

from pyimagesearch.cli import UserError, command, warn
from pyimagesearch.safe_pickle import Foreign, loads, unpacked

# How files begin that are no history, or not yet.
REFUSED = {
    rb"\s*$": "is empty: save the history again",
    rb"\x1f\x8b|PK\x03\x04|BZh|\xfd7zXZ": "is compressed: unpack it first",
    rb"(?i)\s*<(!doctype|html)": "is a web page: download the file itself",
    rb"version https://git-lfs": "is a Git LFS pointer: download the file itself",
    # Room for 25,000 epochs of four metrics.
    rb"(?s).{1000001}": "is larger than a megabyte: save H.history alone",
    rb"\x93NUMPY[^\n]*'descr': (?!'\|O')": "is an array of numbers: save H.history",
}
# How the others begin. A table has names in its first line, and numbers in the next.
JSON = rb"\s*[{[]\s*[]}[{\"\d-]"
TABLE = rb"[^\0\n,;\t]*[,;\t][^\0\n]*\n[\s\"]*([-+.]?\d|[,;])"
PICKLE = rb"\x93NUMPY|\x80|\([dl]|[]}]q|c[\w.]+\n"

PREFIX = "^(train|val|test)_"
KINDS = {str: "a text", list: "a list", dict: "a dict", bool: "True or False"}
KINDS |= {int: "a single number", float: "a single number", type(None): "None"}

# What `--reasons` adds to a history. Old ones have the first two only.
MEASURED = ["loss_at_end", "val_loss_regularized"]
MEASURED_LATER = ["held_out_loss_regularized", "data_error"]


def load_history(path):
    """Read a training history, also from a file that is not to be trusted.

    Parameters
    ----------
    path : str
        A file with a dict: as a pickle, also by `np.save`; as JSON; or as a table with
        a line an epoch, which Keras's `CSVLogger` writes. Of several pickles in a row,
        the first is read; a line on stderr tells of the others.

    Returns
    -------
    dict of str to object
        What the file holds by the names of metrics. `choose_curves` looks at it.

    Raises
    ------
    UserError
        If the file cannot be read, or does not hold that.
    """
    try:
        with open(path, "rb") as file:
            # A byte-order mark may come first.
            content = file.read(1_000_004).removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError as error:
        advice = command("fashion_mnist.py", "--history", path)
        if os.path.exists(f"{path}.part"):  # what an unfinished run has left
            advice = command("plot_shift.py", "--input", f"{path}.part")
        raise UserError(f"{path} does not exist; try: {advice}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    for beginning, reason in REFUSED.items():
        if re.match(beginning, content):
            raise UserError(f"{path} {reason}")
    try:
        found, end = _parsed(content)
    except (ValueError, RecursionError, csv.Error) as error:
        reason = "no pickle, JSON or CSV of a history"
        if re.match(b"|".join((JSON, TABLE, PICKLE)), content):
            reason = "cut off or damaged: save it again"
        raise UserError(f"{path} is {reason}") from error
    match found:
        case dict() if found or type(found) is dict:
            if end < len(content):
                more = _count_pickles(content, end) or "bytes"
                warn(f"{path}: the first pickle is drawn, not the {more} after it")
            return found
        case Foreign(name=name) if name.endswith(".History"):
            reason = "a History object: pickle H.history instead of H"
        case [one, *_] if _is_history(one):
            reason = f"a list of {len(found)} histories: save one of them by itself"
        case _:
            reason = f"{_kind(found)}: save a dict of lists of numbers, as H.history is"
    raise UserError(f"{path} is {reason}")


def _parsed(content):
    """Return what a file holds, and where that ends."""
    if re.match(JSON, content):
        return json.loads(content), len(content)
    if re.match(TABLE, content):
        return _columns(content.decode("utf-8", "replace")), len(content)
    numpy_header = re.match(rb"\x93NUMPY[^\n]*\n|", content)
    found, end = loads(content, numpy_header.end())
    return unpacked(found), end


def _count_pickles(content, end):
    """Count the pickles that follow each other from there on."""
    count = 0
    with contextlib.suppress(ValueError):
        while end < len(content):
            _, end = loads(content, end)
            count += 1
    return count


def _columns(text):
    """Return the columns of a table by their names; NaN stands for an empty cell."""

    def number(cell):
        try:
            return float("nan" if cell in ("", "NA") else cell)
        except ValueError:
            return cell

    separator = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.reader(text.splitlines(), delimiter=separator, skipinitialspace=True)
    names, *rows = filter(None, rows)
    columns = zip(names, zip(*rows, strict=True), strict=True)
    # pandas leaves the column of row numbers without a name.
    return {name: [*map(number, column)] for name, column in columns if name}


def choose_curves(history, metric, path):
    """Return the training curve of a metric, and the one on validation or test data.

    Parameters
    ----------
    history : dict of str to object
        From `load_history`. What is not drawn may be anything.
    metric : str
        METRIC, or else train_METRIC, is the training curve; val_METRIC, or else
        test_METRIC, is the other.
    path : str
        The file, for messages.

    Returns
    -------
    dict of str to list of float
        The two curves by their labels: "training METRIC", then "validation METRIC" or
        "test METRIC". They are of equal length, one number per epoch. NaN stands for a
        number that is not finite, or above 1e300; where there are some, a line on
        stderr says so.

    Raises
    ------
    UserError
        If one of the two is not there, or not made of numbers.
    """
    pairs = {}
    for name in history:
        of = re.sub(PREFIX, "", name)
        training = of if of in history else f"train_{of}"
        other = f"val_{of}" if f"val_{of}" in history else f"test_{of}"
        if {training, other} <= history.keys():
            pairs[of] = training, other
    if metric in pairs:
        training, other = _curves(history, pairs[metric], path).values()
        data = "test" if pairs[metric][1].startswith("test_") else "validation"
        return {f"training {metric}": training, f"{data} {metric}": other}

    bare = re.sub(PREFIX, "", metric)
    if bare in pairs:
        reason = "--metric takes the name of the training curve, without train_ or val_"
        raise UserError(f"{path}: {reason}: try --metric {bare}")
    missing = metric
    if {metric, f"train_{metric}"} & history.keys():
        missing = "val_loss" if metric == "loss" else f"{metric} on validation data"
    dicts = [name for name, value in history.items() if _is_history(value)]
    if pairs:
        advice = f": try --metric {' or '.join(pairs):.200}"
    elif dicts:
        there = f", but has the dicts {', '.join(dicts):.200}"
        advice = f"{there}: save one of them by itself, with loss and val_loss"
    else:
        there = f", but has {', '.join(history) or 'nothing':.200}"
        both = "both a training curve and a validation curve"
        advice = f"{there}: it needs {both}, e.g. loss and val_loss"
    raise UserError(f"{path} has no numbers of {missing}{advice}")


def _is_history(value):
    """Tell a dict of curves from anything else, by the first thing in it."""
    is_dict = isinstance(value, dict)
    return is_dict and type(next(iter(value.values()), None)) in (list, dict)


def measured_losses(history, path):
    """Return the losses that the gap is split by, and the two whose gap it is.

    Parameters
    ----------
    history : dict of str to object
        From `load_history`.
    path : str
        The file, for messages.

    Returns
    -------
    dict of str to list of float
        `loss`, `val_loss`, `loss_at_end`, `val_loss_regularized` and, where they are
        there, `held_out_loss_regularized` and `data_error`; each as `choose_curves`
        returns it. Empty if one of the first four is not there.

    Raises
    ------
    UserError
        If one is not made of numbers, or has not as many as `loss`.
    """
    there = [name for name in MEASURED + MEASURED_LATER if name in history]
    if {"loss", "val_loss", *MEASURED} <= history.keys():
        # The first two have been warned of, and a single batch has no error.
        quiet = ["loss", "val_loss", "data_error"]
        return _curves(history, ["loss", "val_loss", *there], path, quiet)
    if there:
        warn(f"{there[0]} is not drawn: it takes both of {' and '.join(MEASURED)}")
    return {}


def _curves(history, names, path, quiet=()):
    """Return curves as lists of floats, equally long; warn of gaps, except in some."""
    advice = "save a list of numbers, one per epoch"
    curves = {}
    for name in names:
        values = unpacked(history[name])
        if type(values) is dict and all(map(str.isdigit, values)):  # JSON by pandas
            values = [*values.values()]
        if type(values) is not list or not values:
            raise UserError(f"{path} has {_kind(values)} as {name}: {advice}")
        curve = curves[name] = []
        for number in map(unpacked, values):
            if type(number) not in (int, float):
                raise UserError(f"{path} has {_kind(number)} in {name}: {advice}")
            # Infinity is drawn like NaN, as a gap. So is what is almost as large, since
            # matplotlib needs room above it.
            curve.append(float(number) if abs(number) < 1e300 else math.nan)
        epochs = len(curves[names[0]])
        if len(curve) != epochs:
            reason = f"{epochs} epochs of {names[0]}, but {len(curve)} of {name}"
            advice = "each needs one per epoch (validation_freq=1)"
            raise UserError(f"{path} has {reason}: {advice}")
        missing = 0 if name in quiet else sum(map(math.isnan, curve))
        if missing == epochs:
            raise UserError(f"{path}: {name} is never finite: try a lower --lr")
        if missing:
            warn(f"{name} is not finite in {missing} of {epochs} epochs, left out")
    return curves


def _kind(value):
    """Say in plain words what stands where numbers should."""
    if isinstance(value, Foreign):
        return f"an object of {value.name:.80}"
    return "an empty list" if value == [] else KINDS.get(type(value), "bytes")
