"""Measure, epoch by epoch, why the validation loss is lower than the training loss.

`fit` reports the first and the last of these five losses. The other three are measured
here, so that one thing changes from each loss to the next:

    loss                      training images, during the epoch, in training mode
        overfitting               whether the network trains on the images
    held_out_loss_during      held-out images, during the epoch, in training mode
        data                      where the images come from
    val_loss_during           validation images, during the epoch, in training mode
        timing                    when: during the epoch, or at its end
    val_loss_regularized      validation images, at the end, in training mode
        regularization            the mode: training or inference
    val_loss                  validation images, at the end, in inference mode

A term is the loss above it minus the loss below it. So the terms add up to the gap,
loss - val_loss. Held-out images are drawn like the training images, but the network
does not train on them. Without them, only the sum of overfitting and data is known.
Other metrics that are means over images, such as accuracy, are measured as well.

Another order of the steps would give other terms. The training loss exists in training
mode only, so the mode stays the same until the last step. That step is taken at the end
of the epoch, where `val_loss` is. In the first epoch of a small network, timing was
+.18 and regularization +.07. With the mode changed before the time, they were +.71 and
-.45. The cause is batch normalization: in the first tenth of the epoch, its moving
averages have not settled, and inference mode is worse than training mode. In another
network, the mode made +.108 at the end of the epoch, but +.011 on average during it.

Some causes are in a term where one may not look for them:

- A penalty such as L2, or label smoothing in the loss, is in all five losses. It makes
  no term; if a penalty changes during the epoch, the change is in timing.
- Augmentation layers in the network act in training mode only, so their effect is in
  regularization (+.33 in a trial).
- Augmentation of the training data, class weights and a training step of one's own
  change the training loss alone, so their effect is in overfitting. If the held-out
  images are augmented in the same way, this effect moves to data.
- A callback that calls `evaluate` in mid-epoch resets `loss`. The effect is also in
  overfitting (+.04 became -.08 in a trial).

This module needs Keras on TensorFlow. It uses no other module of this package.
"""

import inspect
import itertools
import math

import keras
import numpy as np
import tensorflow as tf

SIZE = "batch size"  # the key of a batch's size, beside its metrics


