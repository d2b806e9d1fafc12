"""The gap between the two losses: its size, its three terms, and what they show.

`reasons.py` says what the three terms are, and measures what they are made of. What is
said of them here is said of single epochs: a mean over epochs would hide that a term
changes its sign.
"""

import numpy as np

# The three terms, and what each is a difference of.
TERMS = {
    "timing": "timing (Reason #2: in the epoch - at its end)",
    "regularization": "regularization (Reason #1: training - inference mode)",
    "data": "data (Reason #3: training - validation images)",
}
# Where neither the gap nor a term is larger than this share of the training loss, no
# cause is named: with 1,000 validation images, chance makes 9.5% (see SPREAD).
SMALL = 0.1
# A term below this share of the largest one is not named. A gap below it has no cause:
# the terms cancel out.
MINOR = 0.15
# A term so many times as large as any other in its direction is the main cause; terms
# that are closer to each other are named together.
CLEARLY = 1.5
# Advice on the split takes a data term above 0 in the LAST epochs. Advice to train
# harder takes losses that fell by the share FALLEN of the first one, and are within the
# share NEAR of their lowest.
LAST, FALLEN, NEAR = 3, 0.2, 0.02
# Standard deviation of the losses of single images, as a multiple of their mean: 2.5 to
# 3 in the first epochs on Fashion MNIST. A mean of n losses is off by SPREAD / sqrt(n),
# which is 3% for 10,000 images.
SPREAD = 3


def closer(training, validation):
    """Say whether the half-epoch shift brings the curves closer, and how close.

    The training loss of epoch e is a mean over that epoch, and so belongs half an epoch
    before the validation loss of epoch e, which is taken at its end. Shifted there, the
    training curve passes the validation point of epoch e half-way between its own
    points of epochs e and e + 1. With t and v for training and validation loss:

        unshifted = mean of |t[e] - v[e]|
        shifted = mean of |(t[e] + t[e + 1]) / 2 - v[e]|

    Both are means over the epochs that have a next one. One that lacks any of the three
    numbers is left out.

    Parameters
    ----------
    training, validation : array_like of float, shape (epochs,)
        The two curves. NaN stands for a missing number.
    """
    t, v = np.asarray(training), np.asarray(validation)[:-1]
    between = (t[:-1] + t[1:]) / 2
    both = np.isfinite(between) & np.isfinite(v)
    if not both.any():
        return "how far apart the curves lie takes two epochs in a row to measure"
    unshifted = np.abs(t[:-1] - v)[both].mean()
    shifted = np.abs(between - v)[both].mean()
    nearer = "closer" if shifted < unshifted else "no closer"
    return (
        f"the shift brings the curves {nearer}: their mean distance is {unshifted:.4g} "
        f"unshifted and {shifted:.4g} shifted (epochs compared: {both.sum()})"
    )


def split(history):
    """Return the gap of every epoch and the three terms that add up to it.

    Parameters
    ----------
    history : dict of str to list of float
        `loss`, `val_loss`, `loss_at_end` and `val_loss_regularized`, of equal length.

    Returns
    -------
    dict of str to numpy.ndarray of shape (epochs,)
        "gap" is the training loss minus the validation loss; "timing", "regularization"
        and "data" add up to it. What is positive pushes the validation loss below the
        training loss. "by shift" is the timing term as the half-epoch shift estimates
        it: half of what the training loss falls to the next epoch, NaN in the last.
    """
    loss, val_loss = np.array(history["loss"]), np.array(history["val_loss"])
    loss_at_end = np.array(history["loss_at_end"])
    val_loss_regularized = np.array(history["val_loss_regularized"])
    return {
        "gap": loss - val_loss,
        "timing": loss - loss_at_end,
        "by shift": np.append((loss[:-1] - loss[1:]) / 2, np.nan),
        "regularization": val_loss_regularized - val_loss,
        "data": loss_at_end - val_loss_regularized,
    }


