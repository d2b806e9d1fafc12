"""The measurement of the gap's terms, in cases whose answer is known before the run."""

import math
import random
import runpy
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from pyimagesearch.gap import TERMS, split
from pyimagesearch.histories import load_history
from pyimagesearch.reasons import MeasureReasons

layers = keras.layers
LOSS = "sparse_categorical_crossentropy"
EXACT = {"rel": 1e-5, "abs": 1e-5}


def data(count, seed, right=0.9, noise=0.0):
    """Images of 8x8 pixels and labels from 0 to 2, a share of which is right."""
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(count, 8, 8, 1)).astype("float32")
    labels = images.reshape(count, -1)[:, :3].argmax(axis=1)
    wrong = generator.random(count) >= right
    labels[wrong] = generator.integers(0, 3, wrong.sum())
    images += noise * generator.normal(size=images.shape).astype("float32")
    return images, labels


TRAINING, VALIDATION, HELD_OUT = data(192, seed=1), data(80, seed=2), data(96, seed=3)


def in_batches(arrays, size=16):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size)


def network(*hidden, classes=3):
    output = layers.Dense(classes, activation="softmax")
    network = [layers.Flatten(), layers.Dense(16), *hidden, output]
    return keras.Sequential([keras.Input((8, 8, 1)), *network])


def plain():
    """Nothing in it is random, and nothing works otherwise in training."""
    return network(layers.ReLU())


def normalizing():
    """The statistics of a batch, but nothing random."""
    return network(layers.BatchNormalization())


def dropping():
    """Batch normalization and dropout, as in MiniVGGNet."""
    return network(layers.BatchNormalization(), layers.Dropout(0.5))


def compiled(model, rate=0.05, loss=LOSS, **arguments):
    opt = keras.optimizers.SGD(rate, momentum=0.9 if rate else 0.0)
    model.compile(opt, loss, **{"metrics": ["accuracy"], **arguments})
    return model


def fit(model, training=TRAINING, validation=VALIDATION, held_out=None, **arguments):
    """Train a compiled model with the measurement; return the history of the run."""
    size = arguments.pop("batch_size", 16)
    measure = MeasureReasons(validation, held_out, size)
    arguments = {"validation_data": validation, "callbacks": [], **arguments}
    arguments["callbacks"] = [measure, *arguments["callbacks"]]
    return keras_fit(model, training, size, **arguments)


def keras_fit(model, training, size, **arguments):
    """Train without the measurement."""
    if isinstance(training, tuple):
        arguments["batch_size"] = size
    else:
        training, arguments["shuffle"] = (training,), False
    history = model.fit(*training, verbose=0, **arguments).history
    return {name: np.array(values) for name, values in history.items()}


def test_each_number_is_that_of_a_plain_loop():
    # More steps than batches, fewer, and one; some last batches are smaller.
    for numbers in ((192, 80, 33), (48, 80, 41), (16, 80, 40)):
        assert_as_by_loop(*map(data, numbers, range(3)))


def assert_as_by_loop(training, validation, held_out):
    """Compare the second epoch, whose order of the images is the second one."""
    model = compiled(normalizing(), rate=0.5)
    copy = keras.models.clone_model(model)
    moments = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: moments.clear(),
        on_train_batch_begin=lambda batch, logs: moments.append(model.get_weights()),
    )
    history = fit(model, training, validation, held_out, epochs=2, callbacks=[note])

    def by_loop(images, labels, weights=None):
        order = np.random.default_rng(1).permutation(len(images))
        batches = np.split(order, range(16, len(order), 16))
        right, hits = [], []
        for number, rows in enumerate(batches):
            moment = moments[int((number + 0.5) * len(moments) / len(batches))]
            copy.set_weights(weights or moment)
            output = copy(images[rows], training=True).numpy()
            right += [*output[np.arange(len(rows)), labels[rows]]]
            hits += [*(output.argmax(axis=1) == labels[rows])]
        return -np.log(right).mean(), np.mean(hits)

    for names, numbers in {
        "val_{}_during": by_loop(*validation),
        "held_out_{}_during": by_loop(*held_out),
        "val_{}_regularized": by_loop(*validation, model.get_weights()),
    }.items():
        for metric, number in zip(("loss", "accuracy"), numbers):
            measured = history[names.format(metric)][1]
            assert measured == pytest.approx(number, **EXACT), (names, metric)


class WithoutMode(keras.Model):
    """Its methods do not accept the mode: in `fit`, nothing is dropped then."""

    def __init__(self):
        super().__init__()
        self.network = dropping()

    def call(self, inputs):
        return self.network(inputs)

    def compute_loss(self, x, y, y_pred, sample_weight=None):
        return super().compute_loss(x, y, y_pred, sample_weight)


