"""Numbers on the command line: what is taken, and what is said of the others."""

import argparse
import os
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT

from pyimagesearch.cli import command, number


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


def ended(script):
    """Run a script, given as a text, to its end."""
    return subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("raised", "line", "code"),
    [
        ('UserError("a\\nb\\x1b[31m")', "error: a?b?[31m\n", 1),
        ("KeyboardInterrupt", "interrupted: nothing was saved\n", 130),
    ],
)
def test_what_a_user_can_cause_ends_in_one_printable_line(raised, line, code):
    script = f"from pyimagesearch.cli import UserError, begin; begin(); raise {raised}"
    process = ended(script)
    assert (process.stderr, process.returncode) == (line, code)


def test_a_bug_keeps_its_traceback():
    script = "from pyimagesearch.cli import begin; begin(); 1 / 0"
    process = ended(script)
    assert "Traceback" in process.stderr and process.returncode == 1


def test_a_command_can_be_pasted(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["a folder/fashion_mnist.py"])
    monkeypatch.setattr(sys, "executable", "/my python/python3")
    pasted = shlex.split(command("plot_shift.py", "--input", "it's.part"))
    plot = os.path.join("a folder", "plot_shift.py")
    assert pasted == ["/my python/python3", plot, "--input", "it's.part"]
