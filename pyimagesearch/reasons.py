"""Measure, epoch by epoch, why the validation loss is lower than the training loss.

The tutorial gives three reasons. Two more losses, both taken in training mode at the
end of each epoch, split the gap between the two losses into one term for each reason:

    timing (Reason #2) = loss - loss_at_end
    data (Reason #3) = loss_at_end - val_loss_regularized
    regularization (Reason #1) = val_loss_regularized - val_loss

They add up to loss - val_loss. In each of them one thing changes: when the loss is
measured, on which images, or whether regularization is on. Two cautions:

- Timing is more than time. `loss` scores an image before the network learns from it,
  `loss_at_end` after. What it has learned of just these images raises timing, and
  lowers data by the same amount. In epoch 0 the two can be told apart, since no image
  was seen before: timing + data is what the network gained on unseen images, too (if
  both sets are equally hard), and the rest of timing is what it learned of these.
- The split has an order. Regularization is measured on the validation images; on the
  training images it would have another size, and the terms would add up as well.

This module needs nothing else of this package, only Keras on TensorFlow. It is for
`fit` with the usual training step and whole passes over the data.
"""

import inspect
import itertools
import math

import keras
import numpy as np
import tensorflow as tf

# Batches that TensorFlow is given at once. One by one takes half as long again.
AT_ONCE = 4


