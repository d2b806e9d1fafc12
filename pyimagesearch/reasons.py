"""Measure, epoch by epoch, why the validation loss is lower than the training loss.

`fit` reports the first and the last of these five losses. The three between them are
measured here, so that each step changes one thing:

    loss                      training images, during the epoch, in training mode
        overfitting               whether the network trains on the images
    held_out_loss_during      held-out images, at the same moments, in the same mode
        data                      where the images come from
    val_loss_during           validation images, at the same moments, in the same mode
        timing                    when: during the epoch, or at its end
    val_loss_regularized      validation images, at the end of the epoch, in that mode
        regularization            the mode: training or inference
    val_loss                  validation images, at the end, in inference mode

A term is the loss above it minus the loss below it, so the terms add up to the gap,
loss - val_loss. Held-out images are drawn like the training images, but are not trained
on; without them, overfitting and data are one term. Every other metric that is a mean
over images, such as accuracy, is measured in the same way.

Another order of the steps gives other terms. A training loss exists in training mode
only, so the mode is changed last, at the end of the epoch, where `val_loss` is taken.
In the first epoch of a small network, timing was +.18 and regularization +.07. With the
mode changed first, they were +.71 and -.45: batch normalization's averages are so young
that inference is worse than training mode in the first tenth of the epoch. Measured
during the epoch, the mode made +.011; at its end, +.108.

What is in which term:

- Label smoothing in the loss, and penalties such as L2, are in all five losses. They
  make no term; timing has what a penalty changes by.
- Augmentation layers in the network act in training mode only. They are in
  regularization (+.33 in a trial).
- Augmentation of the training data, class weights and a training step of one's own are
  in overfitting. So is a callback that calls `evaluate` in mid-epoch, which resets
  `loss` (+.04 became -.08 in a trial). Held-out images that are augmented in the same
  way move augmentation into data.

This module needs only Keras on TensorFlow, and nothing else of this package.
"""

import inspect
import itertools
import math

import keras
import numpy as np
import tensorflow as tf

SIZE = "batch size"  # stands beside the metrics of a batch


