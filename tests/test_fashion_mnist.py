"""The training script, through its real command line, on a small data set."""

import gzip
import os
import pickle
import re
import runpy
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow
from conftest import (
    FILES,
    ROOT,
    USERS_KERAS_HOME,
    assert_one_line_error,
    command,
    environment,
    run,
    write_data_set,
)

from pyimagesearch.backend import keras
from pyimagesearch.datasets import count_leaks, hold_out

REAL_DATA = USERS_KERAS_HOME / "datasets" / "fashion-mnist"
LABELS = ["top", "trouser", "pullover", "dress", "coat"]
LABELS += ["sandal", "shirt", "sneaker", "bag", "ankle boot"]
KEYS = ["accuracy", "loss", "val_accuracy", "val_loss"]


def read(path):
    """Read a history as anyone would."""
    return pickle.loads(path.read_bytes())


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


@pytest.fixture(scope="module")
def short_run(keras_home, tmp_path_factory):
    """A run of two epochs with all other settings as they are, over an earlier history."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "training.pickle").write_bytes(pickle.dumps({"loss": [1.0]}))
    script = ("fashion_mnist.py", "--epochs", 2)
    return folder, run(*script, cwd=folder, KERAS_HOME=keras_home)


def test_history_is_that_of_plain_keras(short_run, images):
    folder, process = short_run
    assert process.returncode == 0, process.stderr
    assert [file.name for file in folder.iterdir()] == ["training.pickle"]
    history = read(folder / "training.pickle")
    assert type(history) is dict and sorted(history) == KEYS
    plain = plain_history(images, 0.01, 32, epochs=2, dropout=True, seed=42)
    for name in KEYS:
        assert [type(value) for value in history[name]] == [float, float]
        assert history[name] == pytest.approx(plain[name], rel=1e-4), name


FLAGS = ["--epochs", 3, "--batch-size", 64, "--lr", 0.05, "--no-dropout"]
FLAGS += ["--seed", 7, "-i", "own.pickle", "--dataset", "fashion-mnist"]
FLAGS += ["--hold-out", 100]


@pytest.fixture(scope="module")
def run_with_flags(keras_home, tmp_path_factory):
    """A run in which every setting is another."""
    folder = tmp_path_factory.mktemp("flags")
    process = run("fashion_mnist.py", *FLAGS, cwd=folder, KERAS_HOME=keras_home)
    assert process.returncode == 0, process.stderr
    assert "training MiniVGGNet on 220 images" in process.stdout
    return read(folder / "own.pickle")


def test_flags_reach_the_training(run_with_flags, images):
    training, _ = hold_out("fashion-mnist", *images[0], 100, seed=7)
    parts = training, images[1]
    plain = plain_history(parts, 0.05, 64, epochs=3, dropout=False, seed=7)
    for name in KEYS:
        assert run_with_flags[name] == pytest.approx(plain[name], rel=1e-3), name


def test_one_seed_gives_one_history_to_which_reasons_add_columns(
    run_with_flags, keras_home, tmp_path
):
    flags = [*FLAGS, "--reasons"]
    process = run("fashion_mnist.py", *flags, cwd=tmp_path, KERAS_HOME=keras_home)
    assert process.returncode == 0, process.stderr
    history = read(tmp_path / "own.pickle")
    added = {name: history.pop(name) for name in set(history) - set(KEYS)}
    assert history == run_with_flags
    terms = ["data_error", "held_out_loss_regularized", "loss_at_end"]
    assert sorted(added) == [*terms, "overfitting_error", "val_loss_regularized"]
    assert {len(values) for values in added.values()} == {3}
    assert "images that are training images as well: 0 of 100\n" in process.stdout
    assert f"loss_at_end {added['loss_at_end'][1]:.4f}" in process.stdout


def test_redirected_output_is_one_line_an_epoch(short_run):
    folder, process = short_run
    history = read(folder / "training.pickle")
    lines = process.stdout.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 2
    for number, line in enumerate(epochs):
        assert line.startswith(f"epoch {number + 1}/2: ")
        assert f"val_loss {history['val_loss'][number]:.4f}" in line
    assert [line[:6] for line in lines if "[" in line] == ["[INFO]"] * 6
    assert all(one.isprintable() or one == "\n" for one in process.stdout)
    for label in LABELS:
        assert re.search(rf"^ +{label} +[01]\.\d\d ", process.stdout, re.MULTILINE)


@pytest.mark.skipif(
    bool(tensorflow.config.list_physical_devices("GPU")), reason="a GPU is reported"
)
def test_no_chatter(short_run):
    assert short_run[1].stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is POSIX's")
def test_terminal_shows_progress_bars(keras_home, tmp_path):
    screen, terminal = os.openpty()
    process = subprocess.Popen(
        command("fashion_mnist.py", "--epochs", 1, "--batch-size", 64),
        cwd=tmp_path,
        env=environment(KERAS_HOME=keras_home),
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    text = b""
    try:
        while more := os.read(screen, 100_000):
            text += more
    except OSError:  # Linux's way to say that the terminal was closed
        pass
    os.close(screen)
    assert process.wait() == 0
    assert b"5/5" in text and b"ms/step" in text and b"\r" in text
    assert b"epoch 1/1" not in text
    assert b"oneDNN" not in text and b"cuInit" not in text


def epochs_in(part):
    return len(read(part)["loss"]) if part.exists() else 0


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is POSIX's")
def test_a_run_that_is_cut_off_keeps_its_finished_epochs(keras_home, tmp_path):
    process = subprocess.Popen(
        command("fashion_mnist.py", "--epochs", 1000),
        cwd=tmp_path,
        env=environment(KERAS_HOME=keras_home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # A reader that goes away, as `head -1` does, does not end the training.
    assert process.stdout.readline().startswith("[INFO]")
    process.stdout.close()
    part = tmp_path / "training.pickle.part"
    deadline = time.monotonic() + 120
    while epochs_in(part) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # They are in the file while the training goes on: killed now, it would leave them.
    assert sorted(read(part)) == KEYS and process.poll() is None
    process.send_signal(signal.SIGINT)
    with process.stderr as told:
        process.stderr = told.read()
    assert process.wait(timeout=60) == 130
    words = ("interrupted", f"{epochs_in(part)} of 1000 epochs", part.name)
    assert_one_line_error(process, *words)
    assert not (tmp_path / "training.pickle").exists()
    assert sorted(read(part)) == KEYS and epochs_in(part) >= 2
    plot = run("plot_shift.py", "-i", part.name, cwd=tmp_path)
    assert plot.returncode == 0
    assert (tmp_path / f"{part.name}.loss.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of resources are POSIX's")
def test_full_disk_keeps_the_epochs_before(keras_home, tmp_path):
    import resource

    def limit_files():
        # Room for some epochs of 9 bytes a number, then none, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (250, 250))

    process = run(
        *("fashion_mnist.py", "--epochs", 1000),
        cwd=tmp_path,
        KERAS_HOME=keras_home,
        PYTHONDONTWRITEBYTECODE=1,
        preexec_fn=limit_files,
    )
    part = tmp_path / "training.pickle.part"
    words = ("cannot write", f"{epochs_in(part)} of 1000 epochs saved", part.name)
    assert_one_line_error(process, *words)
    assert [file.name for file in tmp_path.iterdir()] == [part.name]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is POSIX's")
def test_interrupted_start_ends_in_one_line(tmp_path):
    # Stands in for Keras, whose import takes long.
    (tmp_path / "keras.py").write_text(
        "import time; open('begun', 'w'); time.sleep(60)"
    )
    process = subprocess.Popen(
        command("fashion_mnist.py"),
        cwd=tmp_path,
        env=environment(PYTHONPATH=tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "begun").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, process.stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert_one_line_error(process, "interrupted: ", "nothing was saved")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX closes it")
def test_infinite_loss_stops_with_advice_also_where_the_output_is_closed(
    keras_home, tmp_path
):
    process = run(
        *("fashion_mnist.py", "--lr", 1e9, "--epochs", 1000),
        cwd=tmp_path,
        KERAS_HOME=keras_home,
        preexec_fn=lambda: os.close(1),
    )
    assert_one_line_error(process, "is not finite", "lower --lr", ".part")
    assert sorted(read(tmp_path / "training.pickle.part")) == KEYS


def test_without_network_it_trains_on_digits_and_says_so(tmp_path):
    flags = ("--epochs", 1, "--hold-out", 6000)
    process = run(
        "fashion_mnist.py", *flags, cwd=tmp_path, KERAS_HOME=tmp_path / "home"
    )
    assert process.returncode == 0, process.stderr
    assert "training MiniVGGNet on 1185 images of digits" in process.stdout
    assert "--dataset fashion-mnist never does that" in process.stdout
    assert "trouser" not in process.stdout
    history = read(tmp_path / "training.pickle")
    assert len(history["loss"]) == 1


def test_a_file_that_is_no_history_is_left_alone(keras_home, tmp_path):
    (tmp_path / "README.md").write_text("# Mine\n")
    flags = ["--history", "README.md"]
    process = run("fashion_mnist.py", *flags, cwd=tmp_path, KERAS_HOME=keras_home)
    assert_one_line_error(process, "README.md is not a history: name another --history")
    assert process.stdout == ""
    assert (tmp_path / "README.md").read_text() == "# Mine\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("fashion_mnist.py --epochs 1.5", "--epochs: invalid int value: '1.5'"),
        ("fashion_mnist.py --epochs 0", "--epochs: 0 is not from 1 to 4294967295"),
        ("fashion_mnist.py --batch-size 0", "--batch-size: 0 is not from 1 to"),
        ("fashion_mnist.py --seed -1", "--seed: -1 is not from 0 to 4294967295"),
        ("fashion_mnist.py --seed 4294967296", "is not from 0 to 4294967295"),
        ("fashion_mnist.py --lr 0", "--lr: 0.0 is not from 1e-09 to"),
        ("fashion_mnist.py --lr nan", "--lr: nan is not from 1e-09 to"),
        (
            "fashion_mnist.py --hold-out -1",
            "--hold-out: -1 is not from 0 to 4294967295",
        ),
        ("plot_shift.py --colour", "unrecognized arguments: --colour"),
    ],
)
def test_a_mistake_among_the_flags_is_told_with_the_usage(
    flags, words, monkeypatch, capsys
):
    script, *_ = argv = flags.split()
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / script))
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"usage: {script}")
    assert words in told.splitlines()[-1]


@pytest.mark.parametrize("script", ["fashion_mnist.py", "plot_shift.py"])
def test_a_python_without_the_packages_is_told_in_one_line(script, tmp_path):
    process = subprocess.run(
        # -S: no package besides those of Python itself.
        [sys.executable, "-S", ROOT / script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    words = ("No module named", "use .venv/bin/python, after .venv/bin/pip install -r")
    assert_one_line_error(process, *words)


@pytest.mark.skipif(
    # A download that failed leaves an empty folder.
    not all((REAL_DATA / name).is_file() for name in FILES),
    reason=f"no real data in {REAL_DATA}",
)
def test_the_tutorials_effect_on_the_real_data(tmp_path):
    def real(name, start):
        content = gzip.decompress((REAL_DATA / f"{name}-ubyte.gz").read_bytes())
        return np.frombuffer(content, "uint8", offset=start)

    trainX, trainY = real("train-images-idx3", 16), real("train-labels-idx1", 8)
    testX, testY = real("t10k-images-idx3", 16), real("t10k-labels-idx1", 8)
    trainX, testX = trainX.reshape(60000, 28, 28), testX.reshape(10000, 28, 28)
    assert count_leaks(trainX, testX) == 0
    # A fifth of them, to save time.
    parts = (trainX[:12000], trainY[:12000]), (testX[:2000], testY[:2000])
    home = write_data_set(tmp_path / "home", *parts)
    flags = ("--epochs", 1, "--reasons")
    process = run("fashion_mnist.py", *flags, cwd=tmp_path, KERAS_HOME=home)
    assert process.returncode == 0, process.stderr
    assert "training MiniVGGNet on 12000 images of fashion-mnist" in process.stdout
    history = read(tmp_path / "training.pickle")
    logs = {name: value for name, (value,) in history.items()}
    assert logs["val_loss"] < logs["loss"]
    assert logs["val_accuracy"] > 0.7
    # In the first epoch, timing is what makes the gap.
    timing = logs["loss"] - logs["loss_at_end"]
    assert timing > (logs["loss"] - logs["val_loss"]) / 2
