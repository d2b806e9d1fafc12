"""The training script, through its real command line, on a small data set."""

import csv
import gzip
import math
import os
import pickle
import re
import runpy
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow
from conftest import (
    FILES,
    OWN_KERAS_HOME,
    ROOT,
    USERS_KERAS_HOME,
    assert_one_line_error,
    command,
    environment,
    run,
    write_data_set,
)

from pyimagesearch.datasets import batches, count_leaks, hold_out
from pyimagesearch.histories import load_history
from pyimagesearch.terminal import UserError

REAL_DATA = USERS_KERAS_HOME / "datasets" / "fashion-mnist"
LABELS = ["top", "trouser", "pullover", "dress", "coat"]
LABELS += ["sandal", "shirt", "sneaker", "bag", "ankle boot"]
KEYS = ["accuracy", "loss", "val_accuracy", "val_loss"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals, limits, terminals")


def read(path):
    """Read a history as anyone would."""
    return pickle.loads(path.read_bytes())


def read_table(path):
    """Read the table beside a history, as a dict of columns."""
    rows = [*csv.DictReader(path.open())] if path.exists() else []
    return (
        {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}
    )


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def plain_history(images, rate, batch_size, epochs, dropout, seed):
    """Train the tutorial's network in plain Keras, with its decay as it was in Keras 2."""
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    network = [keras.Input((28, 28, 1))]
    for filters in (32, 64):
        for _ in range(2):
            network += [layers.Conv2D(filters, 3, padding="same"), layers.ReLU()]
            network += [layers.BatchNormalization()]
        network += [layers.MaxPooling2D(), layers.Dropout(0.25)]
    network += [layers.Flatten(), layers.Dense(512), layers.ReLU()]
    network += [layers.BatchNormalization(), layers.Dropout(0.5)]
    network += [layers.Dense(10, activation="softmax")]
    if not dropout:  # made in either case: each has drawn a seed
        network = [layer for layer in network if "dropout" not in layer.name]
    model = keras.Sequential(network)

    class Decay(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, updates):
            return rate / (1 + rate / epochs * keras.ops.cast(updates, "float32"))

    optimizer = keras.optimizers.SGD(Decay(), momentum=0.9)
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    training, validation = [
        tensorflow.data.Dataset.from_tensor_slices(
            (pictures[..., None] / np.float32(255), keras.utils.to_categorical(labels))
        )
        for pictures, labels in images
    ]
    return model.fit(
        training.shuffle(len(images[0][0]), seed=seed).batch(batch_size),
        validation_data=validation.batch(batch_size),
        epochs=epochs,
        shuffle=False,
        verbose=0,
    ).history


def started(folder, *flags, **variables):
    """Start the script in a folder, and return its process."""
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    words, env = command("fashion_mnist.py", *flags), environment(**variables)
    return subprocess.Popen(words, cwd=folder, env=env, **how)


def run_in_terminal(folder, *flags, **variables):
    """Run the script in a terminal; return its exit code and what is on the screen."""
    screen, end = os.openpty()
    words, env = command("fashion_mnist.py", *flags), environment(**variables)
    process = subprocess.Popen(words, cwd=folder, env=env, stdout=end, stderr=end)
    os.close(end)
    text = b""
    try:
        while more := os.read(screen, 100_000):
            text += more
    except OSError:  # Linux's way to say that the terminal was closed
        pass
    os.close(screen)
    return process.wait(), text.decode()


def run_until_ctrl_c(folder, is_time, *flags, **variables):
    """Start the script, and press Ctrl-C when it is time; return the ended process."""
    process, process.stdout_lines = started(folder, *flags, **variables), []
    for line in process.stdout:
        process.stdout_lines.append(line)
        if is_time(line):
            # What is in the file now would be there after kill -9, too.
            process.table = read_table(folder / "training.pickle.csv")
            process.send_signal(signal.SIGINT)
    _, process.stderr = process.communicate(timeout=60)
    return process


@pytest.fixture(scope="module")
def runs(keras_home, tmp_path_factory):
    """Runs of the script by name, each a folder and what came of it; two at a time."""
    home = {"KERAS_HOME": keras_home}
    every = {
        "plain": lambda folder: run(
            *("fashion_mnist.py", "--epochs", 2, "--history", "README.md"),
            cwd=folder,
            **home,
        ),
        "reasons": lambda folder: run_in_terminal(
            folder, "--epochs", 2, "--reasons", **home
        ),
        "interrupted": lambda folder: run_until_ctrl_c(
            folder, re.compile("Epoch 3").match, "--epochs", 20, **home
        ),
        # The first rows of 19 numbers are within 1,024 bytes, and then the disk is full.
        "full disk": lambda folder: run(
            *("fashion_mnist.py", "--hold-out", 288),
            cwd=folder,
            shell="ulimit -f 2; exec >/dev/null",
            PYTHONDONTWRITEBYTECODE=1,
            **home,
        ),
        "digits": lambda folder: run_until_ctrl_c(
            folder,
            re.compile(".*training MiniVGGNet").match,
            KERAS_HOME=folder / "home",
        ),
    }

    def start(name):
        folder = tmp_path_factory.mktemp(name)
        for earlier in ("README.md", "README.md.csv", "training.pickle"):
            (folder / earlier).write_text("# Mine\n")
        (folder / "training.pickle.csv").write_text("epoch,loss\n0,0.5\n")
        return folder, every[name](folder)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(every, pool.map(start, every)))