class MeasureReasons(keras.callbacks.Callback):
    """Add the losses between `loss` and `val_loss` to what each epoch reports.

    In the list that `fit` gets, this callback comes before those that are to see its
    numbers, such as CSVLogger, and after `keras.callbacks.ProgbarLogger()`, which then
    does not print them. An epoch that ends early is unknown (NaN).

    Each term comes with its standard error, as `loss_timing_error`. With other
    validation and held-out images, a term would move by less than it about two times in
    three, if there are 20 batches or more; with five, it is six times in ten. (With
    five, timing of the first epoch also comes out too small by .04, and overfitting too
    large.) The error does not say what other training images or first weights would do:
    of whole trainings, 32 to 47 of 100 have a term of the first epoch within one error.
    Data and overfitting share the held-out images, so chance moves them in opposite
    directions, and the error of a sum is not the sum of errors. The gap has no error.

    The training stays the same, bit for bit, if its layers keep what changes in Keras's
    own variables and draw from Keras's generators (no `tf.Variable`, no `tf.random`),
    and if its data share no `shuffle` with the data given here. On a GPU, two runs differ even without the measurement; they were
    equal, with and without it, after `tf.config.experimental.enable_op_determinism()`.

    Parameters
    ----------
    validation_data : tuple, tf.data.Dataset or keras.utils.PyDataset
        What `fit` gets. A tuple is (images, labels) or (images, labels, sample
        weights); each is an array, or a list or dict of arrays. Each epoch deals them
        in a new order. A data set has batches, and knows how many. It must have no
        order, since the moment decides which images are scored: shuffle it once. One
        that is sorted by label is refused. One that followed time gave a timing of
        -1.09 +-.51 for +.33.
    held_out_data : same as validation_data, optional
        Images drawn like the training images, which `fit` does not get.
    batch_size : int
        As `fit` gets it: batch normalization depends on it. A data set brings its own.

    Raises
    ------
    ValueError
        At once, if Keras does not run on TensorFlow, or if the data are not as above.
        Before the first epoch, if `fit` does not know its number of steps or takes
        several at once, or if a layer is stateful, as training would come between the
        batches that are scored. At the end of an epoch, if there is no `val_loss`, or
        if the data given here have another one.
    """

    def __init__(self, validation_data, held_out_data=None, batch_size=32):
        super().__init__()
        if keras.config.backend() != "tensorflow":
            raise ValueError("Keras must run on TensorFlow: KERAS_BACKEND=tensorflow")
        # The keys are the prefixes of the metrics' names; the values are the number of
        # batches, and a function that reads them.
        self.data = {"val": _in_batches(validation_data, batch_size)}
        if held_out_data is not None:
            self.data["held_out"] = _in_batches(held_out_data, batch_size)

    def on_train_begin(self, logs=None):
        """Refuse what cannot be measured, and prepare the scoring."""
        if not self.params["steps"]:
            raise ValueError("fit must know how many steps it takes: steps_per_epoch")
        if self.model.steps_per_execution > 1:
            raise ValueError("compile with steps_per_execution=1, to score each step")
        layers = [self.model]
        for layer in layers:  # the list grows by the layers in a layer or model
            inner = [*vars(layer).values()]
            inner += layer.layers if isinstance(layer, keras.Model) else []
            layers += {one for one in inner if isinstance(one, keras.Layer)} - {*layers}
            if getattr(layer, "stateful", False) is True:
                raise ValueError("a layer with stateful=True cannot be measured")
        graph = tf.function(self._score_eagerly, autograph=False, reduce_retracing=True)
        self._score = self._score_eagerly if self.model.run_eagerly else graph
        self._added = []  # what this adds to an epoch: known after the first

    def on_epoch_begin(self, epoch, logs=None):
        """Begin to read the batches that are to be scored during the epoch."""
        self._steps_done = 0
        self._upcoming = {part: read(epoch) for part, (_, read) in self.data.items()}
        self._during = {part: [] for part in self.data}

    def on_train_batch_begin(self, batch, logs=None):
        """Score the batches whose moment has come, with the weights of this moment.

        Batch i of m is due in the middle of the i-th of m equal parts of the epoch.
        """
        share = (batch + 1) / self.params["steps"]
        for part, (number, _) in self.data.items():
            due = math.ceil(share * number - 0.5) - len(self._during[part])
            if due > 0:  # before most steps, nothing is
                batches = itertools.islice(self._upcoming[part], due)
                self._during[part] += self._scores(batches, True)

    def on_train_batch_end(self, batch, logs=None):
        """Count the steps of the epoch."""
        self._steps_done = batch + 1

    def on_epoch_end(self, epoch, logs):
        """Measure; Keras hands the same `logs` to the callbacks after this one."""
        if "val_loss" not in logs:
            raise ValueError("give fit validation_data, and leave validation_freq at 1")
        numbers = {}
        if self._steps_done == self.params["steps"]:
            # Both modes score one reading: the next may come in another order.
            _, read = self.data["val"]
            one, other = itertools.tee(read(epoch))
            scores = zip(self._scores(one, True), self._scores(other, False))
            regularized, as_reported = map(_columns, zip(*scores))
            during = {part: _columns(self._during[part]) for part in self.data}
            for name in self._names_as_in_fit(as_reported, logs):
                numbers |= _numbers(name, during, regularized, as_reported)
        self._added = self._added or [*numbers]
        logs.update({name: numbers.get(name, math.nan) for name in self._added})

    def _scores(self, batches, training):
        """Yield the metrics and the size of each batch.

        What the network changes when it is called, its moving averages and the state of
        its random generators, is copied, and the copy goes from batch to batch. The
        network's own stay as they are.
        """
        variables = self.model.non_trainable_variables
        state = [tf.convert_to_tensor(variable.value) for variable in variables]
        for batch in batches:
            score, state = self._score(batch, state, training)
            yield {k: float(v) for k, v in score.items() if not np.ndim(v)}

    def _score_eagerly(self, batch, state, training):
        """Return the metrics and the size of a batch, and the state after it."""
        model = self.model
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)

        def mode(method):
            # As in `fit`, `training` is passed only to methods that accept it.
            accepts = "training" in inspect.signature(method).parameters
            return {"training": training} if accepts else {}

        # Without the weights in the scope, penalties such as L2 would be missing.
        values = [(one, one.value) for one in model.trainable_variables]
        values += zip(model.non_trainable_variables, state)
        # For each batch, the metrics begin anew.
        values += [(one, keras.ops.zeros_like(one)) for one in model.metrics_variables]
        with keras.StatelessScope(values, collect_losses=True) as scope:
            y_pred = model(x, **mode(model.call))
            loss = model.compute_loss(x, y, y_pred, weight, **mode(model.compute_loss))
            metrics = model.compute_metrics(x, y, y_pred, weight)
        state = [*map(scope.get_current_value, model.non_trainable_variables)]
        # As `fit` counts: the rows of the first input.
        size = keras.ops.shape(tf.nest.flatten(x)[0])[0]
        return {**metrics, "loss": loss, SIZE: size}, state

    def _names_as_in_fit(self, as_reported, logs):
        """Yield the metrics that are means over images, as `fit` reports them."""
        metrics = [getattr(one, "metrics", [one]) for one in self.model.metrics]
        metrics = itertools.chain.from_iterable(metrics)
        means = [one.name for one in metrics if isinstance(one, keras.metrics.Mean)]
        # In half precision, the order of a sum shows.
        half = self.model.compute_dtype in ("float16", "bfloat16")
        for name in [name for name in as_reported if name.endswith(tuple(means))]:
            values, reported = as_reported[name], logs.get(f"val_{name}", math.inf)
            mean = np.average(values, weights=as_reported[SIZE])
            close = np.abs(values).max() * (1e-2 if half else 1e-3)
            if np.isclose(mean, reported, rtol=0, atol=close, equal_nan=True):
                yield name
            elif name == "loss":
                raise ValueError(
                    f"fit reports a val_loss of {reported:.6g}, but the data given "
                    f"here have {mean:.6g}: perhaps they are others, or scaled, "
                    "weighted or batched (give a tf.data.Dataset) otherwise, or data or "
                    "network are random at each reading, a callback swaps weights, or "
                    "the model has replicas or a test_step of its own"
                )


