"""How a script begins and ends: flags, output, errors in one line, and its files."""

import argparse
import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT, assert_one_line_error, command, run

from pyimagesearch import terminal


def ended(folder, script, before="", **variables):
    """Run a script, given as a text, in a folder to its end."""
    script = f"{before}\nfrom pyimagesearch.terminal import *\n{script}"
    (folder / "script.py").write_text(script)
    return run(folder / "script.py", cwd=folder, PYTHONPATH=ROOT, **variables)


def test_what_a_user_can_cause_ends_in_one_printable_line(tmp_path):
    # As `| head -1`, which reads no more.
    no_reader = "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)"
    for script, line, code in (
        ('raise UserError("a\\nb\\x1b[31m")', "error: a?b?[31m\n", 1),
        ('raise OSError("a\\nb\\x1b[31m")', "error: a?b?[31m\n", 1),
        ("raise KeyboardInterrupt", "interrupted\n", 130),
        (f"{no_reader}; print('a line')", "error: [Errno 32] Broken pipe\n", 1),
    ):
        process = ended(tmp_path, script)
        assert (process.stderr, process.returncode) == (line, code)


def test_a_bug_keeps_its_traceback(tmp_path):
    process = ended(tmp_path, "1 / 0")
    assert "Traceback" in process.stderr and process.returncode == 1


def test_each_line_is_seen_at_once_whatever_characters_it_has(tmp_path):
    # When it is aborted, Python prints nothing more.
    process = ended(tmp_path, "print('\\u4e2d'); os.abort()", PYTHONIOENCODING="ascii")
    assert process.stdout == "\\u4e2d\n"


def test_a_notebooks_backend_is_used_in_a_notebook_only(tmp_path):
    kernel = "import sys as ipykernel; ipykernel.modules['ipykernel'] = ipykernel"
    inline = "module://matplotlib_inline.backend_inline"
    script = "print('MPLBACKEND' in os.environ)"
    assert ended(tmp_path, script, MPLBACKEND=inline).stdout == "False\n"
    assert ended(tmp_path, script, kernel, MPLBACKEND=inline).stdout == "True\n"
    assert ended(tmp_path, script, MPLBACKEND="agg").stdout == "True\n"


def test_a_mistake_among_the_flags_is_told(monkeypatch, capsys):
    for flag, told in (
        ("--epochs=0", "--epochs: 0 is not 1 or more"),
        ("--batch-size=0", "--batch-size: 0 is not 1 or more"),
        ("--lr=nan", "--lr: nan is not 1e-09 or more"),
        ("--seed=4294967296", "--seed: 4294967296 is not below 2**32"),
        ("--hold-out=-5", "--hold-out: -5 is not 0 or more"),
    ):
        monkeypatch.setattr(sys, "argv", ["fashion_mnist.py", flag])
        with pytest.raises(SystemExit):
            terminal.parse_training_flags(argparse.ArgumentParser())
        assert capsys.readouterr().err.endswith(f"{told}\n")


def test_hold_out_measures_and_few_images_are_warned_of(monkeypatch, capsys):
    for number, warnings in ((0, 0), (159, 1), (160, 0)):
        argv = ["fashion_mnist.py", f"--hold-out={number}"]
        monkeypatch.setattr(sys, "argv", argv)
        args = terminal.parse_training_flags(argparse.ArgumentParser())
        assert args.reasons == (number > 0)
        assert capsys.readouterr().err.count("is less than 5 batches of") == warnings


def test_help_comes_before_tensorflow_starts(tmp_path):
    # Python tells each import on stderr.
    process = run("fashion_mnist.py", "--help", cwd=tmp_path, PYTHONPROFILEIMPORTTIME=1)
    assert process.returncode == 0 and "sklearn.metrics" in process.stderr
    assert "tensorflow" not in process.stderr and "keras" not in process.stderr


def test_a_python_without_the_packages_is_told_in_one_line():
    how = {"capture_output": True, "text": True}
    for script in ("fashion_mnist.py", "plot_shift.py"):
        python, path = command(script)
        # -S: no package besides those of Python itself.
        process = subprocess.run([python, "-S", path], check=False, **how)
        assert_one_line_error(process, "No module named", "use .venv/bin/python")


def test_places_where_nothing_can_be_written_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = ["b.csv", "c.old", "d.csv.old", "folder"]
    for folder in folders:
        os.mkdir(folder)
    for path in ("", os.devnull, "missing/a", "folder", "b", "c", "d", "x" * 250):
        with pytest.raises((terminal.UserError, OSError)):
            terminal.prepare_history(path)
        assert sorted(os.listdir()) == folders and os.path.exists(os.devnull)


def test_an_earlier_table_stays_and_no_epoch_takes_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)  # is set, and put back
    path, table = tmp_path / "a", tmp_path / "a.csv"
    assert terminal.prepare_history(str(path)) == str(table)
    assert os.listdir(tmp_path) == []
    path.write_text("not ours")
    table.write_text("epoch,loss\n0,0.5\n")
    for _ in range(2):  # the second time as after a run that Ctrl-C ended at once
        terminal.prepare_history(str(path))
        assert sorted(os.listdir(tmp_path)) == ["a", "a.csv.old"]
        table.write_text("")
    assert path.read_text() == "not ours"
    assert (tmp_path / "a.csv.old").read_text() == "epoch,loss\n0,0.5\n"


def test_the_rows_that_are_whole_are_told(tmp_path):
    for rows, told in (
        ("0,0.5\\n1,0.4\\n2,0.", "finished epochs: 2; to draw"),
        ("", "no"),
    ):
        script = f"""prepare_history("a")
open("a.csv", "w").write("epoch,loss\\n{rows}")
raise OSError("disk full")"""
        assert_one_line_error(ended(tmp_path, script), f"error: disk full; {told}")


KERAS = """
import os
assert os.environ["KERAS_BACKEND"] == "tensorflow"
os.write(2, b"I0000 port.cc:153] oneDNN custom operations are on. You may see\\n")
os.write(2, b"W0000 something.cc:1] this \\xff machine on fire\\n")
class config:
    set_image_data_format = print
class utils:
    disable_interactive_logging = lambda: print("no bars")
"""
STARTS = """
import os, sys
print("a warning of Python's own", file=sys.stderr)
class config:
    chatter = b"E0000 cuda_platform.cc:52] failed call to cuInit: INTERNAL\\n"
    list_logical_devices = lambda: os.write(2, config.chatter)
"""
DIES = (
    r"import os; os.write(2, b'these AVX instructions are not available\n'); os.abort()"
)
# As Ctrl-C does, which goes to all of a group.
INTERRUPTED = "import os, signal; os.killpg(0, signal.SIGINT)"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_drops_tensorflows_chatter_alone(tmp_path):
    (tmp_path / "keras.py").write_text(KERAS)
    for tensorflow, code, printed, told in (
        (STARTS, 0, "channels_last\nno bars\n", "a warning of Python's own"),
        (DIES, -signal.SIGABRT, "", "these AVX instructions are not available"),
        (INTERRUPTED, 130, "", "interrupted"),
    ):
        (tmp_path / "tensorflow.py").write_text(tensorflow)
        process = ended(tmp_path, "os.setpgrp(); start_keras()", KERAS_BACKEND="jax")
        assert (process.returncode, process.stdout) == (code, printed)
        warning, last = process.stderr.splitlines()
        assert (warning[:5], warning[-15:], last) == ("W0000", "machine on fire", told)
