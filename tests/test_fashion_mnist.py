"""The training script is run through its real command line, on a small data set."""

import os
import pickle
import re
import runpy
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    OWN_KERAS_HOME,
    REAL_DATA,
    ROOT,
    assert_one_line_error,
    command,
    environment,
    run,
    write_data_set,
)

from pyimagesearch import datasets, gap, histories

LABELS = "top trouser pullover dress coat sandal shirt sneaker bag ankle boot"
KEYS = ["accuracy", "loss", "val_accuracy", "val_loss"]


def read(path):
    """Read a history as anyone would."""
    return pickle.loads(path.read_bytes())


def plain_history(data, rate, batch_size, dropout, seed):
    """Train the tutorial's network in plain Keras, with its decay as it was in Keras 2.

    Return the numbers of two epochs, in the order of `KEYS`. `data` are training and
    validation data.
    """
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    network = [keras.Input((28, 28, 1))]
    for filters in (32, 64):
        for _ in range(2):
            network.append(layers.Conv2D(filters, 3, padding="same", activation="relu"))
            network.append(layers.BatchNormalization())
        network += [layers.MaxPooling2D(), layers.Dropout(0.25)]
    network += [layers.Flatten(), layers.Dense(512, activation="relu")]
    network += [layers.BatchNormalization(), layers.Dropout(0.5)]
    network += [layers.Dense(10, activation="softmax")]
    if not dropout:  # made in either case: each has drawn a seed
        network = [layer for layer in network if "dropout" not in layer.name]
    model = keras.Sequential(network)

    def decayed():
        updates = keras.ops.cast(model.optimizer.iterations, "float32")
        return rate / (1 + rate / 2 * updates)

    optimizer = keras.optimizers.SGD(decayed, momentum=0.9)
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])

    def data_set(images, labels):
        scaled, one_hot = images[..., None] / 255, keras.utils.to_categorical(labels)
        return tf.data.Dataset.from_tensor_slices((scaled.astype("float32"), one_hot))

    training = data_set(*data[0]).shuffle(len(data[0][0]), seed=seed).batch(batch_size)
    validation = data_set(*data[1]).batch(batch_size)
    how = {"epochs": 2, "shuffle": False, "verbose": 0}
    history = model.fit(training, validation_data=validation, **how).history
    return [history[name] for name in KEYS]


# All validation images fit in one batch of this size.
FLAGS = ("--epochs", 2, "--batch-size", 100)


def plain(folder, **home):
    """Save the history under a name that something else has."""
    return run("fashion_mnist.py", *FLAGS, "-i", "README.md", cwd=folder, **home)


def reasons(folder, **home):
    """Run the script in a terminal; its screen is the output."""
    terminal = folder / "terminal.py"
    terminal.write_text("import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) != 0)")
    words = command("fashion_mnist.py", *FLAGS, "--reasons")
    return run(terminal, *words, cwd=folder, **home)


def interrupted(folder, **home):
    """Press Ctrl-C as the third epoch begins."""
    words = command("fashion_mnist.py", "--epochs", 20)
    how = {"cwd": folder, "env": environment(**home), "text": True}
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdout=pipe, stderr=pipe, **how)
    for line in process.stdout:
        if line.startswith("Epoch 3"):
            # What is in the table now would be there after kill -9, too.
            process.table = (folder / "training.pickle.csv").read_bytes()
            process.send_signal(signal.SIGINT)
    _, process.stderr = process.communicate(timeout=60)
    return process


@pytest.fixture(scope="module")
def runs(keras_home, tmp_path_factory):
    """Return three runs of the script, each as a folder and what came of it."""
    pytest.importorskip("pty", reason="Windows has no such terminals and signals")

    def start(how):
        folder = tmp_path_factory.mktemp(how.__name__)
        for name in ("README.md", "training.pickle"):
            (folder / name).write_text("# Mine\n")
            (folder / f"{name}.csv").write_text("# Mine, too\n")
        return folder, how(folder, KERAS_HOME=keras_home)

    every = (plain, reasons, interrupted)
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(every, pool.map(start, every)))


def test_history_is_that_of_plain_keras(runs, images):
    folder, process = runs[plain]
    assert process.returncode == 0, process.stderr
    history = read(folder / "README.md")
    assert type(history) is dict and sorted(history) == KEYS
    expected = plain_history(images, 0.01, 100, dropout=True, seed=42)
    np.testing.assert_allclose([history[name] for name in KEYS], expected, rtol=1e-4)


def test_what_was_there_is_kept_and_another_history_is_not_touched(runs):
    folder, _ = runs[plain]
    assert (folder / "README.md.old").read_text() == "# Mine\n"
    assert (folder / "README.md.csv.old").read_text() == "# Mine, too\n"
    assert (folder / "training.pickle").read_text() == "# Mine\n"
    assert len(os.listdir(folder)) == 6


