"""Find the curves in a history, and refuse what is none. Not needed for the story."""

import math
import re

from pyimagesearch.cli import UserError, warn
from pyimagesearch.safe_pickle import Foreign, Texts, unpacked

# What stands where numbers should, in plain words.
KINDS = {
    str: "a text",
    list: "a list",
    tuple: "a list",
    dict: "a dict",
    Texts: "a dict",
}
KINDS |= {int: "a single number", float: "a single number", bool: "True or False"}
KINDS |= {type(None): "None"}

# What `--reasons` adds to a history. Old ones have the first two only.
MEASURED = ["loss_at_end", "val_loss_regularized"]
MEASURED_LATER = ["held_out_loss_regularized", "data_error"]


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
        If one of the two is not there, not made of numbers, never finite, or shorter
        than the other.
    """
    pairs = {}
    for name in history:
        bare = re.sub("^(train|val|test)_", "", name)
        training = bare if bare in history else f"train_{bare}"
        other = f"val_{bare}" if f"val_{bare}" in history else f"test_{bare}"
        if {training, other} <= history.keys():
            pairs[bare] = training, other
    if metric in pairs:
        training, other = _numbers(history, pairs[metric], path).values()
        data = "test" if pairs[metric][1].startswith("test_") else "validation"
        return {f"training {metric}": training, f"{data} {metric}": other}
    advice = f": try --metric {' or '.join(pairs)}"
    if not pairs:
        advice = f", but has {', '.join(history) or 'nothing'}"
        if any(isinstance(value, dict) for value in history.values()):
            advice += ": save one of these by itself"
    problem = f"has no training and validation curve of {metric}"
    raise UserError(f"{path} {problem}{advice:.300}")


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
        As `choose_curves`.
    """
    there = [name for name in MEASURED + MEASURED_LATER if name in history]
    if {"loss", "val_loss", *MEASURED} <= history.keys():
        # The first two have been warned of, and a single batch has no error.
        quiet = ["loss", "val_loss", "data_error"]
        return _numbers(history, ["loss", "val_loss", *there], path, quiet)
    if there:
        missing = {"loss", "val_loss", *MEASURED} - history.keys()
        warn(f"{there[0]} is not drawn without {', '.join(sorted(missing))}")
    return {}


def _numbers(history, names, path, quiet=()):
    """Return curves as lists of floats, equally long; warn of gaps, except in some."""
    advice = "save a list of numbers, one per epoch"
    curves = {}
    for name in names:
        values = unpacked(history[name])
        if isinstance(values, dict) and "".join(values).isdigit():  # pandas
            values = [*values.values()]
        if not isinstance(values, list | tuple) or not values:
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
            each = "each needs one per epoch (validation_freq=1)"
            raise UserError(f"{path} has {reason}: {each}")
        missing = 0 if name in quiet else sum(map(math.isnan, curve))
        if missing == epochs:
            raise UserError(
                f"{path}: {name} is never finite: train with a lower learning rate"
            )
        if missing:
            warn(f"{name} is not finite in {missing} of {epochs} epochs, left out")
    return curves


def _kind(value):
    """Say in plain words what stands where numbers should."""
    if isinstance(value, Foreign):
        return f"an object of {value.name:.80}"
    return "an empty list" if value == [] else KINDS.get(type(value), "an object")
