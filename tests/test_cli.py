"""How a script ends, what its output survives, and the commands that it prints."""

import os
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT

from pyimagesearch.cli import command

START = "from pyimagesearch.cli import *; set_up_output(); explain_interrupt(); "


def ended(script, **how):
    """Run a script, given as a text, to its end."""
    how = {"capture_output": True, **how}
    script = [sys.executable, "-c", START + script]
    return subprocess.run(script, check=False, cwd=ROOT, text=True, **how)


@pytest.mark.parametrize(
    ("raised", "line", "code"),
    [
        ('UserError("a\\nb\\x1b[31m")', "error: a?b?[31m\n", 1),
        ("KeyboardInterrupt", "interrupted: nothing was saved\n", 130),
    ],
)
def test_what_a_user_can_cause_ends_in_one_printable_line(raised, line, code):
    process = ended(f"raise {raised}")
    assert (process.stderr, process.returncode) == (line, code)


def test_a_bug_keeps_its_traceback():
    process = ended("1 / 0")
    assert "Traceback" in process.stderr and process.returncode == 1


def test_a_reader_that_goes_away_ends_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    work = "print('[INFO] one'); print('two'); print('done', file=sys.stderr)"
    process = ended(work, capture_output=False, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (process.stderr, process.returncode) == ("done\n", 0)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX closes it")
def test_output_may_be_closed():
    close = {"preexec_fn": lambda: os.close(1), "stderr": subprocess.PIPE}
    work = "print('one'); sys.stdout.isatty() or print('done', file=sys.stderr)"
    process = ended(work, capture_output=False, **close)
    assert (process.stderr, process.returncode) == ("done\n", 0)


def test_a_name_that_the_output_cannot_show_is_printed_all_the_same():
    process = ended("print('\\u4e2d')", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert process.stdout == "\\u4e2d\n"


def test_a_command_can_be_pasted(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["a folder/fashion_mnist.py"])
    monkeypatch.setattr(sys, "executable", "/my python/python3")
    pasted = shlex.split(command("plot_shift.py", "--input", "it's.part"))
    plot = os.path.join("a folder", "plot_shift.py")
    assert pasted == ["/my python/python3", plot, "--input", "it's.part"]
