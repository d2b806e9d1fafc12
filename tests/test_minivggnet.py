"""The network is held against its arithmetic; test_fashion_mnist.py trains it."""

from pyimagesearch.minivggnet import MiniVGGNet


def test_it_has_the_parameters_that_a_sum_by_hand_gives():
    parameters = (9 * 1 + 1) * 32 + (9 * 32 + 1) * 32  # of the convolutions
    parameters += (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64
    parameters += (7 * 7 * 64 + 1) * 512 + (512 + 1) * 10  # of the dense layers
    parameters += 4 * (32 + 32 + 64 + 64 + 512)  # of the normalization
    assert MiniVGGNet.build(28, 28, 1, 10).count_params() == parameters


def test_it_fits_other_images_and_classes():
    model = MiniVGGNet.build(width=12, height=8, depth=3, classes=4)
    assert model.input_shape == (None, 8, 12, 3)
    assert model.output_shape == (None, 4)