class MeasureReasons(keras.callbacks.Callback):
    """Add the losses between `loss` and `val_loss` to what each epoch reports.

    In the list that `fit` gets, put this callback after `ProgbarLogger()`, so that the
    progress bar does not show its numbers, and before callbacks that need them, such as
    CSVLogger. If an epoch ends early, its numbers are NaN. If the first one does, no
    epoch has any.

    The terms themselves are not added, but their standard errors are, such as
    `loss_timing_error`. With other validation and held-out images, a term would move.
    It is within one error of its mean over all such images about two times in three,
    from 20 batches on; with five, six times in ten. With five, timing of the first
    epoch is also too small and overfitting too large, by .04 in a trial, since five
    moments are too few to catch the steep beginning. The error does not cover other
    training images or other first weights: if the whole training is repeated, a term of
    the first epoch is within one error of its mean in 32 to 47 of 100 runs. Data and
    overfitting share the held-out images. So chance moves them in opposite directions,
    and their errors must not be added. Without held-out images, `loss_data_error` is
    the error of data + overfitting. The gap and `val_loss` have no error of their own.

    The training stays the same, bit for bit. For this, its layers must keep their state
    in Keras variables and take random numbers from Keras (no `tf.Variable`, no
    `tf.random`). Its data must not share a `shuffle` with the data given here. On a
    GPU, two runs differ even without this callback: on an H100, by .013 in `val_loss`
    after three epochs. With `tf.config.experimental.enable_op_determinism()`, runs with
    and without it were equal there, and on an H200. An epoch of Fashion MNIST takes up
    to a quarter longer with this callback on a CPU. On the H200, it took 9 s and not
    5.5 s, and the first one, in which Keras compiles, 50 s and not 34 s. The terms were
    as on a CPU.

    Parameters
    ----------
    validation_data : tuple or tf.data.Dataset
        The data that `fit` validates on. A tuple is (images, labels) or (images,
        labels, sample weights); each is an array, or a list or dict of arrays. They are
        shuffled in each epoch. A data set is not, so it must be shuffled once: if its
        batches follow a trend, such as time, the moments at which they are scored make
        the terms wrong (a timing of +.33 came out as -1.09 +-.51). If it is shuffled
        anew at each reading, its batches no longer pair, and the error of timing comes
        out too large.
    held_out_data : same as validation_data, optional
        Images that are drawn like the training images, and that `fit` does not get.
    batch_size : int
        The batch size of `fit`, on which batch normalization depends. A data set has
        its own.

    Raises
    ------
    ValueError
        At once, if Keras does not run on TensorFlow, or if the data are not as above:
        batched, of known length and not sorted by label. Before the first epoch, if
        `fit` does not know its number of steps or takes several at once, or if a layer
        of the model, or of a model in it, is stateful: its state would mix training and
        scoring. (One inside a layer or wrapper of one's own is not found.) At the end
        of an epoch, if there is no `val_loss`, or if the data given here yield another
        one.
    """

    def __init__(self, validation_data, held_out_data=None, batch_size=32):
        super().__init__()
        if keras.config.backend() != "tensorflow":
            raise ValueError("Keras must run on TensorFlow: KERAS_BACKEND=tensorflow")
        # The keys are the prefixes of the metrics' names. Each value is the number of
        # batches and a function that reads them.
        self.data = {"val": _in_batches(validation_data, batch_size)}
        if held_out_data is not None:
            self.data["held_out"] = _in_batches(held_out_data, batch_size)

    def on_train_begin(self, logs=None):
        """Refuse what cannot be measured, and prepare the scoring."""
        if not self.params["steps"]:
            raise ValueError("fit does not know its steps: give it steps_per_epoch")
        if self.model.steps_per_execution != 1:
            raise ValueError("compile the model with steps_per_execution=1")
        layers = [self.model]
        for layer in layers:  # the list grows by the layers of each model in it
            layers += layer.layers if isinstance(layer, keras.Model) else []
            if getattr(layer, "stateful", False):
                raise ValueError("a layer with stateful=True cannot be measured")
        graph = tf.function(
            self._score_batch,
            autograph=False,
            reduce_retracing=True,
            jit_compile=self.model.jit_compile,  # as `fit` does it
        )
        self._score = self._score_batch if self.model.run_eagerly else graph
        self._added = None  # the names of what this adds, known after the first epoch

    def on_epoch_begin(self, epoch, logs=None):
        """Begin to read the batches that are to be scored during the epoch."""
        self._steps_done = 0
        self._upcoming = {part: read(epoch) for part, (_, read) in self.data.items()}
        self._during = {part: [] for part in self.data}

    def on_train_batch_begin(self, step, logs=None):
        """Score the batches that are due in this step, with the weights before it.

        The epoch is divided into as many equal parts as there are batches to score.
        Each of them is due in the step that contains the middle of its part.
        """
        share = (step + 1) / self.params["steps"]
        for part, (number, _) in self.data.items():
            due_by_now = math.ceil(share * number - 0.5)
            due = due_by_now - len(self._during[part])
            if due > 0:  # in most steps, no batch is due
                batches = itertools.islice(self._upcoming[part], due)
                self._during[part] += self._scores(batches, [True])

    def on_train_batch_end(self, step, logs=None):
        """Count the steps of the epoch."""
        self._steps_done = step + 1

    def on_epoch_end(self, epoch, logs):
        """Add the numbers to `logs`, which the callbacks after this one get, too."""
        if "val_loss" not in logs:
            raise ValueError("give fit validation_data, and leave validation_freq at 1")
        numbers = {}
        if self._steps_done == self.params["steps"]:
            # One reading serves both modes, as a second one might be in another order.
            # The modes alternate.
            _, read = self.data["val"]
            scores = [*self._scores(read(epoch), [True, False])]
            regularized, as_reported = _columns(scores[::2]), _columns(scores[1::2])
            during = {part: _columns(self._during[part]) for part in self.data}
            for name in self._names_as_in_fit(as_reported, logs):
                numbers |= _numbers(name, during, regularized, as_reported)
        if self._added is None:
            self._added = [*numbers]
        logs.update({name: numbers.get(name, math.nan) for name in self._added})

    def _scores(self, batches, modes):
        """Yield the metrics and the size of each batch in each mode (`training`).

        A call changes the network's moving averages and the state of its random
        generators. Here it changes a copy for each mode, which goes from batch to batch.
        """
        variables = self.model.non_trainable_variables
        state = [tf.convert_to_tensor(variable.value) for variable in variables]
        states = dict.fromkeys(modes, state)
        for batch in batches:
            for mode in modes:
                score, states[mode] = self._score(batch, states[mode], mode)
                # A metric with a number for each class is left out.
                yield {name: float(v) for name, v in score.items() if not np.ndim(v)}

    def _score_batch(self, batch, state, training):
        """Return the metrics and the size of a batch, and the state after it."""
        model = self.model
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)

        def mode(method):
            # As in `fit`, `training` is passed only to methods that accept it.
            accepts = "training" in inspect.signature(method).parameters
            return {"training": training} if accepts else {}

        # In the scope, variables have these values. The weights keep theirs, but if
        # they were not named, penalties such as L2 would be missing. The metrics begin
        # at 0.
        values = [(one, one.value) for one in model.trainable_variables]
        values += zip(model.non_trainable_variables, state)
        values += [(one, keras.ops.zeros_like(one)) for one in model.metrics_variables]
        with keras.StatelessScope(values, collect_losses=True) as scope:
            y_pred = model(x, **mode(model.call))
            loss = model.compute_loss(x, y, y_pred, weight, **mode(model.compute_loss))
            metrics = model.compute_metrics(x, y, y_pred, weight)
        state = [*map(scope.get_current_value, model.non_trainable_variables)]
        # As in `fit`, the rows of the first input are counted.
        size = keras.ops.shape(tf.nest.flatten(x)[0])[0]
        return {**metrics, "loss": loss, SIZE: size}, state

    def _names_as_in_fit(self, as_reported, logs):
        """Yield the names of metrics that are means over images and agree with `fit`.

        Raise ValueError if the loss does not agree.
        """
        # Keras keeps the metrics of `compile` in a container.
        metrics = [getattr(one, "metrics", [one]) for one in self.model.metrics]
        metrics = itertools.chain.from_iterable(metrics)
        means = [one.name for one in metrics if isinstance(one, keras.metrics.Mean)]
        # In half precision, a sum depends on its order.
        half = self.model.compute_dtype in ("float16", "bfloat16")
        # The name of an output may come first, as in `out_accuracy`.
        names = [name for name in as_reported if name.endswith(tuple(means))]
        for name in names:
            values, reported = as_reported[name], logs.get(f"val_{name}", math.inf)
            mean = np.average(values, weights=as_reported[SIZE])
            close = np.abs(values).max() * (1e-2 if half else 1e-3)
            if np.isclose(mean, reported, rtol=0, atol=close, equal_nan=True):
                yield name
            elif name == "loss":
                raise ValueError(
                    f"fit reports a val_loss of {reported:.6g}, but the data given "
                    f"here have {mean:.6g}. Possible causes: the data are others, or "
                    "scaled, weighted or batched otherwise (then give both the same "
                    "tf.data.Dataset); data or network are random at each reading; a "
                    "callback swaps weights; there are several replicas, or an own "
                    "test_step."
                )


