"""The plotting script, through its real command line."""

import itertools
import os
import pickle
import re
import runpy
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import ROOT, run
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pyimagesearch import gap
from pyimagesearch.terminal import UserError

# One metric is named as Keras does it, the other as many a loop in PyTorch does.
HISTORY = {
    "loss": [1.0, 0.5, 0.4],
    "val_loss": [0.6, 0.5, 0.1],
    "train_top/1": [0.5, 0.6, 0.7],
    "test_top/1": [0.6, 0.7, 0.8],
}
MEASURED = {
    "loss": [1.0, 0.5, 0.4],
    "val_loss": [0.6, 0.5, 0.1],
    "val_loss_during": [0.9, 0.62, 0.45],
    "val_loss_regularized": [0.75, 0.6, 0.2],
    "loss_regularization_error": [0.01, 0.02, 0.03],
    "loss_timing_error": [0.02, 0.02, 0.02],
    "loss_data_error": [0.05, 0.04, 0.03],
}


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """A function that runs the script in this process, and returns the panels."""
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")

    def run_on(history, *flags):
        (tmp_path / "training.pickle").write_bytes(pickle.dumps(history))
        monkeypatch.setattr(sys, "argv", ["plot_shift.py", "-o", "a.png", *flags])
        plt.close("all")
        runpy.run_path(str(ROOT / "plot_shift.py"))
        return plt.gcf().axes

    return run_on


def test_panels(draw, capsys):
    for metric, names, labels in (
        ("loss", ["loss", "val_loss"], ["training loss", "validation loss"]),
        ("top/1", ["train_top/1", "test_top/1"], ["training top/1", "test top/1"]),
    ):
        top, bottom = draw(HISTORY, "--metric", metric)
        for panel, title, left in ((top, "Unshifted", 0), (bottom, "Shifted", 0.5)):
            assert panel.get_title() == f"{title} {metric}"
            assert (panel.get_xlabel(), panel.get_ylabel()) == ("Epoch #", metric)
            legend = panel.get_legend().get_texts()
            assert [text.get_text() for text in legend] == labels
            training, validation = panel.get_lines()
            np.testing.assert_array_equal(training.get_xdata(), np.arange(3) - left)
            np.testing.assert_array_equal(validation.get_xdata(), np.arange(3))
            np.testing.assert_array_equal(training.get_ydata(), HISTORY[names[0]])
            np.testing.assert_array_equal(validation.get_ydata(), HISTORY[names[1]])
        assert top.get_shared_x_axes().joined(top, bottom)
        assert top.get_shared_y_axes().joined(top, bottom)
    out = capsys.readouterr().out
    # By hand, for the loss: (0.4 + 0) / 2 and (0.15 + 0.05) / 2.
    assert "closer in 1 of 2 epochs: their mean distance is 0.1, unshifted 0.2" in out
    assert "to measure what makes the gap: fashion_mnist.py" in out


def test_a_run_with_reasons_gets_a_third_panel_and_a_table(draw, capsys):
    for metric in ("loss", "accuracy"):
        history = {name.replace("loss", metric): MEASURED[name] for name in MEASURED}
        name = metric.capitalize()  # as good as that in the file
        top, shifted, third = draw(history, "--metric", name)
        assert len(top.get_lines()) == 2
        # The validation images, measured as the training images are, and when they are.
        during = shifted.get_lines()[2]
        assert "measured the way the training" in during.get_label()
        np.testing.assert_array_equal(during.get_xdata(), np.arange(3) - 0.5)
        np.testing.assert_array_equal(during.get_ydata(), [0.9, 0.62, 0.45])
        lines = {line.get_label(): line.get_ydata() for line in third.get_lines()}
        np.testing.assert_allclose(lines["gap, their sum"], [0.4, 0, 0.3], atol=1e-12)
        width, height = plt.gcf().get_size_inches() * plt.gcf().dpi
        assert width <= 800 and height <= 800
        boxes = [panel.get_tightbbox() for panel in (top, shifted, third)]
        assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(boxes))
        out = capsys.readouterr().out
        row = "0 +0.400 +0.150 +-0.010 +0.150 +-0.020 +0.100 +-0.050 +0.250"
        assert row.split() in [line.split() for line in out.splitlines()]
        assert f"epoch 0: the gap is +0.400, the validation {name}" in out
        assert third.get_ylabel() == f"training minus\nvalidation {name}"
        assert max(map(len, out.splitlines())) <= 110


