"""The data: the real loading code on small files, damaged ones, and the digits."""

import gzip
import shutil
import socket
import urllib.request

import numpy as np
import pytest
import sklearn.datasets
from conftest import NO_NETWORK, OWN_KERAS_HOME

from pyimagesearch import datasets
from pyimagesearch.terminal import UserError

FILE = "t10k-images-idx3-ubyte.gz"  # one of the four


@pytest.fixture
def cache(keras_home, monkeypatch):
    """The folder of the small Fashion MNIST in this process's own KERAS_HOME."""
    monkeypatch.setenv("https_proxy", NO_NETWORK["https_proxy"])
    urllib.request.install_opener(None)  # or it would keep the proxy of its first use
    folder = OWN_KERAS_HOME / "datasets" / "fashion-mnist"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(keras_home / "datasets" / "fashion-mnist", folder)
    return folder


def test_reads_the_cache(cache, images):
    np.testing.assert_equal(datasets.load(), ("fashion-mnist", *images))


def test_damaged_data_are_said_so(cache):
    whole = (cache / FILE).read_bytes()
    an_image_less = gzip.compress(gzip.decompress(whole)[:-784])
    for content in (whole[:-20], b"<html>Please log in</html>", an_image_less):
        (cache / FILE).write_bytes(content)
        with pytest.raises(UserError, match=f"damaged data in {cache} .*: delete the"):
            datasets.load()


def test_without_cache_and_network_it_falls_back(cache, capsys, monkeypatch):
    (cache / FILE).unlink()
    monkeypatch.setattr(datasets, "load_digits", lambda: ("training", "validation"))
    assert datasets.load() == ("digits", "training", "validation")
    *_, why, instead = capsys.readouterr().out.splitlines()
    assert str(cache) in why and "refused" in why
    assert "digits" in instead and "--dataset fashion-mnist" in instead


def test_a_download_that_stalls_is_given_up(cache, monkeypatch):
    (cache / FILE).unlink()
    monkeypatch.setattr(datasets, "DOWNLOAD_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        with pytest.raises(UserError, match="timed out.*four files.*--dataset digits"):
            datasets.load("fashion-mnist")


def test_digits_are_enlarged_and_moved_after_the_split():
    name, (trainX, trainY), (testX, testY) = datasets.load("digits")
    assert name == "digits" and trainX.shape == (14370, 28, 28)
    assert (trainX.min(), trainX.max(), trainX.dtype) == (0, 255, "uint8")
    # Undo it, by brute force: cut out what is not blank, wherever it lies.
    originals = sklearn.datasets.load_digits()
    large = np.kron(np.round(originals.images * (255 / 16)), np.ones((1, 3, 3)))
    known = dict(zip(map(trimmed, large), originals.target, strict=True))
    copies = [*map(trimmed, trainX)]
    training = dict(zip(copies, trainY, strict=True))
    validation = dict(zip(map(trimmed, testX), testY, strict=True))
    assert len(training) + len(validation) == len(known) == 1797
    assert training | validation == known, "every digit is there, on one side only"
    assert copies[::10] == copies[9::10], "ten of a digit follow each other"
    assert len({image.tobytes() for image in trainX}) == 14370, "at ten places"
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
        dealt, orders = datasets.batches(numbers, -numbers, 32, seed=seed), []
        for _ in range(2):
            images, labels = zip(*dealt.as_numpy_iterator())
            assert [*map(len, images)] == [32, 32, 32, 4]
            orders.append([*np.concatenate(images)])
            assert [*-np.concatenate(labels)] == orders[-1]
        return orders

    first, second = epochs(seed=1)
    assert first != second and sorted(first) == sorted(second) == [*numbers]
    assert epochs(seed=1) == [first, second]
    assert first not in epochs(seed=2)
    assert epochs(seed=None) == [[*numbers], [*numbers]]


def test_images_that_are_held_out_are_not_trained_on():
    numbers = np.arange(100)
    orders = []
    for seed in (1, 1, 2):
        parts = datasets.hold_out("fashion-mnist", numbers, -numbers, 30, seed)
        (images, labels), (held, held_labels) = parts
        assert len(held) == 30 and sorted([*images, *held]) == [*numbers]
        assert [*images] == sorted(images) and [*held] != sorted(held)
        assert [*labels, *held_labels] == [*-images, *-held]
        orders.append([*held])
    assert orders[0] == orders[1] != orders[2]


def test_no_digit_is_held_out_at_one_place_and_trained_on_at_another():
    digits = np.arange(50).repeat(10)
    for number, left in ((1, 490), (200, 300), (203, 290)):
        parts = datasets.hold_out("digits", digits, -digits, number, seed=7)
        (images, _), (held, labels) = parts
        assert (len(images), len(held), len(labels)) == (left, number, number)
        assert not {*images} & {*held}


def test_something_must_be_left_to_train_on():
    numbers = np.arange(20)
    for dataset, number in (("fashion-mnist", 20), ("digits", 16)):
        with pytest.raises(UserError, match=f"{number} leaves none of the 20"):
            datasets.hold_out(dataset, numbers, numbers, number, seed=1)


def test_leaks_are_counted_pixel_for_pixel():
    random = np.random.default_rng(3)
    training = random.integers(0, 256, (90, 4, 4), dtype="uint8")
    validation = random.integers(0, 256, (30, 4, 4), dtype="uint8")
    # Three leak, two of them the same image; one is a near miss.
    validation[[3, 5, 8, 9]] = training[[7, 7, 11, 12]]
    validation[9, 0, 0] ^= 1
    assert datasets.count_leaks(training, validation) == 3
