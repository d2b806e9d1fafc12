"""The training script, through its real command line, on a small data set."""

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
    ROOT,
    USERS_KERAS_HOME,
    assert_one_line_error,
    command,
    environment,
    run,
    write_data_set,
)

from pyimagesearch import datasets, gap, histories, terminal

LABELS = "top trouser pullover dress coat sandal shirt sneaker bag ankle boot"
KEYS = ["accuracy", "loss", "val_accuracy", "val_loss"]


def read(path):
    """Read a history as anyone would."""
    return pickle.loads(path.read_bytes())


def plain_history(data, rate, batch_size, dropout, seed):
    """Train the tutorial's network in plain Keras, with its decay as it was in Keras 2.

    Return the history of two epochs. `data` are training and validation data.
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
    return model.fit(training, validation_data=validation, **how).history


@pytest.fixture(scope="module")
def few(images):
    """100 training and 100 validation images: three batches of 32, and one of 4."""
    return [(pictures[:100], labels[:100]) for pictures, labels in images]


def plain(folder, **home):
    return run("fashion_mnist.py", "--epochs", 2, "-i", "README.md", cwd=folder, **home)


def reasons(folder, **home):
    """Run the script in a terminal; its screen is the output."""
    in_terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) != 0)"
    words = command("fashion_mnist.py", "--epochs", 2, "--reasons")
    words = [sys.executable, "-c", in_terminal, *words]
    how = {"cwd": folder, "env": environment(**home), "capture_output": True}
    return subprocess.run(words, check=False, stdin=subprocess.DEVNULL, **how)


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


def full_disk(folder, **home):
    """The first row of 19 numbers is within 1,024 bytes, and then the disk is full."""
    flags = ("--hold-out", 80, "--batch-size", 16)
    # Bytecode would be cut off as well, and used by later runs.
    how = {"shell": "ulimit -f 2", "PYTHONDONTWRITEBYTECODE": 1}
    return run("fashion_mnist.py", *flags, cwd=folder, **how, **home)


@pytest.fixture(scope="module")
def runs(few, tmp_path_factory):
    """The four runs of the script, each a folder and what came of it; two at a time."""
    if sys.platform == "win32":
        pytest.skip("it has no such signals, limits and terminals")
    home = write_data_set(tmp_path_factory.mktemp("home"), *few)

    def start(how):
        folder = tmp_path_factory.mktemp(how.__name__)
        for name in ("README.md", "training.pickle"):
            (folder / name).write_text("# Mine\n")
            (folder / f"{name}.csv").write_text("# Mine, too\n")
        return folder, how(folder, KERAS_HOME=home)

    every = (plain, reasons, interrupted, full_disk)
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(every, pool.map(start, every)))


def test_history_is_that_of_plain_keras(runs, few):
    folder, process = runs[plain]
    assert process.returncode == 0, process.stderr
    history = read(folder / "README.md")
    assert type(history) is dict and sorted(history) == KEYS
    expected = plain_history(few, 0.01, 32, dropout=True, seed=42)
    for name in KEYS:
        assert history[name] == pytest.approx(expected[name], rel=1e-4), name
    texts = {name: [*map(str, values)] for name, values in history.items()}
    table = histories.load_history(str(folder / "README.md.csv"))
    assert table == {"epoch": ["0", "1"], **texts}


def test_what_was_there_stays_and_another_history_is_not_touched(runs):
    folder, _ = runs[plain]
    assert (folder / "README.md.old").read_text() == "# Mine\n"
    assert (folder / "README.md.csv.old").read_text() == "# Mine, too\n"
    assert (folder / "training.pickle").read_text() == "# Mine\n"


def test_redirected_output_is_two_lines_an_epoch_and_a_report(runs):
    folder, process = runs[plain]
    lines = process.stdout.splitlines()
    for epoch, val_loss in enumerate(read(folder / "README.md")["val_loss"], 1):
        line = lines[lines.index(f"Epoch {epoch}/2") + 1]
        assert line.startswith("4/4 - ") and line.endswith(f"val_loss: {val_loss:.4f}")
    assert [line[:6] for line in lines if "[" in line] == ["[INFO]"] * 6
    assert "images that are training images as well: 0 of 100" in lines[1]
    assert all(one.isprintable() or one == "\n" for one in process.stdout)
    # There are 10 validation images of each.
    row = re.compile(r"^ +([a-z ]+?) +[01]\.\d\d .* 10$", re.MULTILINE)
    assert " ".join(row.findall(process.stdout)) == LABELS
    if not tf.config.list_physical_devices("GPU"):  # of which TensorFlow speaks
        assert process.stderr == ""


def test_one_seed_gives_one_history_to_which_reasons_add_columns(runs):
    folder, process = runs[reasons]
    assert process.returncode == 0
    history = read(folder / "training.pickle")
    without = read(runs[plain][0] / "README.md")
    assert {name: history[name] for name in KEYS} == without
    terms = gap.split(history)
    assert np.isfinite(terms["data + overfitting error"]).all()


def test_terminal_shows_progress_bars_of_keras_own_numbers(runs):
    text = runs[reasons][1].stdout.decode()
    assert "4/4" in text and "ms/step" in text and "\r" in text
    assert "val_loss" in text and "val_loss_during" not in text


def test_an_interrupted_run_keeps_its_finished_epochs(runs):
    folder, process = runs[interrupted]
    assert process.returncode == 130
    assert_one_line_error(process, "interrupted; finished epochs: 2; ")
    assert (folder / "training.pickle.csv").read_bytes() == process.table
    assert (folder / "training.pickle.csv.old").read_text() == "# Mine, too\n"
    assert (folder / "training.pickle").read_text() == "# Mine\n"
    words = process.stderr.split("to draw them: ")[1].split()
    subprocess.run(words, check=True, cwd=folder, env=environment())
    assert (folder / "training.pickle.csv.loss.png").is_file()


def test_full_disk_keeps_the_epochs_before(runs):
    folder, process = runs[full_disk]
    table = folder / "training.pickle.csv"
    # The last row is cut off, and is left out.
    epochs = len(histories.load_history(str(table))["epoch"])
    assert 0 < epochs == table.read_bytes().count(b"\n") - 1 < 24
    assert_one_line_error(process, "File too large", f"finished epochs: {epochs}; ")


def train_here(monkeypatch, folder, data, flags):
    """Run the script in this process, which has started TensorFlow already."""
    write_data_set(OWN_KERAS_HOME, *data)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["fashion_mnist.py", *flags.split()])
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    runpy.run_path(str(ROOT / "fashion_mnist.py"))


def test_flags_reach_the_training(few, tmp_path, monkeypatch, capsys):
    # The few images stand for the digits, which are many.
    monkeypatch.setattr(datasets, "load_digits", lambda: few)
    flags = "-i own.pickle --dataset digits --hold-out 40 --epochs 2 --no-dropout"
    flags += " --batch-size 20 --lr 0.05 --seed 7"
    train_here(monkeypatch, tmp_path, few, flags)
    told = capsys.readouterr().out
    assert "60 images of digits" in told and "ankle boot" not in told
    history = read(tmp_path / "own.pickle")
    training, _ = datasets.hold_out("digits", *few[0], 40, seed=7)
    expected = plain_history((training, few[1]), 0.05, 20, dropout=False, seed=7)
    for name in KEYS:
        assert history[name] == pytest.approx(expected[name], rel=1e-3), name
    assert history["loss_overfitting_error"] != history["loss_data_error"]


def test_a_loss_that_is_not_finite_stops_with_advice(few, tmp_path, monkeypatch):
    # The first update makes all weights what an overflow would.
    schedules = keras.optimizers.schedules
    monkeypatch.setattr(schedules, "InverseTimeDecay", lambda *_: np.nan)
    with pytest.raises(
        terminal.UserError, match="of epoch 0 is not finite: try a lower --lr"
    ):
        train_here(monkeypatch, tmp_path, few, "--epochs 3")
    assert not (tmp_path / "training.pickle").exists()


def test_batches_are_not_tuned():
    """Autotune's thread, or a copy of the arrays, would be noticed only by chance."""
    options = datasets.batches(np.zeros(4), np.zeros(4), 2).options()
    assert options.autotune.enabled is False
    assert options.experimental_optimization.apply_default_optimizations is False


REAL_DATA = USERS_KERAS_HOME / "datasets" / "fashion-mnist"


# A download that failed leaves an empty folder.
@pytest.mark.skipif(len([*REAL_DATA.glob("*.gz")]) < 4, reason="no real data are there")
def test_the_tutorials_effect_on_the_real_data(tmp_path, monkeypatch):
    folder = OWN_KERAS_HOME / "datasets" / "fashion-mnist"
    shutil.copytree(REAL_DATA, folder, dirs_exist_ok=True)
    _, training, validation = datasets.load("fashion-mnist")
    assert datasets.count_leaks(training[0], validation[0]) == 0
    # As many updates as of all images in a quarter of an epoch, in less time.
    parts = [part[:2000] for part in training], [part[:500] for part in validation]
    train_here(monkeypatch, tmp_path, parts, "--epochs 1 --batch-size 4 --reasons")
    logs = read(tmp_path / "training.pickle")
    assert logs["val_accuracy"][0] > 0.6
    # Timing and regularization make the gap: each at least a quarter of it.
    terms = gap.split(logs)
    assert min(terms["timing"][0], terms["regularization"][0]) > terms["gap"][0] / 4 > 0
