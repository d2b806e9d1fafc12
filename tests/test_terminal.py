"""How a script begins and ends: flags, output, errors in one line, and its files."""

import argparse
import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT, assert_one_line_error, command, environment, run

from pyimagesearch import terminal

TABLE = "epoch,loss\n0,0.5\n1,0.4\n"


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def ended(script, cwd=ROOT, shell="", before="", **variables):
    """Run a script, given as a text, to its end."""
    script = f"{before}\nfrom pyimagesearch.terminal import *\n{script}"
    words = [sys.executable, "-c", script]
    return subprocess.run(
        ["sh", "-c", f'"$0" "$@" {shell}', *words] if shell else words,
        cwd=cwd,
        env=environment(**{"PYTHONPATH": ROOT, **variables}),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        start_new_session=True,
        timeout=60,
    )


def test_what_a_user_can_cause_ends_in_one_printable_line():
    for raised, line, code in (
        ('UserError("a\\nb\\x1b[31m")', "error: a?b?[31m\n", 1),
        ('OSError("a\\nb\\x1b[31m")', "error: a?b?[31m\n", 1),
        ("KeyboardInterrupt", "interrupted\n", 130),
    ):
        process = ended(f"raise {raised}")
        assert (process.stderr, process.returncode) == (line, code)


def test_a_bug_keeps_its_traceback():
    process = ended("1 / 0")
    assert "Traceback" in process.stderr and process.returncode == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_output_that_takes_no_more_ends_a_script_in_one_line():
    script = "for _ in range(10**5): print('a line')"
    ends = {"| head -1": "Broken pipe", ">/dev/full": "No space left"}
    for shell, told in ends.items():
        process = ended(script, shell=shell)
        assert process.stderr.count("\n") == 1 and told in process.stderr


def test_each_line_is_seen_at_once_whatever_characters_it_has():
    # When it is aborted, Python prints nothing more.
    process = ended("print('\\u4e2d'); os.abort()", PYTHONIOENCODING="ascii")
    assert process.stdout == "\\u4e2d\n"


