"""Measure, epoch by epoch, why the validation loss is lower than the training loss.

Images that are not trained on are scored during the epoch, too. So the way from the
training loss to the validation loss has steps, and each step changes one thing:

    loss                      training images, during the epoch, in training mode
        overfitting               whether the network trains on the images
    held_out_loss_during      held-out images, at the same moments, in the same mode
        data                      where the images come from
    val_loss_during           validation images, at the same moments, in the same mode
        timing                    when: during the epoch, or at its end
    val_loss_regularized      validation images, at its end
        regularization            the mode: training or inference
    val_loss                  validation images, in inference mode

`fit` reports the first and the last; `val_loss_during` is the validation loss measured
the way the training loss is. A term is the loss above it minus the loss below it, so
the terms add up to the gap, loss - val_loss. Held-out images are drawn like the
training images, but not trained on. Without them, overfitting and data are one term.
With every other metric that is a mean over images, accuracy for example, it is the
same.

What augmentation, class weights, label smoothing or a training step of one's own does
to the training loss is in overfitting. Held-out images that are treated in the same way
move it into data, where it belongs: the validation images are easier. A penalty such as
L2 is in all five losses, so it is in none of the terms but timing, by what it changes.

This module needs nothing else of this package, only Keras on TensorFlow.
"""

import contextlib
import inspect
import itertools
import math

import keras
import numpy as np
import tensorflow as tf

SIZE = "batch size"  # stands beside the metrics of a batch


