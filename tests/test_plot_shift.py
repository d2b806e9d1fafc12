"""The plotting script, through its real command line."""

import itertools
import pickle
import re
import runpy
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import ROOT, command, environment, run

from pyimagesearch import gap
from pyimagesearch.terminal import UserError

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
    for panel, title, left in ((top, "Unshifted", 0), (bottom, "Shifted", 0.5)):
        assert panel.get_title() == f"{title} {metric}"
        assert (panel.get_xlabel(), panel.get_ylabel()) == ("Epoch #", metric)
        labels = [text.get_text() for text in panel.get_legend().get_texts()]
        assert labels == [f"training {metric}", f"validation {metric}"]
        training, validation = panel.get_lines()
        np.testing.assert_array_equal(training.get_xdata(), np.arange(3) - left)
        np.testing.assert_array_equal(validation.get_xdata(), np.arange(3))
        np.testing.assert_array_equal(training.get_ydata(), HISTORY[metric])
        np.testing.assert_array_equal(validation.get_ydata(), HISTORY[f"val_{metric}"])
    for panel in (top, bottom):  # a common scale
        panel.set(xlim=(-7, 7), ylim=(-8, 8))
        for other in (top, bottom):
            assert (other.get_xlim(), other.get_ylim()) == ((-7, 7), (-8, 8))
        panel.set(xlim=(0, 1), ylim=(0, 1))
    assert top.get_position().y0 > bottom.get_position().y1
    if metric == "loss":  # by hand: (0.4 + 0) / 2 and (0.15 + 0.05) / 2
        out = capsys.readouterr().out
        assert (
            "closer in 1 of 2 epochs: their mean distance is 0.1, unshifted 0.2" in out
        )


def test_curves_of_a_pytorch_loop_are_drawn_under_their_names(folder, monkeypatch):
    history = {"train_loss": [1.0, 0.5, 0.4], "test_loss": [0.6, 0.5, 0.1]}
    (folder / "training.pickle").write_bytes(pickle.dumps(history))
    for panel in drawn(folder, monkeypatch):
        labels = [text.get_text() for text in panel.get_legend().get_texts()]
        assert labels == ["training loss", "test loss"]


MEASURED = {
    **HISTORY,
    "val_loss_during": [0.9, 0.62, 0.45],
    "val_loss_regularized": [0.75, 0.6, 0.2],
    "loss_regularization_error": [0.01, 0.02, 0.03],
    "loss_timing_error": [0.02, 0.02, 0.02],
    "loss_data_error": [0.05, 0.04, 0.03],
}


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_a_run_with_reasons_gets_a_third_panel_and_a_table(
    folder, monkeypatch, capsys, metric
):
    assert len(drawn(folder, monkeypatch, "--metric", metric)) == 2
    assert "to measure what makes the gap: fashion_mnist.py" in capsys.readouterr().out
    swapped = {"loss": "accuracy", "accuracy": "loss"}
    history = MEASURED
    if metric == "accuracy":
        history = {
            re.sub("loss|accuracy", lambda found: swapped[found[0]], name): values
            for name, values in MEASURED.items()
        }
    (folder / "training.pickle").write_bytes(pickle.dumps(history))
    top, shifted, third = drawn(folder, monkeypatch, "--metric", metric.capitalize())
    assert len(top.get_lines()) == 2
    # The validation images, measured as the training images are, and at their moments.
    during = shifted.get_lines()[2]
    assert "measured the way the training" in during.get_label()
    np.testing.assert_array_equal(during.get_xdata(), np.arange(3) - 0.5)
    np.testing.assert_array_equal(during.get_ydata(), [0.9, 0.62, 0.45])
    by_hand = {
        "regularization": [0.15, 0.1, 0.1],
        "timing": [0.15, 0.02, 0.25],
        "data + overfitting": [0.1, -0.12, -0.05],
        "gap, their sum": [0.4, 0.0, 0.3],
    }
    lines = {line.get_label(): line.get_ydata() for line in third.get_lines()}
    for name, values in by_hand.items():
        np.testing.assert_allclose(lines[name], values, atol=1e-12)
    width, height = plt.gcf().get_size_inches() * plt.gcf().dpi
    assert width <= 800 and height <= 800
    boxes = [panel.get_tightbbox() for panel in (top, shifted, third)]
    assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(boxes))
    out = capsys.readouterr().out
    row = "0 +0.400 +0.150 +-0.010 +0.150 +-0.020 +0.100 +-0.050 +0.250"
    assert row.split() in [line.split() for line in out.splitlines()]
    assert "[INFO] epoch 0: the gap is +0.400, the validation" in out
    assert max(map(len, out.splitlines())) <= 110