def _numbers(name, during, regularized, as_reported):
    """Return one metric's intermediate values and their standard errors."""
    numbers, errors = {}, {}
    for part, scores in during.items():
        values, sizes = scores[name], scores[SIZE]
        numbers[f"{part}_{name}_during"] = np.average(values, weights=sizes)
        errors[part] = _standard_error(values, sizes)
    at_end = regularized[name]
    sizes = regularized[SIZE]
    numbers[f"val_{name}_regularized"] = np.average(at_end, weights=sizes)
    mode = at_end - as_reported[name]
    numbers[f"{name}_regularization_error"] = _standard_error(mode, sizes)
    time = during["val"][name] - at_end  # the same images, batch by batch
    numbers[f"{name}_timing_error"] = _standard_error(time, sizes)
    # The error of the difference of two means or, if nothing is held out, of one: then
    # it is that of data + overfitting.
    numbers[f"{name}_data_error"] = math.hypot(*errors.values())
    if "held_out" in errors:
        numbers[f"{name}_overfitting_error"] = errors["held_out"]
    return {key: float(number) for key, number in numbers.items()}


def _in_batches(data, batch_size):
    """Return the number of batches, and a function that reads them for an epoch.

    Raise ValueError if the data cannot be measured on.
    """
    if isinstance(data, tf.data.Dataset):
        return _number_of_batches(data), lambda epoch: iter(data)
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise ValueError("give (images, labels) in one tuple, or a tf.data.Dataset")
    arrays = tf.nest.map_structure(np.asarray, tuple(data))
    lengths = {len(array) if array.ndim else 0 for array in tf.nest.flatten(arrays)}
    length = max(lengths, default=0)
    if lengths != {length} or length == 0:
        raise ValueError("give images, labels and weights as arrays of equal length")

    def read(epoch):
        # This generator leaves the random numbers of the training alone.
        order = np.random.default_rng(epoch).permutation(length)
        for rows in np.split(order, range(batch_size, length, batch_size)):
            yield tf.nest.map_structure(lambda array, rows=rows: array[rows], arrays)

    return math.ceil(length / batch_size), read


def _number_of_batches(data):
    """Return the number of batches of a data set.

    Raise ValueError if it is not known, or if the data are sorted by label: then batch
    normalization would use statistics of one class, and neighbours would be so alike
    that the errors were far too small.
    """
    number = int(data.cardinality())
    if number < 1:
        raise ValueError("a data set is empty, infinite or of unknown length")
    labels = []
    for batch in data:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        x, y = tf.nest.flatten(x)[0], tf.nest.flatten(y)[0]
        if not isinstance(y, tf.Tensor):
            return number  # labels that are missing, sparse or ragged are not checked
        if x.shape[:1] != y.shape[:1] or not y.shape:
            raise ValueError("a data set has no batches: batch it")
        labels += [hash(np.asarray(row).tobytes()) for row in y.numpy()]
    kinds = len({*labels})
    blocks = 1 + np.count_nonzero(np.diff(labels))
    # Each label is in one block, and has two images or more on average.
    if number > 1 and 1 < kinds == blocks and kinds <= len(labels) / 2:
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