class MeasureReasons(keras.callbacks.Callback):
    """Add to what each epoch reports the losses between `loss` and `val_loss`.

    With each term comes its standard error, as `loss_timing_error`: two times in three,
    the term for all the images that there might be is within one error of it. Errors
    from fewer than five batches are too small, and one batch has none (NaN). They are
    too small, too, if images come in groups that are alike. What another training, from
    other first weights, would give is not in them, nor is the chance in the training
    loss itself, from dropout.

    In the list that `fit` gets, put this callback before those that are to see its
    numbers, and after `keras.callbacks.ProgbarLogger()`, which then does not show them.
    The training stays what it is, bit for bit, if the layers keep all that changes in
    Keras's own variables (not in a `tf.Variable`, for example), and if reading the data
    given here does not change how the training data are read: they share no `shuffle`.

    The model needs a loss, by `compile`, `compute_loss` or `add_loss`; its own
    `train_step` or `test_step` is not called. An epoch with fewer steps than the first
    is unknown (NaN). With `steps_per_execution`, batches are scored before and after so
    many steps: an epoch should have many times as many.

    Parameters
    ----------
    validation_data : tuple, tf.data.Dataset or keras.utils.PyDataset
        What `fit` gets. A tuple is (images, labels) or (images, labels, sample
        weights); each is an array, or a list or dict of arrays. The images are shuffled
        anew in each epoch. A data set stays in its order; it must be batched, know in
        how many batches, and not be sorted by label (it is read once to see that).
    held_out_data : same as validation_data, optional
        Images drawn like the training images, which `fit` does not get.
    batch_size : int
        As `fit` gets it: batch normalization depends on it. A data set brings its own.

    Raises
    ------
    ValueError
        At once, if Keras runs on another backend, or if data are not as above. In
        `fit`, before the first epoch, if a network carries its state from batch to
        batch; at the end of an epoch, if there is no validation loss, or if it is not
        that of the data given here.
    """

    def __init__(self, validation_data, held_out_data=None, batch_size=32):
        super().__init__()
        if keras.config.backend() != "tensorflow":
            raise ValueError("Keras must run on TensorFlow: KERAS_BACKEND=tensorflow")
        # By what the names of the numbers begin with.
        self.data = {"val": _in_batches(validation_data, batch_size)}
        if held_out_data is not None:
            self.data["held_out"] = _in_batches(held_out_data, batch_size)

    def on_train_begin(self, logs=None):
        """Prepare, and refuse a network that cannot be measured."""
        if any(getattr(layer, "stateful", False) for layer in self.model.layers):
            raise ValueError(
                "a network that carries its state from batch to batch (stateful=True) "
                "cannot be measured: training batches come between those to be scored"
            )
        self._graph = self._score_batch
        if not self.model.run_eagerly:  # as `fit` would run it
            how = {"reduce_retracing": True, "jit_compile": self.model.jit_compile}
            self._graph = tf.function(self._score_batch, autograph=False, **how)
        self._steps = self.params.get("steps")  # None where `fit` does not know
        self._added = []  # what this adds to an epoch: known after the first

    def on_epoch_begin(self, epoch, logs=None):
        """Begin to read the batches that are to be scored during the epoch."""
        self._steps_done = 0
        self._during = {part: [] for part in self.data}
        self._upcoming = {}
        for part, data in self.data.items():
            if isinstance(data, _Arrays):
                data.shuffle(epoch)
            readings = map(_read, itertools.repeat(data))  # over and over
            self._upcoming[part] = itertools.chain.from_iterable(readings)

    def on_train_batch_begin(self, batch, logs=None):
        """Score the batches whose moment has come, with the weights of this moment."""
        several = self.model.steps_per_execution
        at_once = min(several, (self._steps or math.inf) - batch)
        self._score_due(batch + (at_once + 1) / 2)
        if several > 1:  # the end of the last ones is not told by all versions of Keras
            self._steps_done = batch + at_once

    def on_train_batch_end(self, batch, logs=None):
        """Count the steps of the epoch."""
        self._steps_done = max(self._steps_done, batch + 1)

    def _score_due(self, steps):
        """Score the batches that are due within so many steps of the epoch.

        Batch i of m is due in the middle of the i-th of m equal parts of the epoch. As
        long as its length is not known, one batch is due before each step, and after
        the last one, the first again.
        """
        for part, scored in self._during.items():
            due = steps
            if self._steps:
                due = min(due / self._steps, 1) * len(self.data[part])
            due = math.ceil(due - 0.5) - len(scored)
            if due > 0:  # before most steps, nothing is
                batches = itertools.islice(self._upcoming[part], due)
                scored += self._score(batches, self._state(), True)[0]

    def on_test_begin(self, logs=None):
        """Keep the state of the random generators that `fit` validates with."""
        self._validation_state = self._state()

    def on_epoch_end(self, epoch, logs):
        """Measure; Keras hands the same `logs` to the callbacks after this one."""
        if "val_loss" not in logs:
            raise ValueError("give fit validation_data, and leave validation_freq at 1")
        known, self._steps = self._steps, self._steps or self._steps_done
        numbers = {}  # none if the epoch has ended early
        if self._steps_done >= self._steps:
            self._score_due(known or 0)  # what is left of several steps at once
            batches, state = _read(self.data["val"]), self._validation_state
            in_training, in_inference = self._score(batches, state, True, False)
            for name in self._names_as_in_fit(in_inference, logs):
                numbers |= self._numbers(name, in_training, in_inference)
        self._added = self._added or [*numbers]
        logs.update({name: numbers.get(name, math.nan) for name in self._added})

    def _numbers(self, name, in_training, in_inference):
        """Return what stands between a metric and its validation metric, and errors."""
        at_end, sizes = _column(in_training, name)
        as_usual, _ = _column(in_inference, name)
        during, _ = _column(self._during["val"], name)
        # The batches that were scored during the epoch: all, or some, or some twice.
        scored = np.arange(len(during)) % len(at_end)
        rows, images = sizes[scored], sizes.sum()
        _, regularization_error = _mean_and_error(at_end - as_usual, sizes, images)
        timing, timing_error = _mean_and_error(during - at_end[scored], rows, images)
        _, data_error = _mean_and_error(during, rows, images)
        at_end = float(np.average(at_end, weights=sizes))
        numbers = {
            f"val_{name}_during": at_end + timing,
            f"val_{name}_regularized": at_end,
            f"{name}_regularization_error": regularization_error,
            f"{name}_timing_error": timing_error,
        }
        if "held_out" in self.data:
            during, sizes = _column(self._during["held_out"], name)
            images = sizes[: len(self.data["held_out"])].sum()
            held_out, held_out_error = _mean_and_error(during, sizes, images)
            numbers[f"held_out_{name}_during"] = held_out
            numbers[f"{name}_overfitting_error"] = held_out_error
            data_error = math.hypot(data_error, held_out_error)
        # Without held-out images, it is that of data + overfitting.
        numbers[f"{name}_data_error"] = data_error
        return numbers

    def _state(self):
        """Return a copy of what the network changes when it is called in training."""
        # Moving averages, and the state of random generators: the copy goes from batch
        # to batch, and the model's own stay as they are.
        variables = self.model.non_trainable_variables
        return [tf.convert_to_tensor(variable.value) for variable in variables]

    def _score(self, batches, state, *modes):
        """Return, for each mode, the metrics and the size of each batch."""
        # One reading for all: a data set may come in another order at the next.
        scores, states = [[] for _ in modes], [state for _ in modes]
        for batch in batches:
            for i, training in enumerate(modes):
                score, states[i] = self._graph(training, batch, states[i])
                scores[i].append(tf.nest.map_structure(float, score))
        return scores

    def _score_batch(self, training, batch, state):
        """Return the metrics and the size of a batch, and the state after it."""
        model = self.model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)

        def mode(method):
            # As `fit` does: a method that does not ask for the mode is not told of it.
            asks = "training" in inspect.signature(method).parameters
            return {"training": training} if asks else {}

        # Without the weights in the scope, penalties such as L2 would be missing.
        values = [(weight, weight.value) for weight in model.trainable_variables]
        values += zip(model.non_trainable_variables, state)
        # For each batch, the metrics begin anew.
        totals = model.metrics_variables
        values += [(total, keras.ops.zeros_like(total)) for total in totals]
        with keras.StatelessScope(values, collect_losses=True) as scope:
            y_pred = model(x, **mode(model.call))
            loss_mode = mode(model.compute_loss)
            loss = model.compute_loss(x, y, y_pred, sample_weight, **loss_mode)
            metrics = model.compute_metrics(x, y, y_pred, sample_weight)
        state = [*map(scope.get_current_value, model.non_trainable_variables)]
        # As `fit` counts: the rows of the first input.
        size = keras.ops.shape(tf.nest.flatten(x)[0])[0]
        numbers = {k: v for k, v in metrics.items() if not keras.ops.shape(v)}
        return {**numbers, "loss": loss, SIZE: size}, state

    def _names_as_in_fit(self, in_inference, logs):
        """Return the metrics that are means over images, as `fit` reports them."""
        # In half precision, the order of a sum shows.
        half = self.model.compute_dtype in ("float16", "bfloat16")
        metrics = [getattr(one, "metrics", [one]) for one in self.model.metrics]
        metrics = itertools.chain.from_iterable(metrics)
        means = [one.name for one in metrics if isinstance(one, keras.metrics.Mean)]
        names = []
        for name in in_inference[0]:
            values, sizes = _column(in_inference, name)
            mean, reported = np.average(values, weights=sizes), logs.get(f"val_{name}")
            if reported is None or not name.endswith(tuple(means)):
                continue
            if np.isclose(mean, reported, 1e-2 if half else 1e-3, 1e-6, equal_nan=True):
                names.append(name)
            elif name == "loss":
                raise ValueError(
                    f"fit reports a val_loss of {reported:.6g}, but the validation "
                    f"data given to MeasureReasons have {mean:.6g}: give both the "
                    "same, scaled and weighted alike; in a tf.data.Dataset, if the loss "
                    "depends on who shares a batch (Dice, masks); and let no callback "
                    "swap weights"
                )
        return names