def table(terms):
    """Return the gap and its terms as text, a line an epoch.

    Epochs count from 0, as in the figure. Of more than 12, the first 6 and the last are
    shown. Missing numbers are dashes.
    """
    lines = ["epoch" + "".join(f"{name:>15}" for name in terms)]
    for epoch, numbers in enumerate(zip(*terms.values())):
        cells = (f"{number:+15.4f}".replace("+nan", "   -") for number in numbers)
        lines.append(f"{epoch:5}" + "".join(cells))
    if len(lines) > 13:
        lines[7:-1] = ["  ..."]
    return "\n".join(lines)


def conclusion(history):
    """Return what the first and the last epoch show and, where due, a piece of advice.

    Parameters
    ----------
    history : dict of str to list of float
        As for `split`. Epochs that lack a number are passed over.
    """
    terms = split(history)
    known = np.flatnonzero(np.isfinite([terms[name] for name in TERMS]).all(axis=0))
    if not len(known):
        return "No epoch has all the numbers that the terms are made of."
    first_and_last = sorted({known[0], known[-1]})
    says = [_cause(epoch, terms, history["loss"][epoch]) for epoch in first_and_last]
    if len(known) == len(history["loss"]) >= LAST:
        says.append(_advice(history, terms))
    return " ".join(says).strip()


def _cause(epoch, terms, loss):
    """Say which loss is lower in an epoch, by how much, and which terms make it so."""
    gap = terms["gap"][epoch]
    sizes = {name: terms[name][epoch] for name in TERMS}
    largest = max(map(abs, sizes.values()))
    lower = "validation" if gap > 0 else "training"
    says = f"In epoch {epoch}, the {lower} loss is the lower one, by {abs(gap):.3g}"
    if gap == 0:
        says = f"In epoch {epoch}, the two losses are equal"
    if max(largest, abs(gap)) <= SMALL * abs(loss):
        return f"{says}; nothing exceeds {SMALL:.0%} of the loss, so no cause is named."
    named = [name for name in TERMS if abs(sizes[name]) >= MINOR * largest]
    named.sort(key=lambda name: -sizes[name] * gap)
    says += ": " + ", ".join(f"{name} {sizes[name]:+.3g}" for name in named) + "."
    if "regularization" in named and sizes["regularization"] < 0:
        says += " (Regularization below 0: running means may lag, as at the start.)"
    causes = [name for name in named if CLEARLY * sizes[name] / sizes[named[0]] > 1]
    if abs(gap) < MINOR * largest:
        return f"{says} The terms all but cancel out."
    says += f" Main cause: {' and '.join(causes)}."
    if causes[0] == "data" and gap < 0:
        says += " The training images are easier for the network."
    return says


def _advice(history, terms):
    """Return what the last epochs advise, if anything.

    How many validation images it takes to tell an easier set from chance: the mean of n
    losses has a standard error of SPREAD * mean / sqrt(n), and two of them are allowed.
    """
    data, at_end = terms["data"][-LAST:], np.array(history["loss_at_end"][-LAST:])
    if min(data) > 0:
        images = max((2 * SPREAD * at_end / data) ** 2)
        if images <= 10_000:
            return (
                f"Look at the split: in the last {LAST} epochs, the validation images have "
                "the lower loss even in the same mode and at the same time. They are easier"
                ", or leaked, or the training images are distorted; or, where they are "
                f"fewer than some {images:,.0f}, it may be chance."
            )
    curves = np.array([history["loss"], history["val_loss"]])
    first, last, lowest = curves[:, 0], curves[:, -1], curves.min(axis=1)
    fallen = (first - last > FALLEN * abs(first)).all()
    at_lowest = (last - lowest <= NEAR * abs(lowest)).all()
    validation_lower = terms["gap"][-1] > SMALL * abs(history["loss"][-1])
    if fallen and at_lowest and validation_lower:
        return (
            "There is room to train harder: both losses have fallen, and the validation "
            "loss is the lower one and near its lowest. Train longer, with less "
            "regularization or a higher learning rate, as long as it falls."
        )
    return ""
