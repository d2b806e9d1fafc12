"""Measure, epoch by epoch, why the validation loss is lower than the training loss.

The tutorial gives three reasons. Each makes one part of the gap between the two losses,
and two more losses, taken after every epoch, are enough to tell the parts apart:

    timing (Reason #2) = loss - loss_at_end
    regularization (Reason #1) = val_loss_regularized - val_loss
    data (Reason #3) = loss_at_end - val_loss_regularized

They add up to loss - val_loss, and in each of them only one thing changes: when the loss
is measured, whether regularization is on, or which images it is measured on. `loss` and
`val_loss` are what Keras reports anyway.

This module needs nothing else of this package: it works in any training with Keras on
TensorFlow.
"""

import collections
import inspect

import keras
import numpy as np
import tensorflow as tf

# Images that one call of TensorFlow works through: more would save little time, and need
# more memory. So would more batches at once, while one at a time takes a third longer.
IMAGES, AT_ONCE = 1280, 4


class MeasureReasons(keras.callbacks.Callback):
    """Add `loss_at_end` and `val_loss_regularized` to what each epoch reports.

    Both are taken at the weights that the epoch ended with, and in training mode: with
    dropout, and with the statistics of each batch in batch normalization. Both see the
    same dropout masks, other ones in every batch and every epoch. Penalties such as L2
    are in them, as they are in `loss` and `val_loss`, and so make no part of the gap.

    The batches are those of the training. That matters: after
    `keras.utils.set_random_seed`, `fit` shuffles arrays into the same batches in every
    epoch (TensorFlow's issue 35682), and a network with batch normalization has a lower
    loss in them than in others.

    Training goes on as if nothing had been measured: no Keras variable is changed, be it
    a weight, a moving average, a state of the optimizer or a random seed. Put this
    callback first in the list that `fit` gets, so that the others see its two numbers.

    Parameters
    ----------
    training_data, validation_data : (images, labels) or tf.data.Dataset
        What `fit` gets. Sample weights may be a third part; what `fit` gets as
        `class_weight` must be in them. A data set must be batched, and must give the
        same batches whenever it is read, or reading it here would change what `fit`
        reads next. With fewer than all training images, `loss_at_end` has a standard
        error of (standard deviation of the loss of an image) / sqrt(images), about 0.005
        for 10,000 images of Fashion MNIST, and timing and data are off by that, in
        opposite directions.
    batch_size : int
        As `fit` gets it. A data set brings its own.
    shuffle : bool
        As `fit` gets it. True lets Keras shuffle arrays as it does for `fit`, the
        validation images as well: with batches of one class each, batch normalization
        would not do what it does in training.

    Raises
    ------
    ValueError
        If data are neither of the two, images and labels differ in number, or a data set
        is endless or shuffles anew whenever it is read.

    Notes
    -----
    The loss is that of `model.compute_loss` in batches, and the mean is over images. So
    is that of Keras from 3.2 on; earlier ones count a smaller last batch in full. A layer
    that draws from Keras's global generator, not from a `keras.random.SeedGenerator` of
    its own, draws the same numbers in every batch here.
    """

    def __init__(self, training_data, validation_data, batch_size=32, shuffle=True):
        super().__init__()
        self.training_data = _checked(training_data)
        self.validation_data = _checked(validation_data)
        self.batch_size = batch_size
        self.shuffle = shuffle

    def on_train_begin(self, logs=None):
        """Forget what belongs to an earlier `fit`: its graph and its order of images."""
        self._shuffled = {}
        self._total_loss = self._add_batches
        if not self.model.run_eagerly:
            self._total_loss = tf.function(
                self._add_batches, autograph=False, reduce_retracing=True
            )

    def on_epoch_end(self, epoch, logs):
        """Measure; Keras hands the same `logs` to the callbacks after this one."""
        logs["loss_at_end"] = self._mean_loss(self.training_data)
        logs["val_loss_regularized"] = self._mean_loss(self.validation_data)

    def _mean_loss(self, data):
        """Return the mean loss of the images in training mode."""
        total, count = 0.0, 0
        variables = self.model.non_trainable_variables
        state = [keras.ops.convert_to_tensor(variable) for variable in variables]
        for chunk in self._read(data):
            # A data set is read batch by batch.
            size = self.batch_size if isinstance(data, tuple) else _length(chunk)
            loss, state = self._total_loss(chunk, size, state)
            total, count = total + float(loss), count + int(_length(chunk))
        return total / count

    def _read(self, data):
        """Yield the images, with their labels, some batches at a time."""
        if isinstance(data, tf.data.Dataset):
            yield from data
            return
        order = np.arange(_length(data))
        if self.shuffle:
            if len(order) not in self._shuffled:
                self._shuffled[len(order)] = _shuffled_by_keras(order)
            order = self._shuffled[len(order)]
        step = self.batch_size * max(1, IMAGES // self.batch_size)
        for start in range(0, len(order), step):
            yield _rows(data, order[start : start + step])

    def _add_batches(self, data, size, state):
        """Return the sum of the losses of some images, and the state after them.

        The state is what a batch in training mode changes besides giving its loss:
        moving averages and random seeds. It is handed on from batch to batch, while the
        variables of the model keep what they hold.
        """
        model = self.model
        variables = model.non_trainable_variables
        # What `fit` does: a `call` that does not ask for the mode is not told of it.
        asks = "training" in inspect.signature(model.call).parameters
        mode = {"training": True} if asks else {}
        # Inside a StatelessScope, Keras finds the weights for penalties only in the scope.
        weights = [(weight, weight.value) for weight in model.trainable_variables]

        def add_batch(start, total, state):
            batch = _rows(data, slice(start, start + size))
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            values = [*weights, *zip(variables, state)]
            with keras.StatelessScope(values, collect_losses=True) as scope:
                loss = model.compute_loss(
                    x=x, y=y, y_pred=model(x, **mode), sample_weight=weight
                )
            state = [scope.get_current_value(variable) for variable in variables]
            loss = tf.cast(loss, "float32") * tf.cast(_length(batch), "float32")
            return start + size, total + loss, state

        # A batch waits for the state of the one before, but for nothing else: so
        # TensorFlow can work on several at once.
        _, total, state = tf.while_loop(
            lambda start, *_: start < _length(data),
            add_batch,
            (0, 0.0, state),
            parallel_iterations=AT_ONCE,
        )
        return total, state


def count_leaks(training_images, validation_images):
    """Return how many validation images are also, pixel for pixel, training images.

    Parameters
    ----------
    training_images, validation_images : numpy.ndarray
        Images along the first axis.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the images of the two differ in shape or data type.
    """
    kinds = {(a.shape[1:], a.dtype) for a in (training_images, validation_images)}
    if len(kinds) != 1:
        raise ValueError(f"images of different kinds cannot be compared: {kinds}")
    copies = collections.Counter(image.tobytes() for image in validation_images)
    leaked = {
        pixels for image in training_images if (pixels := image.tobytes()) in copies
    }
    return sum(copies[pixels] for pixels in leaked)


def _checked(data):
    """Return the data, arrays as NumPy has them; raise ValueError if unfit to measure."""
    if isinstance(data, tf.data.Dataset):
        if data.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError("the data set never ends: give one without repeat()")
        if _reshuffles(data):
            raise ValueError(
                "the data set shuffles anew whenever it is read, so measuring on it would "
                "change the training: shuffle with reshuffle_each_iteration=False, or "
                "make a data set without shuffle() for this callback"
            )
        return data
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise ValueError("give (images, labels), or a batched tf.data.Dataset")
    data = tf.nest.map_structure(np.asarray, tuple(data))
    lengths = {len(array) for array in tf.nest.flatten(data)}
    if len(lengths) != 1:
        raise ValueError(f"images and labels differ in number: {sorted(lengths)}")
    return data


def _reshuffles(data):
    """Return whether a tf.data.Dataset has a shuffle() with a new order at every reading.

    Functions given to `interleave` and the like are not looked into.
    """
    again = getattr(data, "_reshuffle_each_iteration", False)
    return again or any(_reshuffles(source) for source in data._inputs())


class _Recorder(keras.Model):
    """Learns nothing: its training step only records the batch."""

    def train_step(self, data):
        self.batch, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return {"loss": 0.0}


def _shuffled_by_keras(order):
    """Return the numbers in the order into which `fit` shuffles so many images.

    Keras tells it only by doing it. Without a seed, it does it otherwise each time.
    """
    recorder = _Recorder()
    recorder.built = True
    recorder.compile(run_eagerly=True)
    recorder.fit(order, batch_size=len(order), verbose=0)
    return recorder.batch.numpy()


def _rows(data, rows):
    """Return the images at an index, or in a slice, with all that belongs to them."""
    return tf.nest.map_structure(lambda array: array[rows], data)


def _length(data):
    """Return the number of images: a tensor, if the data are tensors."""
    images = tf.nest.flatten(data)[0]
    return len(images) if isinstance(images, np.ndarray) else tf.shape(images)[0]