class _Arrays:
    """Arrays in batches, whose order can be changed."""

    def __init__(self, arrays, batch_size):
        self.arrays, self.batch_size = arrays, batch_size
        self.rows = len(tf.nest.flatten(arrays)[0])

    def shuffle(self, seed):
        """Put the rows into an order; the training's random numbers are not touched."""
        self.order = np.random.default_rng(seed).permutation(self.rows)

    def __len__(self):
        return math.ceil(self.rows / self.batch_size)

    def __getitem__(self, batch):
        rows = self.order[batch * self.batch_size :][: self.batch_size]
        return tf.nest.map_structure(lambda array: array[rows], self.arrays)


def _in_batches(data, batch_size):
    """Return data whose `len` is a number of batches; or raise ValueError."""
    if isinstance(data, tf.data.Dataset | keras.utils.PyDataset):
        length = 0
        with contextlib.suppress(TypeError):  # it is infinite or not known
            length = len(data)
        if not length:
            raise ValueError(
                "a data set is empty, infinite or of unknown length: use its take, or "
                "tf.data.experimental.assert_cardinality"
            )
        if _is_sorted(data):
            raise ValueError(
                "a data set is sorted by label: shuffle it once, for example with "
                "image_dataset_from_directory(..., shuffle=True, seed=0)"
            )
        return data
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise ValueError("give (images, labels), or a tf.data.Dataset or PyDataset")
    arrays = tf.nest.map_structure(np.asarray, tuple(data))
    rows = {*map(str, (array.shape[:1] for array in tf.nest.flatten(arrays)))}
    if len(rows) > 1 or rows & {"()", "(0,)"}:
        raise ValueError(
            "give images, labels and weights as arrays of equal length, for example "
            f"np.array(images): their lengths are {', '.join(sorted(rows)):.60}"
        )
    return _Arrays(arrays, batch_size)


