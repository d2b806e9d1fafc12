"""The gap between the two losses: its terms as a table and as a panel.

`reasons.py` says what the terms are, and measures the losses behind them.
"""

import math

import numpy as np

# Each term is the first of two losses minus the second. The terms stand in the order of
# the tutorial's reasons. Without held-out images, the last two are one.
TERMS = {
    "regularization": ("val_{}_regularized", "val_{}"),
    "timing": ("val_{}_during", "val_{}_regularized"),
    "data": ("held_out_{}_during", "val_{}_during"),
    "overfitting": ("{}", "held_out_{}_during"),
}

LEGEND = """the gap is training {metric} minus validation {metric}. But for rounding, the
terms add up to it. With other images, a term would move by less than its +- about two
times in three. "by shift" estimates timing from the half-epoch shift. - means unknown.
"""


def describe_shift(training, validation):
    """Say in how many epochs the half-epoch shift brings the curves closer.

    The curves t and v are arrays of shape (epochs,), with NaN for a missing number. At
    epoch e, the shifted training curve is half-way between t[e] and t[e + 1]. So its
    distance is |(t[e] + t[e + 1]) / 2 - v[e]|. It is compared with |t[e] - v[e]|, but
    not in the last epoch, which has no t[e + 1], or where a number is missing.
    """
    unshifted = np.abs(training - validation)[:-1]
    shifted = np.abs((training[:-1] + training[1:]) / 2 - validation[:-1])
    known = np.isfinite(unshifted + shifted)
    if not known.any():
        return "the shift cannot be judged without two complete epochs in a row"
    closer = (shifted < unshifted)[known].sum()
    before, after = unshifted[known].mean(), shifted[known].mean()
    epochs = f"the shift brings the curves closer in {closer} of {known.sum()} epochs"
    return f"{epochs}: their mean distance was {before:.3g}, and is {after:.3g}"


def split(history, metric="loss"):
    """Return the gap of every epoch and the terms that add up to it.

    `history` has arrays of shape (epochs,) by name: a metric, its val_ metric, and what
    `MeasureReasons` measured between them. The arrays that are returned have the same
    shape, and NaN for an unknown number. "gap" is the training metric minus the
    validation metric. Then come the terms: those of `TERMS` or, without held-out
    images, "data + overfitting" for the last two. Then come their standard errors,
    "regularization error" and so on. The last is "by shift", which estimates timing. The
    validation metric is taken half an epoch later than the training metric, so this is
    half of what the training metric falls by until the next epoch. The dict is empty if
    something was not measured.
    """
    pairs = dict(TERMS)
    if f"held_out_{metric}_during" not in history:
        del pairs["data"], pairs["overfitting"]
        pairs["data + overfitting"] = ("{}", "val_{}_during")
    training = history.get(metric, np.zeros(0))
    # An array of another length counts as missing.
    parts = {k: v for k, v in history.items() if len(v) == len(training)}
    try:
        terms = {"gap": training - parts[f"val_{metric}"]}
        for name, (above, below) in pairs.items():
            terms[name] = parts[above.format(metric)] - parts[below.format(metric)]
        for name in pairs:
            # The error of "data + overfitting" is named after data.
            terms[f"{name} error"] = parts[f"{metric}_{name.split()[0]}_error"]
    except KeyError:
        return {}
    terms["by shift"] = np.append((training[:-1] - training[1:]) / 2, np.nan)
    return terms


def table(terms, metric="loss"):
    """Return the gap and its terms, as from `split`, as text with a line per epoch.

    Three lines come first that explain it. Epochs count from 0, as in the figure. An
    error stands beside its term. There are enough decimals to show two digits of the
    largest error.
    """
    names = [name for name in terms if f"{name} error" in terms]
    errors = np.array([terms[f"{name} error"] for name in names])
    largest = errors.max(initial=0, where=np.isfinite(errors))
    decimals = max(1 - math.floor(math.log10(largest)), 0) if largest else 3

    def text(name, epoch):
        number = round(float(terms[name][epoch]), decimals)
        shown = f"{number + 0.0:+.{decimals}f}"  # -0.0 + 0.0 is 0.0
        if name in names:
            shown += f" +-{terms[f'{name} error'][epoch]:.{decimals}f}"
        return shown.replace(" +-nan", "").replace("+nan", "-")

    rows = [["epoch", "gap", *names, "by shift"]]
    for epoch in range(len(terms["gap"])):
        rows.append([str(epoch), *(text(name, epoch) for name in rows[0][1:])])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths)) for row in rows]
    return LEGEND.format(metric=metric) + "\n".join(lines)


def draw(panel, terms, metric="loss"):
    """Draw the gap and its terms as lines, each in a band of one standard error."""
    epochs = np.arange(len(terms["gap"]))
    styles = ("green", "^-"), ("purple", "v-"), ("darkorange", "D-"), ("brown", "P-")
    names = [name for name in terms if f"{name} error" in terms]
    for name, (color, style) in zip(names, styles):
        term, error = terms[name], np.nan_to_num(terms[f"{name} error"])
        panel.plot(epochs, term, style, color=color, markersize=5, label=name)
        panel.fill_between(epochs, term - error, term + error, color=color, alpha=0.25)
    panel.plot(epochs, terms["gap"], "ko-", markersize=5, label="gap, their sum")
    panel.axhline(0, color="black", linewidth=1)
    # The legend is below the panel, where it hides nothing.
    panel.legend(
        fontsize="small", ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.3)
    )
    panel.set_title("What makes the gap (bands: one standard error)")
    panel.set_ylabel(f"training minus\nvalidation {metric}")
