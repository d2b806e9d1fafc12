"""The data: the real loading code on small files, damaged ones, and the digits."""

import gzip
import shutil
import socket
import urllib.request

import keras
import numpy as np
import pytest
from conftest import FILES, NO_NETWORK, OWN_KERAS_HOME
from sklearn.datasets import load_digits

from pyimagesearch import datasets
from pyimagesearch.terminal import UserError


@pytest.fixture
def cache(keras_home, monkeypatch):
    """The folder of the small Fashion MNIST in this process's own KERAS_HOME."""
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)
    urllib.request.install_opener(None)  # or it would keep the proxy of its first use
    keras.utils.disable_interactive_logging()  # no bar where it downloads
    folder = OWN_KERAS_HOME / "datasets" / "fashion-mnist"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(keras_home / "datasets" / "fashion-mnist", folder)
    return folder


def test_reads_the_cache(cache, images):
    name, training, validation = datasets.load()
    assert name == "fashion-mnist"
    for got, expected in zip(training + validation, images[0] + images[1]):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dataset", ["any", "fashion-mnist"])
@pytest.mark.parametrize("name", [FILES[0], FILES[3]])
def test_damaged_data_are_said_so(cache, name, dataset):
    whole = (cache / name).read_bytes()
    for content in (
        whole[:-20],
        b"",
        b"<html>Please log in to this network</html>",
        whole[:-30] + bytes(3) + whole[-27:],
        gzip.compress(b"something else"),
        gzip.compress(gzip.decompress(whole)[:-28]),
    ):
        (cache / name).write_bytes(content)
        with pytest.raises(UserError, match=f"damaged data in {cache} .*: delete the"):
            datasets.load(dataset)


def test_without_cache_and_network_it_falls_back(cache, capsys):
    (cache / FILES[0]).unlink()
    name, (images, _), _ = datasets.load()
    assert (name, len(images)) == ("digits", 14370)
    why, instead = capsys.readouterr().out.splitlines()
    assert str(cache) in why and "refused" in why
    assert "digits" in instead and "--dataset fashion-mnist" in instead
    with pytest.raises(UserError, match="refused.*four files.*--dataset digits"):
        datasets.load("fashion-mnist")


def test_a_download_that_stalls_is_given_up(cache, capsys, monkeypatch):
    (cache / FILES[0]).unlink()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("https_proxy", address)
        monkeypatch.setattr(datasets, "DOWNLOAD_TIMEOUT", 0.2)
        assert datasets.load()[0] == "digits"
    assert "timed out" in capsys.readouterr().out


def test_digits_are_enlarged_and_moved_after_the_split():
    (trainX, trainY), (testX, testY) = datasets.load_digits()
    assert trainX.shape == (14370, 28, 28) and trainY.shape == (14370,)
    assert testX.shape == (3600, 28, 28) and testY.shape == (3600,)
    assert (trainX.min(), trainX.max(), trainX.dtype) == (0, 255, "uint8")
    # Undo it, by brute force: cut out what is not blank, wherever it lies.
    originals = load_digits()
    known = {}
    for image, label in zip(originals.images, originals.target):
        large = np.kron(image, np.ones((3, 3)))
        known[trimmed(np.round(large * (255 / 16)))] = label
    training = {trimmed(image): label for image, label in zip(trainX, trainY)}
    validation = {trimmed(image): label for image, label in zip(testX, testY)}
    assert len(training) + len(validation) == len(known) == 1797
    assert training | validation == known, "every digit is there, on one side only"
    for copies in trainX.reshape(-1, 10, 784)[:200]:
        assert len(np.unique(copies, axis=0)) == 10, "ten places"
    share = np.bincount(testY) / 10 / np.bincount(originals.target)
    assert share == pytest.approx(0.2, abs=0.005), "stratified"


def trimmed(image):
    """Return the bytes and the shape of an image without its blank margins."""
    rows, columns = np.nonzero(image)
    image = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return image.astype("uint8").tobytes(), image.shape


def test_batches_are_new_in_every_epoch_and_the_same_for_one_seed():
    numbers = np.arange(100)

    def epochs(seed):
        """Read a data set twice; return the two orders."""
        dealt = datasets.batches(numbers, -numbers, 32, seed=seed)
        orders = []
        for _ in range(2):
            batches = list(dealt.as_numpy_iterator())
            assert [len(images) for images, _ in batches] == [32, 32, 32, 4]
            for images, labels in batches:
                np.testing.assert_array_equal(labels, -images)
            orders.append([number for images, _ in batches for number in images])
            assert sorted(orders[-1]) == list(numbers)
        return orders

    first, second = epochs(seed=1)
    assert first != second
    assert epochs(seed=1) == [first, second]
    assert first not in epochs(seed=2)
    assert epochs(seed=None) == [list(numbers)] * 2


def test_images_that_are_held_out_are_not_trained_on():
    numbers = np.arange(100)
    (images, labels), (held, held_labels) = datasets.hold_out(
        "fashion-mnist", numbers, -numbers, 30, seed=1
    )
    assert len(held) == 30 and sorted([*images, *held]) == list(numbers)
    assert list(images) == sorted(images) and list(held) != sorted(held)
    np.testing.assert_array_equal(labels, -images)
    np.testing.assert_array_equal(held_labels, -held)
    for seed in (1, 2):
        _, (again, _) = datasets.hold_out(
            "fashion-mnist", numbers, numbers, 30, seed=seed
        )
        assert (list(again) == list(held)) == (seed == 1)


def test_without_a_number_nothing_is_held_out():
    training, held_out = datasets.hold_out("digits", [1, 2], [3, 4], 0, seed=1)
    assert (training, held_out) == (([1, 2], [3, 4]), ([], []))


@pytest.mark.parametrize("number", [1, 500, 503])
def test_no_digit_is_held_out_at_one_place_and_trained_on_at_another(number):
    training, _ = datasets.load_digits()
    (images, _), (held, labels) = datasets.hold_out("digits", *training, number, seed=7)
    assert len(held) == len(labels) == number
    assert len(images) == 14370 - 10 * -(-number // 10)
    known = {trimmed(image) for image in images}
    assert not known & {trimmed(image) for image in held}


def test_something_must_be_left_to_train_on():
    for dataset, number in (("fashion-mnist", 20), ("digits", 16), ("digits", 99)):
        with pytest.raises(
            UserError, match=f"--hold-out {number} leaves none of the 20"
        ):
            datasets.hold_out(dataset, np.arange(20), np.arange(20), number, seed=1)


def test_leaks_are_counted_pixel_for_pixel():
    random = np.random.default_rng(3)
    training = random.integers(0, 256, (90, 4, 4), dtype="uint8")
    validation = random.integers(0, 256, (30, 4, 4), dtype="uint8")
    assert datasets.count_leaks(training, validation) == 0
    # Three leak, one of them twice over; one is a near miss.
    validation[[3, 5, 8]], validation[9] = training[[7, 7, 11]], training[12]
    validation[9, 0, 0] ^= 1
    training[80] = training[11]
    by_force = sum(
        any((one == other).all() for other in training) for one in validation
    )
    assert datasets.count_leaks(training, validation) == by_force == 3