def test_a_notebooks_backend_is_used_in_a_notebook_only():
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    script, kernel = "print('MPLBACKEND' in os.environ)", "import sys as ipykernel"
    kernel += "; ipykernel.modules['ipykernel'] = ipykernel"
    assert ended(script, **inline).stdout == "False\n"
    assert ended(script, before=kernel, **inline).stdout == "True\n"
    assert ended(script).stdout == "True\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--epochs 1.5", "--epochs: invalid int value: '1.5'"),
        ("--batch-size 0", "--batch-size: 0 is not 1 or more"),
        ("--lr nan", "--lr: nan is not 1e-09 or more"),
        ("--lr 0", "--lr: 0.0 is not 1e-09 or more"),
        ("--hold-out -5", "--hold-out: -5 is not 0 or more"),
    ],
)
def test_a_mistake_among_the_flags_is_told(flags, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fashion_mnist.py", *flags.split()])
    with pytest.raises(SystemExit):
        terminal.parse_training_flags(argparse.ArgumentParser())
    assert capsys.readouterr().err.endswith(f"{words}\n")


def test_hold_out_measures_and_few_images_are_warned_of(monkeypatch, capsys):
    for number, warned in ((0, 0), (159, 1), (160, 0)):
        argv = ["fashion_mnist.py", "--hold-out", str(number)]
        monkeypatch.setattr(sys, "argv", argv)
        args = terminal.parse_training_flags(argparse.ArgumentParser())
        assert args.reasons == (number > 0)
        told = capsys.readouterr().err
        assert told.count("is less than 5 batches of 32") == warned


@pytest.mark.parametrize(("flag", "code"), [("--help", 0), ("--epochs=0", 2)])
def test_flags_are_read_before_tensorflow_starts(flag, code, tmp_path):
    each_import = {"PYTHONPROFILEIMPORTTIME": 1}  # on stderr
    process = run("fashion_mnist.py", flag, cwd=tmp_path, **each_import)
    assert process.returncode == code and "sklearn.metrics" in process.stderr
    assert "tensorflow" not in process.stderr and "keras" not in process.stderr


@pytest.mark.parametrize("script", ["fashion_mnist.py", "plot_shift.py"])
def test_a_python_without_the_packages_is_told_in_one_line(script, tmp_path):
    python, path = command(script)
    # -S: no package besides those of Python itself.
    words, how = [python, "-S", path], {"capture_output": True, "text": True}
    process = subprocess.run(words, check=False, cwd=tmp_path, **how)
    assert_one_line_error(process, "No module named", "use .venv/bin/python, or pip")


@pytest.fixture
def prepare(monkeypatch):
    """`prepare_history`, whose excepthook goes when the test ends."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    return terminal.prepare_history


def test_places_where_nothing_can_be_written_are_refused(
    prepare, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folders = ["b.csv", "c.old", "d.csv.old", "folder"]
    for folder in folders:
        os.mkdir(folder)
    for path in ("", os.devnull, "missing/a", "folder", "b", "c", "d", "x" * 250):
        with pytest.raises((terminal.UserError, OSError)):
            prepare(path)
        assert names(tmp_path) == folders and os.path.exists(os.devnull)


def test_an_earlier_table_stays_and_no_epoch_takes_its_place(prepare, tmp_path):
    path, table = tmp_path / "a", tmp_path / "a.csv"
    assert prepare(str(path)) == str(table) and names(tmp_path) == []
    path.write_text("not ours")
    table.write_text(TABLE)
    for _ in range(2):  # the second time as after a run that Ctrl-C ended at once
        prepare(str(path))
        assert names(tmp_path) == ["a", "a.csv.old"]
        table.write_text("")
    assert path.read_text() == "not ours"
    assert (tmp_path / "a.csv.old").read_text() == TABLE


def test_the_rows_that_are_whole_are_told(tmp_path):
    for table, told in (
        (TABLE, "finished epochs: 2; to draw them: "),
        (f"{TABLE}2,0.", "finished epochs: 2; to draw them: "),
        ("epoch,lo", "no epoch was finished"),
    ):
        write = f"prepare_history('a'); open('a.csv', 'w').write({table!r})"
        process = ended(f"{write}; raise OSError('disk full')", cwd=tmp_path)
        assert_one_line_error(process, f"error: disk full; {told}")
        assert (tmp_path / "a.csv").read_text() == table


KERAS = """
import os
assert os.environ["KERAS_BACKEND"] == "tensorflow"
os.write(2, b"I0000 port.cc:153] oneDNN custom operations are on. You may see\\n")
os.write(2, b"W0000 something.cc:1] this \\xff machine on fire\\n")
class config:
    set_image_data_format = staticmethod(lambda name: print(name))
class utils:
    disable_interactive_logging = staticmethod(lambda: print("no bars"))
"""
TENSORFLOW = """
import os, sys
print("a warning of Python's own", file=sys.stderr)
class config:
    def list_logical_devices():
        os.write(2, b"E0000 cuda_platform.cc:52] failed call to cuInit: INTERNAL\\n")
"""
DIES = """
import os
os.write(2, b"these AVX instructions are not available\\n")
os.abort()
"""
# As Ctrl-C does, which goes to all of a group.
INTERRUPTED = "import os, signal; os.killpg(0, signal.SIGINT)"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(
    ("tensorflow", "code", "printed", "told"),
    [
        (TENSORFLOW, 0, "channels_last\nno bars\n", "a warning of Python's own"),
        (DIES, -signal.SIGABRT, "", "these AVX instructions are not available"),
        (INTERRUPTED, 130, "", "interrupted"),
    ],
)
def test_drops_tensorflows_chatter_alone(tensorflow, code, printed, told, tmp_path):
    (tmp_path / "keras.py").write_text(KERAS)
    (tmp_path / "tensorflow.py").write_text(tensorflow)
    process = ended("start_keras()", cwd=tmp_path, KERAS_BACKEND="jax")
    assert (process.returncode, process.stdout) == (code, printed)
    warning, last = process.stderr.splitlines()
    assert (warning[:5], warning[-15:], last) == ("W0000", "machine on fire", told)
