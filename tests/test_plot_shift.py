"""The plotting script, through its real command line."""

import itertools
import math
import pickle
import re
import runpy
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, command, environment, run
from matplotlib.container import BarContainer

from pyimagesearch import gap
from pyimagesearch.cli import UserError

HISTORY = {
    "loss": [1.0, 0.5, 0.4],
    "val_loss": [0.6, 0.5, 0.1],
    "accuracy": [0.5, 0.6, 0.7],
    "val_accuracy": [0.6, 0.7, 0.8],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "training.pickle").write_bytes(pickle.dumps(HISTORY))
    return tmp_path


def drawn(folder, monkeypatch, *arguments):
    """Run the script in this process; return the two panels of its figure."""
    plt.close("all")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["plot_shift.py", "-o", "a.png", *arguments])
    runpy.run_path(str(ROOT / "plot_shift.py"), run_name="__main__")
    return plt.gcf().axes


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_panels(folder, monkeypatch, capsys, metric):
    top, bottom = drawn(folder, monkeypatch, "--metric", metric)
    name = metric.capitalize()
    for panel, title, left in ((top, "Unshifted", 0), (bottom, "Shifted", 0.5)):
        assert panel.get_title() == f"{title} {name} Plot"
        assert (panel.get_xlabel(), panel.get_ylabel()) == ("Epoch #", name)
        labels = [text.get_text() for text in panel.get_legend().get_texts()]
        assert labels == [f"training {metric}", f"validation {metric}"]
        training, validation = panel.get_lines()
        np.testing.assert_array_equal(training.get_xdata(), np.arange(3) - left)
        np.testing.assert_array_equal(validation.get_xdata(), np.arange(3))
        np.testing.assert_array_equal(training.get_ydata(), HISTORY[metric])
        np.testing.assert_array_equal(validation.get_ydata(), HISTORY[f"val_{metric}"])
    assert top.get_xlim() == bottom.get_xlim()
    assert top.get_ylim() == bottom.get_ylim()
    assert top.get_position().y0 > bottom.get_position().y1
    if metric == "loss":  # by hand: (0.4 + 0) / 2 and (0.15 + 0.05) / 2
        out = capsys.readouterr().out
        assert "closer: mean distance 0.2 unshifted, 0.1 shifted" in out


def test_curves_of_a_pytorch_loop_are_drawn_under_their_names(folder, monkeypatch):
    history = {"train_loss": [1.0, 0.5, 0.4], "test_loss": [0.6, 0.5, 0.1]}
    (folder / "training.pickle").write_bytes(pickle.dumps(history))
    for panel in drawn(folder, monkeypatch):
        labels = [text.get_text() for text in panel.get_legend().get_texts()]
        assert labels == ["training loss", "test loss"]


MEASURED = {
    **HISTORY,
    "loss_at_end": [0.7, 0.45, 0.3],
    "val_loss_regularized": [0.75, 0.6, 0.2],
}
HELD_OUT = {
    **MEASURED,
    "held_out_loss_regularized": [0.73, 0.5, 0.35],
    "overfitting_error": [0.02, 0.02, 0.02],
    "data_error": [0.05, 0.04, 0.03],
}


