"""How a script ends, and the commands that it prints."""

import os
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT

from pyimagesearch.cli import command


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