EARLIER = ["README.md", "README.md.csv", "training.pickle", "training.pickle.csv"]


def test_batches_are_not_tuned():
    """Autotune's thread, or a copy of the arrays, would be noticed only by chance."""
    options = batches(np.zeros((4, 28, 28, 1)), np.zeros((4, 10)), 2).options()
    assert options.autotune.enabled is False
    assert options.experimental_optimization.apply_default_optimizations is False


@posix
def test_history_is_that_of_plain_keras(runs, images):
    folder, process = runs["plain"]
    assert process.returncode == 0, process.stderr
    history = read(folder / "README.md")
    assert type(history) is dict and sorted(history) == KEYS
    plain = plain_history(images, 0.01, 32, epochs=2, dropout=True, seed=42)
    for name in KEYS:
        assert [type(value) for value in history[name]] == [float, float]
        assert history[name] == pytest.approx(plain[name], rel=1e-4), name
    table = read_table(folder / "README.md.csv")
    assert table == {"epoch": [0, 1], **history}


@posix
def test_what_was_there_stays_and_another_history_is_not_touched(runs):
    folder, _ = runs["plain"]
    assert names(folder) == sorted([*EARLIER, "README.md.csv.old", "README.md.old"])
    for name in ("README.md.old", "README.md.csv.old", "training.pickle"):
        assert (folder / name).read_text() == "# Mine\n"


@posix
def test_redirected_output_is_two_lines_an_epoch(runs):
    folder, process = runs["plain"]
    history = read(folder / "README.md")
    lines = process.stdout.splitlines()
    for number in range(2):
        line = lines[lines.index(f"Epoch {number + 1}/2") + 1]
        assert line.startswith("10/10 - ")
        assert line.endswith(f" - val_loss: {history['val_loss'][number]:.4f}")
    assert [line[:6] for line in lines if "[" in line] == ["[INFO]"] * 6
    assert "images that are training images as well: 0 of 100" in lines[1]
    assert all(one.isprintable() or one == "\n" for one in process.stdout)
    for label in LABELS:
        assert re.search(rf"^ +{label} +[01]\.\d\d ", process.stdout, re.MULTILINE)


@posix
@pytest.mark.skipif(
    bool(tensorflow.config.list_physical_devices("GPU")), reason="a GPU is reported"
)
def test_no_chatter(runs):
    assert runs["plain"][1].stderr == ""


@posix
def test_one_seed_gives_one_history_to_which_reasons_add_columns(runs):
    folder, (code, _) = runs["reasons"]
    assert code == 0
    history = read(folder / "training.pickle")
    assert {name: history[name] for name in KEYS} == read(
        runs["plain"][0] / "README.md"
    )
    added = []
    for name in ("accuracy", "loss"):
        added += [f"val_{name}_during", f"val_{name}_regularized"]
        terms = ("data", "regularization", "timing")
        added += [f"{name}_{term}_error" for term in terms]
    assert sorted(history) == sorted([*KEYS, *added])
    assert {len(values) for values in history.values()} == {2}


@posix
def test_terminal_shows_progress_bars_of_keras_own_numbers(runs):
    _, (_, text) = runs["reasons"]
    assert "10/10" in text and "ms/step" in text and "\r" in text
    assert "val_loss" in text and "val_loss_during" not in text
    assert "oneDNN" not in text and "cuInit" not in text


@posix
def test_an_interrupted_run_keeps_its_finished_epochs(runs):
    folder, process = runs["interrupted"]
    assert process.returncode == 130
    assert_one_line_error(process, "interrupted; finished epochs: 2; ")
    table = read_table(folder / "training.pickle.csv")
    assert table == process.table and sorted(table) == sorted(["epoch", *KEYS])
    assert table["epoch"] == [0, 1]
    assert names(folder) == sorted([*EARLIER, "training.pickle.csv.old"])
    assert (folder / "training.pickle").read_text() == "# Mine\n"
    assert "0.5" in (folder / "training.pickle.csv.old").read_text()
    words = process.stderr.split("to draw them: ")[1].split()
    draw = {"capture_output": True, "cwd": folder, "env": environment()}
    assert subprocess.run(words, check=False, **draw).returncode == 0
    assert (folder / "training.pickle.csv.loss.png").is_file()


