"""MiniVGGNet, the tutorial's small convolutional network in the manner of VGG.

VGG: K. Simonyan and A. Zisserman, https://arxiv.org/abs/1409.1556
"""


class MiniVGGNet:
    """The network of the tutorial."""

    @staticmethod
    def build(width, height, depth, classes, dropout=True):
        """Return the network, not yet compiled: a `keras.Sequential`.

        Images have the shape (batch, height, width, depth). They need 4 pixels or more
        each way, since two poolings halve them; depth is 1 for grey, 3 for colour. The
        class probabilities have the shape (batch, classes). `dropout=False` leaves the
        three dropout layers out. The other layers are the same, and with one seed their
        first weights are, too.
        """
        from keras import Input, Sequential, layers  # here, since it takes seconds

        network = [
            Input((height, width, depth)),
            # Two convolutions that keep the size, then half the width and height.
            layers.Conv2D(32, (3, 3), padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(32, (3, 3), padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D((2, 2)),
            layers.Dropout(0.25),
            # The same once more, with twice the filters.
            layers.Conv2D(64, (3, 3), padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(64, (3, 3), padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D((2, 2)),
            layers.Dropout(0.25),
            # The classifier.
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ]
        # Only now: each layer draws a seed when it is made, and the other layers are to
        # have the same first weights.
        if not dropout:
            network = [
                layer for layer in network if not isinstance(layer, layers.Dropout)
            ]
        return Sequential(network)
