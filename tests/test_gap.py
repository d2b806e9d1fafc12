"""The gap and its terms, against sums done by hand."""

from math import nan

import matplotlib.pyplot as plt
import numpy as np
import pytest

from pyimagesearch.gap import describe_shift, draw, split, table

# Two epochs with round numbers, from the training loss down to the validation loss.
HISTORY = {
    "loss": np.array([1.0, 0.5]),
    "held_out_loss_during": np.array([0.96, 0.61]),
    "val_loss_during": np.array([0.9, 0.62]),
    "val_loss_regularized": np.array([0.8, 0.6]),
    "val_loss": np.array([0.6, 0.55]),
    "loss_regularization_error": np.array([0.01, 0.02]),
    "loss_timing_error": np.array([0.02, 0.003]),
    "loss_data_error": np.array([0.03, nan]),
    "loss_overfitting_error": np.array([0.05, nan]),
}


def rows(text):
    """Return the rows of a table, without the spaces that align them."""
    return [" ".join(line.split()) for line in text.splitlines()[3:]]


def test_the_table_explains_itself_and_has_the_terms_of_each_epoch():
    legend = " ".join(table(split(HISTORY), "recall").splitlines()[:3])
    assert legend.startswith("the gap is training recall minus validation recall. ")
    assert "about two times in three" in legend and legend.endswith("- means unknown.")
    # The largest error is 0.050: two digits of it are three decimals.
    assert rows(table(split(HISTORY))) == [
        "epoch gap regularization timing data overfitting by shift",
        "0 +0.400 +0.200 +-0.010 +0.100 +-0.020 +0.060 +-0.030 +0.040 +-0.050 +0.250",
        "1 -0.050 +0.050 +-0.020 +0.020 +-0.003 -0.010 -0.110 -",
    ]


def test_without_held_out_images_the_last_two_terms_are_one():
    # The loss beside it has held-out images, and its epochs the other way round.
    auc = {name.replace("loss", "auc"): HISTORY[name][::-1] for name in HISTORY}
    del auc["held_out_auc_during"]
    terms = split({**HISTORY, **auc}, "auc")
    names = ["regularization", "timing", "data + overfitting"]
    assert [*terms] == ["gap", *names, *(f"{name} error" for name in names), "by shift"]
    assert terms["data + overfitting"] == pytest.approx([-0.12, 0.1])
    np.testing.assert_array_equal(terms["data + overfitting error"], [nan, 0.03])
    assert terms["by shift"][0] == pytest.approx(-0.25)


def test_a_history_that_lacks_a_part_has_no_terms():
    assert split({"loss": HISTORY["loss"], "val_loss": HISTORY["val_loss"]}) == {}
    for part in HISTORY:
        others = {name: HISTORY[name] for name in HISTORY if name != part}
        assert (split(others) == {}) == (part != "held_out_loss_during")
        for length in (1, 3):
            assert split({**HISTORY, part: np.ones(length)}) == {}


def test_the_error_has_two_digits_and_each_number_is_rounded_by_itself():
    for gap, timing, error, row in (
        (-0.0165, -0.0165, 0.00287, "-0.0165 -0.0165 +-0.0029"),
        (0.0008, 0.0004, 0.01, "+0.001 +0.000 +-0.010"),
        (-0.004, 0.256, 0.1, "+0.00 +0.26 +-0.10"),
        (4000, -3500.7, 512, "+4000 -3501 +-512"),
        (3e-7, 2e-7, 5e-8, "+0.000000300 +0.000000200 +-0.000000050"),
        (0.25, 0.5, nan, "+0.250 +0.500"),
        (0.25, 0.5, 0, "+0.250 +0.500 +-0.000"),
        (nan, nan, nan, "- -"),
    ):
        terms = {"gap": [gap], "timing": [timing], "timing error": [error]}
        assert rows(table({**terms, "by shift": [nan]}))[1] == f"0 {row} -"


def test_the_columns_are_straight():
    values = np.full(12, -1234.5)
    lines = table(split({name: values for name in HISTORY})).splitlines()[3:]
    assert [line.split()[0] for line in lines[1:]] == [*map(str, range(12))]
    assert len({*map(len, lines)}) == 1


def test_the_panel_shows_each_term_in_a_band_of_one_error():
    _, panel = plt.subplots()
    draw(panel, split(HISTORY), "accuracy")
    *lines, gap, _ = panel.get_lines()
    labels = ["regularization", "timing", "data", "overfitting"]
    assert [line.get_label() for line in lines] == labels
    assert gap.get_label() == "gap, their sum"
    assert gap.get_ydata() == pytest.approx([0.4, -0.05])
    # In epoch 1, the errors of the last two terms are unknown: their bands end there.
    heights = [band.get_paths()[0].vertices[:, 1] for band in panel.collections]
    assert [*map(min, heights)] == pytest.approx([0.03, 0.017, -0.01, -0.11])
    assert [*map(max, heights)] == pytest.approx([0.21, 0.12, 0.09, 0.09])
    assert panel.get_ylabel() == "training minus\nvalidation accuracy"
    plt.close()


def test_what_the_shift_does_by_hand():
    for training, validation, closer, after, before in (
        # Epochs 0 and 1 have a next one. Unshifted: |1 - 0.6| and |0.5 - 0.5|, mean
        # 0.2. Shifted: |(1 + 0.5) / 2 - 0.6| and |(0.5 + 0.4) / 2 - 0.5|, mean 0.1.
        ([1, 0.5, 0.4], [0.6, 0.5, 0.1], "1 of 2", 0.1, 0.2),
        # Both curves are the same straight line in time, read half an epoch apart.
        (3.125 - np.arange(10) / 4, 3 - np.arange(10) / 4, "9 of 9", 0, 0.125),
        # Epoch 1 lacks its training loss, which epoch 0 needs as well.
        ([1, nan, 4, 2], [9, 9, 2, 9], "1 of 1", 1, 2),
        ([0.4] * 3, [0.4] * 3, "0 of 2", 0, 0),
    ):
        told = f"{closer} epochs: their mean distance was {before}, and is {after}"
        assert describe_shift(np.array(training), np.array(validation)).endswith(told)
    assert "two complete epochs in a row" in describe_shift(np.ones(1), np.ones(1))