@pytest.mark.parametrize("history", [MEASURED, HELD_OUT])
def test_a_run_with_reasons_gets_a_third_panel_and_a_table(
    folder, monkeypatch, capsys, history
):
    heights = [panel.get_position().height for panel in drawn(folder, monkeypatch)]
    inches = plt.gcf().get_figheight()
    assert "to measure what makes the gap: fashion_mnist.py" in capsys.readouterr().out
    (folder / "training.pickle").write_bytes(pickle.dumps(history))
    panels = drawn(folder, monkeypatch)
    # The two panels are about as high as they were, and have as much air.
    boxes = [panel.get_position() for panel in panels]
    for box, height in zip(boxes, heights):
        now = box.height * plt.gcf().get_figheight()
        assert now == pytest.approx(height * inches, rel=0.05)
    air = [upper.y0 - lower.y1 for upper, lower in itertools.pairwise(boxes)]
    assert 0 < air[0] == pytest.approx(air[1], rel=0.05)

    by_hand = {"timing": [0.3, 0.05, 0.1], "regularization": [0.15, 0.1, 0.1]}
    if history is HELD_OUT:
        by_hand |= {"overfitting": [-0.03, -0.05, -0.05], "data": [-0.02, -0.1, 0.15]}
    else:
        by_hand["overfitting + data"] = [-0.05, -0.15, 0.1]
    bars = [one for one in panels[2].containers if isinstance(one, BarContainer)]
    assert [one.get_label().removesuffix(" ± error") for one in bars] == list(by_hand)
    # Stacked from 0: what is above it adds up to the one end, what is below to the
    # other.
    ends = np.zeros((2, 3))
    for bar, values in zip(bars, by_hand.values()):
        for epoch, (patch, value) in enumerate(zip(bar, values)):
            side = int(value < 0)
            assert patch.get_x() + patch.get_width() / 2 == pytest.approx(epoch)
            assert patch.get_y() == pytest.approx(ends[side, epoch])
            assert patch.get_height() == pytest.approx(value)
            ends[side, epoch] += value
    # Only the last shows its error, from one error below its end to one above.
    assert [one.errorbar for one in bars[:-1]] == [None] * (len(bars) - 1)
    if history is HELD_OUT:
        _, _, (lines,) = bars[-1].errorbar
        for epoch, segment in enumerate(lines.get_segments()):
            end = ends[int(by_hand["data"][epoch] < 0), epoch]
            error = history["data_error"][epoch]
            assert list(segment[:, 1]) == pytest.approx([end - error, end + error])
    curves = [line for line in panels[2].get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(curves[0].get_ydata(), [0.4, 0.0, 0.3], atol=1e-12)
    np.testing.assert_allclose(ends.sum(axis=0), [0.4, 0.0, 0.3], atol=1e-12)

    out = capsys.readouterr().out
    row = "0 +0.4000 +0.3000 +0.1500 -0.0500 +0.2500"
    if history is HELD_OUT:
        row = "0 +0.4000 +0.3000 +0.1500 -0.0300 +-0.0200 -0.0200 +-0.0500 +0.2500"
    assert row.split() in [line.split() for line in out.splitlines()]
    assert "[INFO] epoch 0: the gap is +0.4000, the validation loss is lower" in out
    assert max(map(len, out.splitlines())) <= 100
    assert len(drawn(folder, monkeypatch, "--metric", "accuracy")) == 2
    assert "what makes the gap was measured of the loss" in capsys.readouterr().out


def test_one_epoch_is_a_visible_point(folder, monkeypatch, capsys):
    one = {name: values[:1] for name, values in HISTORY.items()}
    (folder / "training.pickle").write_bytes(pickle.dumps(one))
    for panel in drawn(folder, monkeypatch):
        assert all(line.get_marker() in "os" for line in panel.get_lines())
        assert all(tick == int(tick) for tick in panel.get_xticks())
    assert "comparing the curves takes two epochs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_suffix_chooses_the_format(folder, monkeypatch, capsys, suffix, start):
    drawn(folder, monkeypatch, "--output", f"f.{suffix}")
    told = capsys.readouterr()
    assert f"the figure is in f.{suffix}\n" in told.out and told.err == ""
    assert (folder / f"f.{suffix}").read_bytes().startswith(start)


@pytest.mark.parametrize(
    "backend",
    # The last is a notebook's, in whose shell a Python without its package may run.
    ["agg", "tkagg", "", "unknown", "module://matplotlib_inline.backend_inline"],
)
def test_without_a_screen_it_saves_beside_the_history(folder, tmp_path, backend):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = folder / "training.pickle"
    process = run("plot_shift.py", "-i", path, cwd=elsewhere, MPLBACKEND=backend)
    assert process.returncode == 0, process.stderr
    picture = folder / "training.pickle.loss.png"
    assert f"no window can open here; the figure is in {picture}" in process.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert process.stderr == "" and list(elsewhere.iterdir()) == []


def test_two_histories_never_share_a_figure(folder, monkeypatch):
    (folder / "mine").mkdir()
    paths = ["training", "training.pickle", "training.pickle.part"]
    paths += ["mine/training.pickle"]
    names = ["a.b", "a", "top/1"]
    history = {name: [1.0, 0.5] for name in names}
    history |= {f"val_{name}": [1.0, 0.5] for name in names}
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "agg")
    plt.switch_backend("agg")
    for path, metric in [*itertools.product(paths, names), (paths[0], "a")]:
        (folder / path).write_bytes(pickle.dumps(history))
        argv = ["plot_shift.py", "-i", path, "--metric", metric]
        monkeypatch.setattr(sys, "argv", argv)
        runpy.run_path(str(ROOT / "plot_shift.py"), run_name="__main__")
        plt.close("all")
    pictures = {str(file.relative_to(folder)) for file in folder.rglob("*.png")}
    assert len(pictures) == len(paths) * len(names)
    assert "training.pickle.a-b.png" in pictures


