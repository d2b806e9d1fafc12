"""The gap between the two losses, split into the tutorial's three reasons and explained.

`reasons.py` says what the three terms are, and measures what they are made of.
"""

import numpy as np

# The three terms, in the order of `split`, and the tutorial's words for them.
TERMS = {
    "timing": "timing (Reason #2: measured during the epoch)",
    "regularization": "regularization (Reason #1: in training only)",
    "data": "data (Reason #3: easier set, leaks; below 0: overfitting)",
}
# What it means when one of them makes the training loss the lower one.
BELOW_0 = {
    "regularization": "batch normalization's moving averages, which inference mode uses, "
    "lag behind, as after few updates",
    "data": "new images are harder for the network than those that it was trained on",
}
# What is below this share of the training loss is too small to speak of. For 10,000
# images of Fashion MNIST chance alone makes 2%: 0.005, as `MeasureReasons` says, of 0.25.
# For 500 images it makes 9%.
SMALL = 0.05


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
    """Return the gap and its terms as text: a line an epoch, and their means.

    Epochs count from 0, as in the figure. Of more than 12, the first 6 and the last are
    shown. Missing numbers are dashes, and the means leave out epochs that lack a term.
    """
    numbers = [*zip(*terms.values())]
    rows = [_row(epoch, of_epoch) for epoch, of_epoch in enumerate(numbers)]
    if len(rows) > 12:
        rows[6:-1] = [["..."] + [""] * len(terms)]
    rows = [
        ["epoch", *terms],
        *rows,
        _row("mean", _mean(terms, _known(terms)).values()),
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths)] for row in rows]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _row(title, numbers):
    """Return the cells of a row."""
    cells = (f"{number:+.4f}" if np.isfinite(number) else "-" for number in numbers)
    return [str(title), *cells]


def _known(terms):
    """Return the epochs in which no term is missing."""
    return np.flatnonzero(np.isfinite([terms[name] for name in TERMS]).all(axis=0))


def _mean(terms, epochs):
    """Return the mean of each term over these epochs, NaN where it has no number."""
    of_epochs = {name: term[epochs] for name, term in terms.items()}
    finite = {name: term[np.isfinite(term)] for name, term in of_epochs.items()}
    return {name: term.mean() if len(term) else np.nan for name, term in finite.items()}


def conclusion(history):
    """Return what a learner can take away: a sentence and, where due, a piece of advice.

    The first epoch, in which the losses fall fastest, is told apart from the mean of
    those after it, and the last one, which shows overfitting best, from both.

    Parameters
    ----------
    history : dict of str to list of float
        As for `split`.
    """
    terms = {**split(history), "loss": np.array(history["loss"])}
    known = _known(terms)
    if not len(known):
        return "No epoch has all the numbers that the terms are made of."
    spans = {
        f"In epoch {known[0]}": known[:1],
        "on average over the epochs after it": known[1:],
        f"in epoch {known[-1]}": known[2:][-1:],
    }
    causes = {
        when: _cause(_mean(terms, span)) for when, span in spans.items() if len(span)
    }
    says = "; ".join(f"{when}, {clause}" for when, (clause, _) in causes.items()) + "."
    below_0 = {name for _, name in causes.values()}
    for name, meaning in BELOW_0.items():
        if name in below_0:
            says += f" {name.capitalize()} below 0: {meaning}."
    return says + _advice(terms, known)


def _cause(mean):
    """Say which loss is the lower one, and which term makes it so.

    Also return the name of that term if it is the training loss, and None otherwise.
    """
    small = SMALL * abs(mean["loss"])
    if max(abs(mean[name]) for name in ("gap", *TERMS)) < small:
        return "neither the gap nor any of its terms is large enough to speak of", None
    high, low = max(TERMS, key=mean.get), min(TERMS, key=mean.get)
    if abs(mean["gap"]) < small:
        return (
            f"the two losses are about equal, since {high} ({mean[high]:+.3f}) and {low} "
            f"({mean[low]:+.3f}) pull in opposite directions"
        ), None
    lower, cause = ("validation", high) if mean["gap"] > 0 else ("training", low)
    return (
        f"the {lower} loss is the lower one, by {abs(mean['gap']):.3f}, above all because "
        f"of {cause} ({mean[cause]:+.3f})"
    ), (low if lower == "training" else None)


def _advice(terms, epochs):
    """Say what to do about an easy validation set, or about too easy a training."""
    loss, data = terms["loss"][epochs], terms["data"][epochs]
    if data.mean() > SMALL * abs(loss.mean()):
        return (
            " The data term is clearly positive: the validation images are easier than "
            "the training images, or they leaked, or they are few and it is chance. Look "
            "at how the two were split."
        )
    val_loss = loss - terms["gap"][epochs]
    small = SMALL * abs(loss[-1])
    finished = len(epochs) > 1 and epochs[-1] == len(terms["loss"]) - 1
    if finished and data[-1] > -small and val_loss[-1] < val_loss.min() + small:
        return (
            " There is no sign of overfitting at the end: unless validation images are "
            "among the training images, train harder, that is longer, or with less "
            "regularization or a higher learning rate."
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
