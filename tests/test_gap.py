"""The gap and its terms, against sums done by hand, and what is said of them."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

from pyimagesearch.gap import describe, describe_shift, draw, split, table

nan = math.nan
# Two epochs with round numbers.
WITHOUT = {
    "loss": [1.0, 0.5],
    "val_loss_during": [0.9, 0.62],
    "val_loss_regularized": [0.8, 0.6],
    "val_loss": [0.6, 0.55],
    "loss_regularization_error": [0.01, 0.02],
    "loss_timing_error": [0.02, 0.03],
    "loss_data_error": [0.03, nan],
}
HELD_OUT = {
    **WITHOUT,
    "held_out_loss_during": [0.96, 0.61],
    "loss_overfitting_error": [0.05, nan],
}


def one_epoch(
    metric="loss", error=nan, regularization=0, timing=0, data=0, overfitting=0
):
    """Return the terms of a history of one epoch, all with one error."""
    levels = np.cumsum([1.0, regularization, timing, data, overfitting])
    names = [
        "val_{}",
        "val_{}_regularized",
        "val_{}_during",
        "held_out_{}_during",
        "{}",
    ]
    history = {name.format(metric): [level] for name, level in zip(names, levels)}
    terms = ("regularization", "timing", "data", "overfitting")
    history |= {f"{metric}_{term}_error": [error] for term in terms}
    return split(history, metric)


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
    terms = split(HELD_OUT)
    assert list(terms) == list(by_hand)
    for name, values in by_hand.items():
        assert terms[name] == pytest.approx(values, nan_ok=True), name


def test_without_held_out_images_two_terms_are_one():
    terms = split(WITHOUT)
    assert list(terms)[:4] == ["gap", "regularization", "timing", "data + overfitting"]
    assert terms["data + overfitting"] == pytest.approx([0.1, -0.12])
    assert terms["data + overfitting error"] == pytest.approx([0.03, nan], nan_ok=True)


def test_another_metric_has_its_own_terms():
    accuracy = {name.replace("loss", "accuracy"): HELD_OUT[name] for name in HELD_OUT}
    both = {**{name: [9.0, 9.0] for name in HELD_OUT}, **accuracy}
    for name, values in split(HELD_OUT).items():
        np.testing.assert_array_equal(split(both, "accuracy")[name], values)


def cells(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_table_by_hand():
    # The mean of the gaps is 0.225: three digits of it are three decimals.
    assert cells(table(split(HELD_OUT))) == [
        "epoch gap regularization timing data overfitting by shift",
        "0 +0.400 +0.200 +-0.010 +0.100 +-0.020 +0.060 +-0.030 +0.040 +-0.050 +0.250",
        "1 -0.050 +0.050 +-0.020 +0.020 +-0.030 -0.010 -0.110 -",
    ]


@pytest.mark.parametrize(
    ("scale", "gap", "overfitting"),
    [
        (1e4, "+4000", "+400 +-500"),
        (1e-2, "+0.00400", "+0.00040 +-0.00050"),
        (1e-5, "+4.00e-06", "+0.40e-06 +-0.50e-06"),
        (1e9, "+4.00e+08", "+0.40e+08 +-0.50e+08"),
    ],
)
def test_decimals_follow_the_size_of_the_gap(scale, gap, overfitting):
    history = {name: np.array(HELD_OUT[name]) * scale for name in HELD_OUT}
    line = cells(table(split(history)))[1]
    assert line.startswith(f"0 {gap} ") and f" {overfitting} " in line


def test_the_printed_terms_add_up_to_the_printed_gap():
    random = np.random.default_rng(1)
    history = {name: random.random(12) for name in HELD_OUT}
    for line in cells(table(split(history)))[1:]:
        gap, *terms = [cell for cell in line.split()[1:-1] if "+-" not in cell]
        digits = [round(1000 * float(term)) for term in terms]
        assert len(digits) == 4 and sum(digits) == round(1000 * float(gap))


@pytest.mark.parametrize(
    ("epochs", "shown"),
    [
        (1, ["0"]),
        (12, [*map(str, range(12))]),
        (13, ["0", "1", "2", "3", "4", "5", "...", "12"]),
    ],
)
def test_long_runs_have_a_short_table_of_straight_columns(epochs, shown):
    values = [-1234.5] * epochs
    lines = table(split({name: values for name in HELD_OUT})).splitlines()
    assert [line.split()[0] for line in lines[1:]] == shown
    assert len({len(line) for line in lines if "..." not in line}) == 1


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        (
            one_epoch(error=0.03, regularization=0.1, timing=0.3, data=-0.05),
            """epoch 0: the gap is +0.350, the validation loss is lower
  it is raised by timing 0.300 +-0.030, regularization 0.100 +-0.030
  it is lowered by data 0.050 +-0.030
  within their error: overfitting +0.000 +-0.030""",
        ),
        (
            one_epoch("accuracy", error=0.03, timing=-0.1, data=0.029),
            (
                """epoch 0: the gap is -0.0710, the validation accuracy is higher
  it is lowered by timing 0.1000 +-0.0300
  within their error: data +0.0290 +-0.0300, regularization +0.0000 +-0.0300, """
                "overfitting +0.0000 +-0.0300"
            ),
        ),
        (
            one_epoch(error=0.0, timing=0.25, overfitting=-0.25),
            """epoch 0: the gap is +0.00, the validation loss is the same
  it is raised by timing 0.25 +-0.00
  it is lowered by overfitting 0.25 +-0.00
  within their error: regularization +0.00 +-0.00, data +0.00 +-0.00""",
        ),
        (
            split({**WITHOUT, "loss": [1.0, nan]}),
            (
                """epoch 0: the gap is +0.400, the validation loss is lower
  it is raised by regularization 0.200 +-0.010, timing 0.100 +-0.020, """
                "data + overfitting 0.100 +-0.030"
            ),
        ),
        (
            split({name: values[1:] for name, values in HELD_OUT.items()}),
            """epoch 0: the gap is -0.0500, the validation loss is higher
  it is raised by regularization 0.0500 +-0.0200
  within their error: timing +0.0200 +-0.0300
  of unknown error: overfitting -0.1100, data -0.0100""",
        ),
    ],
)
def test_what_is_said_of_an_epoch(terms, says):
    metric = "accuracy" if "accuracy" in says else "loss"
    assert describe(terms, metric) == says


def test_the_first_and_the_last_epoch_that_have_all_numbers_are_spoken_of():
    history = {name: [nan, *values, 0.1, nan] for name, values in WITHOUT.items()}
    history["val_loss_during"][3] = nan
    says = describe(split(history))
    assert [line[:31] for line in says.splitlines() if "epoch" in line] == [
        "epoch 1: the gap is +0.400, the",
        "epoch 2: the gap is -0.050, the",
    ]
    nothing = split({name: [nan] for name in WITHOUT})
    assert describe(nothing) == "no epoch has all of the numbers"
    assert cells(table(nothing))[1] == "0 - - - - -"


def test_the_panel_shows_each_term_in_a_band_of_one_error():
    _, panel = plt.subplots()
    terms = split(HELD_OUT)
    draw(panel, terms)
    *lines, gap, _ = panel.get_lines()
    assert gap.get_label() == "gap, their sum"
    np.testing.assert_allclose(gap.get_ydata(), [0.4, -0.05])
    names = ["regularization", "timing", "data", "overfitting"]
    assert [line.get_label() for line in lines] == names
    for line, band in zip(lines, panel.collections, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), terms[line.get_label()])
        heights = [y for x, y in band.get_paths()[0].vertices if x == 0]
        term, error = HELD_OUT_AT_0[line.get_label()]
        assert [min(heights), max(heights)] == pytest.approx(
            [term - error, term + error]
        )
        assert line.get_color() != gap.get_color()
    plt.close("all")


HELD_OUT_AT_0 = {
    "regularization": (0.2, 0.01),
    "timing": (0.1, 0.02),
    "data": (0.06, 0.03),
    "overfitting": (0.04, 0.05),
}


@pytest.mark.parametrize(
    ("training", "validation", "says"),
    [
        # Epochs 0 and 1 have a next one. Unshifted: |1 - 0.6| and |0.5 - 0.5|, mean
        # 0.2. Shifted: |(1 + 0.5) / 2 - 0.6| and |(0.5 + 0.4) / 2 - 0.5|, mean 0.1.
        (
            [1.0, 0.5, 0.4],
            [0.6, 0.5, 0.1],
            (
                "shifted, the curves are closer in 1 of 2 epochs: their mean distance is "
                "0.1, unshifted 0.2"
            ),
        ),
        # Both curves are the same straight line in time, read half an epoch apart.
        (
            [3 - 0.25 * (epoch - 0.5) for epoch in range(10)],
            [3 - 0.25 * epoch for epoch in range(10)],
            "closer in 9 of 9 epochs: their mean distance is 0, unshifted 0.125",
        ),
        # Epoch 1 lacks its training loss, which epoch 0 needs as well.
        ([1, nan, 4, 2], [9, 9, 2, 9], "closer in 1 of 1 epochs"),
        ([1.0], [0.5], "comparing the curves takes two epochs"),
        ([0.4] * 3, [0.4] * 3, "closer in 0 of 2"),
    ],
)
def test_what_the_shift_does_by_hand(training, validation, says):
    assert says in describe_shift(np.array(training), np.array(validation))
