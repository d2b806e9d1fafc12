"""Find the curves in a history, and refuse all else. Not needed for the story.

A history is a dict by the names of metrics, from `load_history`; `path` is its file,
for messages. Curves are returned as lists of floats of equal length, one number per
epoch. NaN stands for a number that is not finite, or above 1e300; where there are some,
a line on stderr says so.
"""

import math
import re

from pyimagesearch.cli import UserError, warn
from pyimagesearch.safe_pickle import Foreign, StringKeys, from_numpy

# What stands where numbers should, in plain words.
KINDS = {str: "a string", list: "a list", tuple: "a list", type(None): "None"}
KINDS |= {int: "a single number", float: "a single number", bool: "True or False"}
KINDS |= {dict: "a dict", StringKeys: "a dict"}

# What `--reasons` adds to a history. Old ones have the first two only.
MEASURED = ["loss_at_end", "val_loss_regularized"]
MEASURED_LATER = ["held_out_loss_regularized", "overfitting_error", "data_error"]


def choose_curves(history, metric, path):
    """Return the training curve of a metric, and the one on validation or test data.

    METRIC, or else train_METRIC, is the training curve; val_METRIC, or else
    test_METRIC, is the other. They are in a dict by their labels: "training METRIC",
    then "validation METRIC" or "test METRIC". UserError is raised if one of the two is
    not there, not made of numbers, never finite, or shorter than the other.
    """
    pairs = {}  # of all metrics that can be drawn
    for name in history:
        bare = re.sub("^(train|val|test)_", "", name)  # the metric
        training = bare if bare in history else f"train_{bare}"
        other = f"val_{bare}" if f"val_{bare}" in history else f"test_{bare}"
        if {training, other} <= history.keys():
            pairs[bare] = training, other
    if metric in pairs:
        training, other = _numbers(history, pairs[metric], path).values()
        data = "test" if pairs[metric][1].startswith("test_") else "validation"
        return {f"training {metric}": training, f"{data} {metric}": other}
    if pairs:
        advice = f"try --metric {' or '.join(pairs):.300}"
        raise UserError(
            f"{path} has no training and validation curve of {metric}: {advice}"
        )
    names = f"{', '.join(history) or 'nothing':.300}"
    nested = any(isinstance(value, dict) for value in history.values())
    advice = "save one of these by itself" if nested else "give fit validation_data"
    both = f"but not both {metric} and val_{metric}"
    raise UserError(f"{path} has {names}, {both}: {advice}")


def measured_losses(history, path):
    """Return the losses that the gap is split by, and the two whose gap it is.

    They are in a dict by their names, which is empty if one is missing. Only those of
    MEASURED_LATER may be. UserError is raised as by `choose_curves`.
    """
    names = ["loss", "val_loss", *MEASURED]
    there = [name for name in MEASURED + MEASURED_LATER if name in history]
    missing = [name for name in names if name not in history]
    if missing:
        if there:
            warn(f"{there[0]} is not drawn without {', '.join(missing)}")
        return {}
    names = ["loss", "val_loss", *there]
    # `choose_curves` has warned of the first two. With a single batch, errors are NaN.
    quiet = ["loss", "val_loss", "overfitting_error", "data_error"]
    return _numbers(history, names, path, quiet)


def _numbers(history, names, path, quiet=()):
    """Return curves by their names; warn of missing numbers, except in some."""
    advice = "save a list of numbers, one per epoch"
    curves = {}
    for name in names:
        values = from_numpy(history[name])
        # pandas' to_json and to_dict number the epochs.
        if isinstance(values, dict) and "".join(values).isdigit():
            values = [*values.values()]
        if not isinstance(values, list | tuple) or not values:
            raise UserError(f"{path} has {_kind(values)} as {name}: {advice}")
        curve = curves[name] = []
        for number in map(from_numpy, values):
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