def test_without_learning_rate_there_is_no_timing_and_without_dropout_no_other():
    keras.utils.set_random_seed(1)
    reshuffled = in_batches(VALIDATION).shuffle(5)  # the same batches in a new order
    for model, validation in ((plain(), reshuffled), (WithoutMode(), VALIDATION)):
        terms = split(fit(compiled(model, rate=0.0), TRAINING, validation))
        assert terms["timing"] == pytest.approx([0], **EXACT)
        for name in ("regularization", "regularization error"):
            assert terms[name] == pytest.approx([0], **EXACT)
    validation = data(640, seed=2)
    terms = split(fit(compiled(dropping(), rate=0.0), TRAINING, validation, epochs=2))
    assert (0 < np.abs(terms["timing"])).all()  # dropout's masks are others
    assert (np.abs(terms["timing"]) < 3 * terms["timing error"]).all()


def test_dropout_makes_the_regularization_term_that_it_makes_by_hand():
    # One input, 1, dropped with probability p = 0.2, else 1 / (1 - p); the label is 0.
    # The squared error is 1 in inference mode and 1 / (1 - p) on average in training.
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((1,)), layers.Dropout(0.2), layers.Dense(1)])
    model.layers[1].set_weights([np.ones((1, 1)), np.zeros(1)])
    compiled(model, 0.0, "mse", metrics=[])
    ones = np.ones((4000, 1), "float32"), np.zeros((4000, 1), "float32")
    history = fit(model, ones, ones, ones, batch_size=7)  # and one of 3
    for name in ("held_out_loss_during", "val_loss_during", "val_loss_regularized"):
        assert history[name][0] == pytest.approx(1.25, abs=0.05)
    # The variance of one is that of 0 or 1.5625, with probability 0.2 and 0.8.
    by_hand = math.sqrt(0.2 * 0.8 * 1.5625**2 / 4000)
    for name, factor in (("regularization", 1), ("data", 2**0.5)):
        error = history[f"loss_{name}_error"][0]
        assert error == pytest.approx(by_hand * factor, rel=0.1)


def test_in_the_first_epoch_there_is_no_overfitting():
    # No training image was seen before its loss was taken.
    for seed in range(5):
        keras.utils.set_random_seed(seed)
        sets = map(data, (1500, 160, 161), range(100 * seed, 100 * seed + 3))
        terms = split(fit(compiled(plain()), *sets))
        assert abs(terms["overfitting"][0]) < 3 * terms["overfitting error"][0]


def test_what_was_learned_by_heart_is_overfitting_and_a_leak_is_data():
    # Half of the labels are wrong, and the network knows them.
    keras.utils.set_random_seed(1)
    training, held_out, others = (data(n, n, 0.5) for n in (192, 2001, 2002))
    model = compiled(plain())
    model.fit(*training, epochs=30, verbose=0)
    model.optimizer.learning_rate = 1e-6
    few = (part[:192] for part in others)
    leaked = tuple(np.concatenate(parts) for parts in zip(training, few))
    easier = data(2000, 4, right=1)
    for validation, is_data in ((others, False), (leaked, True), (easier, True)):
        terms = split(fit(model, training, validation, held_out))
        assert terms["overfitting"][0] < -1 < -3 * terms["overfitting error"][0]
        error = 3 * terms["data error"][0]
        assert terms["data"][0] > error if is_data else abs(terms["data"][0]) < error


def test_harder_training_images_are_data_if_the_held_out_ones_are_as_hard():
    keras.utils.set_random_seed(1)
    training, two = data(2000, 1, noise=1.0), ("overfitting", "data")
    for noise, (cause, other) in ((0.0, two), (1.0, two[::-1])):
        sets = training, data(2000, 2), data(2000, 3, noise=noise)
        terms = split(fit(compiled(plain()), *sets, batch_size=32))
        assert terms[cause][0] > 3 * terms[f"{cause} error"][0]
        assert abs(terms[other][0]) < 3 * terms[f"{other} error"][0]


def test_with_one_batch_of_all_images_timing_is_the_whole_epoch():
    history = fit(compiled(plain()), validation=TRAINING, batch_size=192, epochs=6)
    # On the same images: what is scored before the step is the training loss.
    assert history["val_loss_during"] == pytest.approx(history["loss"], **EXACT)
    assert history["val_loss"][:-1] == pytest.approx(history["loss"][1:], **EXACT)
    assert math.isnan(history["loss_timing_error"][0])  # one batch has no spread


