"""The data are read by the real loading code: small files, damaged ones, the digits."""

import gzip
import socket
import urllib.request

import numpy as np
import pytest
import sklearn.datasets
from conftest import NO_NETWORK, OWN_KERAS_HOME, write_data_set

from pyimagesearch import datasets
from pyimagesearch.terminal import UserError

FILE = "t10k-images-idx3-ubyte.gz"  # one of the four


@pytest.fixture
def cache(images, monkeypatch):
    """Fill the folder where Keras looks in this process, and take the network away."""
    monkeypatch.setenv("https_proxy", NO_NETWORK["https_proxy"])
    urllib.request.install_opener(None)  # or it would keep the proxy of its first use
    return write_data_set(OWN_KERAS_HOME, *images) / "datasets" / "fashion-mnist"


def test_fashion_mnist_is_read_from_the_cache(cache, images):
    np.testing.assert_equal(datasets.load(), ("fashion-mnist", *images))


def test_damaged_data_are_named_with_their_folder(cache):
    whole = (cache / FILE).read_bytes()
    an_image_less = gzip.compress(gzip.decompress(whole)[:-784])
    for content in (whole[:-20], b"<html>Please log in</html>", an_image_less):
        (cache / FILE).write_bytes(content)
        with pytest.raises(UserError, match=rf"damaged data \(.*\): delete {cache}"):
            datasets.load()


def test_digits_replace_what_cannot_be_downloaded(cache, capsys, monkeypatch):
    (cache / FILE).unlink()
    monkeypatch.setattr(datasets, "load_digits", lambda: ("training", "validation"))
    assert datasets.load() == ("digits", "training", "validation")
    told = capsys.readouterr().out.splitlines()[-1]
    assert str(cache) in told and "refused" in told and "digits instead" in told


def test_a_download_that_stalls_is_given_up(cache, monkeypatch):
    (cache / FILE).unlink()
    monkeypatch.setattr(datasets, "DOWNLOAD_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as idle:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{idle.getsockname()[1]}")
        with pytest.raises(UserError, match=r"timed out\): use --dataset digits"):
            datasets.load("fashion-mnist")


def test_digits_are_enlarged_and_moved_after_the_split():
    name, (trainX, trainY), (testX, testY) = datasets.load("digits")
    assert (name, trainX.shape, trainX.dtype) == ("digits", (22992, 28, 28), "uint8")
    # By brute force, what is not blank is cut out again, wherever it lies.
    digits = sklearn.datasets.load_digits()
    large = np.kron(np.round(digits.images * (255 / 16)), np.ones((1, 3, 3)))
    known = dict(zip(map(trimmed, large), digits.target, strict=True))
    copies = [*map(trimmed, trainX)]
    training = dict(zip(copies, trainY, strict=True))
    validation = dict(zip(map(trimmed, testX), testY, strict=True))
    assert len(training) + len(validation) == len(known) == 1797
    assert training | validation == known, "each digit must be there, on one side only"
    assert copies[::16] == copies[15::16], "16 copies of a digit must follow each other"
    assert len({*map(bytes, trainX)}) == 22992, "no two of them are at one place"
    # The split is stratified: 16 copies of 20% of a class are 3.2 images for each digit.
    assert np.bincount(testY) / np.bincount(digits.target) == pytest.approx(3.2, 0.03)


def trimmed(image):
    """Return the bytes and the shape of an image without its blank margins."""
    rows, columns = np.nonzero(image)
    image = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return image.astype("uint8").tobytes(), image.shape


def test_batches_are_new_in_every_epoch_and_the_same_for_one_seed():
    numbers = np.arange(100)

    def epochs(seed):
        """Return the orders in which the images come in two epochs."""
        dealt = datasets.batches(numbers, -numbers, 32, seed=seed)
        read = [np.hstack([*dealt.as_numpy_iterator()]) for _ in range(2)]
        assert all([*images] == [*-labels] for images, labels in read)
        return [[*images] for images, _ in read]

    first, second = epochs(seed=1)
    assert first != second and sorted(first) == sorted(second) == [*numbers]
    assert epochs(seed=1) == [first, second]
    assert first not in epochs(seed=2)
    assert epochs(seed=None) == [[*numbers], [*numbers]]
    options = datasets.batches(numbers, numbers, 32).options()
    assert options.autotune.enabled is False, "its thread would sometimes not stop"


def test_an_image_and_its_copies_are_trained_on_or_held_out():
    numbers = np.arange(500)
    for copies, number, left in ((1, 30, 470), (10, 1, 490), (10, 203, 290)):
        parts = datasets.hold_out(numbers, -numbers, number, seed=7, copies=copies)
        (images, labels), (held, held_labels) = parts
        assert (len(images), len(held)) == (left, number)
        assert [*images, *held] == [*-labels, *-held_labels]
        assert [*images] == sorted({*images} - {*held})
        assert not {*images // copies} & {*held // copies}


def test_one_seed_holds_out_the_same_images():
    images = np.arange(100)
    drawn = [{*datasets.hold_out(images, images, 30, seed)[1][0]} for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_something_must_be_left_to_train_on():
    with pytest.raises(UserError, match="--hold-out 16 leaves no image to train on"):
        datasets.hold_out(np.arange(20), np.arange(20), 16, seed=1, copies=5)


def test_leaks_are_counted_pixel_for_pixel():
    images = np.random.default_rng(3).integers(0, 256, (120, 4, 4), dtype="uint8")
    # Three leak, and two of them are the same image. The last one is a near miss.
    images[[93, 95, 98, 99]] = images[[7, 7, 11, 12]]
    images[99, 0, 0] ^= 1
    assert datasets.count_leaks(images[:90], images[90:]) == 3
