"""Measure, epoch by epoch, why the validation loss is lower than the training loss.

At the end of each epoch, up to three more losses are taken in training mode: with
dropout, and with the mean and variance of each batch in batch normalization. From the
training loss to the validation loss they make steps, and each step is to change one
thing:

    loss                          of training images, during the epoch
        timing                        when: during the epoch, or at its end
    loss_at_end                   of training images, in training mode, too
        overfitting                   whether the network trains on the images
    held_out_loss_regularized     of held-out images
        data                          where the images come from
    val_loss_regularized          of validation images
        regularization                whether the network is in training mode
    val_loss                      of validation images, in inference mode

A term is the loss above it minus the loss below it. So the terms add up to the gap,
loss - val_loss. Held-out images are drawn like the training images, but not trained on.
Without them, overfitting and data are one term: nobody can tell easier images from
images that the network knows. Three cautions:

- Timing is not only time. `loss` scores an image before the network has learned from it
  in this epoch, `loss_at_end` after.
- A penalty such as L2 is in all five losses, so it is not in regularization. What it
  changes in an epoch is in timing.
- Regularization is that on validation images. On training images it is another number.

This module needs nothing else of this package, only Keras on TensorFlow.
"""

import functools
import inspect
import itertools
import math
import warnings

import keras
import numpy as np
import tensorflow as tf

# Batches that TensorFlow is given at once. One by one takes 1.2 times as long.
AT_ONCE = 8
KERAS_VERSION = tuple(map(int, keras.__version__.split(".")[:2]))


