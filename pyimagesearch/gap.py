"""The gap between the two losses: its terms as a table, as sentences and as a panel.

`reasons.py` says what the terms are, and measures what they are made of.
"""

import math

import numpy as np

# Each term with the two losses whose difference it is, in the order of the tutorial's
# reasons. Where no images were held out, the last two terms are one.
TERMS = {
    "regularization": ("val_{}_regularized", "val_{}"),
    "timing": ("val_{}_during", "val_{}_regularized"),
    "data": ("held_out_{}_during", "val_{}_during"),
    "overfitting": ("{}", "held_out_{}_during"),
}


def describe_shift(training, validation):
    """Say in how many epochs the half-epoch shift brings the curves closer.

    The training loss of epoch e is a mean over that epoch, and so belongs half an epoch
    before the validation loss of epoch e, which is taken at its end. At epoch e, the
    shifted training curve is half-way between its points of epochs e and e + 1. With t
    and v for training and validation loss, two distances are compared:

        unshifted: |t[e] - v[e]|
        shifted:   |(t[e] + t[e + 1]) / 2 - v[e]|

    An epoch that lacks any of the three numbers, as the last one does, is left out.

    Parameters
    ----------
    training, validation : numpy.ndarray of float, shape (epochs,)
        The two curves. NaN stands for a missing number.
    """
    unshifted = np.abs(training - validation)[:-1]
    shifted = np.abs((training[:-1] + training[1:]) / 2 - validation[:-1])
    known = np.isfinite(unshifted + shifted)
    if not known.any():
        return "comparing the curves takes two epochs in a row"
    closer = (shifted < unshifted)[known].sum()
    return (
        f"shifted, the curves are closer in {closer} of {known.sum()} epochs: their "
        f"mean distance is {shifted[known].mean():.3g}, unshifted "
        f"{unshifted[known].mean():.3g}"
    )


def split(history, metric="loss"):
    """Return the gap of every epoch and the terms that add up to it.

    Parameters
    ----------
    history : dict of str to numpy.ndarray of shape (epochs,)
        What `MeasureReasons` measured, and the metric and val_ metric themselves.
    metric : str
        The metric whose gap it is.

    Returns
    -------
    dict of str to numpy.ndarray of shape (epochs,)
        "gap" is the training metric minus the validation metric. Then come the names of
        `TERMS`, which add up to it; without held-out images, the last two are "data +
        overfitting". Then "regularization error" and so on, the standard errors; and
        "by shift", timing as the half-epoch shift estimates it: half of what the
        training metric falls to the next epoch. NaN stands for what is not known.
    """

    def of(pattern):
        return np.array(history[pattern.format(metric)])

    names = dict(TERMS)
    if f"held_out_{metric}_during" not in history:
        del names["data"], names["overfitting"]
        names["data + overfitting"] = ("{}", "val_{}_during")
    terms = {"gap": of("{}") - of("val_{}")}
    terms |= {name: of(above) - of(below) for name, (above, below) in names.items()}
    for name in names:
        # An error below 0, as any file may have one, cannot be drawn.
        terms[f"{name} error"] = np.abs(of(f"{{}}_{name.split()[0]}_error"))
    terms["by shift"] = np.append((of("{}")[:-1] - of("{}")[1:]) / 2, np.nan)
    return terms


def term_names(terms):
    """Return the names of the terms that add up to the gap, in their order."""
    return [name for name in [*TERMS, "data + overfitting"] if name in terms]


def table(terms):
    """Return the gap and its terms, as from `split`, as text with a line an epoch.

    Epochs count from 0, as in the figure. Of more than 12 epochs, the first 6 and the
    last are shown. An error stands beside its term; unknown numbers are dashes.
    """
    text = _texts(terms)
    names = ["gap", *term_names(terms), "by shift"]
    rows = [["epoch", *names]]
    for epoch in range(len(terms["gap"])):
        rows.append([str(epoch), *(text(name, epoch) for name in names)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in rows]
    if len(lines) > 13:  # with that of the names
        lines[7:-1] = ["  ..."]
    return "\n".join(lines)


def describe(terms, metric="loss"):
    """Say what raises and what lowers the gap in the first epoch and in the last one.

    Terms come in the order of their size. One that is smaller than its error, or whose
    error is not known, is told apart. Epochs that lack a number are passed over.
    """
    names, text, lines = term_names(terms), _texts(terms), []
    known = np.isfinite(sum(terms[name] for name in ["gap", *names]))
    epochs = np.flatnonzero(known)
    if not len(epochs):
        return "no epoch has all of the numbers"
    for epoch in dict.fromkeys((epochs[0], epochs[-1])):
        gap = terms["gap"][epoch]
        side = "lower" if gap > 0 else "higher" if gap < 0 else "the same"
        lines.append(
            f"epoch {epoch}: the gap is {text('gap', epoch)}, "
            f"the validation {metric} is {side}"
        )
        raised, lowered = "it is raised by", "it is lowered by"
        within, unknown = "within their error:", "of unknown error:"
        groups = {group: [] for group in (raised, lowered, within, unknown)}
        for name in sorted(names, key=lambda name: -abs(terms[name][epoch])):
            term, error = terms[name][epoch], terms[f"{name} error"][epoch]
            group, number = raised if term > 0 else lowered, text(name, epoch)
            if math.isnan(error):
                group = unknown
            elif abs(term) <= error:
                group = within
            else:
                number = number[1:]  # without the sign
            groups[group].append(f"{name} {number}")
        lines += [f"  {group} {', '.join(by)}" for group, by in groups.items() if by]
    return "\n".join(lines)


def _texts(terms):
    """Return a function that returns a number as text, by its name and epoch.

    The gap has three digits, on average over the epochs, and all numbers have as many
    decimals. What is rounded are sums of the terms, from the first one on: so their
    differences, the terms, add up to the gap to the last digit.
    """
    gaps = np.abs(terms["gap"])
    size = np.mean(gaps[np.isfinite(gaps)]) if np.isfinite(gaps).any() else 1
    exponent = math.floor(math.log10(size or 1))
    decimals, unit, suffix = max(2 - exponent, 0), 1, ""
    if not -3 <= exponent <= 4:
        decimals, unit, suffix = 2, 10.0**exponent, f"e{exponent:+03d}"
    names = term_names(terms)
    sums = np.cumsum([terms[name] / unit for name in names], axis=0)
    sums = np.round(sums, decimals)
    numbers = {name: terms[name] / unit for name in terms}
    numbers |= dict(zip(names, np.diff(sums, axis=0, prepend=0)))
    is_known = np.isfinite(sums[-1])
    numbers["gap"] = np.where(is_known, sums[-1], np.round(numbers["gap"], decimals))

    def text(name, epoch):
        if math.isnan(numbers[name][epoch]):
            return "-"
        error = numbers.get(f"{name} error", numbers["gap"] * math.nan)[epoch]
        error = "" if math.isnan(error) else f" +-{error:.{decimals}f}{suffix}"
        return f"{numbers[name][epoch]:+.{decimals}f}{suffix}{error}"

    return text


def draw(panel, terms, metric="loss"):
    """Draw the gap and its terms as lines, each in a band of one standard error."""
    epochs = np.arange(len(terms["gap"]))
    styles = ("green", "^-"), ("purple", "v-"), ("darkorange", "D-"), ("brown", "P-")
    for name, (color, style) in zip(term_names(terms), styles):
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
