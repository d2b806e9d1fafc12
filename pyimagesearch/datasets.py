"""The images to train on: Fashion MNIST or, where it cannot be had, handwritten digits.

`load` returns them as arrays, `hold_out` takes some out of training, and `batches`
makes data sets of them.
"""

import math
import os
import socket
from pathlib import Path

import numpy as np
import sklearn.datasets
from sklearn.model_selection import train_test_split

from pyimagesearch.terminal import UserError

DOWNLOAD_TIMEOUT = 20  # seconds without a byte
# Images made of each digit, at different places; they follow each other.
COPIES = 10


def load(dataset="any"):
    """Return the name of a data set, its training and its validation data.

    Parameters
    ----------
    dataset : {"fashion-mnist", "digits", "any"}
        "any" stands for Fashion MNIST or, where it is not in Keras's cache and cannot
        be downloaded, for the digits; two printed lines then say so.

    Returns
    -------
    dataset : str
        Which of the two it is.
    training, validation : (images, labels)
        uint8 arrays: images (number, 28, 28) from 0 to 255, labels (number,), 0 to 9.

    Raises
    ------
    UserError
        If the data in the cache are damaged, or if Fashion MNIST was asked for and
        cannot be had.
    """
    if dataset == "digits":
        return "digits", *load_digits()
    import keras  # here, since it takes seconds

    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        return "fashion-mnist", *keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras raises no narrower one for a failed download
        home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
        if not os.access(home, os.W_OK):  # as `keras.utils.get_file` does
            home = Path("/tmp/.keras")
        folder = home / "datasets" / "fashion-mnist"
        if len([*folder.glob("*.gz")]) == 4:  # nothing was to be downloaded
            advice = "delete the folder, and the next run downloads it again"
            raise UserError(f"damaged data in {folder} ({error}): {advice}") from error
        # Keras's message has the URL in it; the error behind it is shorter.
        reason = getattr(error.__context__, "reason", error)
    problem = f"Fashion MNIST is not in {folder} and cannot be downloaded ({reason})"
    if dataset == "fashion-mnist":
        raise UserError(f"{problem}: put its four files there, or use --dataset digits")
    print(f"[INFO] {problem}")
    print("[INFO] training on digits instead; --dataset fashion-mnist never does that")
    return "digits", *load_digits()


def load_digits():
    """Return scikit-learn's 1,797 handwritten digits in the format of Fashion MNIST.

    They are real 8x8 images. First they are split, stratified, 20% for validation, so
    that no digit has copies on both sides. Then each is enlarged 3 times to 24x24 and
    placed at 10 different random places in a frame of 28x28. Every run gets the same.

    Returns
    -------
    training, validation : (images, labels)
        As `load` returns them: 14,370 training and 3,600 validation images.
    """
    digits = sklearn.datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype("uint8")
    parts = train_test_split(
        images, digits.target, test_size=0.2, stratify=digits.target, random_state=0
    )
    trainX, testX, trainY, testY = parts
    random = np.random.default_rng(0)
    return _at_places(trainX, trainY, random), _at_places(testX, testY, random)


def _at_places(images, labels, random):
    """Enlarge 8x8 images to 24x24, and place copies of each in frames of 28x28."""
    frames = []
    for image in images.repeat(3, axis=1).repeat(3, axis=2):
        for place in random.choice(25, size=COPIES, replace=False):
            down, right = divmod(place, 5)  # 0 to 4 each
            frames.append(np.pad(image, ((down, 4 - down), (right, 4 - right))))
    return np.array(frames), labels.repeat(COPIES).astype("uint8")


def hold_out(dataset, images, labels, number, seed):
    """Draw a number of training images at random that are not to be trained on.

    Images and labels are arrays of equal length. Return (images, labels) of the others,
    in their order, and of those drawn. The same seed draws the same. The copies of one
    of the "digits" stay together, so up to 9 copies of the last one that is drawn go
    unused. Raise UserError if none is left to train on.
    """
    size = COPIES if dataset == "digits" else 1
    groups = np.arange(len(images)).reshape(-1, size)
    groups = np.random.default_rng(seed).permutation(groups)
    drawn = groups.ravel()[:number]
    others = np.sort(groups[math.ceil(number / size) :].ravel())
    if not len(others):
        problem = f"--hold-out {number} leaves none of the {len(images)} images"
        raise UserError(f"{problem} to train on: hold out fewer, 1000 say")
    return (images[others], labels[others]), (images[drawn], labels[drawn])


def count_leaks(training_images, validation_images):
    """Return how many validation images are also, pixel for pixel, training images.

    Both are arrays of one data type, with images of one size along the first axis.
    """
    known = {image.tobytes() for image in training_images}
    return sum(image.tobytes() in known for image in validation_images)


def batches(images, labels, batch_size, seed=None):
    """Return arrays of images and labels as a `tf.data.Dataset` of batches.

    The last batch may be smaller. With a seed, images are shuffled anew in each epoch:
    in every run the same way, if the seed here and that of `set_random_seed` are the
    same. Without one, their order stays.
    """
    import tensorflow as tf  # here, since it takes seconds

    data_set = tf.data.Dataset.from_tensor_slices((images, labels))
    if seed is not None:
        data_set = data_set.shuffle(len(images), seed=seed)
    options = tf.data.Options()
    # Autotune's thread sometimes does not stop, and an epoch then ends a minute late.
    options.autotune.enabled = False
    # As Keras does: optimizing would copy the arrays once more.
    options.experimental_optimization.apply_default_optimizations = False
    # The next batch is made while the network learns from this one.
    return data_set.batch(batch_size).prefetch(1).with_options(options)