def test_one_epoch_is_a_visible_point_and_many_are_no_band_of_markers(draw):
    for epochs, step in ((1, 1), (50, 1), (51, 2), (1000, 20)):
        curve = [*np.linspace(1, 0.5, epochs)]
        for panel in draw({"loss": curve, "val_loss": curve}):
            for line in panel.get_lines():
                assert line.get_marker() in "os" and line.get_markevery() == step
            assert all(tick == int(tick) for tick in panel.get_xticks())


def test_a_mistake_is_told_and_nothing_is_saved(draw, tmp_path):
    for flags, told in (
        ("-i missing.pickle", "missing.pickle does not exist"),
        ("--metric recall", "training.pickle has no .* recall; try --metric loss or"),
        ("-o figure.jpeg", "figure.jpeg is no name of a .png, .pdf or .svg file"),
        ("-o missing/figure.png", "No such file .*missing/figure.png"),
    ):
        # What the system says, terminal.py puts into a line.
        with pytest.raises((UserError, OSError), match=told):
            draw(HISTORY, *flags.split())
        assert os.listdir(tmp_path) == ["training.pickle"]


def test_without_a_screen_it_saves_beside_the_history(tmp_path):
    history = tmp_path / "run" / "training.pickle"
    history.parent.mkdir()
    history.write_bytes(pickle.dumps(HISTORY))
    # A backend that is named, but cannot be had here, is not used.
    named = "module://not_installed"
    for backend, metric, name in (("", "loss", "loss"), (named, "top/1", "top-1")):
        flags = ["-i", "run/training.pickle", "--metric", metric]
        # Python tells each import on stderr.
        how = {"MPLBACKEND": backend, "PYTHONPROFILEIMPORTTIME": 1}
        process = run("plot_shift.py", *flags, cwd=tmp_path, **how)
        picture = f"run/training.pickle.{name}.png"
        told = f"no window can open here; the figure is in {picture}\n"
        assert process.returncode == 0 and told in process.stdout
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
        starts = {line[:12] for line in process.stderr.splitlines()}
        assert starts == {"import time:"} and "matplotlib" in process.stderr
        assert not re.search("tensorflow|keras|sklearn", process.stderr)
    assert os.listdir(tmp_path) == ["run"]


def test_a_window_is_shown_where_one_can_open(draw, tmp_path, monkeypatch):
    shown = []
    # Matplotlib lets a backend that needs no screen pass where there is none.
    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", "headless")
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    draw(HISTORY, "--output", "window")
    assert shown == [plt.gcf()] and os.listdir(tmp_path) == ["training.pickle"]


README = (ROOT / "README.md").read_text()


def term(losses, name, above, below):
    """Return a term and its error as the table of the README shows them."""
    error = losses[f"loss_{name}_error"]
    return f"{losses[above] - losses[below]:+.3f} ± {error:.3f}"


def test_the_readme_has_the_numbers_of_the_committed_run():
    path = ROOT / "tests" / "held_out_run.pickle"
    history = pickle.loads(path.read_bytes())
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    for column, epoch in enumerate((0, 24), 1):
        losses = {name: round(values[epoch], 3) for name, values in history.items()}
        assert [row[column].strip("*") for row in rows[-8:]] == [
            f"{losses['val_loss']:.3f}",
            term(losses, "regularization", "val_loss_regularized", "val_loss"),
            term(losses, "timing", "val_loss_during", "val_loss_regularized"),
            f"{losses['val_loss_during']:.3f}",
            term(losses, "data", "held_out_loss_during", "val_loss_during"),
            term(losses, "overfitting", "loss", "held_out_loss_during"),
            f"{losses['loss']:.3f}",
            f"{losses['loss'] - losses['val_loss']:+.3f}",
        ]


def test_the_block_of_the_readme_adds_up_and_is_what_is_said_of_its_numbers():
    block = README.split("is unknown):\n")[1].split("\n```")[0]
    names, *rows = [re.split("  +", line.strip()) for line in block.splitlines()[:3]]
    terms = {}
    for name, column in zip(names[1:], zip(*(row[1:] for row in rows))):
        cells = [[*cell.split(" +-"), "nan"] for cell in column]
        terms[name] = np.array(
            [float(cell[0].replace("-", "nan", cell[0] == "-")) for cell in cells]
        )
        terms[f"{name} error"] = np.array([float(cell[1]) for cell in cells])
    del terms["gap error"], terms["by shift error"]
    np.testing.assert_allclose(terms["gap"], sum(terms[name] for name in gap.TERMS))
    assert f"{gap.table(terms)}\n[INFO] {gap.describe(terms)}" == block
