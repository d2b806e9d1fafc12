"""The terms of the gap, against sums done by hand, and what is said of them."""

import numpy as np
import pytest

from pyimagesearch.gap import conclusion, split, table

# Two epochs with round numbers.
HISTORY = {
    "loss": [1.0, 0.5],
    "loss_at_end": [0.7, 0.45],
    "val_loss_regularized": [0.8, 0.6],
    "val_loss": [0.6, 0.55],
}


def history(*epochs):
    """Make a history of a loss of 1 from the three terms of each epoch."""
    made = {name: [] for name in HISTORY}
    for timing, regularization, data in epochs:
        made["loss"].append(1.0)
        made["loss_at_end"].append(1 - timing)
        made["val_loss_regularized"].append(1 - timing - data)
        made["val_loss"].append(1 - timing - data - regularization)
    return made


def test_terms_by_hand():
    terms = split(HISTORY)
    assert terms["gap"] == pytest.approx([0.4, -0.05])
    assert terms["timing"] == pytest.approx([0.3, 0.05])
    assert terms["by shift"] == pytest.approx([0.25, np.nan], nan_ok=True)
    assert terms["regularization"] == pytest.approx([0.2, 0.05])
    assert terms["data"] == pytest.approx([-0.1, -0.15])


def test_table_by_hand():
    assert [line.split() for line in table(split(HISTORY)).splitlines()] == [
        ["epoch", "gap", "timing", "by", "shift", "regularization", "data"],
        ["0", "+0.4000", "+0.3000", "+0.2500", "+0.2000", "-0.1000"],
        ["1", "-0.0500", "+0.0500", "-", "+0.0500", "-0.1500"],
        ["mean", "+0.1750", "+0.1750", "+0.2500", "+0.1250", "-0.1250"],
    ]


@pytest.mark.parametrize(
    ("epochs", "shown"),
    [
        (1, ["0", "mean"]),
        (12, [*map(str, range(12)), "mean"]),
        (13, ["0", "1", "2", "3", "4", "5", "...", "12", "mean"]),
    ],
)
def test_long_runs_have_a_short_table_of_straight_columns(epochs, shown):
    lines = table(split(history(*[(0.1, 0, -1234.5)] * epochs))).splitlines()
    assert [line.split()[0] for line in lines[1:]] == shown
    assert len({len(line) for line in lines if "..." not in line}) == 1


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        # An ordinary run: timing at first, then regularization, then overfitting.
        (
            [(0.3, 0.1, 0.0), (0.01, 0.1, 0.0), (0.01, 0.1, -0.06)],
            [
                "In epoch 0, the validation loss is the lower one, by 0.400, above",
                "because of timing (+0.300); on average over the epochs after it,",
                "validation loss is the lower one, by 0.080, above",
                "because of regularization (+0.100); in epoch 2, the two losses",
            ],
        ),
        # The validation loss above the training loss.
        (
            [(0.0, 0.1, -0.4)],
            [
                "the training loss is the lower one, by 0.300, above all because of data",
                "(-0.400). Data below 0: new images are harder",
            ],
        ),
        # Terms that cancel out.
        (
            [(0.0, 0.2, -0.21)],
            ["equal, since regularization (+0.200) and data (-0.210) pull in opposite"],
        ),
        # An easy validation set.
        (
            [(0.1, 0, 0.2)],
            ["because of data (+0.200)", "Look at how the two were split"],
        ),
        # Overfitting, and then a validation set that is clearly easier after all.
        (
            [(0, 0, -0.2), (0, 0, 0.9)],
            [
                "by 0.200, above all because of data (-0.200)",
                "Look at how the two were split",
            ],
        ),
        # Nothing to speak of, and room for more; then small terms, but a gap.
        ([(0.01, 0.01, -0.01)] * 2, ["neither the gap nor any of", "train harder"]),
        (
            [(0.04, 0.03, 0.02)],
            ["by 0.090, above all because of timing"],
        ),
        # Batch normalization at the start, and overfitting at the end.
        (
            [(0.1, -0.9, 0)],
            ["of regularization (-0.900). Regularization below 0: batch"],
        ),
        (
            [(0.3, 0.1, 0), (0, 0.2, 0), (0, 0.2, -0.3)],
            ["in epoch 2, the training loss is the lower one, by 0.100, above all"],
        ),
        # An epoch that lacks a number does not count.
        ([(np.nan, 0, 0), (0.3, 0, -0.1)], ["In epoch 1, ", "timing (+0.300)"]),
        ([(np.nan, 0, 0)], ["No epoch has all"]),
    ],
)
def test_conclusion_follows_from_the_numbers(epochs, words):
    says = conclusion(history(*epochs))
    for word in words:
        assert word in says
    for advice in ("Look at how the two were split", "train harder"):
        assert (advice in says) == (advice in words)


def test_no_praise_where_the_end_is_not_good():
    fell = [(0, 0.5, 0), (0, 0.5, 0)]
    assert "train harder" in conclusion(history(*fell))
    # The validation loss has risen again; the loss is not a number any more.
    for end in ((0, 0.1, 0), (np.nan, 0.5, 0)):
        assert "train harder" not in conclusion(history(*fell, end))


def test_a_negative_loss_is_no_sign_of_anything():
    made = {name: [-loss for loss in losses] for name, losses in HISTORY.items()}
    made["loss_at_end"] = made["val_loss_regularized"] = made["val_loss"] = made["loss"]
    assert conclusion(made).startswith("In epoch 0, neither the gap nor any")
