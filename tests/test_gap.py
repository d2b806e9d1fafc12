"""The gap and its terms, against sums done by hand, and what is said of them."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

from pyimagesearch.gap import describe, describe_shift, draw, split, table

nan = math.nan
# Two epochs with round numbers.
HISTORY = {
    "loss": [1.0, 0.5],
    "held_out_loss_during": [0.96, 0.61],
    "val_loss_during": [0.9, 0.62],
    "val_loss_regularized": [0.8, 0.6],
    "val_loss": [0.6, 0.55],
    "loss_regularization_error": [0.01, 0.02],
    "loss_timing_error": [0.02, 0.03],
    "loss_data_error": [0.03, nan],
    "loss_overfitting_error": [0.05, nan],
}


def cells(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_terms_by_hand():
    by_hand = {
        "gap": [0.4, -0.05],
        "regularization": [0.2, 0.05],
        "timing": [0.1, 0.02],
        "data": [0.06, -0.01],
        "overfitting": [0.04, -0.11],
        "regularization error": [0.01, 0.02],
        "timing error": [0.02, 0.03],
        "data error": [0.03, nan],
        "overfitting error": [0.05, nan],
        "by shift": [0.25, nan],
    }
    terms = split(HISTORY)
    assert list(terms) == list(by_hand)
    for name, values in by_hand.items():
        assert terms[name] == pytest.approx(values, nan_ok=True), name


def test_table_by_hand():
    # The mean of the gaps is 0.225: three digits of it are three decimals.
    assert cells(table(split(HISTORY))) == [
        "epoch gap regularization timing data overfitting by shift",
        "0 +0.400 +0.200 +-0.010 +0.100 +-0.020 +0.060 +-0.030 +0.040 +-0.050 +0.250",
        "1 -0.050 +0.050 +-0.020 +0.020 +-0.030 -0.010 -0.110 -",
    ]


def test_decimals_follow_the_size_of_the_gap():
    for scale, gap, overfitting in (
        (1e4, "+4000", "+400 +-500"),
        (1e-2, "+0.00400", "+0.00040 +-0.00050"),
        (1e-5, "+4.00e-06", "+0.40e-06 +-0.50e-06"),
        (1e9, "+4.00e+08", "+0.40e+08 +-0.50e+08"),
    ):
        history = {name: np.array(HISTORY[name]) * scale for name in HISTORY}
        line = cells(table(split(history)))[1]
        assert line.startswith(f"0 {gap} ") and f" {overfitting} " in line


def test_the_printed_terms_add_up_to_the_printed_gap():
    random = np.random.default_rng(1)
    history = {name: random.random(12) for name in HISTORY}
    for line in cells(table(split(history)))[1:]:
        gap, *terms = [cell for cell in line.split()[1:-1] if "+-" not in cell]
        digits = [round(1000 * float(term)) for term in terms]
        assert len(digits) == 4 and sum(digits) == round(1000 * float(gap))


def test_long_runs_have_a_short_table_of_straight_columns():
    for epochs, shown in ((12, [*range(12)]), (13, [*range(6), "...", 12])):
        values = [-1234.5] * epochs
        lines = table(split({name: values for name in HISTORY})).splitlines()
        assert [line.split()[0] for line in lines[1:]] == [*map(str, shown)]
        assert len({len(line) for line in lines if "..." not in line}) == 1


def test_the_first_and_the_last_epoch_that_have_all_numbers_are_spoken_of():
    history = {
        name: [nan, first, 0.1, last, 0.1] for name, (first, last) in HISTORY.items()
    }
    history["val_loss_during"][4] = nan
    assert describe(split(history)).splitlines() == [
        "epoch 1: the gap is +0.400, the validation loss is lower",
        (
            "  it is raised by regularization 0.200 +-0.010, timing 0.100 +-0.020, "
            "data 0.060 +-0.030"
        ),
        "  within their error: overfitting +0.040 +-0.050",
        "epoch 3: the gap is -0.050, the validation loss is higher",
        "  it is raised by regularization 0.050 +-0.020",
        "  within their error: timing +0.020 +-0.030",
        "  of unknown error: overfitting -0.110, data -0.010",
    ]


def test_a_gap_of_zero_in_accuracy_without_held_out_images():
    history = {"accuracy": [0.75], "val_accuracy": [0.75], "loss": [9], "val_loss": [9]}
    history |= {"val_accuracy_during": [0.5], "val_accuracy_regularized": [0.5]}
    for term in ("regularization", "timing", "data"):
        history[f"accuracy_{term}_error"] = [0.01]
    terms = split(history, "accuracy")
    assert describe(terms, "accuracy").splitlines() == [
        "epoch 0: the gap is +0.00, the validation accuracy is the same",
        "  it is raised by data + overfitting 0.25 +-0.01",
        "  it is lowered by regularization 0.25 +-0.01",
        "  within their error: timing +0.00 +-0.01",
    ]
    row = "0 +0.00 -0.25 +-0.01 +0.00 +-0.01 +0.25 +-0.01 -"
    assert cells(table(terms))[1] == row


def test_where_no_epoch_has_all_numbers():
    nothing = split({name: [nan] for name in HISTORY})
    assert describe(nothing) == "no epoch has all of the numbers"
    assert cells(table(nothing))[1] == "0 - - - - - -"


def test_the_panel_shows_each_term_in_a_band_of_one_error():
    first_epoch = {
        "regularization": (0.2, 0.01),
        "timing": (0.1, 0.02),
        "data": (0.06, 0.03),
        "overfitting": (0.04, 0.05),
    }
    figure, panel = plt.subplots()
    draw(panel, split(HISTORY))
    *lines, gap, _ = panel.get_lines()
    assert gap.get_label() == "gap, their sum"
    assert gap.get_ydata() == pytest.approx([0.4, -0.05])
    assert [line.get_label() for line in lines] == [*first_epoch]
    assert len({line.get_color() for line in (*lines, gap)}) == 5
    for line, band in zip(lines, panel.collections, strict=True):
        term, error = first_epoch[line.get_label()]
        heights = [y for x, y in band.get_paths()[0].vertices if x == 0]
        shown = [line.get_ydata()[0], min(heights), max(heights)]
        assert shown == pytest.approx([term, term - error, term + error])
    plt.close(figure)


def test_what_the_shift_does_by_hand():
    straight = 3 - 0.25 * np.arange(10)
    for training, validation, closer, shifted, unshifted in (
        # Epochs 0 and 1 have a next one. Unshifted: |1 - 0.6| and |0.5 - 0.5|, mean
        # 0.2. Shifted: |(1 + 0.5) / 2 - 0.6| and |(0.5 + 0.4) / 2 - 0.5|, mean 0.1.
        ([1, 0.5, 0.4], [0.6, 0.5, 0.1], "1 of 2", 0.1, 0.2),
        # Both curves are the same straight line in time, read half an epoch apart.
        (straight + 0.125, straight, "9 of 9", 0, 0.125),
        # Epoch 1 lacks its training loss, which epoch 0 needs as well.
        ([1, nan, 4, 2], [9, 9, 2, 9], "1 of 1", 1, 2),
        ([0.4] * 3, [0.4] * 3, "0 of 2", 0, 0),
    ):
        assert describe_shift(np.array(training), np.array(validation)) == (
            f"shifted, the curves are closer in {closer} epochs: their mean distance is "
            f"{shifted}, unshifted {unshifted}"
        )
    one_epoch = describe_shift(np.array([1.0]), np.array([0.5]))
    assert one_epoch == "comparing the curves takes two epochs in a row"