def test_many_epochs_are_no_band_of_markers(folder, monkeypatch):
    for epochs, step in ((50, 1), (51, 2), (100, 2), (101, 3), (1000, 20)):
        curve = [*np.linspace(1, 0.5, epochs)]
        history = {"loss": curve, "val_loss": curve}
        (folder / "training.pickle").write_bytes(pickle.dumps(history))
        for panel in drawn(folder, monkeypatch):
            assert [line.get_markevery() for line in panel.get_lines()] == [step, step]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("-i missing.pickle", ["missing.pickle does not exist", "fashion_mnist.py"]),
        ("-i .", ["cannot read .: Is a directory"]),
        ("--metric recall", ["curve of recall: try --metric loss or accuracy"]),
        ("-o figure.jpeg", ["figure.jpeg", ".png, .pdf, .svg"]),
        ("-o missing/figure.png", ["missing/figure.png", "No such file"]),
    ],
)
def test_a_mistake_is_told(folder, monkeypatch, capsys, arguments, words):
    with pytest.raises(UserError) as told:
        drawn(folder, monkeypatch, *arguments.split())
    for word in words:
        assert word in str(told.value)
    assert capsys.readouterr().out == ""
    assert [file.name for file in folder.iterdir()] == ["training.pickle"]


def test_never_replaces_the_history_by_the_figure(folder):
    history = folder / "history.png"
    (folder / "training.pickle").rename(history)
    process = run("plot_shift.py", "-i", history, "-o", history, cwd=folder)
    assert_one_line_error(process, history)
    assert pickle.loads(history.read_bytes()) == HISTORY


def test_imports_neither_tensorflow_nor_scikit_learn(folder):
    script = command("plot_shift.py", "-o", "a.png")
    process = subprocess.run(
        [script[0], "-X", "importtime", *script[1:]],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "matplotlib" in process.stderr
    for package in ("tensorflow", "keras", "sklearn"):
        assert package not in process.stderr


def test_a_reader_that_goes_away_gets_the_figure_all_the_same(folder):
    plot = subprocess.Popen(
        command("plot_shift.py"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    plot.stdout.close()
    assert (plot.stderr.read(), plot.wait()) == (b"", 0)
    plot.stderr.close()
    assert (folder / "training.pickle.loss.png").is_file()


README = (ROOT / "README.md").read_text()


def test_the_readme_has_the_numbers_of_the_committed_run():
    path = ROOT / "tests" / "held_out_run.pickle"
    history = pickle.loads(path.read_bytes())
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    shown = {name.strip("*"): numbers for name, *numbers in rows}
    for column, epoch in enumerate((0, 24)):
        at = {name: values[epoch] for name, values in history.items()}
        by_hand = {
            "timing": at["loss"] - at["loss_at_end"],
            "regularization": at["val_loss_regularized"] - at["val_loss"],
            "overfitting": at["loss_at_end"] - at["held_out_loss_regularized"],
            "data": at["held_out_loss_regularized"] - at["val_loss_regularized"],
            "the gap": at["loss"] - at["val_loss"],
        }
        error = {
            "overfitting": f" ± {at['overfitting_error']:.4f}",
            "data": f" ± {at['data_error']:.4f}",
        }
        for name, value in by_hand.items():
            text = f"{value:+.4f}{error.get(name, '')}"
            assert shown[name][column].strip("*") == text


def test_the_block_of_the_readme_adds_up_and_is_what_is_said_of_its_numbers():
    block = README.split("is unknown):\n")[1].split("\n```")[0]
    rows = [line.replace(" +-", " ").split()[1:] for line in block.splitlines()[1:3]]
    names = (
        "gap, timing, regularization, overfitting, overfitting error, data, data error"
    )
    terms = {
        name: np.array([math.nan if cell == "-" else float(cell) for cell in column])
        for name, column in zip([*names.split(", "), "by shift"], zip(*rows))
    }
    total = sum(terms[name] for name in gap.TERMS[:4])
    np.testing.assert_allclose(terms["gap"], total, atol=3e-4)
    assert f"{gap.table(terms)}\n[INFO] {gap.describe(terms)}" == block
