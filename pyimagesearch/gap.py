"""The gap between the two losses: its terms as a table and as a panel.

`reasons.py` says what the terms are, and measures what they are made of.
"""

import math

import numpy as np

# Each term is the first of two losses minus the second. They stand in the order of the
# tutorial's reasons. Without held-out images, the last two terms are one.
TERMS = {
    "regularization": ("val_{}_regularized", "val_{}"),
    "timing": ("val_{}_during", "val_{}_regularized"),
    "data": ("held_out_{}_during", "val_{}_during"),
    "overfitting": ("{}", "held_out_{}_during"),
}

LEGEND = """the gap is training {} minus validation {}; the terms add up to it, but for rounding.
With other images, a term would move by less than its +- about two times in three.
"by shift" is what the half-epoch shift finds of timing. A dash stands for unknown."""


def describe_shift(training, validation):
    """Say in how many epochs the half-epoch shift brings the curves closer.

    Both curves are arrays of shape (epochs,), with NaN for a missing number. At epoch e,
    the shifted training curve t is half-way between t[e] and t[e + 1]. So |t[e] - v[e]|
    is compared with |(t[e] + t[e + 1]) / 2 - v[e]|, where v is the validation curve. An
    epoch that lacks one of the three numbers, as the last one does, is left out.
    """
    unshifted = np.abs(training - validation)[:-1]
    shifted = np.abs((training[:-1] + training[1:]) / 2 - validation[:-1])
    known = np.isfinite(unshifted + shifted)
    if not known.any():
        return "no two epochs in a row have all numbers, so the curves are not compared"
    closer = (shifted < unshifted)[known].sum()
    means = f"{shifted[known].mean():.3g}, unshifted {unshifted[known].mean():.3g}"
    closer = f"shifted, the curves are closer in {closer} of {known.sum()} epochs"
    return f"{closer}: their mean distance is {means}"


def split(history, metric="loss"):
    """Return the gap of every epoch and the terms that add up to it.

    Parameters
    ----------
    history : dict of str to numpy.ndarray of shape (epochs,)
        A metric, its val_ metric, and what `MeasureReasons` measured between them.
    metric : str
        The name of the metric.

    Returns
    -------
    dict of str to numpy.ndarray of shape (epochs,)
        "gap" is the training metric minus the validation metric. Then come the terms:
        those of `TERMS` or, without held-out images, "data + overfitting" for the last
        two. Then come their standard errors, "regularization error" and so on. The last
        is "by shift", the timing that the half-epoch shift finds: half of what the
        training metric falls to the next epoch. NaN stands for an unknown number.
        The dict is empty if the history was not measured.
    """
    pairs = dict(TERMS)
    if f"held_out_{metric}_during" not in history:
        del pairs["data"], pairs["overfitting"]
        pairs["data + overfitting"] = ("{}", "val_{}_during")
    epochs = len(history.get(metric, ()))
    history = {name: each for name, each in history.items() if len(each) == epochs}
    try:
        training = history[metric]
        terms = {"gap": training - history[f"val_{metric}"]}
        for name, (above, below) in pairs.items():
            terms[name] = history[above.format(metric)] - history[below.format(metric)]
        for name in pairs:
            terms[f"{name} error"] = history[f"{metric}_{name.split()[0]}_error"]
    except KeyError:  # a part is missing, or has another length
        return {}
    terms["by shift"] = np.append((training[:-1] - training[1:]) / 2, np.nan)
    return terms


def table(terms, metric="loss"):
    """Return the gap and its terms, as from `split`, as text with a line an epoch.

    Epochs count from 0, as in the figure. Of more than 12 epochs, the first 6 and the
    last are shown. An error stands beside its term. There are as many decimals as give
    the largest error two digits. Unknown numbers are dashes.
    """
    names = [name for name in terms if f"{name} error" in terms]
    errors = np.array([terms[f"{name} error"] for name in names])
    largest = errors.max(initial=0, where=np.isfinite(errors))
    decimals = max(1 - math.floor(math.log10(largest)), 0) if largest else 3

    def cell(name, epoch):
        # Adding 0 makes 0 of -0.
        number = round(float(terms[name][epoch]), decimals) + 0.0
        text = f"{number:+.{decimals}f}"
        if name in names:
            text += f" +-{terms[f'{name} error'][epoch]:.{decimals}f}"
        return text.replace(" +-nan", "").replace("+nan", "-")

    rows = [["epoch", "gap", *names, "by shift"]]
    for epoch in range(len(terms["gap"])):
        rows.append([str(epoch), *(cell(name, epoch) for name in rows[0][1:])])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in rows]
    if len(lines) > 13:  # with that of the names
        lines[7:-1] = ["  ..."]
    return "\n".join([LEGEND.format(metric, metric), *lines])


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
    # Below the panel, where it hides nothing.
    panel.legend(
        fontsize="small", ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.3)
    )
    panel.set_title("What makes the gap (bands: one standard error)")
    panel.set_ylabel(f"training minus\nvalidation {metric}")