def test_what_was_measured_in_part_is_left_out(folder, monkeypatch, capsys):
    for change in ({"val_loss_during": [0.9]}, {"loss_timing_error": ["a", 1, 1]}):
        history = {**MEASURED, **change}
        (folder / "training.pickle").write_bytes(pickle.dumps(history))
        assert len(drawn(folder, monkeypatch)) == 2
        assert "warning: " in capsys.readouterr().err


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
    # The last is a notebook's, whose shell hands it on.
    ["agg", "tkagg", "", "module://matplotlib_inline.backend_inline"],
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
        ("-i .", ["Is a directory: '.'"]),
        ("--metric recall", ["curve of recall; try --metric loss or accuracy"]),
        ("-o figure.jpeg", ["figure.jpeg", ".png, .pdf, .svg"]),
        ("-o missing/figure.png", ["No such file", "missing/figure.png"]),
    ],
)
def test_a_mistake_is_told(folder, monkeypatch, capsys, arguments, words):
    # What the system says, terminal.py puts into a line.
    with pytest.raises((UserError, OSError)) as told:
        drawn(folder, monkeypatch, *arguments.split())
    for word in words:
        assert word in str(told.value)
    assert [file.name for file in folder.iterdir()] == ["training.pickle"]


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


WINDOW = """
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

class FigureManager(FigureManagerBase):
    @classmethod
    def pyplot_show(cls, block=None):
        print("a window is shown")

class FigureCanvas(FigureCanvasAgg):
    manager_class = FigureManager

    def __init__(self, *figure):
        super().__init__(*figure)
        # Not of the class, or matplotlib would look for a screen.
        self.required_interactive_framework = "tests"
"""


def test_where_windows_can_open_one_is_shown_and_nothing_saved(folder, tmp_path):
    (tmp_path / "window.py").write_text(WINDOW)
    backend = {"MPLBACKEND": "module://window", "PYTHONPATH": tmp_path}
    process = run("plot_shift.py", cwd=folder, **backend)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.endswith("a window is shown\n")
    assert not list(folder.glob("*.png"))


README = (ROOT / "README.md").read_text()


def test_the_readme_has_the_numbers_of_the_committed_run():
    path = ROOT / "tests" / "held_out_run.pickle"
    history = pickle.loads(path.read_bytes())
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    for column, epoch in enumerate((0, 24), 1):
        rounded = {name: round(values[epoch], 3) for name, values in history.items()}
        val_loss, regularization, timing, during, data, overfitting, loss, total = (
            row[column].strip("*") for row in rows[-8:]
        )
        assert total == f"{rounded['loss'] - rounded['val_loss']:+.3f}"
        assert val_loss == f"{rounded['val_loss']:.3f}"
        assert during == f"{rounded['val_loss_during']:.3f}"
        assert loss == f"{rounded['loss']:.3f}"
        for shown, name, above, below in (
            (regularization, "regularization", "val_loss_regularized", "val_loss"),
            (timing, "timing", "val_loss_during", "val_loss_regularized"),
            (data, "data", "held_out_loss_during", "val_loss_during"),
            (overfitting, "overfitting", "loss", "held_out_loss_during"),
        ):
            error = history[f"loss_{name}_error"][epoch]
            by_hand = f"{rounded[above] - rounded[below]:+.3f} ± {error:.3f}"
            assert shown == by_hand, name


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
