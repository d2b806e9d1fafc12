"""Measure, epoch by epoch, why the validation loss is lower than the training loss.

The tutorial gives three reasons: the training loss is taken earlier, it is taken with
regularization, and the validation images may be easier. Overfitting works against them.
Up to three more losses, taken in training mode at the end of each epoch, split the gap
between the two losses into a term for each:

    timing = loss - loss_at_end
    regularization = val_loss_regularized - val_loss
    overfitting = loss_at_end - held_out_loss_regularized
    data = held_out_loss_regularized - val_loss_regularized

They add up to loss - val_loss. In each of them one thing changes: when the loss is
taken, whether regularization is on, whether the network has trained on the images, and
where the images come from. Held-out images are drawn like the training images, but not
trained on. Without them, overfitting and data stay one term: nobody can tell easier
images from images that the network knows. Two cautions:

- Timing is more than time. `loss` scores an image before the network learns from it,
  `loss_at_end` after. What it has learned of just these images is added to timing, and
  taken from overfitting. And a penalty such as L2 is in all the losses, in `loss` with
  its mean over the epoch, in the others with its last value: its change is timing, too.
- The split has an order. Regularization is measured on the validation images; on the
  training images it would have another size, and the terms would add up as well.

This module needs nothing else of this package, only Keras on TensorFlow. The first half
of the class measures; the second refuses what would be measured wrongly.
"""

import inspect
import itertools
import math
import warnings

import keras
import numpy as np
import tensorflow as tf

# Batches that TensorFlow is given at once. One by one takes 1.4 times as long.
AT_ONCE = 8
KERAS_VERSION = tuple(map(int, keras.__version__.split(".")[:2]))
# What each epoch reports besides, by what it is measured on.
AT_END, REGULARIZED = "loss_at_end", "val_loss_regularized"
HELD_OUT = "held_out_loss_regularized"