def _numbers(name, during, regularized, as_reported):
    """Return one metric's intermediate values and their standard errors."""
    numbers, errors = {}, {}
    for part, scores in during.items():
        values, sizes = scores[name], scores[SIZE]
        numbers[f"{part}_{name}_during"] = np.average(values, weights=sizes)
        errors[part] = _standard_error(values, sizes)
    at_end, sizes = regularized[name], regularized[SIZE]
    numbers[f"val_{name}_regularized"] = np.average(at_end, weights=sizes)
    by_mode, by_time = at_end - as_reported[name], during["val"][name] - at_end
    numbers[f"{name}_regularization_error"] = _standard_error(by_mode, sizes)
    numbers[f"{name}_timing_error"] = _standard_error(by_time, sizes)
    # Without held-out images, this is the error of data + overfitting.
    numbers[f"{name}_data_error"] = math.hypot(*errors.values())
    if "held_out" in errors:
        numbers[f"{name}_overfitting_error"] = errors["held_out"]
    return {key: float(number) for key, number in numbers.items()}


def _in_batches(data, batch_size):
    """Return the number of batches, and a function that reads them for an epoch.

    Raise ValueError if the data cannot be measured on.
    """
    if isinstance(data, tf.data.Dataset | keras.utils.PyDataset):
        number = _number_of_batches(data)
        return number, lambda epoch: itertools.islice(data, number)
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise ValueError("give (images, labels) in one tuple, or a tf.data.Dataset")
    arrays = tf.nest.map_structure(np.asarray, tuple(data))
    lengths = {array.shape[:1] for array in tf.nest.flatten(arrays)}
    if len(lengths) > 1 or lengths & {(), (0,)}:
        raise ValueError("give images, labels and weights as arrays of equal length")
    length = len(tf.nest.flatten(arrays)[0])

    def read(epoch):
        # NumPy's own generator leaves the random numbers of the training alone.
        order = np.random.default_rng(epoch).permutation(length)
        for rows in np.split(order, range(batch_size, length, batch_size)):
            yield tf.nest.map_structure(lambda array, rows=rows: array[rows], arrays)

    return math.ceil(length / batch_size), read


def _number_of_batches(data):
    """Return it, or raise ValueError if there is none, or data are sorted by label.

    Batches of one class are normalized by statistics that no other batch has, and the
    errors, from differences of neighbours, would be far too small.
    """
    is_dataset = isinstance(data, tf.data.Dataset)
    number = int(data.cardinality() if is_dataset else data.num_batches or 0)
    if number < 1:
        raise ValueError("a data set is empty, infinite or of unknown length")
    labels = []
    for batch in itertools.islice(data, number):
        y = tf.nest.flatten(keras.utils.unpack_x_y_sample_weight(batch)[1])[0]
        if not isinstance(y, np.ndarray | tf.Tensor):
            return number  # there are no labels, or they are sparse or ragged
        if np.ndim(y) == 0:
            raise ValueError("a data set has no batches: batch it")
        labels += [hash(np.asarray(row).tobytes()) for row in np.asarray(y)]
    blocks = 1 + np.count_nonzero(np.diff(labels))
    if number > 1 and 1 < len({*labels}) == blocks <= len(labels) / 2:
        raise ValueError("a data set is sorted by label: shuffle it once")
    return number


def _columns(scores):
    """Return the metrics and the sizes of batches as arrays in a dict."""
    return {name: np.array([score[name] for score in scores]) for name in scores[0]}


def _standard_error(values, sizes):
    """Return the standard error of the mean of a metric over images.

    `values` are those of batches, in the order of their moments. During an epoch they
    fall, and that is not chance; so the variance is taken from the differences between
    neighbours (J. von Neumann and others, The mean square successive difference, 1941).
    A batch of n images has a variance of v / n, with v that of one image, and the
    difference of two has the sum of theirs. So each difference gives a v, and the
    squared error is the mean of these over the number of images.
    """
    if len(values) < 2:
        return math.nan
    variances = np.diff(values) ** 2 / (1 / sizes[1:] + 1 / sizes[:-1])
    return math.sqrt(variances.mean() / sizes.sum())
