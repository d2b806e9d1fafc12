"""The network, against what Keras and the arithmetic of its layers say."""

import numpy as np
import pytest

from pyimagesearch.backend import keras
from pyimagesearch.minivggnet import MiniVGGNet


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def test_layers_in_order():
    block = ["Conv2D", "BatchNormalization"] * 2 + ["MaxPooling2D", "Dropout"]
    head = ["Flatten", "Dense", "BatchNormalization", "Dropout", "Dense"]
    model = MiniVGGNet.build(28, 28, 1, 10)
    assert kinds(model) == block * 2 + head
    assert [la.rate for la in model.layers if hasattr(la, "rate")] == [0.25, 0.25, 0.5]


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


def test_without_dropout_the_same_network_with_the_same_first_weights():
    models = []
    for dropout in (True, False):
        keras.utils.set_random_seed(3)
        models.append(MiniVGGNet.build(28, 28, 1, 10, dropout=dropout))
    with_dropout, without = models
    assert kinds(without) == [kind for kind in kinds(with_dropout) if kind != "Dropout"]
    for one, other in zip(with_dropout.get_weights(), without.get_weights()):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("sizes", [(3, 28, 1, 10), (28, 28, 0, 10), (28, 28, 1, 1)])
def test_impossible_sizes(sizes):
    with pytest.raises(ValueError, match="4x4x1 pixels or more, and 2 classes or more"):
        MiniVGGNet.build(*sizes)