def test_the_true_value_is_within_one_error_two_times_in_three():
    """One training, 200 draws of validation and held-out images."""
    keras.utils.set_random_seed(1)
    model, moments, draws = compiled(dropping(), rate=0.2), [], []
    for step in range(10):
        moments.append(model.get_weights())
        model.train_on_batch(*data(32, step))
    end = model.get_weights()
    callback = MeasureReasons(VALIDATION, HELD_OUT, batch_size=16)
    callback.set_model(model)
    callback.set_params({"steps": 10})
    callback.on_train_begin()
    for draw in range(200):
        sets = data(160, 1000 + draw), data(160, 2000 + draw)
        callback.data = MeasureReasons(*sets, batch_size=16).data
        callback.on_epoch_begin(draw)
        for step, weights in enumerate(moments):
            model.set_weights(weights)
            callback.on_train_batch_begin(step)
            callback.on_train_batch_end(step)
            model.layers[3].seed_generator.next()  # as in a training
        model.set_weights(end)
        callback.on_test_begin()
        model.reset_metrics()
        val_loss = model.test_on_batch(*sets[0])[0]
        callback.on_epoch_end(draw, logs := {"loss": 0.0, "val_loss": val_loss})
        draws.append(split({name: np.array([logs[name]]) for name in logs}))
    for name in TERMS:
        values = np.array([terms[name][0] for terms in draws])
        errors = np.array([terms[f"{name} error"][0] for terms in draws])
        within = np.abs(values - values.mean()) < errors
        assert 0.60 < within.mean() < 0.76, name


class OwnStep(keras.Model):
    """Has a step of its own, and a loss that is larger in training."""

    def train_step(self, data):
        return super().train_step(data)

    def compute_loss(self, *data, training=True, **more):
        return super().compute_loss(*data, **more) + (0.5 if training else 0.0)


class Noise(layers.Layer):
    """Draws from Keras's global generator, and doubles its inputs outside of graphs."""

    def call(self, inputs, training=False):
        inputs = inputs * (2.0 if tf.executing_eagerly() else 1.0)
        return inputs + keras.random.normal((16,)) if training else inputs


def inputs_and_outputs_by_name():
    inputs = {name: keras.Input((8, 8, 1), name=name) for name in "ab"}
    hidden = layers.Flatten()(layers.Concatenate()([*inputs.values()]))
    hidden = layers.Dropout(0.5)(layers.Dense(8, kernel_regularizer="l2")(hidden))
    kind = layers.Dense(3, activation="softmax", name="kind")(hidden)
    size = layers.Dense(1, activity_regularizer="l2", name="size")(hidden)
    model = keras.Model(inputs, {"kind": kind, "size": size})
    losses = {"kind": LOSS, "size": "mse"}
    compiled(model, 0.001, losses, metrics={"kind": ["accuracy"], "size": ["mae"]})
    sets = (
        ({"a": x, "b": 2 * x}, {"kind": y, "size": x.mean(axis=(1, 2))})
        for x, y in (TRAINING, VALIDATION)
    )
    return model, *sets, {}


def lists_of_inputs_and_a_step_of_its_own():
    inputs = [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]
    hidden = layers.GlobalAveragePooling2D()(layers.Concatenate()(inputs))
    model = OwnStep(inputs, layers.Dense(3, "softmax")(layers.Dropout(0.5)(hidden)))
    weights = {"class_weight": {0: 1.0, 1: 2.0, 2: 3.0}}
    return compiled(model), *(([x, -x], y) for x, y in (TRAINING, VALIDATION)), weights


def a_loss_of_the_whole_batch_in_half_precision():
    def dice(truth, output):
        both = keras.ops.sum(truth * output)
        return 1 - 2 * both / (keras.ops.sum(truth) + keras.ops.sum(output))

    half = {"dtype": "mixed_float16"}
    network = [layers.Conv2D(4, 3, padding="same", **half), layers.Dropout(0.2, **half)]
    network += [layers.Conv2D(1, 1, activation="sigmoid", **half)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *network])
    model.dtype_policy = keras.DTypePolicy("mixed_float16")
    training, validation = ((x, np.abs(x)) for x, _ in (TRAINING, VALIDATION))
    compiled(model, loss=dice, jit_compile=True)
    return model, training, in_batches(validation), {}


def eager_and_the_best_weights():
    stop = keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True)
    model = compiled(network(Noise()), run_eagerly=True)
    return model, TRAINING, VALIDATION, {"callbacks": [stop]}


KINDS = inputs_and_outputs_by_name, lists_of_inputs_and_a_step_of_its_own
KINDS += a_loss_of_the_whole_batch_in_half_precision, eager_and_the_best_weights


