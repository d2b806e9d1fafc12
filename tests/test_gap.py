"""The gap and its terms, against sums done by hand, and what is said of them."""

import math
import re

import numpy as np
import pytest

from pyimagesearch.gap import TERMS, closer, conclusion, split, table

# Two epochs with round numbers.
HISTORY = {
    "loss": [1.0, 0.5],
    "loss_at_end": [0.7, 0.45],
    "val_loss_regularized": [0.8, 0.6],
    "val_loss": [0.6, 0.55],
}
LOOK, TRAIN = "Look at the split", "room to train harder"


def history(*epochs):
    """Make a history from the training loss and the three terms of each epoch."""
    made = {name: [] for name in HISTORY}
    for loss, timing, regularization, data in epochs:
        made["loss"].append(loss)
        made["loss_at_end"].append(loss - timing)
        made["val_loss_regularized"].append(loss - timing - data)
        made["val_loss"].append(loss - timing - data - regularization)
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
    lines = table(split(history(*[(1, 0.1, 0, -1234.5)] * epochs))).splitlines()
    assert [line.split()[0] for line in lines[1:]] == shown
    assert len({len(line) for line in lines if "..." not in line}) == 1


@pytest.mark.parametrize(
    ("loss", "terms", "says"),
    [
        # One main cause, another that matters, one that works against them; and two that
        # are too small to matter.
        (
            1,
            (0.3, 0.1, -0.1),
            (
                "the validation loss is the lower one, by 0.3: timing +0.3, regularization "
                "+0.1, data -0.1. Main cause: timing."
            ),
        ),
        (
            0.2,
            (-0.006, 0.06, 0.0),
            (
                "the validation loss is the lower one, by 0.054: regularization +0.06. "
                "Main cause: regularization."
            ),
        ),
        # Two that are alike are named together.
        (
            1,
            (0.101, 0.1, 0.0),
            (
                "the validation loss is the lower one, by 0.201: timing +0.101, "
                "regularization +0.1. Main cause: timing and regularization."
            ),
        ),
        # A validation loss far above the training loss, and a huge one.
        (
            0.1,
            (0.0, 0.1, -1.0),
            (
                "the training loss is the lower one, by 0.9: data -1. Main cause: data. The "
                "training images are easier for the network."
            ),
        ),
        (
            9e4,
            (-1e5, 0, 0),
            (
                "the training loss is the lower one, by 1e+05: timing -1e+05. "
                "Main cause: timing."
            ),
        ),
        # Better in training mode than in inference mode.
        (
            3,
            (0.5, -1.5, 0.0),
            (
                "the training loss is the lower one, by 1: regularization -1.5, timing "
                "+0.5. (Regularization below 0: running means may lag, as at the start.) "
                "Main cause: regularization."
            ),
        ),
        # Terms that cancel out, nearly and exactly.
        (
            1,
            (0.0, 0.2, -0.21),
            (
                "the training loss is the lower one, by 0.01: data -0.21, regularization "
                "+0.2. The terms all but cancel out."
            ),
        ),
        (
            1,
            (0.25, 0, -0.25),
            (
                "the two losses are equal: timing +0.25, data -0.25. The terms all but cancel "
                "out."
            ),
        ),
        # Nothing to name: a loss that is stuck, and one of 0.
        (
            2.303,
            (0.0005, 0.0, 0.0001),
            (
                "the validation loss is the lower one, by 0.0006; nothing exceeds 10% of "
                "the loss, so no cause is named."
            ),
        ),
        (
            0,
            (0, 0, 0),
            (
                "the two losses are equal; nothing exceeds 10% of the loss, so no cause is "
                "named."
            ),
        ),
    ],
)
def test_what_one_epoch_shows(loss, terms, says):
    assert conclusion(history((loss, *terms))) == f"In epoch 0, {says}"


def test_only_the_first_and_the_last_epoch_that_have_all_numbers_count():
    nothing = (np.nan, 0, 0, 0)
    says = conclusion(history(nothing, (1, 0.5, 0, 0), (1, 0, 9, 0), (1, 0, 0, -0.5)))
    assert re.findall("In epoch [0-9]", says) == ["In epoch 1", "In epoch 3"]
    assert "timing +0.5" in says and "data -0.5" in says
    assert "regularization" not in says
    assert conclusion(history(nothing)).startswith("No epoch has all")


FALLING = [(1, 0.3, 0.1, 0), (0.7, 0, 0.1, 0), (0.6, 0, 0.1, 0), (0.5, 0, 0.1, 0)]


