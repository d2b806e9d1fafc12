"""The distance of the curves, against sums done by hand."""

import math

import pytest

from pyimagesearch.shift import mean_distances


def test_distances_by_hand():
    training, validation = [1.0, 0.5, 0.4], [0.6, 0.5, 0.1]
    # Epochs 0 and 1 have a next one. Unshifted: |1 - 0.6| and |0.5 - 0.5|.
    # Shifted: |(1 + 0.5) / 2 - 0.6| and |(0.5 + 0.4) / 2 - 0.5|.
    unshifted, shifted, epochs = mean_distances(training, validation)
    assert unshifted == pytest.approx((0.4 + 0.0) / 2)
    assert shifted == pytest.approx((0.15 + 0.05) / 2)
    assert epochs == 2


def test_a_training_curve_that_only_lags_half_an_epoch_has_no_shifted_distance():
    # Both curves are the same straight line in time, read half an epoch apart.
    training = [3 - 0.2 * (epoch - 0.5) for epoch in range(10)]
    validation = [3 - 0.2 * epoch for epoch in range(10)]
    unshifted, shifted, _ = mean_distances(training, validation)
    assert unshifted == pytest.approx(0.1)
    assert shifted == pytest.approx(0)


def test_missing_numbers_leave_out_the_epochs_that_need_them():
    # Epoch 1 lacks its training loss, which epoch 0 needs as well.
    _, shifted, epochs = mean_distances([1, math.nan, 4, 2], [9, 9, 2, 9])
    assert (shifted, epochs) == (1.0, 1)


def test_one_epoch_has_no_distance():
    unshifted, shifted, epochs = mean_distances([1.0], [0.5])
    assert math.isnan(unshifted) and math.isnan(shifted) and epochs == 0
