"""The network, against the arithmetic of its layers; test_fashion_mnist.py trains it."""

import numpy as np
import pytest

from pyimagesearch.minivggnet import MiniVGGNet


def test_parameters_by_hand():
    convolutions = (9 * 1 + 1) * 32 + (9 * 32 + 1) * 32
    convolutions += (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64
    dense = (7 * 7 * 64 + 1) * 512 + (512 + 1) * 10
    normalization = 4 * (32 + 32 + 64 + 64 + 512)
    assert convolutions + dense + normalization == 1_679_082
    assert MiniVGGNet.build(28, 28, 1, 10).count_params() == 1_679_082


def test_normalizes_every_channel():
    model = MiniVGGNet.build(width=12, height=8, depth=3, classes=4)
    assert model.input_shape == (None, 8, 12, 3)
    normalized = [la for la in model.layers if "normalization" in la.name]
    assert [la.gamma.shape[0] for la in normalized] == [32, 32, 64, 64, 512]
    probabilities = model.predict(np.ones((2, 8, 12, 3)), verbose=0)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("sizes", [(3, 28, 1, 10), (28, 28, 0, 10), (28, 28, 1, 1)])
def test_impossible_sizes(sizes):
    with pytest.raises(
        ValueError, match="give 4x4 pixels, 1 channel and 2 classes, or more"
    ):
        MiniVGGNet.build(*sizes)