class MeasureReasons(keras.callbacks.Callback):
    """Add the losses that the gap is split by to what each epoch reports.

    With them come standard errors: `overfitting_error` and `data_error`; without
    held-out images, `data_error` is that of overfitting + data. They are estimated from
    the spread of the losses of the batches, so one batch has none (NaN). They are too
    small if images come in groups that are alike, and too large if a data set is
    sorted, by class for example.

    Put this callback first in the list that `fit` gets, so that the others see its
    numbers. With arrays, or with data sets of its own, it changes nothing in the
    training, bit for bit. If it shares a data set that shuffles with `fit`, then `fit`
    gets other batches from it than without, as good as any.

    Parameters
    ----------
    training_data, validation_data : tuple, tf.data.Dataset or keras.utils.PyDataset
        What `fit` gets. A tuple is (images, labels) or (images, labels, sample
        weights), arrays that this callback shuffles into batches. Put what `fit` gets
        as `sample_weight` or `class_weight` into the weights: a callback does not see
        it. A data set must be batched, and know in how many batches.
    held_out_data : same as validation_data, optional
        Images drawn like the training images, which `fit` does not get.
    batch_size : int
        As `fit` gets it. A data set brings its own.

    Raises
    ------
    ValueError
        At once, if Keras runs on another backend, or if data are of another kind. In
        `fit`, if it trains on another number of batches, if there is no validation
        loss, or if it is not that of the data given here.

    Notes
    -----
    After `keras.utils.set_random_seed`, `fit` puts arrays into the same batches in
    every epoch (TensorFlow's issue 35682), and a network with batch normalization
    memorizes them. `loss_at_end` is taken in other batches, and so is higher: by
    0.003 to 0.010 in a run on Fashion MNIST. A `tf.data.Dataset` with `shuffle` avoids
    it.
    """

    def __init__(
        self, training_data, validation_data, held_out_data=None, batch_size=32
    ):
        super().__init__()
        if keras.config.backend() != "tensorflow":
            raise ValueError("Keras must run on TensorFlow: KERAS_BACKEND=tensorflow")
        self.batch_size = batch_size
        self.training_data = self._checked(training_data)
        self.validation_data = self._checked(validation_data)
        if held_out_data is not None:
            held_out_data = self._checked(held_out_data)
        self.held_out_data = held_out_data

    def on_train_begin(self, logs=None):
        """Prepare; and refuse, or warn of, what can be seen before the first epoch."""
        self._warn_of_own_steps()
        self._compare_batches(self.params.get("steps"))
        self._measure = {}
        # One for each mode: TensorFlow warns if one function is traced five times.
        for training in (True, False):
            losses = functools.partial(self._batch_losses, training)
            graph = tf.function(losses, autograph=False, reduce_retracing=True)
            self._measure[training] = losses if self.model.run_eagerly else graph
        self._trained, self._val_loss_is_compared = None, False

    def on_train_batch_end(self, batch, logs=None):
        """Note how many batches `fit` has trained on in this epoch."""
        self._trained = batch + 1

    def on_epoch_end(self, epoch, logs):
        """Measure; Keras hands the same `logs` to the callbacks after this one."""
        self._compare_with_fit(epoch, logs)
        # The standard error of a difference is the root of the squared errors' sum.
        logs["loss_at_end"], error = self._mean_loss(self.training_data, epoch)
        if self.held_out_data is not None:
            held_out, held_out_error = self._mean_loss(self.held_out_data, epoch)
            logs["held_out_loss_regularized"] = held_out
            logs["overfitting_error"] = math.hypot(error, held_out_error)
            error = held_out_error
        validation, validation_error = self._mean_loss(self.validation_data, epoch)
        logs["val_loss_regularized"] = validation
        logs["data_error"] = math.hypot(error, validation_error)

    def _mean_loss(self, data, epoch, training=True):
        """Return the mean loss of images, and its standard error."""
        # Training mode changes moving averages and the seeds of dropout. A copy of them
        # goes from batch to batch, so that those of the model stay as they are.
        variables = self.model.non_trainable_variables
        state = [keras.ops.convert_to_tensor(variable) for variable in variables]
        losses, sizes, batches = [], [], self._batches(data, epoch)
        while chunk := [*itertools.islice(batches, AT_ONCE)]:
            chunk_losses, state = self._measure[training](chunk, state)
            losses += map(float, chunk_losses)
            sizes += [len(tf.nest.flatten(batch)[0]) for batch in chunk]
        return _mean_and_error(losses, sizes)

    def _batches(self, data, epoch):
        """Yield the batches of a data set; of arrays, new ones in each epoch."""
        if isinstance(data, keras.utils.PyDataset):
            yield from (data[batch] for batch in range(data.num_batches))
        elif isinstance(data, tf.data.Dataset):
            yield from data
        else:
            # The random numbers of the training are not touched.
            order = np.random.default_rng(epoch).permutation(len(data[0]))
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                yield tuple(array[rows] for array in data)

    def _batch_losses(self, training, batches, state):
        """Return the losses of batches, and the state after them."""
        model, losses = self.model, []
        # As `fit` does: a `call` that does not ask for the mode is not told of it.
        takes_mode = "training" in inspect.signature(model.call).parameters
        mode = {"training": training} if takes_mode else {}
        variables = model.non_trainable_variables
        # Without the weights in the scope, penalties such as L2 would be missing.
        weights = [(weight, weight.value) for weight in model.trainable_variables]
        for batch in batches:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            values = [*weights, *zip(variables, state)]
            with keras.StatelessScope(values, collect_losses=True) as scope:
                y_pred = model(x, **mode)
                losses.append(model.compute_loss(x, y, y_pred, sample_weight))
            state = [scope.get_current_value(variable) for variable in variables]
        return losses, state

    # From here on: what would be measured wrongly is refused.

    def _checked(self, data):
        """Return data to measure on, arrays as NumPy's; or raise ValueError."""
        if isinstance(data, tf.data.Dataset | keras.utils.PyDataset):
            if self._number_of_batches(data) < 1:  # -1 if infinite, -2 if unknown
                advice = "use its take, or tf.data.experimental.assert_cardinality"
                raise ValueError(
                    f"a data set is empty, infinite or of unknown length: {advice}"
                )
            return data
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise ValueError("give (images, labels), or a data set in batches")
        data = tuple(np.asarray(array) for array in data)
        numbers = [array.shape[:1] for array in data]
        if len(set(numbers)) > 1 or numbers[0] in ((), (0,)):
            raise ValueError("give as many labels as images, and one or more of each")
        return data

    def _number_of_batches(self, data):
        """Return the number of batches, below 0 if it is infinite or not known."""
        if isinstance(data, tuple):
            return math.ceil(len(data[0]) / self.batch_size)
        if isinstance(data, keras.utils.PyDataset):
            return -1 if data.num_batches is None else data.num_batches
        return int(data.cardinality())

    def _warn_of_own_steps(self):
        """Warn of a model that may not train on what is measured."""
        kind = type(self.model)
        for step in ("train_step", "test_step"):
            if getattr(kind, step) is not getattr(keras.Model, step):
                warnings.warn(
                    f"{kind.__name__} has a custom {step}: the terms hold only if it "
                    "takes compute_loss of one forward pass",
                    stacklevel=3,
                )

    def _compare_batches(self, number, tolerance=0):
        """Raise ValueError if `fit` trains on another number of batches."""
        given = self._number_of_batches(self.training_data)
        if number is not None and abs(number - given) > tolerance:
            raise ValueError(
                f"fit counts {number} batches, and MeasureReasons {given}: give it the data "
                "and the batch_size that fit gets, without what validation_split or "
                "steps_per_epoch leaves out"
            )

    def _compare_with_fit(self, epoch, logs):
        """Raise ValueError if `fit` has trained or validated on other data."""
        if not self.model.stop_training:  # in the middle of the epoch, perhaps
            # Of several batches in one execution, Keras reports the first or the last.
            self._compare_batches(self._trained, self.model.steps_per_execution - 1)
        if "val_loss" not in logs:
            raise ValueError("give fit validation_data, and leave validation_freq at 1")
        if self._val_loss_is_compared:
            return
        self._val_loss_is_compared = True
        reported = logs["val_loss"]
        measured, _ = self._mean_loss(self.validation_data, epoch, training=False)
        tolerance = 1e-3
        if self.model.compute_dtype in ("float16", "bfloat16"):
            tolerance = 1e-2
        if KERAS_VERSION < (3, 2):  # which counts a smaller last batch in full
            tolerance = 0.1
        if not np.isclose(
            measured, reported, rtol=tolerance, atol=1e-6, equal_nan=True
        ):
            raise ValueError(
                f"fit reports a val_loss of {reported:.6g}, but the validation data given "
                f"to MeasureReasons have {measured:.6g}: they must be those of fit, scaled "
                "and weighted as there, and the same at each reading; and no callback may "
                "swap the weights for the validation"
            )


def _mean_and_error(losses, sizes):
    """Return the mean loss of images, from those of batches, and its standard error.

    The loss of a batch of n images has a variance of v / n, with v that of the loss of
    an image. So the squared distances of m batches from the mean, weighted by n, add up
    to v * (m - 1) on average; and the squared standard error is v / (all images).
    """
    mean, error = float(np.average(losses, weights=sizes)), math.nan
    if len(losses) > 1:
        squares = np.average((np.array(losses) - mean) ** 2, weights=sizes)
        error = math.sqrt(squares / (len(losses) - 1))
    return mean, error
