"""How far apart the two curves lie, as measured and with the training curve shifted."""

import numpy as np


def mean_distances(training, validation):
    """Return the mean distance between the curves, unshifted and shifted.

    The training loss of epoch e is a mean over that epoch, and so belongs half an epoch
    before the validation loss of epoch e, which is taken at its end. Shifted there, the
    training curve passes the validation point of epoch e half-way between its own points
    of epochs e and e + 1. With t and v for the training and the validation loss:

        unshifted = mean of |t[e] - v[e]|
        shifted = mean of |(t[e] + t[e + 1]) / 2 - v[e]|

    Both are means over the same epochs: those with a next one, where t[e], t[e + 1] and
    v[e] are all numbers.

    Parameters
    ----------
    training, validation : array_like of float, shape (epochs,)
        The two curves. NaN stands for a missing number.

    Returns
    -------
    unshifted, shifted : float
        NaN if there is no such epoch.
    epochs : int
        The number of such epochs.
    """
    t, v = np.asarray(training), np.asarray(validation)[:-1]
    between = (t[:-1] + t[1:]) / 2
    both = np.isfinite(between) & np.isfinite(v)
    if not both.any():
        return np.nan, np.nan, 0
    unshifted, shifted = np.abs(t[:-1] - v)[both], np.abs(between - v)[both]
    return unshifted.mean(), shifted.mean(), both.sum()