class MeasureReasons(keras.callbacks.Callback):
    """Add `loss_at_end` and `val_loss_regularized` to what each epoch reports.

    Both are taken at the weights that the epoch ended with, and in training mode: with
    dropout, and with the statistics of each batch in batch normalization. Both start
    from the same seeds for dropout, which move on with every batch and epoch.
    Penalties such as L2 are in all four losses, and so make no part of the gap.

    Put this callback first in the list that `fit` gets, so that the others see its two
    numbers. No Keras variable is changed, be it a weight, a moving average, a state of
    the optimizer or a random seed. With arrays, or with a data set that was made for
    this callback, training goes on, bit for bit, as if nothing had been measured. A
    data set that `fit` reads as well is read once more: one that shuffles at each
    reading, or draws random images, then gives `fit` other batches than without this
    callback, as good as any.

    Parameters
    ----------
    training_data, validation_data : tuple, tf.data.Dataset or keras.utils.PyDataset
        What `fit` gets. A tuple is (images, labels) or (images, labels, sample
        weights), arrays that this callback deals into batches of its own. What `fit`
        gets as `class_weight` must be in the weights. A data set must be batched; a
        PyDataset must have `num_batches`, which Keras 3.0 lacks. To measure on a part
        of the training images, give a data set: `loss_at_end` then has a standard error
        of (standard deviation of the loss of an image) / sqrt(images), and timing and
        data are off by that, in opposite directions.
    batch_size : int
        As `fit` gets it. A data set brings its own.

    Raises
    ------
    ValueError
        At once, if data are none of these, images and labels differ in number, or a
        data set is known to be endless. From `fit`, before the first epoch, if arrays
        in batches of `batch_size` do not make the number of batches that `fit` counts;
        and after the first epoch that lacks a validation loss, since Keras tells a
        callback no sooner.

    Notes
    -----
    After `keras.utils.set_random_seed`, `fit` deals arrays into the same batches in
    every epoch (TensorFlow's issue 35682). A network with batch normalization learns
    them by heart: its loss in them is lower than in others, by 0.003 to 0.010 in a run
    on Fashion MNIST. `loss_at_end` is taken in other batches, so timing is too low and
    data too high by that. A `tf.data.Dataset` with `shuffle` deals new batches in every
    epoch.

    The loss is that of `model.compute_loss` in batches, and the mean is over images. So
    is that of Keras from 3.2 on; earlier ones count a smaller last batch in full. A
    layer that draws from Keras's global generator, not from a
    `keras.random.SeedGenerator` of its own, draws the same numbers in every batch here.
    """

    def __init__(self, training_data, validation_data, batch_size=32):
        super().__init__()
        self.training_data = _checked(training_data)
        self.validation_data = _checked(validation_data)
        self.batch_size = batch_size

    def on_train_begin(self, logs=None):
        """Compare the batches with those of `fit`; forget an earlier model's graph."""
        steps = self.params.get("steps")
        if isinstance(self.training_data, tuple) and steps:
            batches = math.ceil(_length(self.training_data) / self.batch_size)
            if batches != steps:
                reason = f"fit counts {steps} batches, and MeasureReasons {batches}"
                raise ValueError(f"{reason}: give it the batch_size that fit gets")
        graph = tf.function(self._losses, autograph=False, reduce_retracing=True)
        self._losses_of = self._losses if self.model.run_eagerly else graph

    def on_epoch_end(self, epoch, logs):
        """Measure; Keras hands the same `logs` to the callbacks after this one."""
        if "val_loss" not in logs:
            raise ValueError("give fit validation_data, and leave validation_freq at 1")
        logs["loss_at_end"] = self._mean_loss(self.training_data, epoch)
        logs["val_loss_regularized"] = self._mean_loss(self.validation_data, epoch)

    def _mean_loss(self, data, epoch):
        """Return the mean loss of the images in training mode."""
        losses, sizes = [], []
        state = [*map(keras.ops.convert_to_tensor, self.model.non_trainable_variables)]
        batches = self._batches(data, epoch)
        while some := [*itertools.islice(batches, AT_ONCE)]:
            some_losses, state = self._losses_of(some, state)
            losses += map(float, some_losses)
            sizes += map(_length, some)
        return float(np.average(losses, weights=sizes))

    def _batches(self, data, epoch):
        """Yield the data in batches: tuples as `data`, of some images each."""
        if isinstance(data, keras.utils.PyDataset):
            yield from (data[batch] for batch in range(data.num_batches))
        elif isinstance(data, tf.data.Dataset):
            yield from data
        else:
            # From a generator of our own: that of the training is not touched.
            order = np.random.default_rng(epoch).permutation(_length(data))
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                yield tf.nest.map_structure(lambda array, rows=rows: array[rows], data)

    def _losses(self, batches, state):
        """Return the loss of each batch in training mode, and the state after them.

        The state is what a batch in training mode changes: moving averages and random
        seeds. It is handed on from batch to batch, while the variables of the model
        keep what they hold. That is all that a batch waits for, so TensorFlow works on
        several at once.
        """
        model = self.model
        # What `fit` does: a `call` that does not ask for the mode is not told of it.
        asks = "training" in inspect.signature(model.call).parameters
        mode = {"training": True} if asks else {}
        # For penalties, a StatelessScope needs to hold the weights as well.
        weights = [(weight, weight.value) for weight in model.trainable_variables]
        variables, losses = model.non_trainable_variables, []
        for batch in batches:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            values = [*weights, *zip(variables, state)]
            with keras.StatelessScope(values, collect_losses=True) as scope:
                y_pred = model(x, **mode)
                loss = model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weight)
            losses.append(loss)
            state = [scope.get_current_value(variable) for variable in variables]
        return losses, state


def _checked(data):
    """Return data that can be measured on, arrays as NumPy's; or raise ValueError."""
    if isinstance(data, tf.data.Dataset | keras.utils.PyDataset):
        indexed = isinstance(data, keras.utils.PyDataset)
        batches = data.num_batches if indexed else data.cardinality()
        if batches in (None, tf.data.INFINITE_CARDINALITY):
            raise ValueError("the data set never ends, or does not say how long it is")
        return data
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise ValueError("give (images, labels), or a data set in batches")
    data = tf.nest.map_structure(np.asarray, tuple(data))
    lengths = {len(array) for array in tf.nest.flatten(data)}
    if len(lengths) != 1:
        raise ValueError(f"images and labels differ in number: {sorted(lengths)}")
    return data


def _length(data):
    """Return the number of images in a batch, or in all of the data."""
    return len(tf.nest.flatten(data)[0])
