"""The gap between the two losses: its size and its terms, for each epoch.

`reasons.py` says what the terms are, and measures the losses behind them.
"""

import numpy as np

# All that the gap can be split into, in the order of the table and the figure.
TERMS = ("timing", "regularization", "overfitting", "data", "overfitting + data")


def describe_shift(training, validation):
    """Say whether the half-epoch shift brings the curves closer, and how close.

    The training loss of epoch e is a mean over that epoch, and so belongs half an epoch
    before the validation loss of epoch e, which is taken at its end. At epoch e, the
    shifted training curve is half-way between its points of epochs e and e + 1. With t
    and v for training and validation loss:

        unshifted = mean of |t[e] - v[e]|
        shifted = mean of |(t[e] + t[e + 1]) / 2 - v[e]|

    Both are means over all epochs but the last. An epoch that lacks any of the three
    numbers is left out.

    Parameters
    ----------
    training, validation : array_like of float, shape (epochs,)
        The two curves. NaN stands for a missing number.
    """
    t, v = np.asarray(training), np.asarray(validation)[:-1]
    t, between = t[:-1], (t[:-1] + t[1:]) / 2
    known = np.isfinite(between) & np.isfinite(v)
    if not known.any():
        return "comparing the curves takes two epochs in a row"
    unshifted = np.abs(t - v)[known].mean()
    shifted = np.abs(between - v)[known].mean()
    nearer = "closer" if shifted < unshifted else "no closer"
    return (
        f"the shift brings the curves {nearer}: mean distance {unshifted:.4g} unshifted, "
        f"{shifted:.4g} shifted (epochs: {known.sum()})"
    )


def split(history):
    """Return the gap of every epoch and the terms that add up to it.

    Parameters
    ----------
    history : dict of str to list of float
        `loss`, `val_loss`, `loss_at_end` and `val_loss_regularized`, of equal length;
        and, where they were measured, `held_out_loss_regularized`, `overfitting_error`
        and `data_error`.

    Returns
    -------
    dict of str to numpy.ndarray of shape (epochs,)
        "gap" is the training loss minus the validation loss. "timing",
        "regularization", "overfitting" and "data" add up to it; without held-out
        images, the last two are one, "overfitting + data". A positive term raises the
        gap. "overfitting error" and "data error" (or "overfitting + data error") are
        standard errors, where they were measured. "by shift" is timing as the
        half-epoch shift estimates it: half of what the training loss falls to the next
        epoch. NaN stands for what is not known.
    """
    loss, val_loss = np.array(history["loss"]), np.array(history["val_loss"])
    at_end = np.array(history["loss_at_end"])
    regularized = np.array(history["val_loss_regularized"])
    terms = {"gap": loss - val_loss, "timing": loss - at_end}
    terms["regularization"] = regularized - val_loss
    if "held_out_loss_regularized" in history:
        held_out = np.array(history["held_out_loss_regularized"])
        terms |= {"overfitting": at_end - held_out, "data": held_out - regularized}
    else:
        terms["overfitting + data"] = at_end - regularized
    last = [*terms][-1]
    for name, error in (("overfitting", "overfitting_error"), (last, "data_error")):
        if error in history:
            # An error below 0, as any file may have one, cannot be drawn.
            terms[f"{name} error"] = np.abs(history[error])
    terms["by shift"] = np.append((loss[:-1] - loss[1:]) / 2, np.nan)
    return terms


def term_names(terms):
    """Return the names of the terms that add up to the gap."""
    return [name for name in TERMS if name in terms]


def table(terms):
    """Return the gap and its terms, as from `split`, as text with a line an epoch.

    Epochs count from 0, as in the figure. Of more than 12 epochs, the first 6 and the
    last are shown. Unknown numbers are dashes. An error stands beside its term.
    """
    names = ["gap", *term_names(terms), "by shift"]
    rows = [["epoch", *names]]
    for epoch in range(len(terms["gap"])):
        rows.append([str(epoch)])
        for name in names:
            number = f"{terms[name][epoch]:+.4f}".replace("+nan", "-")
            rows[-1].append(number + _error(terms, name, epoch))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in rows]
    if len(lines) > 13:  # with that of the names
        lines[7:-1] = ["  ..."]
    return "\n".join(lines)


def _error(terms, name, epoch):
    """Return the error of a term as text, or nothing if it is not known."""
    error = terms[f"{name} error"][epoch] if f"{name} error" in terms else np.nan
    return "" if np.isnan(error) else f" +-{error:.4f}"


def describe(terms):
    """Return, in lines, what terms as from `split` show of two epochs.

    These are the first and the last epoch that have all numbers.
    """
    names = term_names(terms)
    known = np.flatnonzero(np.isfinite([terms[name] for name in names]).all(axis=0))
    if not len(known):
        return "no epoch has all the numbers that the terms are made of"
    lines = []
    for epoch in sorted({known[0], known[-1]}):
        gap = terms["gap"][epoch]
        lower = "the validation" if gap > 0 else "the training" if gap else "neither"
        lines.append(f"epoch {epoch}: the gap is {gap:+.4f}, {lower} loss is lower")
        for direction, sign in (("raised", 1), ("lowered", -1)):
            sizes = {name: sign * terms[name][epoch] for name in names}
            by = [
                f"{name} {sizes[name]:.4f}{_error(terms, name, epoch)}"
                for name in sorted(names, key=sizes.get, reverse=True)
                if round(sizes[name], 4) > 0
            ]
            lines.append(f"  {direction} by {', '.join(by) or 'nothing'}")
    return "\n".join(lines)
