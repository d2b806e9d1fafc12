"""The plotting script is run through its real command line."""

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

from pyimagesearch import gap

HISTORY = {"loss": [1.0, 0.5, 0.4], "val_loss": [0.6, 0.5, 0.1]}
MEASURED = HISTORY | {
    "val_loss_during": [0.9, 0.62, 0.45],
    "val_loss_regularized": [0.75, 0.6, 0.2],
    "loss_regularization_error": [0.01, 0.02, 0.03],
    "loss_timing_error": [0.02, 0.02, 0.02],
    "loss_data_error": [0.05, 0.04, 0.03],
}


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Return a function that runs the script in this process, and returns the panels.

    It runs as where no window can open.
    """
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")

    def run_on(history, *flags):
        (tmp_path / "training.pickle").write_bytes(pickle.dumps(history))
        monkeypatch.setattr(sys, "argv", ["plot_shift.py", *flags])
        plt.close("all")
        runpy.run_path(str(ROOT / "plot_shift.py"))
        return plt.gcf().axes

    return run_on


def test_both_curves_are_drawn_as_they_are_and_shifted(draw, capsys):
    # One metric is named as Keras does it, the other as many a loop in PyTorch does.
    for metric, names in (
        ("loss", ("loss", "val_loss")),
        ("top/1", ("train_top/1", "test_top/1")),
    ):
        labels = [f"training {metric}", f"validation {metric}"]
        top, bottom = draw(dict(zip(names, HISTORY.values())), "--metric", metric)
        for panel, title, left in ((top, "Unshifted", 0), (bottom, "Shifted", 0.5)):
            assert panel.get_title() == f"{title} {metric}"
            assert (panel.get_xlabel(), panel.get_ylabel()) == ("Epoch #", metric)
            assert [one.get_text() for one in panel.get_legend().get_texts()] == labels
            training, validation = (line.get_xydata() for line in panel.get_lines())
            assert [*training[:, 0]] == [0 - left, 1 - left, 2 - left]
            assert [*validation[:, 0]] == [0, 1, 2]
            assert [[*training[:, 1]], [*validation[:, 1]]] == [*HISTORY.values()]
        assert top.get_shared_x_axes().joined(top, bottom)
        assert top.get_shared_y_axes().joined(top, bottom)
        out = capsys.readouterr().out
        picture = f"training.pickle.{metric.replace('/', '-')}.png"
        assert f"the figure is in {picture}\n" in out and os.path.isfile(picture)
        # By hand: (0.4 + 0) / 2 and (0.15 + 0.05) / 2.
        assert "in 1 of 2 epochs: their mean distance was 0.2, and is 0.1" in out
        assert "what makes this gap was not measured: README.md says" in out


def test_a_run_with_reasons_gets_a_third_panel_and_a_table(draw, capsys):
    for metric in ("loss", "accuracy"):
        history = {name.replace("loss", metric): MEASURED[name] for name in MEASURED}
        top, shifted, third = draw(history, "--metric", metric)
        assert len(top.get_lines()) == 2
        # The validation images, measured as the training images are, and when they are.
        during = shifted.get_lines()[2]
        assert "measured like the training" in during.get_label()
        curve = [-0.5, 0.5, 1.5], [0.9, 0.62, 0.45]
        np.testing.assert_allclose(during.get_data(), curve)
        lines = {line.get_label(): line.get_ydata() for line in third.get_lines()}
        np.testing.assert_allclose(lines["gap, their sum"], [0.4, 0, 0.3], atol=1e-12)
        assert max(plt.gcf().get_size_inches() * plt.gcf().dpi) <= 800
        boxes = [panel.get_tightbbox() for panel in (top, shifted, third)]
        assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(boxes))
        out = capsys.readouterr().out
        assert f"[INFO] the gap is training {metric} minus validation {metric}" in out
        row = "0 +0.400 +0.150 +-0.010 +0.150 +-0.020 +0.100 +-0.050 +0.250"
        assert row.split() in [line.split() for line in out.splitlines()]
        assert max(map(len, out.splitlines())) <= 110


def test_one_epoch_is_a_visible_point_and_many_are_no_band_of_markers(draw):
    for epochs, step in ((1, 1), (50, 1), (51, 2), (1000, 20)):
        curve = [*np.linspace(1, 0.5, epochs)]
        for panel in draw({"loss": curve, "val_loss": curve}):
            for line in panel.get_lines():
                assert line.get_marker() in "os" and line.get_markevery() == step
            assert all(tick == int(tick) for tick in panel.get_xticks())


def test_a_mistake_is_told_before_all_else_and_nothing_is_saved(draw, capsys):
    for flags, told in (
        ("-i missing.pickle", "missing.pickle does not exist"),
        ("--metric recall", "training.pickle has no recall and val_recall"),
        ("-o figure.jpeg", "figure.jpeg must end in .png, .pdf or .svg"),
        ("-o missing/figure.png", "No such file .*missing/figure.png"),
    ):
        # `terminal` puts into a line what the system says.
        with pytest.raises((SystemExit, OSError), match=told):
            draw(HISTORY, *flags.split())
        assert os.listdir() == ["training.pickle"] and capsys.readouterr().out == ""


def test_it_needs_only_matplotlib_and_finds_out_that_no_window_can_open(tmp_path):
    (tmp_path / "run.csv").write_text("loss,val_loss\n1,0.6\n0.5,0.5\n")
    # Python tells each import on stderr.
    variables = {"MPLBACKEND": "", "PYTHONPROFILEIMPORTTIME": 1}
    process = run("plot_shift.py", "-i", "run.csv", cwd=tmp_path, **variables)
    assert process.returncode == 0 and (tmp_path / "run.csv.loss.png").is_file()
    assert {line[:12] for line in process.stderr.splitlines()} == {"import time:"}
    assert not re.search("tensorflow|keras|sklearn", process.stderr)


def test_a_window_is_shown_where_one_can_open(draw, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "get_backend", lambda: "TkAgg")
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    draw(HISTORY)
    assert shown == [plt.gcf()] and os.listdir() == ["training.pickle"]
    draw(HISTORY, "--output", "a.PDF")
    assert len(shown) == 1 and (tmp_path / "a.PDF").read_bytes().startswith(b"%PDF")


README = (ROOT / "README.md").read_text()


def test_the_table_of_the_readme_has_the_numbers_of_the_committed_run():
    history = pickle.loads((ROOT / "tests" / "held_out_run.pickle").read_bytes())
    names = ["val_loss", *(above.format("loss") for above, _ in gap.TERMS.values())]
    table = README.split("**validation loss")[1].split("\n\n")[0]
    for column, epoch in ((1, 0), (2, 24)):
        cells = " ".join(row.split(" | ")[column] for row in table.splitlines())
        told = [float(number) for number in re.findall(r"[-+]?\d\.\d{3}", cells)]
        # The terms are differences of the rounded losses, so the table adds up.
        losses = [round(history[name][epoch], 3) for name in names]
        errors = [history[f"loss_{name}_error"][epoch] for name in gap.TERMS]
        first, second, third, fourth = zip(np.diff(losses), errors)
        exact = [losses[0], *first, *second, losses[2], *third, *fourth, losses[4]]
        assert told == pytest.approx([*exact, losses[4] - losses[0]], abs=0.0005)


def test_the_block_of_the_readme_is_a_printed_table_that_adds_up():
    block = "\nepoch " + README.split("\nepoch ")[1].split("\n```")[0]
    names, *rows = [re.split("  +", line.strip()) for line in block[1:].splitlines()]
    terms = {}
    for name, *column in [*zip(names, *rows)][1:]:
        cells = [re.sub("^-$", "nan", cell).split(" +-") for cell in column]
        for key, *numbers in zip((name, f"{name} error"), *cells):
            terms[key] = np.array([float(number) for number in numbers])
    assert gap.table(terms).endswith(block)
    # Each number is rounded by itself.
    assert sum(map(terms.get, gap.TERMS)) == pytest.approx(terms["gap"], abs=0.0021)
