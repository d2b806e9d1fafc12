"""The network, against the arithmetic of its layers; test_fashion_mnist.py trains it."""

import numpy as np
import pytest

from pyimagesearch.minivggnet import MiniVGGNet


def test_parameters_by_hand():
    parameters = (9 * 1 + 1) * 32 + (9 * 32 + 1) * 32  # of the convolutions
    parameters += (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64
    parameters += (7 * 7 * 64 + 1) * 512 + (512 + 1) * 10  # of the dense layers
    parameters += 4 * (32 + 32 + 64 + 64 + 512)  # of the normalization
    assert MiniVGGNet.build(28, 28, 1, 10).count_params() == parameters


def test_sizes():
    model = MiniVGGNet.build(width=12, height=8, depth=3, classes=4)
    assert model.input_shape == (None, 8, 12, 3)
    probabilities = model.predict(np.ones((2, 8, 12, 3)), verbose=0)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_impossible_sizes():
    for sizes in ((3, 28, 1, 10), (28, 3, 1, 10), (28, 28, 0, 10), (28, 28, 1, 1)):
        with pytest.raises(ValueError, match="4x4 pixels, 1 channel and 2 classes"):
            MiniVGGNet.build(*sizes)