@pytest.mark.parametrize(
    ("epochs", "advice"),
    [
        # Losses that fall, the validation loss the lower one to the end.
        (FALLING, TRAIN),
        # Two epochs are too few; the training loss is the lower one at the end; the
        # validation loss, or the training loss, has risen again; a loss was no number.
        (FALLING[:2], None),
        ([*FALLING, (0.4, 0, 0.1, -0.2)], None),
        ([*FALLING, (0.6, 0, 0.1, 0)], None),
        ([*FALLING, (0.6, 0, 0.2, 0)], None),
        ([*FALLING, (np.nan, 0, 0, 0)], None),
        # The validation loss is the lower one, but by no more than chance makes.
        ([*FALLING, (0.42, 0, 0.04, -0.02)], None),
        ([(np.nan, 0, 0, 0), *FALLING], None),
        # Stuck, and diverging.
        ([(2.303, 0.0005, 0, 0.0001)] * 25, None),
        ([(10.0**epoch, -(10.0**epoch), 0, 0) for epoch in range(9)], None),
        # Pure noise: dropout alone makes the validation loss the lower one.
        ([(0.8, 0.05, 0.04, 0), *[(0.71, 0, 0.015, 0)] * 9], None),
        # Overfitting from the start.
        ([(0.1 / (1 + epoch), 0, 0, -0.9) for epoch in range(9)], None),
        # Validation images that are easier to the end, with and without training.
        ([(1, 0, 0.2, 0.3)] * 3, LOOK),
        ([*FALLING, *[(0.4, 0, 0.1, 0.1)] * 3], LOOK),
        # A sign that changes, and terms that are within chance of any test set.
        ([*[(1, 0, 0, 0.2)] * 12, *[(1, 0, 0, -0.2)] * 12], None),
        ([(1, 0, 0, -0.2), (1, 0, 0, 0.2), (1, 0, 0, 0.2)], None),
        ([(0.2, 0, 0, 0.005)] * 5, None),
    ],
)
def test_advice_only_where_its_whole_condition_holds(epochs, advice):
    says = conclusion(history(*epochs))
    assert [one for one in (LOOK, TRAIN) if one in says] == ([advice] if advice else [])


def test_an_easier_set_needs_enough_images():
    # Losses of 0.02 that spread three times as far: of n images, their mean is within
    # 2 * 0.06 / sqrt(n), which is 0.004 for 900.
    assert "fewer than some 900," in conclusion(history(*[(0.02, 0, 0, 0.004)] * 3))


def test_what_is_said_of_any_numbers_follows_from_them():
    random = np.random.default_rng(0)
    causes_seen = set()
    for _ in range(3000):
        terms = random.normal(size=3) * 10 ** random.uniform(-4, 2, size=3)
        sizes, gap = dict(zip(TERMS, terms)), terms.sum()
        says = conclusion(history((random.choice([0.1, 1, 100]), *terms)))
        lower = "validation" if gap > 0 else "training"
        assert f"the {lower} loss is the lower one, by {abs(gap):.3g}" in says
        named = dict(re.findall(r"(\w+) ([+-][0-9.e+-]*[0-9])", says))
        for name, number in named.items():
            assert number == f"{sizes[name]:+.3g}"
        main = re.search(r"Main cause: ([a-z ]*)\.", says)
        causes = main[1].split(" and ") if main else []
        causes_seen.add(len(causes))
        assert set(causes) <= set(named)
        toward = {name: abs(size) for name, size in sizes.items() if size * gap > 0}
        largest = max(toward.values())
        if causes:
            assert causes == sorted(causes, key=lambda name: -toward[name])
            for name, size in toward.items():
                assert (name in causes) == (size > largest / 1.5)
        elif "cancel out" in says:
            assert abs(gap) < 0.15 * max(abs(terms))
        else:
            assert max(abs(terms)) < 0.1 * 100 and "no cause is named" in says
    assert causes_seen == {0, 1, 2, 3}


def test_distances_by_hand():
    training, validation = [1.0, 0.5, 0.4], [0.6, 0.5, 0.1]
    # Epochs 0 and 1 have a next one. Unshifted: |1 - 0.6| and |0.5 - 0.5|, mean 0.2.
    # Shifted: |(1 + 0.5) / 2 - 0.6| and |(0.5 + 0.4) / 2 - 0.5|, mean 0.1.
    assert closer(training, validation) == (
        "the shift brings the curves closer: their mean distance is 0.2 unshifted and "
        "0.1 shifted (epochs compared: 2)"
    )


def test_a_training_curve_that_only_lags_half_an_epoch_has_no_shifted_distance():
    # Both curves are the same straight line in time, read half an epoch apart.
    training = [3 - 0.25 * (epoch - 0.5) for epoch in range(10)]
    validation = [3 - 0.25 * epoch for epoch in range(10)]
    assert "0.125 unshifted and 0 shifted" in closer(training, validation)


def test_missing_numbers_leave_out_the_epochs_that_need_them():
    # Epoch 1 lacks its training loss, which epoch 0 needs as well.
    says = closer([1, math.nan, 4, 2], [9, 9, 2, 9])
    assert "2 unshifted and 1 shifted (epochs compared: 1)" in says


def test_one_epoch_has_no_distance():
    assert "takes two epochs in a row" in closer([1.0], [0.5])


def test_the_shift_is_said_to_bring_the_curves_closer_only_where_it_does():
    falling, flat = [1.0, 0.6, 0.4], [0.4, 0.4, 0.4]
    assert "no closer" in closer(flat, flat)
    assert "no closer" in closer(falling, [2.0, 2.0, 2.0])