@posix
def test_full_disk_keeps_the_epochs_before(runs):
    folder, process = runs["full disk"]
    table = folder / "training.pickle.csv"
    # The last row is cut off, and is left out.
    epochs = len(load_history(str(table))["epoch"])
    assert 0 < epochs == table.read_bytes().count(b"\n") - 1 < 24
    assert_one_line_error(process, "File too large", f"finished epochs: {epochs}; ")
    assert (folder / "training.pickle").read_text() == "# Mine\n"


@posix
def test_without_network_it_trains_on_digits_and_says_so(runs):
    process = runs["digits"][1]
    text = "".join(process.stdout_lines)
    assert "training MiniVGGNet on 14370 images of digits" in text
    assert "images that are training images as well: 0 of 3600" in text
    assert "--dataset fashion-mnist never does that" in text
    assert_one_line_error(process, "interrupted; no epoch was finished")


def train_here(monkeypatch, folder, data, *flags):
    """Run the script in this process, which has started TensorFlow already."""
    write_data_set(OWN_KERAS_HOME, *data)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["fashion_mnist.py", *map(str, flags)])
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    runpy.run_path(str(ROOT / "fashion_mnist.py"))


FLAGS = ["--epochs", 3, "--batch-size", 64, "--lr", 0.05, "--no-dropout", "--seed", 7]
FLAGS += ["-i", "own.pickle", "--dataset", "fashion-mnist", "--hold-out", 100]


def test_flags_reach_the_training(images, tmp_path, monkeypatch, capsys):
    train_here(monkeypatch, tmp_path, images, *FLAGS)
    told = capsys.readouterr()
    assert "training MiniVGGNet on 220 images" in told.out
    assert "--hold-out 100 is less than 5 batches of 64" in told.err
    history = read(tmp_path / "own.pickle")
    training, _ = hold_out("fashion-mnist", *images[0], 100, seed=7)
    parts = training, images[1]
    plain = plain_history(parts, 0.05, 64, epochs=3, dropout=False, seed=7)
    for name in KEYS:
        assert history[name] == pytest.approx(plain[name], rel=1e-3), name
    assert len(history["held_out_loss_during"]) == 3
    assert history["loss_overfitting_error"] != history["loss_data_error"]


def test_a_loss_that_is_not_finite_stops_with_advice(images, tmp_path, monkeypatch):
    # The first update makes all weights what an overflow would.
    schedules = keras.optimizers.schedules
    monkeypatch.setattr(schedules, "InverseTimeDecay", lambda *_: math.nan)
    (tmp_path / "training.pickle").write_text("# Mine\n")
    with pytest.raises(UserError, match="of epoch 0 is not finite: try a lower --lr"):
        train_here(monkeypatch, tmp_path, images, "--epochs", 3)
    assert names(tmp_path) == ["training.pickle", "training.pickle.csv"]
    assert (tmp_path / "training.pickle").read_text() == "# Mine\n"


@pytest.mark.skipif(
    # A download that failed leaves an empty folder.
    not all((REAL_DATA / name).is_file() for name in FILES),
    reason=f"no real data in {REAL_DATA}",
)
def test_the_tutorials_effect_on_the_real_data(tmp_path, monkeypatch, capsys):
    def real(name, start):
        content = gzip.decompress((REAL_DATA / f"{name}-ubyte.gz").read_bytes())
        return np.frombuffer(content, "uint8", offset=start)

    trainX, trainY = real("train-images-idx3", 16), real("train-labels-idx1", 8)
    testX, testY = real("t10k-images-idx3", 16), real("t10k-labels-idx1", 8)
    trainX, testX = trainX.reshape(60000, 28, 28), testX.reshape(10000, 28, 28)
    assert count_leaks(trainX, testX) == 0
    # A tenth of them, in smaller batches, saves time.
    parts = (trainX[:6000], trainY[:6000]), (testX[:1000], testY[:1000])
    more = ("--batch-size", 16)
    train_here(monkeypatch, tmp_path, parts, "--epochs", 1, "--reasons", *more)
    told = capsys.readouterr().out
    assert "training MiniVGGNet on 6000 images of fashion-mnist" in told
    history = read(tmp_path / "training.pickle")
    logs = {name: value for name, (value,) in history.items()}
    assert logs["val_loss"] < logs["loss"]
    assert logs["val_accuracy"] > 0.7
    # Timing and regularization make the gap: each at least a quarter of it.
    timing = logs["val_loss_during"] - logs["val_loss_regularized"]
    regularization = logs["val_loss_regularized"] - logs["val_loss"]
    assert min(timing, regularization) > (logs["loss"] - logs["val_loss"]) / 4