@pytest.mark.parametrize("kind", KINDS)
def test_training_goes_on_as_if_nothing_had_been_measured(kind, caplog):
    def train(measure):
        keras.backend.clear_session()  # older versions of Keras keep their generator
        keras.utils.set_random_seed(3)
        model, training, validation, arguments = kind()
        arguments = {"epochs": 2, "validation_data": validation, **arguments}
        if measure:
            history = fit(model, training, validation, validation, **arguments)
        else:
            history = keras_fit(model, training, 16, **arguments)
        after = [random.random(), np.random.random()]
        after += [keras.random.uniform(()).numpy(), tf.random.uniform(()).numpy()]
        variables = [*model.variables, *model.optimizer.variables]
        return history, [*(one.numpy() for one in variables), *after]

    tf.get_logger().addHandler(caplog.handler)
    (history, state), (measured, measured_state) = train(False), train(True)
    tf.get_logger().removeHandler(caplog.handler)
    assert caplog.text == "", "TensorFlow warns of many graphs"
    for name in history:
        np.testing.assert_array_equal(measured[name], history[name])
    for one, other in zip(measured_state, state, strict=True):
        np.testing.assert_array_equal(one, other)
    terms = split(measured)
    assert np.isfinite(terms["timing error"]).all()
    assert terms["data"][1:] == pytest.approx(0, abs=1e-6)
    # The mode and the moment both make a difference.
    assert (terms["regularization"] != 0).all() and (terms["timing"] != 0).all()


def test_a_metric_that_is_no_mean_over_batches_is_left_out():
    model = network(classes=1)
    model.layers[-1].activation = keras.activations.sigmoid
    compiled(model, loss="binary_crossentropy", metrics=["mae", keras.metrics.AUC()])
    both = TRAINING[0], TRAINING[1][:, None] > 0
    history = fit(model, both, both, batch_size=192)  # one, with the AUC that fit has
    assert {"val_mae_during", "val_mean_absolute_error_during"} & {*history}
    assert "val_auc" in history and "val_auc_during" not in history


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_an_epoch_that_ends_early_is_unknown():
    model = compiled(plain())
    stop = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(
            model, "stop_training", model.optimizer.iterations == 18
        )
    )
    history = fit(model, epochs=9, held_out=HELD_OUT, callbacks=[stop])
    assert {len(values) for values in history.values()} == {2}
    terms = split(history)
    for name in TERMS:
        assert math.isfinite(terms[name][0]) and math.isnan(terms[name][1])
    one_too_few = in_batches(TRAINING).filter(lambda images, labels: True)
    assert "val_loss_during" not in fit(model, one_too_few, steps_per_epoch=13)


rows = VALIDATION[1].argsort(kind="stable")
BY_CLASS = tuple(array[rows] for array in VALIDATION)
ONE_HOT = BY_CLASS[0], np.eye(3)[(BY_CLASS[1] + 2) % 3]  # in the order 2, 0, 1
ENDLESS = in_batches(TRAINING).repeat()
FILTERED = in_batches(TRAINING).filter(lambda images, labels: True)
UNFIT = [
    (TRAINING[0], "in one tuple"),
    (iter([TRAINING]), "in one tuple"),
    ((TRAINING[0], VALIDATION[1]), "arrays of equal length"),
    (([*TRAINING[0]], TRAINING[1]), "arrays of equal length"),
    (tuple(array[:0] for array in TRAINING), "arrays of equal length"),
    (tf.data.Dataset.from_tensor_slices(TRAINING), "no batches: batch it"),
    (tf.data.Dataset.from_tensor_slices(ONE_HOT), "no batches: batch it"),
    (ENDLESS.take(0), "empty, infinite or of unknown length"),
    (ENDLESS, "empty, infinite or of unknown length"),
    (FILTERED, "empty, infinite or of unknown length"),
    (in_batches(BY_CLASS), "sorted by label: shuffle it once"),
    (in_batches(ONE_HOT), "sorted by label: shuffle it once"),
    (in_batches((BY_CLASS[0], {"kind": BY_CLASS[1]})), "sorted by label"),
]


def test_data_that_cannot_be_measured_on_are_refused_at_once(monkeypatch):
    for unfit, reason in UNFIT:
        for sets in ((unfit, HELD_OUT), (VALIDATION, unfit)):
            with pytest.raises(ValueError, match=reason):
                MeasureReasons(*sets)
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="KERAS_BACKEND=tensorflow"):
        MeasureReasons(VALIDATION)


