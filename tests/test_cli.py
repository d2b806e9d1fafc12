"""Numbers on the command line: what is taken, and what is said of the others."""

import argparse

import pytest

from pyimagesearch.cli import UserError, number


@pytest.mark.parametrize(
    ("kind", "bounds", "text", "value"),
    [
        (int, (1,), "25", 25),
        (int, (0, 9), "0", 0),
        (int, (0, 9), "9", 9),
        (float, (0,), "1e-2", 0.01),
        (float, (0,), "0", 0),
    ],
)
def test_numbers_within_the_bounds(kind, bounds, text, value):
    assert number(kind, *bounds)(text) == value


@pytest.mark.parametrize(
    ("kind", "bounds", "text", "reason"),
    [
        (int, (1,), "0", "'0' is not a whole number from 1 to 1000000000"),
        (int, (1,), "1.5", "'1.5' is not a whole number"),
        (int, (1,), "1" + "0" * 400, "is not a whole number"),
        (int, (0, 9), "10", "'10' is not a whole number from 0 to 9"),
        (float, (0,), "-0.1", "'-0.1' is not a number from 0"),
        (float, (0,), "nan", "'nan' is not a number"),
        (float, (0,), "inf", "'inf' is not a number"),
        (float, (0,), "fast", "'fast' is not a number"),
    ],
)
def test_other_texts(kind, bounds, text, reason):
    with pytest.raises(argparse.ArgumentTypeError, match=reason):
        number(kind, *bounds)(text)


def test_a_message_is_one_printable_line():
    assert str(UserError("a\nb\x1b[31m")) == "error: a?b?[31m"
    assert len(str(UserError("a" * 1_000_000))) < 1100
