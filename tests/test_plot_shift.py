"""The plotting script, through its real command line."""

import pickle
import runpy
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, command, environment, run

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
def test_panels(folder, monkeypatch, metric):
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


def test_a_run_with_reasons_gets_a_third_panel_and_a_table(folder, monkeypatch, capsys):
    heights = [panel.get_position().height for panel in drawn(folder, monkeypatch)]
    inches = plt.gcf().get_figheight()
    history = {
        **HISTORY,
        "loss_at_end": [0.7, 0.45, 0.3],
        "val_loss_regularized": [0.75, 0.6, 0.2],
    }
    (folder / "training.pickle").write_bytes(pickle.dumps(history))
    capsys.readouterr()
    panels = drawn(folder, monkeypatch)
    # The two panels are about as high as they were.
    for panel, height in zip(panels, heights):
        now = panel.get_position().height * plt.gcf().get_figheight()
        assert now == pytest.approx(height * inches, rel=0.05)
    assert panels[2].get_position().y1 < panels[1].get_position().y0
    zero, *curves = panels[2].get_lines()
    assert set(zero.get_ydata()) == {0}
    by_hand = {
        "gap": [0.4, 0.0, 0.3],
        "timing": [0.3, 0.05, 0.1],
        "regularization": [0.15, 0.1, 0.1],
        "data": [-0.05, -0.15, 0.1],
    }
    for curve, (name, values) in zip(curves, by_hand.items(), strict=True):
        assert curve.get_label().startswith(name)
        np.testing.assert_allclose(curve.get_ydata(), values, atol=1e-12)
        np.testing.assert_array_equal(curve.get_xdata(), np.arange(3))
    # Told apart without colour.
    assert len({(line.get_marker(), line.get_linestyle()) for line in curves}) == 4
    legend = " ".join(text.get_text() for text in panels[2].get_legend().get_texts())
    for reason in ("Reason #1", "Reason #2", "Reason #3"):
        assert reason in legend
    out = capsys.readouterr().out
    row = ["0", "+0.4000", "+0.3000", "+0.2500", "+0.1500", "-0.0500"]
    assert row in [line.split() for line in out.splitlines()]
    assert "[INFO] In epoch 0, the validation loss is the lower one" in out
    assert len(drawn(folder, monkeypatch, "--metric", "accuracy")) == 2


def test_one_epoch_is_a_visible_point(folder, monkeypatch, capsys):
    one = {name: values[:1] for name, values in HISTORY.items()}
    (folder / "training.pickle").write_bytes(pickle.dumps(one))
    for panel in drawn(folder, monkeypatch):
        assert all(line.get_marker() in "os" for line in panel.get_lines())
        assert all(tick == int(tick) for tick in panel.get_xticks())
    assert "takes two epochs in a row" in capsys.readouterr().out


def test_prints_the_distance_of_the_curves(folder):
    process = run("plot_shift.py", cwd=folder)
    # By hand: (0.4 + 0) / 2 and (0.15 + 0.05) / 2.
    words = "closer: their mean distance is 0.2 unshifted and 0.1 shifted"
    assert words in process.stdout


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_suffix_chooses_the_format(folder, suffix, start):
    process = run("plot_shift.py", "--output", f"f.{suffix}", cwd=folder)
    assert process.returncode == 0 and process.stderr == ""
    assert f"the figure is in f.{suffix}" in process.stdout
    assert (folder / f"f.{suffix}").read_bytes().startswith(start)


@pytest.mark.parametrize(
    "backend", ["agg", "tkagg", "", "module://matplotlib.backends.backend_agg"]
)
def test_without_a_screen_it_saves_in_the_current_folder(folder, tmp_path, backend):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = folder / "training.pickle"
    process = run("plot_shift.py", "-i", path, cwd=elsewhere, MPLBACKEND=backend)
    assert process.returncode == 0, process.stderr
    assert "the figure is in training_loss.png" in process.stdout
    assert (elsewhere / "training_loss.png").read_bytes().startswith(b"\x89PNG")
    assert process.stderr == ""


def test_each_metric_has_a_figure_of_its_own(folder):
    for metric in ("loss", "accuracy"):
        assert run("plot_shift.py", "--metric", metric, cwd=folder).returncode == 0
    names = {file.name for file in folder.iterdir()}
    assert names == {"training.pickle", "training_loss.png", "training_accuracy.png"}


def test_a_name_with_dots_keeps_them(folder):
    (folder / "training.pickle").rename(folder / "lr0.01.pickle.part")
    assert run("plot_shift.py", "-i", "lr0.01.pickle.part", cwd=folder).returncode == 0
    assert (folder / "lr0.01_loss.png").is_file()


def test_many_epochs_are_no_band_of_markers(folder, monkeypatch):
    values = list(np.linspace(1, 0.5, 1000))
    names = ("loss", "val_loss", "loss_at_end", "val_loss_regularized")
    history = dict.fromkeys(names, values)
    (folder / "training.pickle").write_bytes(pickle.dumps(history))
    panels = drawn(folder, monkeypatch)
    assert len(panels) == 3
    for panel in panels:
        for line in panel.get_lines():
            assert 25 <= 1000 / line.get_markevery() <= 50


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["-i", "missing.pickle"],
            ["missing.pickle does not exist", "fashion_mnist.py"],
        ),
        (["-i", "."], ["cannot read .: Is a directory"]),
        (["--metric", "recall"], ["no numbers of recall", "loss, val_loss, accuracy"]),
        (["-o", "figure.jpeg"], ["figure.jpeg", ".png, .pdf, .svg"]),
        (["-o", "missing/figure.png"], ["missing/figure.png", "No such file"]),
    ],
)
def test_mistake_ends_in_one_line(folder, arguments, words):
    process = run("plot_shift.py", *arguments, cwd=folder)
    assert_one_line_error(process, *words)
    assert process.stdout == ""
    assert [file.name for file in folder.iterdir()] == ["training.pickle"]


def test_points_at_what_an_unfinished_run_left(folder):
    (folder / "training.pickle").rename(folder / "training.pickle.part")
    process = run("plot_shift.py", cwd=folder)
    assert_one_line_error(process, "does not exist", "--input training.pickle.part")


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
