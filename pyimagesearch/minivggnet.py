"""MiniVGGNet, the tutorial's small convolutional network in the manner of VGG.

VGG: K. Simonyan and A. Zisserman, https://arxiv.org/abs/1409.1556
"""


class MiniVGGNet:
    """A namespace for `build`, as in the tutorial."""

    @staticmethod
    def build(width, height, depth, classes, dropout=True):
        """Return the network, a `keras.Sequential` that is not yet compiled.

        It takes images of shape (batch, height, width, depth). Width and height are 4
        pixels or more, since each of two poolings halves them; depth is 1 for grey and
        3 for colour. It gives class probabilities of shape (batch, classes). With
        `dropout=False`, it has no dropout layers. The other layers stay the same, and
        so do their first weights for a given seed.
        """
        from keras import Input, Sequential, layers  # here, because it is slow

        network = [
            Input((height, width, depth)),
            # Two convolutions keep width and height, and the pooling halves it.
            layers.Conv2D(32, (3, 3), padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(32, (3, 3), padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D((2, 2)),
            layers.Dropout(0.25),
            # This block repeats the first, with twice the filters.
            layers.Conv2D(64, (3, 3), padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(64, (3, 3), padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D((2, 2)),
            layers.Dropout(0.25),
            # These layers classify what the filters have found.
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ]
        # Dropout is removed only now. Each layer draws a seed when it is made, so the
        # other layers keep their first weights.
        if not dropout:
            network = [
                layer for layer in network if not isinstance(layer, layers.Dropout)
            ]
        return Sequential(network)
