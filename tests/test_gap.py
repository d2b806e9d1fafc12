"""The gap and its terms, against sums done by hand, and what is said of them."""

import math

import pytest

from pyimagesearch.gap import describe, describe_shift, split, table

# Two epochs with round numbers.
WITHOUT = {
    "loss": [1.0, 0.5],
    "loss_at_end": [0.7, 0.45],
    "val_loss_regularized": [0.8, 0.6],
    "val_loss": [0.6, 0.55],
}
HELD_OUT = {
    **WITHOUT,
    "held_out_loss_regularized": [0.76, 0.61],
    "overfitting_error": [0.02, math.nan],
    "data_error": [0.03, math.nan],
}


def one_epoch(timing, regularization, overfitting, data, error=math.nan):
    """Return the terms of a history of one epoch."""
    val_loss = 1.0
    held_out = val_loss + regularization + data
    return split(
        {
            "loss": [held_out + overfitting + timing],
            "loss_at_end": [held_out + overfitting],
            "held_out_loss_regularized": [held_out],
            "val_loss_regularized": [val_loss + regularization],
            "val_loss": [val_loss],
            "overfitting_error": [math.nan],
            "data_error": [error],
        }
    )


def test_terms_by_hand():
    by_hand = {
        "gap": [0.4, -0.05],
        "timing": [0.3, 0.05],
        "regularization": [0.2, 0.05],
        "overfitting": [-0.06, -0.16],
        "data": [-0.04, 0.01],
        "overfitting error": [0.02, math.nan],
        "data error": [0.03, math.nan],
        "by shift": [0.25, math.nan],
    }
    terms = split(HELD_OUT)
    assert list(terms) == list(by_hand)
    for name, values in by_hand.items():
        assert terms[name] == pytest.approx(values, nan_ok=True), name


def test_without_held_out_images_two_terms_are_one():
    terms = split(WITHOUT)
    assert list(terms)[3:] == ["overfitting + data", "by shift"]
    assert terms["overfitting + data"] == pytest.approx([-0.1, -0.15])
    with_error = split({**WITHOUT, "data_error": [0.1, 0.2]})
    assert list(with_error["overfitting + data error"]) == [0.1, 0.2]


def test_table_by_hand():
    assert [" ".join(line.split()) for line in table(split(HELD_OUT)).splitlines()] == [
        "epoch gap timing regularization overfitting data by shift",
        "0 +0.4000 +0.3000 +0.2000 -0.0600 +-0.0200 -0.0400 +-0.0300 +0.2500",
        "1 -0.0500 +0.0500 +0.0500 -0.1600 +0.0100 -",
    ]


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
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        (
            one_epoch(0.3, 0.1, -0.02, -0.05, error=0.012),
            """epoch 0: the gap is +0.3300, the validation loss is lower
  raised by timing 0.3000, regularization 0.1000
  lowered by data 0.0500 +-0.0120, overfitting 0.0200""",
        ),
        (
            one_epoch(0, -1.5, 0, 0.001),
            """epoch 0: the gap is -1.4990, the training loss is lower
  raised by data 0.0010
  lowered by regularization 1.5000""",
        ),
        (
            one_epoch(0.25, 0, -0.25, 0),
            """epoch 0: the gap is +0.0000, neither loss is lower
  raised by timing 0.2500
  lowered by overfitting 0.2500""",
        ),
        (
            one_epoch(0, 0, 0, 0),
            """epoch 0: the gap is +0.0000, neither loss is lower
  raised by nothing
  lowered by nothing""",
        ),
        (
            split(WITHOUT),
            """epoch 0: the gap is +0.4000, the validation loss is lower
  raised by timing 0.3000, regularization 0.2000
  lowered by overfitting + data 0.1000
epoch 1: the gap is -0.0500, the training loss is lower
  raised by timing 0.0500, regularization 0.0500
  lowered by overfitting + data 0.1500""",
        ),
    ],
)
def test_what_is_said_of_the_first_and_the_last_epoch(terms, says):
    assert describe(terms) == says
    assert max(map(len, says.splitlines())) <= 100


def test_only_epochs_that_have_all_numbers_are_spoken_of():
    nan = math.nan
    history = {name: [nan, *values, 0.1, nan] for name, values in WITHOUT.items()}
    history["loss_at_end"][3] = nan
    says = describe(split(history))
    assert [line for line in says.splitlines() if "epoch" in line] == [
        "epoch 1: the gap is +0.4000, the validation loss is lower",
        "epoch 2: the gap is -0.0500, the training loss is lower",
    ]
    nothing = split({name: [nan] for name in WITHOUT})
    assert describe(nothing).startswith("no epoch has all")


@pytest.mark.parametrize(
    ("training", "validation", "says"),
    [
        # Epochs 0 and 1 have a next one. Unshifted: |1 - 0.6| and |0.5 - 0.5|, mean
        # 0.2. Shifted: |(1 + 0.5) / 2 - 0.6| and |(0.5 + 0.4) / 2 - 0.5|, mean 0.1.
        (
            [1.0, 0.5, 0.4],
            [0.6, 0.5, 0.1],
            "brings the curves closer: mean distance 0.2 unshifted, 0.1 shifted (epochs: 2)",
        ),
        # Both curves are the same straight line in time, read half an epoch apart.
        (
            [3 - 0.25 * (epoch - 0.5) for epoch in range(10)],
            [3 - 0.25 * epoch for epoch in range(10)],
            "0.125 unshifted, 0 shifted (epochs: 9)",
        ),
        # Epoch 1 lacks its training loss, which epoch 0 needs as well.
        (
            [1, math.nan, 4, 2],
            [9, 9, 2, 9],
            "2 unshifted, 1 shifted (epochs: 1)",
        ),
        ([1.0], [0.5], "comparing the curves takes two epochs"),
        ([0.4] * 3, [0.4] * 3, "no closer"),
        ([1.0, 0.6, 0.4], [2.0, 2.0, 2.0], "no closer"),
    ],
)
def test_what_the_shift_does_by_hand(training, validation, says):
    assert says in describe_shift(training, validation)