def test_redirected_output_is_two_lines_an_epoch_and_a_report(runs):
    folder, process = runs[plain]
    history = read(folder / "README.md")
    lines = process.stdout.splitlines()
    for epoch, val_loss in enumerate(history["val_loss"], 1):
        line = lines[lines.index(f"Epoch {epoch}/2") + 1]
        assert line.startswith("4/4 - ") and line.endswith(f"val_loss: {val_loss:.4f}")
    assert [line[:6] for line in lines if "[" in line] == ["[INFO]"] * 5
    assert "images that are also training images: 0 of 100" in lines[1]
    assert all(one.isprintable() or one == "\n" for one in process.stdout)
    # There are 10 validation images of each class.
    row = re.compile(r"^ +([a-z ]+?) +[01]\.\d\d .* 10$", re.MULTILINE)
    assert " ".join(row.findall(process.stdout)) == LABELS
    accuracy = f"{history['val_accuracy'][-1]:.2f}"
    assert ["accuracy", accuracy, "100"] in [line.split() for line in lines]
    if not tf.config.list_physical_devices("GPU"):  # of which TensorFlow speaks
        assert process.stderr == ""


def test_one_seed_gives_one_history_to_which_reasons_add_columns(runs):
    folder, process = runs[reasons]
    assert process.returncode == 0
    history = read(folder / "training.pickle")
    without = read(runs[plain][0] / "README.md")
    assert {name: history[name] for name in KEYS} == without
    # There is one batch, and the error of one batch is unknown.
    assert np.isnan(history["loss_timing_error"]).all()
    table = histories.load_history(str(folder / "training.pickle.csv"))
    np.testing.assert_equal(table, {"epoch": [0, 1], **history})


def test_terminal_shows_progress_bars_of_keras_own_numbers(runs):
    text = runs[reasons][1].stdout
    assert "━━━" in text and "val_loss: " in text and "val_loss_during" not in text


def test_an_interrupted_run_keeps_its_finished_epochs(runs):
    folder, process = runs[interrupted]
    # Now and then, TensorFlow aborts when it is interrupted; the files must be there.
    if process.returncode != -signal.SIGABRT:
        assert_one_line_error(process, "; finished epochs: 2, in training.pickle.csv\n")
    assert (folder / "training.pickle.csv").read_bytes() == process.table
    assert (folder / "training.pickle.old").read_text() == "# Mine\n"
    # There is no history to be taken for that of this run.
    table = "--input", "training.pickle.csv"
    assert_one_line_error(run("plot_shift.py", cwd=folder), " ".join(table))
    assert "the figure is in" in run("plot_shift.py", *table, cwd=folder).stdout


def train_here(monkeypatch, folder, data, flags):
    """Run the script in this process, which has started TensorFlow already."""
    write_data_set(OWN_KERAS_HOME, *data)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["fashion_mnist.py", *flags.split()])
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    runpy.run_path(str(ROOT / "fashion_mnist.py"))


def test_flags_reach_the_training(images, tmp_path, monkeypatch, capsys):
    # The images stand for the digits, of which each has 16 copies. The validation images
    # are those that are going to be held out.
    parts = datasets.hold_out(*images[0], 200, seed=7, copies=16)
    monkeypatch.setattr(datasets, "load_digits", lambda: (images[0], parts[1]))
    flags = "-i own.pickle --dataset digits --hold-out 200 --epochs 2 --no-dropout"
    flags += " --batch-size 40 --lr 0.05 --seed 7"
    train_here(monkeypatch, tmp_path, images, flags)
    told = capsys.readouterr().out
    assert "on 112 images of digits" in told and "ankle boot" not in told
    assert "images that are also training images: 200 of 200" in told
    history = read(tmp_path / "own.pickle")
    expected = plain_history(parts, 0.05, 40, dropout=False, seed=7)
    np.testing.assert_allclose([history[name] for name in KEYS], expected, rtol=1e-3)
    # They are the same images, so they have the same loss.
    held_out, validation = history["held_out_loss_during"], history["val_loss_during"]
    assert held_out == pytest.approx(validation, rel=1e-6)


def test_a_loss_that_is_not_finite_stops_with_advice(images, tmp_path, monkeypatch):
    told = r"the loss is not finite: try a lower --lr than 1e\+38"
    with pytest.raises(SystemExit, match=told):
        train_here(monkeypatch, tmp_path, images, "--epochs 3 --lr 1e38")
    table = histories.load_history(str(tmp_path / "training.pickle.csv"))
    assert [*table["epoch"]] == [0] and len(os.listdir(tmp_path)) == 1


# A download that failed leaves an empty folder.
@pytest.mark.skipif(len([*REAL_DATA.glob("*.gz")]) < 4, reason="no real data are there")
def test_the_tutorials_effect_on_the_real_data(tmp_path, monkeypatch):
    folder = OWN_KERAS_HOME / "datasets" / "fashion-mnist"
    shutil.copytree(REAL_DATA, folder, dirs_exist_ok=True)
    _, training, validation = datasets.load("fashion-mnist")
    assert datasets.count_leaks(training[0], validation[0]) == 0
    # There are as many updates as of all images in a quarter of an epoch.
    parts = [part[:2000] for part in training], [part[:500] for part in validation]
    train_here(monkeypatch, tmp_path, parts, "--epochs 1 --batch-size 4 --reasons")
    history = histories.load_history(str(tmp_path / "training.pickle"))
    assert history["val_accuracy"][0] > 0.6
    # Timing and regularization make the gap: each at least a quarter of it.
    terms = gap.split(history)
    assert min(terms["timing"][0], terms["regularization"][0]) > terms["gap"][0] / 4 > 0
