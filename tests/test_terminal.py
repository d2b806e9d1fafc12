"""How a script begins and ends: its flags, its files, and its errors in one line."""

import argparse
import os
import re
import sys
import time

import pytest
from conftest import ROOT, assert_one_line_error, run

from pyimagesearch import terminal


def ended(folder, script, before="", **variables):
    """Run a script, given as a text, in a folder to its end."""
    script = f"{before}\nfrom pyimagesearch.terminal import *\n{script}"
    (folder / "script.py").write_text(script)
    return run(folder / "script.py", cwd=folder, PYTHONPATH=ROOT, **variables)


def test_what_a_user_can_cause_ends_in_one_printable_line(tmp_path):
    # As `| head -1` does, this reads no more.
    no_reader = "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)"
    # The third row is not whole.
    table = "prepare_history('a'); open('a.csv', 'w').write('epoch\\n0\\n1\\n2')"
    for script, line in (
        ('raise UserError("a\\nb\\x1b[31m")', "error: a?b?[31m\n"),
        ("import missing", "error: No module named 'missing': use .venv/bin/python"),
        ('raise ImportError("no screen")', "error: no screen\n"),
        (f"{no_reader}; print('a line')", "error: [Errno 32] Broken pipe\n"),
        (f"{table}; raise OSError('full')", "full; finished epochs: 2, in a.csv"),
    ):
        assert_one_line_error(ended(tmp_path, script), line)


def test_each_line_is_seen_at_once_whatever_characters_it_has(tmp_path):
    # A Python that is aborted prints nothing more.
    process = ended(tmp_path, "print('\\u4e2d'); os.abort()", PYTHONIOENCODING="ascii")
    assert process.stdout == "\\u4e2d\n"


def test_a_notebooks_backend_is_used_in_a_notebook_only(tmp_path):
    backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    kernel = "import sys as ipykernel; ipykernel.modules['ipykernel'] = ipykernel"
    script = "print('MPLBACKEND' in os.environ)"
    assert ended(tmp_path, script, **backend).stdout == "False\n"
    assert ended(tmp_path, script, kernel, **backend).stdout == "True\n"


def parsed(monkeypatch, *flags):
    """Return what the training script takes from its flags."""
    monkeypatch.setattr(sys, "argv", ["fashion_mnist.py", *flags])
    return terminal.parse_training_flags(argparse.ArgumentParser())


def test_without_flags_a_training_is_that_of_the_tutorial(monkeypatch):
    args = parsed(monkeypatch)
    assert (args.epochs, args.lr, args.batch_size) == (25, 0.01, 32)
    assert parsed(monkeypatch, "--hold-out=160", "--seed=4294967295").reasons


def test_a_mistake_among_the_flags_is_told(monkeypatch, capsys):
    flags = "--epochs=0 --batch-size=0 --lr=nan --seed=-1 --seed=4294967296"
    for flag in f"{flags} --hold-out=-5 --hold-out=159".split():
        with pytest.raises(SystemExit):
            parsed(monkeypatch, flag)
        # The lines before it say how the script is used.
        assert flag.split("=")[0] in capsys.readouterr().err.splitlines()[-1]


def test_help_says_what_a_script_does_before_tensorflow_starts(tmp_path):
    for script, does in (("fashion_mnist.py", "Train"), ("plot_shift.py", "Draw")):
        # Python tells each import on stderr.
        process = run(script, "--help", cwd=tmp_path, PYTHONPROFILEIMPORTTIME=1)
        assert re.search(rf"\n\n{does} [^\n]+\.\n\n", process.stdout)
        # If a package is missing, `terminal` must be there to say so.
        assert "numpy" not in process.stderr.split("pyimagesearch.terminal\n")[0]
        assert not re.search("tensorflow|keras", process.stderr)


def contents(folder):
    """Return the texts of the files in a folder, by name."""
    return {path.name: path.read_text() for path in folder.glob("*") if path.is_file()}


def test_where_a_history_cannot_be_written_nothing_is_moved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("b.csv", "c.old", "d.csv.old", "folder"):
        os.mkdir(folder)
    for name in ("b", "c", "c.csv", "d", "d.csv", "folder.csv"):
        (tmp_path / name).write_text(name)
    os.symlink(os.devnull, "null")  # so that a fault moves the link alone
    before = contents(tmp_path)
    for path in ("", "null", "missing/a", "folder", "b", "c", "d"):
        with pytest.raises((terminal.UserError, OSError)):
            terminal.prepare_history(path)
        assert contents(tmp_path) == before and os.path.islink("null")


def test_an_earlier_history_is_kept_as_old(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)  # is set, and put back
    (tmp_path / "a").write_text("a history")
    (tmp_path / "a.csv").write_text("a table")
    kept = {"a.old": "a history", "a.csv.old": "a table"}
    assert terminal.prepare_history(str(tmp_path / "a")) == str(tmp_path / "a.csv")
    assert contents(tmp_path) == kept
    # As after Ctrl-C in the first epoch: an empty table takes no place of a good one.
    (tmp_path / "a.csv").write_text("")
    terminal.prepare_history(str(tmp_path / "a"))
    assert contents(tmp_path) == {**kept, "a.csv": ""}


KERAS = """import os
os.write(2, b"I0000 port.cc:153] oneDNN custom operations are on.\\n")
print(os.environ["KERAS_BACKEND"])
"""
STARTS = """import os, subprocess
subprocess.Popen(["sleep", "20"], stdout=subprocess.DEVNULL)  # stays behind
class config: list_logical_devices = lambda: os.system("echo a GPU; echo a GPU >&2")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_keras_starts_quietly_and_what_comes_after_it_is_seen(tmp_path):
    (tmp_path / "keras.py").write_text(KERAS)
    began = time.monotonic()
    for tensorflow, code, printed, told in (
        (STARTS, 0, "tensorflow\na GPU\n", "^seen$"),
        ("1 / 0", 1, "tensorflow\n", "^Traceback (.|\n)*\nZeroDivisionError: .*\n$"),
        ("import os; os.kill(os.getpid(), 2)", 130, "tensorflow\n", "^interrupted\n$"),
    ):
        (tmp_path / "tensorflow.py").write_text(tensorflow)
        script = "start_keras(); os.write(2, b'seen')"
        process = ended(tmp_path, script, KERAS_BACKEND="jax")
        assert (process.returncode, process.stdout) == (code, printed)
        assert re.search(told, process.stderr)
    assert time.monotonic() - began < 20, "it waited for the process that stays behind"