class MeasureReasons(keras.callbacks.Callback):
    """Add the losses that the gap is split by to what each epoch reports.

    These are `loss_at_end`, `val_loss_regularized` and, with held-out images,
    `held_out_loss_regularized`, all at the weights that the epoch ended with and in
    training mode: with dropout, and with the statistics of each batch in batch
    normalization. `data_error` comes with them, the standard error of data (without
    held-out images, of overfitting + data): two times in three, other images of the
    same kind would change it by no more. It follows from the spread of the losses of
    the batches, so one batch has none (NaN). Images in groups that are alike make it
    too small; a data set that is sorted, by class say, makes it too large.

    Put this callback first in the list that `fit` gets, so that the others see its
    numbers. It changes no variable of Keras. With arrays, or with a data set that was
    made for this callback, training goes on, bit for bit, as if nothing had been
    measured. A data set that `fit` reads as well is read once more: one that shuffles
    at each reading then gives `fit` other batches than without, as good as any.

    Parameters
    ----------
    training_data, validation_data : tuple, tf.data.Dataset or keras.utils.PyDataset
        What `fit` gets. A tuple is (images, labels) or (images, labels, sample
        weights), arrays that this callback deals into batches of its own. What `fit`
        gets as `sample_weight` or `class_weight` must be in the weights: no callback
        sees it. A data set must be batched, and know in how many batches (a
        PyDataset by its `num_batches`, which Keras 3.0 lacks).
    held_out_data : same as validation_data, optional
        Images drawn like the training images, which `fit` does not get.
    batch_size : int
        As `fit` gets it. A data set brings its own.

    Raises
    ------
    ValueError
        At once, if Keras runs on another backend, or if data are none of these. From
        `fit`, before the first epoch or after it, if it trains on another number of
        batches, if there is no validation loss, or if it is not that of the data given
        here.

    Notes
    -----
    After `keras.utils.set_random_seed`, `fit` deals arrays into the same batches in
    every epoch (TensorFlow's issue 35682). A network with batch normalization learns
    them by heart: its loss in them is lower than in others, by 0.003 to 0.010 in a run
    on Fashion MNIST. `loss_at_end` is taken in other batches, so timing is too low by
    that, and overfitting too near to 0. A `tf.data.Dataset` with `shuffle` avoids it.

    Means are over images, as Keras takes them from 3.2 on. A layer that draws from
    Keras's global generator, not from a `keras.random.SeedGenerator` of its own, draws
    the same numbers in every batch here.
    """

    # Keras may call `on_train_batch_end` from a thread, and need not wait for it.
    async_safe = True

    def __init__(
        self, training_data, validation_data, held_out_data=None, batch_size=32
    ):
        super().__init__()
        if keras.config.backend() != "tensorflow":
            raise ValueError("Keras must run on TensorFlow: KERAS_BACKEND=tensorflow")
        self.batch_size = batch_size
        # What each loss is measured on, in the order in which they split the gap.
        self.data = {AT_END: training_data}
        if held_out_data is not None:
            self.data[HELD_OUT] = held_out_data
        self.data[REGULARIZED] = validation_data
        self.data = {name: _measurable(data) for name, data in self.data.items()}
        counts = [_number_of_batches(data, batch_size) for data in self.data.values()]
        self.steps = counts[0]

    def on_epoch_end(self, epoch, logs):
        """Measure; Keras hands the same `logs` to the callbacks after this one."""
        self._compare_with_fit(epoch, logs)
        errors = []
        for name in self.data:
            losses, sizes = self._losses(name, epoch)
            logs[name] = float(np.average(losses, weights=sizes))
            errors.append(_standard_error(losses, sizes))
        # The term that the error belongs to is the difference of the last two.
        logs["data_error"] = math.hypot(*errors[-2:])

    def _losses(self, name, epoch, training=True):
        """Return the loss of each batch, and its number of images.

        Dropout starts from the seeds that training has reached, and goes on from batch
        to batch.
        """
        batches = self._batches(self.data[name], epoch)
        state = [*map(keras.ops.convert_to_tensor, self.model.non_trainable_variables)]
        losses, sizes = [], []
        while chunk := [*itertools.islice(batches, AT_ONCE)]:
            # The last ones singly, since TensorFlow makes a graph for each number.
            singly = len(chunk) < AT_ONCE
            for part in [[batch] for batch in chunk] if singly else [chunk]:
                part_losses, state = self._compiled(part, state, training)
                losses += map(float, part_losses)
                sizes += [len(tf.nest.flatten(batch)[0]) for batch in part]
        return losses, sizes

    def _batches(self, data, epoch):
        """Yield the data in batches: tuples as `data`, of some images each."""
        if isinstance(data, keras.utils.PyDataset):
            yield from (data[batch] for batch in range(data.num_batches))
        elif isinstance(data, tf.data.Dataset):
            yield from data
        else:
            # From a generator of our own: that of the training is not touched.
            order = np.random.default_rng(epoch).permutation(len(data[0]))
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                yield tuple(array[rows] for array in data)

    def _batch_losses(self, batches, state, training):
        """Return the loss of each batch, and the state after them.

        The state is what a batch in training mode changes: moving averages and random
        seeds. It is handed on from batch to batch, while the variables of the model
        keep what they hold. That is all that a batch waits for, so TensorFlow works on
        several at once.
        """
        model = self.model
        # What `fit` does: a `call` that does not ask for the mode is not told of it.
        takes_mode = "training" in inspect.signature(model.call).parameters
        mode = {"training": training} if takes_mode else {}
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

    # From here on: what would be measured wrongly is refused.

    def on_train_begin(self, logs=None):
        """Refuse, or warn of, what can be seen before the first epoch."""
        model_class = type(self.model)
        for step in ("train_step", "test_step"):
            if getattr(model_class, step) is not getattr(keras.Model, step):
                own = f"{model_class.__name__} has a {step} of its own: the terms hold only "
                needs = "if it takes compute_loss of one forward pass"
                warnings.warn(own + needs, stacklevel=2)
        self._compare_steps(self.params.get("steps"))
        self._compiled = self._batch_losses
        if not self.model.run_eagerly:
            self._compiled = tf.function(
                self._batch_losses, autograph=False, reduce_retracing=True
            )
        self._trained, self._val_loss_is_compared = None, False

    def on_train_batch_end(self, batch, logs=None):
        """Count. Of several batches in one execution, Keras tells the first or last."""
        self._trained = batch + 1

    def _compare_with_fit(self, epoch, logs):
        """Raise ValueError if `fit` reports what the data given here do not have."""
        if "val_loss" not in logs:
            raise ValueError("give fit validation_data, and leave validation_freq at 1")
        self._compare_steps(self._trained, self.model.steps_per_execution)
        if self._val_loss_is_compared:
            return
        self._val_loss_is_compared = True
        losses, sizes = self._losses(REGULARIZED, epoch, training=False)
        measured, reported = np.average(losses, weights=sizes), logs["val_loss"]
        tolerance = 1e-3
        if self.model.compute_dtype in ("float16", "bfloat16"):
            tolerance = 1e-2
        if KERAS_VERSION < (3, 2):  # which counts a smaller last batch in full
            tolerance = 0.1
        if not np.isclose(measured, reported, tolerance, 1e-6, equal_nan=True):
            raise ValueError(
                f"fit reports a val_loss of {reported:.6g}, but the validation data given "
                f"to MeasureReasons have {measured:.6g}: they must be those of fit, scaled "
                "and weighted as there, and the same at each reading; and no callback may "
                "swap the weights for the validation"
            )

    def _compare_steps(self, steps, at_once=1):
        """Raise ValueError if `fit` counts other batches; None if it cannot know yet."""
        if steps is not None and abs(steps - self.steps) >= at_once:
            raise ValueError(
                f"fit counts {steps} batches, and MeasureReasons {self.steps}: give it the "
                "data and the batch_size that fit gets, without what validation_split or "
                "steps_per_epoch leaves out"
            )


def _standard_error(losses, sizes):
    """Return the standard error of the mean loss of the images.

    The loss of a batch of n images has a variance of v / n, with v that of the loss of
    an image. So the squared distances of m batches from the mean, weighted by n, add up
    to v * (m - 1); and the squared standard error of the mean is v / (all images).
    """
    if len(losses) == 1:
        return math.nan
    distances = losses - np.average(losses, weights=sizes)
    return math.sqrt(np.average(distances**2, weights=sizes) / (len(losses) - 1))


def _measurable(data):
    """Return data that can be measured on, arrays as NumPy's; or raise ValueError."""
    if isinstance(data, tf.data.Dataset | keras.utils.PyDataset):
        return data
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise ValueError("give (images, labels), or a data set in batches")
    data = tuple(map(np.asarray, data))
    numbers = {array.shape[:1] for array in data}
    if len(numbers) > 1:
        raise ValueError(f"images and labels differ in number: {sorted(numbers)}")
    return data


def _number_of_batches(data, batch_size):
    """Return how many batches data have; raise ValueError if that is not known."""
    if isinstance(data, tuple):
        return math.ceil(len(data[0]) / batch_size)
    if isinstance(data, keras.utils.PyDataset):
        number = -1 if data.num_batches is None else data.num_batches
    else:
        number = int(data.cardinality())
    if number < 0:  # TensorFlow's ways to say infinite, and unknown
        advice = "use its take, or tf.data.experimental.assert_cardinality"
        raise ValueError(f"a data set never ends, or hides how long it is: {advice}")
    return number
