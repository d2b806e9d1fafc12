"""The images to train on: Fashion MNIST or, where it cannot be had, handwritten digits.

`load` returns them as arrays, and `deal` deals arrays into batches.
"""

import gzip
import math
import os
import socket
import tempfile
import zlib
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits as load_small_digits
from sklearn.model_selection import train_test_split

from pyimagesearch.backend import keras
from pyimagesearch.cli import UserError

# The values of `--dataset`, in the order in which `load` tries them.
NAMES = ("fashion-mnist", "digits")
# The files of Fashion MNIST. Each begins with four bytes that name its format (IDX), and
# has so many bytes in all before the data.
FILES = {
    "train-images-idx3-ubyte.gz": (b"\0\0\x08\x03", 16),
    "train-labels-idx1-ubyte.gz": (b"\0\0\x08\x01", 8),
    "t10k-images-idx3-ubyte.gz": (b"\0\0\x08\x03", 16),
    "t10k-labels-idx1-ubyte.gz": (b"\0\0\x08\x01", 8),
}
# Seconds without a byte after which a download has failed.
PATIENCE = 20


def load(dataset=None):
    """Return the name of a data set, its training and its validation data.

    Parameters
    ----------
    dataset : {"fashion-mnist", "digits", None}
        None stands for Fashion MNIST or, where it is not in Keras's cache and cannot be
        downloaded, for the digits; two printed lines then say so.

    Returns
    -------
    dataset : str
        Which of the two it is.
    training, validation : (images, labels)
        uint8 arrays: images (number, 28, 28) from 0 to 255, labels (number,) from 0 to 9.

    Raises
    ------
    UserError
        If a file in the cache is damaged, or if Fashion MNIST was insisted on and
        cannot be had.
    """
    if dataset == "digits":
        return "digits", *load_digits()
    cache = _cache()
    socket.setdefaulttimeout(PATIENCE)
    try:
        return "fashion-mnist", *keras.datasets.fashion_mnist.load_data()
    # Keras raises a bare Exception for a failed download.
    except Exception as error:
        for name in FILES:
            problem = _problem(cache / name)
            if problem:
                raise UserError(
                    f"{cache / name} {problem}: delete it, and the next run downloads "
                    "it again"
                ) from error
        missing = [name for name in FILES if not (cache / name).exists()]
        if not missing:
            raise UserError(
                f"the files in {cache} do not belong together ({error}): delete them, "
                "and the next run downloads them again"
            ) from error
        # What Keras makes of it names the URL; what it was made from is shorter.
        reason = getattr(error.__context__, "reason", error)
    if dataset:
        raise UserError(
            f"Fashion MNIST cannot be downloaded ({reason}): put {', '.join(missing)} "
            f"into {cache}, or train on other images with --dataset digits"
        )
    print(
        f"[INFO] Fashion MNIST is not complete in {cache} and cannot be downloaded: {reason}"
    )
    print(
        "[INFO] training on scikit-learn's handwritten digits instead; "
        "--dataset fashion-mnist insists on Fashion MNIST"
    )
    return "digits", *load_digits()


def _cache():
    """Return the folder in which Keras keeps Fashion MNIST."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    if not os.access(home, os.W_OK):
        # As `keras.utils.get_file` does.
        home = Path(
            "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir(), ".keras"
        )
    return home / "datasets" / "fashion-mnist"


def _problem(path):
    """Return what is wrong with a file of the cache, or None if it is fine or absent."""
    magic, start = FILES[path.name]
    try:
        with gzip.open(path) as file:
            content = file.read()
    except FileNotFoundError:
        return None
    except EOFError:
        return "is cut off (a download that was killed?)"
    except (OSError, zlib.error) as error:
        return f"cannot be read ({error})"
    sizes = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    if content[:4] != magic or len(content) != start + math.prod(sizes):
        return "is not a file of Fashion MNIST"
    return None


def load_digits():
    """Return scikit-learn's 1,797 handwritten digits, dressed up as Fashion MNIST.

    They are real 8x8 images. First they are split, stratified, 20% for validation, so
    that no digit has copies on both sides. Then each is enlarged 3 times to 24x24 and
    placed at 5 different random offsets in a frame of 28x28. Every run gets the same.

    Returns
    -------
    training, validation : (images, labels)
        As `load` returns them: 7,185 training and 1,800 validation images.
    """
    digits = load_small_digits()
    images = np.round(digits.images * (255 / 16)).astype("uint8")
    parts = train_test_split(
        images, digits.target, test_size=0.2, stratify=digits.target, random_state=0
    )
    trainX, testX, trainY, testY = parts
    random = np.random.default_rng(0)
    return _place(trainX, trainY, random), _place(testX, testY, random)


def _place(images, labels, random):
    """Enlarge 8x8 images and place each at 5 of the 25 offsets in a 28x28 frame."""
    large = images.repeat(3, axis=1).repeat(3, axis=2)
    framed = np.zeros((len(images), 5, 28, 28), dtype="uint8")
    for image, copies in zip(large, framed):
        for copy, offset in zip(copies, random.choice(25, size=5, replace=False)):
            row, column = divmod(offset, 5)
            copy[row : row + 24, column : column + 24] = image
    return framed.reshape(-1, 28, 28), labels.repeat(5).astype("uint8")


def deal(images, labels, batch_size, seed=None):
    """Return images and labels in batches, as a data set for `fit` and `predict`.

    Parameters
    ----------
    images, labels : numpy.ndarray
        Arrays of equal length.
    batch_size : int
        The last batch may be smaller.
    seed : int, optional
        With a seed, each reading, that is each epoch, deals the images into new batches:
        in every run the same ones, for one seed. Without, their order stays.

    Returns
    -------
    tf.data.Dataset
        Of (images, labels). TensorFlow does not tune it while it is read ("autotune"):
        the thread that does can miss the word to stop, and reading then waits up to a
        minute, with idle cores, at the end of an epoch.
    """
    import tensorflow as tf  # late, as it takes seconds

    @tf.autograph.experimental.do_not_convert  # which would write files
    def gather(rows, arrays):
        return tuple(tf.gather(array, rows) for array in arrays)

    rows = tf.data.Dataset.range(len(images))
    if seed is not None:
        rows = rows.shuffle(len(images), seed=seed)
    # The arrays as a whole beside every batch of row numbers: none is copied for that.
    arrays = tf.data.Dataset.from_tensors((images, labels)).repeat()
    batches = tf.data.Dataset.zip((rows.batch(batch_size), arrays)).map(gather)
    options = tf.data.Options()
    options.autotune.enabled = False
    # The next batch is gathered while the network learns from this one.
    return batches.prefetch(1).with_options(options)
