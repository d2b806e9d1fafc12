"""The images to train on: Fashion MNIST or, where it cannot be had, handwritten digits.

`load` returns them, `hold_out` takes some out of training, and `batches` makes batches.
"""

import math
import os
import socket
from pathlib import Path

import numpy as np
import sklearn.datasets
from sklearn.model_selection import train_test_split

from pyimagesearch.terminal import UserError

DOWNLOAD_TIMEOUT = 20  # seconds without data, after which a download is given up
# The number of copies of each image, which stand side by side in the arrays.
COPIES = {"fashion-mnist": 1, "digits": 16}


def load(dataset="any"):
    """Return the name of a data set, its training data and its validation data.

    The name is "fashion-mnist" or "digits". "any" asks for Fashion MNIST. If that is
    not in Keras's cache and cannot be downloaded, a line says so, and the digits are
    returned. The data are (images, labels), arrays of uint8. Images have the shape
    (number, 28, 28) and values from 0 to 255; labels have the shape (number,) and
    values from 0 to 9. UserError is raised if the cache is damaged, or if Fashion MNIST
    is asked for by name and cannot be had.
    """
    if dataset == "digits":
        return "digits", *load_digits()
    import keras  # imported here, because it takes seconds

    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        return "fashion-mnist", *keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # what Keras raises if a download fails
        home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
        cache = home / "datasets" / "fashion-mnist"
        if len([*cache.glob("*.gz")]) == 4:  # all files, so no download was needed
            raise UserError(f"damaged data ({error}): delete {cache}") from error
        # Keras's message has the URL in it. The error behind it is shorter.
        reason = getattr(error.__context__, "reason", error)
        problem = f"Fashion MNIST is not in {cache} and cannot be downloaded ({reason})"
        if dataset == "fashion-mnist":
            raise UserError(f"{problem}: use --dataset digits") from error
    print(f"[INFO] {problem}: training on digits instead")
    return "digits", *load_digits()


def load_digits():
    """Return scikit-learn's 1,797 handwritten digits in the format of Fashion MNIST.

    They are real 8x8 images. First, 20% of each class are split off for validation, so
    that no digit is on both sides. Then each is enlarged to 24x24 pixels, and placed at
    16 random positions in a frame of 28x28. This makes 22,992 training images and 5,760
    validation images, which are the same in every run.
    """
    digits = sklearn.datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype("uint8")
    parts = train_test_split(
        images, digits.target, test_size=0.2, stratify=digits.target, random_state=0
    )
    trainX, testX, trainY, testY = parts
    random = np.random.default_rng(0)
    return _at_positions(trainX, trainY, random), _at_positions(testX, testY, random)


def _at_positions(images, labels, random):
    """Enlarge 8x8 images to 24x24, and place copies of each in frames of 28x28."""
    copies = COPIES["digits"]
    frames = []
    enlarged = images.repeat(3, axis=1).repeat(3, axis=2)
    for image in enlarged:
        # There are 5 x 5 positions.
        for position in random.choice(25, size=copies, replace=False):
            down, right = divmod(position, 5)
            frames.append(np.pad(image, ((down, 4 - down), (right, 4 - right))))
    return np.array(frames), labels.repeat(copies).astype("uint8")


def hold_out(images, labels, number, seed, copies=1):
    """Draw a number of training images at random that are not to be trained on.

    Return two pairs (images, labels): the others, in their order, and those drawn. The
    same seed gives the same draw. The `copies` of an image stand side by side, and are
    drawn together, so some copies of the last one may go unused. UserError is raised if
    no image is left to train on.
    """
    groups = np.arange(len(images)).reshape(-1, copies)
    groups = np.random.default_rng(seed).permutation(groups)
    drawn = groups.ravel()[:number]
    others = np.sort(groups[math.ceil(number / copies) :].ravel())
    if not len(others):
        raise UserError(f"--hold-out {number} leaves no image to train on")
    return (images[others], labels[others]), (images[drawn], labels[drawn])


def count_leaks(training_images, validation_images):
    """Return how many validation images are also, pixel for pixel, training images.

    Both are arrays of one data type, with images of one size along the first axis.
    """
    known = {image.tobytes() for image in training_images}
    return sum(image.tobytes() in known for image in validation_images)


def batches(images, labels, batch_size, seed=None):
    """Return arrays of images and labels as a `tf.data.Dataset` of batches.

    The last batch may be smaller. With a seed, the images are shuffled anew in each
    epoch. To repeat the order in another run, repeat this seed and that of Keras's
    `set_random_seed`. Without a seed, the images keep their order.
    """
    import tensorflow as tf  # imported here, because it takes seconds

    data_set = tf.data.Dataset.from_tensor_slices((images, labels))
    if seed is not None:
        data_set = data_set.shuffle(len(images), seed=seed)
    options = tf.data.Options()
    # Autotune's thread sometimes hangs for a minute at the end of an epoch.
    options.autotune.enabled = False
    # Keras turns this off as well, because it would copy the arrays once more.
    options.experimental_optimization.apply_default_optimizations = False
    # The next batch is made while the network learns from this one.
    return data_set.batch(batch_size).prefetch(1).with_options(options)
