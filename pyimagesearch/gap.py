"""The gap between the two losses, split into the tutorial's three reasons and explained.

`reasons.py` says what the three terms are, and measures what they are made of. What is
said of them here is said of single epochs: a mean over epochs would hide that a term
changes its sign.
"""

import numpy as np

# The three terms and, in the tutorial's order of reasons, what each is a difference of.
TERMS = {
    "timing": "timing (Reason #2: during the epoch - at its end)",
    "regularization": "regularization (Reason #1: training mode - inference mode)",
    "data": "data (Reason #3: training images - validation images)",
}
# Where neither the gap nor a term reaches this share of the training loss, no cause is
# named. Chance makes less: 2% where 10,000 images of Fashion MNIST are measured, and 9%
# where 500 are.
SMALL = 0.1
# A term below this share of the largest one is not named.
MINOR = 0.15
# A term this many times as large as all others in its direction is the main cause.
CLEARLY = 1.5
# Advice looks at so many epochs at the end; needs losses that fell by at least that share
# of the first one, and that are within that share of their lowest.
LAST, FALLEN, NEAR = 3, 0.2, 0.02
# Standard deviation of the losses of single images, as a multiple of their mean.
SPREAD = 3


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
    rows = [["epoch", *terms]]
    for epoch, numbers in enumerate(zip(*terms.values())):
        cells = (f"{number:+.4f}" if np.isfinite(number) else "-" for number in numbers)
        rows.append([str(epoch), *cells])
    if len(rows) > 13:
        rows[7:-1] = [["..."] + [""] * len(terms)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths)] for row in rows]
    return "\n".join("  ".join(line).rstrip() for line in lines)


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
    """Say which loss is the lower one in an epoch, by how much, and which terms make it."""
    gap = terms["gap"][epoch]
    sizes = {name: terms[name][epoch] for name in TERMS}
    largest = max(map(abs, sizes.values()))
    lower = "validation" if gap > 0 else "training"
    says = f"In epoch {epoch}, the {lower} loss is the lower one, by {abs(gap):.3g}"
    if gap == 0:
        says = f"In epoch {epoch}, the two losses are equal"
    if max(largest, abs(gap)) <= SMALL * abs(loss):
        return f"{says}; no term is large enough, beside the losses, to name a cause."

    named = [name for name in TERMS if abs(sizes[name]) >= MINOR * largest]
    named.sort(key=lambda name: -abs(sizes[name]))
    if abs(gap) < MINOR * largest:
        return f"{says}: {_listed(named, sizes)} nearly cancel out."
    toward = [name for name in named if sizes[name] * gap > 0]
    enough = abs(sizes[toward[0]]) / CLEARLY
    alike = [name for name in toward if abs(sizes[name]) > enough]
    says += f", {'mainly ' * (len(alike) == 1)}because of {_listed(alike, sizes)}"
    if toward != alike:
        says += f", then {_listed(toward[len(alike) :], sizes)}"
    if named != toward:
        against = [name for name in named if name not in toward]
        says += f"; the other way: {_listed(against, sizes)}"
    return says + "."


def _listed(names, sizes):
    """Return terms with their numbers: "timing (+0.3) and data (+0.2)"."""
    return " and ".join(f"{name} ({sizes[name]:+.3g})" for name in names)


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
                "the lower loss even at the same time and in the same mode (data above 0)."
                " They are easier, or leaked into the training, or the training images "
                f"are distorted. If they are fewer than some {images:,.0f}, it may be chance."
            )
    curves = np.array([history["loss"], history["val_loss"]])
    first, last, lowest = curves[:, 0], curves[:, -1], curves.min(axis=1)
    fallen = (first - last > FALLEN * abs(first)).all()
    at_lowest = (last - lowest <= NEAR * abs(lowest)).all()
    if fallen and at_lowest and min(terms["gap"][-LAST:]) > 0:
        return (
            "There is room to train harder: both losses have fallen since the first epoch, "
            "and the validation loss is at or near its lowest and still the lower one. "
            "Train longer, with less regularization or with a higher learning rate, as "
            "long as that lowers the validation loss."
        )
    return ""


def draw(figure, terms):
    """Add a third panel below the two of a figure: the gap and its three terms.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Of 8 by 6.5 inches; it grows to 8 by 10, and the two panels keep their height.
    terms : dict of str to numpy.ndarray
        What `split` returns.
    """
    figure.set_size_inches(8, 10)
    figure.subplots_adjust(left=0.11, bottom=0.402, top=0.9675)
    panel = figure.add_axes((0.11, 0.052, 0.87, 0.21), sharex=figure.axes[0])
    epochs = np.arange(len(terms["gap"]))
    panel.axhline(0, color="black", linewidth=1)
    panel.plot(
        epochs, terms["gap"], "ko-", label="gap: training loss - validation loss"
    )
    # Other colours than those of the two losses.
    styles = (("s--", "C5"), ("^:", "C2"), ("D-.", "tab:brown"))
    for (name, label), (style, color) in zip(TERMS.items(), styles):
        panel.plot(epochs, terms[name], style, color=color, label=label)
    panel.set(xlabel="Epoch #", ylabel="Difference of losses")
    panel.set_title("What Makes the Gap", pad=34)
    # Above the panel, where it hides no curve.
    panel.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=8, frameon=False
    )