def nested(layer):
    """A network that has a layer in a model in a model."""
    shapes = [keras.Input((8, 8), batch_size=16), keras.Input((8, 8, 1), batch_size=16)]
    inner = keras.Sequential([shapes[0], layer])
    inner = keras.Sequential([shapes[1], layers.Reshape((8, 8)), inner])
    return keras.Sequential([shapes[1], inner, layers.Dense(3, "softmax")])


class Sampling(layers.Layer):
    """Random in inference mode, too, as in a VAE."""

    def call(self, inputs):
        return inputs + keras.random.normal(keras.ops.shape(inputs))


def tiny_loss(truth, output):
    return 1e-9 * keras.losses.sparse_categorical_crossentropy(truth, output)


def test_a_training_that_cannot_be_measured_is_refused():
    keras.utils.set_random_seed(1)
    images, labels = VALIDATION
    averaging = plain()
    averaging.compile(keras.optimizers.SGD(0.2, use_ema=True), LOSS)
    swap = {"callbacks": [keras.callbacks.SwapEMAWeights()]}
    several = compiled(plain(), steps_per_execution=2)
    stateful = compiled(nested(layers.LSTM(4, stateful=True)))
    before = stateful.get_weights()
    tiny, scaled = compiled(plain(), loss=tiny_loss), (255 * images, labels)
    two_numbers = (
        r"val_loss of [0-9.]+, but the data given here have [0-9.]+\. Possible"
    )
    for model, training, measured, arguments, reason in (
        (averaging, ENDLESS, VALIDATION, {}, "steps_per_epoch"),
        (averaging, FILTERED, VALIDATION, {}, "steps_per_epoch"),
        (several, TRAINING, VALIDATION, {}, "steps_per_execution=1"),
        (stateful, TRAINING, VALIDATION, {}, "stateful=True"),
        (averaging, TRAINING, VALIDATION, {"validation_freq": 2}, "validation_freq"),
        (averaging, TRAINING, HELD_OUT, {}, two_numbers),
        (averaging, TRAINING, scaled, {}, "scaled"),
        (
            averaging,
            TRAINING,
            VALIDATION,
            {"validation_steps": 1},
            "the data are others",
        ),
        (averaging, TRAINING, VALIDATION, swap, "swaps weights"),
        (compiled(network(Sampling())), TRAINING, VALIDATION, {}, "network are random"),
        (tiny, TRAINING, HELD_OUT, {}, r"val_loss of [0-9.]+e-\d+, but"),
    ):
        arguments = {"validation_data": VALIDATION, **arguments}
        with pytest.raises(ValueError, match=reason):
            fit(model, training, measured, epochs=2, **arguments)
    assert all(map(np.array_equal, before, stateful.get_weights())), "before an epoch"
    fit(tiny)
    fit(compiled(nested(layers.LSTM(4))))
    fit(compiled(plain()), ENDLESS, steps_per_epoch=12)


def test_what_is_not_sorted_by_label_is_no_false_alarm():
    targets = VALIDATION[0][:, 0, 0, 0].copy()
    targets[41] = targets[40]  # of 80, two neighbours are equal
    for labels, size in (
        (0 * targets, 16),  # one class
        (np.sort(targets), 16),  # a regression, whose order cannot be seen
        (targets, 16),
        (np.array([0, 0, 1, 1]), 4),  # one batch
        (np.array([0, 1, 1, 0]), 2),
    ):
        MeasureReasons(in_batches((targets[: len(labels)], labels), size))
    history = fit(compiled(normalizing(), 0.0), TRAINING, BY_CLASS, VALIDATION)
    during = [history[f"{part}_loss_during"] for part in ("val", "held_out")]
    assert during[0] == pytest.approx(during[1], rel=0.2), "arrays are shuffled"


def test_weights_and_other_batches_in_fit_are_no_false_alarm():
    weights = np.random.default_rng(0).random(80).astype("float32")
    model = compiled(plain())
    history = fit(model, TRAINING, (*VALIDATION, weights), validation_batch_size=7)
    keras_says = model.evaluate(*VALIDATION, sample_weight=weights, verbose=0)
    assert history["val_loss_regularized"][0] == pytest.approx(keras_says[0], **EXACT)


def test_the_snippet_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    _, snippet = (ROOT / "README.md").read_text().split("```python\n")
    shutil.copy(ROOT / "pyimagesearch" / "reasons.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "snippet.py").write_text(snippet.split("```")[0])
    runpy.run_path("snippet.py")
    history = load_history(tmp_path / "training.csv")
    assert split(history)["data error"].shape == (10,)
    assert "val_loss_during" not in capsys.readouterr().out