def _read(data):
    """Return an iterator over the batches of data."""
    if isinstance(data, tf.data.Dataset):
        return iter(data)
    return map(data.__getitem__, range(len(data)))


def _is_sorted(data):
    """Return whether the images of each label follow each other.

    Batches of one class are normalized by statistics that no other batch has, and the
    errors, from differences of neighbours, would be far too small.
    """
    labels = []
    for batch in _read(data):
        _, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        y = tf.nest.flatten(y)[0]
        if not isinstance(y, np.ndarray | tf.Tensor):
            return False  # none, or sparse or ragged
        y = np.reshape(y, (len(y), -1))
        # A number for each image: of one-hot labels, the place of the one.
        labels.extend(y @ np.arange(1.0, y.shape[1] + 1))
    blocks = 1 + np.count_nonzero(np.diff(labels))
    return 1 < len({*labels}) == blocks < len(labels)


def _column(scores, name):
    """Return a metric of batches, and their sizes."""
    return [np.array([score[key] for score in scores]) for key in (name, SIZE)]


def _mean_and_error(values, sizes, images):
    """Return the mean of a metric over images, and its standard error.

    `values` are those of batches, in the order of their moments. During an epoch they
    fall, and that is not chance; so the variance is taken from the differences between
    neighbours (J. von Neumann and others, The mean square successive difference, 1941).
    A batch of n images has a variance of v / n, with v that of one image, and the
    difference of two has the sum of theirs. So each difference gives a v, and the
    squared error is the mean of these over the number of images. That number is less
    than the sum of the sizes where `images` have been scored more than once.
    """
    mean = float(np.average(values, weights=sizes))
    if len(values) < 2:
        return mean, math.nan
    variances = np.diff(values) ** 2 / (1 / sizes[1:] + 1 / sizes[:-1])
    images = min(images, sizes.sum())
    return mean, math.sqrt(variances.mean() / images)
