"""MiniVGGNet, the tutorial's small convolutional network in the manner of VGG.

VGG: K. Simonyan and A. Zisserman, https://arxiv.org/abs/1409.1556
"""


class MiniVGGNet:
    """The network of the tutorial."""

    @staticmethod
    def build(width, height, depth, classes, dropout=True):
        """Return the network, not yet compiled.

        Parameters
        ----------
        width, height : int
            Size of an image in pixels, 4 or more each: each of two poolings halves it.
        depth : int
            Channels of an image, its last axis: 1 for grey, 3 for colour.
        classes : int
            Number of classes, 2 or more.
        dropout : bool
            False leaves the three dropout layers out. The other layers, and with one
            seed also their first weights, are the same.

        Returns
        -------
        keras.Sequential
            From images, (batch, height, width, depth), to class probabilities, (batch,
            classes).

        Raises
        ------
        ValueError
            If one of the sizes is too small.
        """
        if min(width, height) < 4 or depth < 1 or classes < 2:
            raise ValueError("give 4x4 pixels, 1 channel and 2 classes, or more")

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
