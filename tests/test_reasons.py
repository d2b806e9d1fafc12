"""The measurement of the gap's terms, in cases whose answer is known before the run."""

import math
import pickle
import random
import runpy
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from pyimagesearch.backend import keras
from pyimagesearch.gap import split
from pyimagesearch.reasons import KERAS_VERSION, MeasureReasons

layers = keras.layers
ROUNDING = {"rel": 1e-5, "abs": 1e-6}


def data(count, seed, right=0.8):
    """Images of 8x8 pixels and one-hot labels, a share of which is right."""
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(count, 8, 8, 1)).astype("float32")
    labels = (images.reshape(count, -1)[:, :3].argmax(axis=1)).astype("int64")
    wrong = generator.random(count) >= right
    labels[wrong] = generator.integers(0, 3, wrong.sum())
    return images, np.eye(3, dtype="float32")[labels]


# Whole batches of 16 and 32: Keras before 3.2 counts a smaller last one in full.
TRAINING, VALIDATION, HELD_OUT = data(192, seed=1), data(64, seed=2), data(96, seed=3)


def network(*hidden):
    output = layers.Dense(3, activation="softmax")
    network = [layers.Flatten(), layers.Dense(16), *hidden, output]
    return keras.Sequential([keras.Input((8, 8, 1)), *network])


def plain_network():
    """Nothing in it is random, and nothing works otherwise in training."""
    return network(layers.ReLU())


def normalizing_network():
    """Batch normalization works otherwise in training."""
    return network(layers.BatchNormalization())


def dropping_network():
    """Batch normalization and dropout, as in MiniVGGNet."""
    hidden = [layers.Dropout(0.25), layers.Dense(16), layers.Dropout(0.5)]
    return network(layers.BatchNormalization(), *hidden)


def batches(data, size=16):
    """The same batches whenever they are read."""
    return tf.data.Dataset.from_tensor_slices(data).batch(size)


def fit(model, training=TRAINING, measure=(TRAINING, VALIDATION), size=16, **arguments):
    """Train a compiled model with the measurement; return the history of the run."""
    arrays = isinstance(training, tuple)
    usual = {"validation_data": VALIDATION, "shuffle": arrays, "verbose": 0}
    return model.fit(
        *(training if arrays else [training]),
        batch_size=size if arrays else None,
        callbacks=[MeasureReasons(*measure, batch_size=size)],
        **{**usual, **arguments},
    ).history


def run(model, training=TRAINING, validation=VALIDATION, held_out=None, **arguments):
    """Compile and train a model with the measurement of the same data."""
    rate = arguments.pop("rate", 0.05)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9 if rate else 0.0)
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    measure = (training, validation, held_out)
    arguments = {"epochs": 3, "validation_data": validation, **arguments}
    return fit(model, training, measure, **arguments)


def measured(model, training=TRAINING, validation=VALIDATION, held_out=None, size=32):
    """Measure a compiled model as it is; return the terms of that one epoch."""
    callback = MeasureReasons(training, validation, held_out, batch_size=size)
    callback.set_model(model)
    callback.set_params({})
    callback.on_train_begin()
    if isinstance(validation, tuple):
        validation = batches(validation, size)
    val_loss = model.evaluate(validation, return_dict=True, verbose=0)["loss"]
    callback.on_epoch_end(0, logs := {"loss": math.nan, "val_loss": val_loss})
    return logs


def terms_of(logs):
    return {
        name: value[0]
        for name, value in split({k: [v] for k, v in logs.items()}).items()
    }


def test_each_loss_is_that_of_a_plain_loop_in_training_mode():
    measured_on = {
        "loss_at_end": TRAINING,
        "held_out_loss_regularized": HELD_OUT,
        "val_loss_regularized": VALIDATION,
    }
    training, held_out, validation = map(batches, measured_on.values())
    model = normalizing_network()
    history = run(model, training, validation, held_out)
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for name, data in measured_on.items():
        losses = []
        for start in range(0, len(data[0]), 16):
            images, labels = (array[start : start + 16] for array in data)
            right = (copy(images, training=True).numpy() * labels).sum(axis=1)
            losses.append(-np.log(right).mean())
        assert history[name][-1] == pytest.approx(np.mean(losses), rel=1e-4)


def test_dropout_makes_the_regularization_term_that_it_makes_by_hand():
    # One input, 1, dropped with probability p = 0.2, else 1 / (1 - p); the label is 0.
    # The squared error is 1 in inference mode and 1 / (1 - p) on average in training.
    model = keras.Sequential([keras.Input((1,)), layers.Dropout(0.2)])
    model.compile("sgd", "mse")
    ones = np.ones((4000, 1), "float32")
    # With batches of one image, one mask for all would make it 0 or 1.5625.
    logs = measured(model, (ones, 0 * ones), (ones, 0 * ones), size=1)
    assert logs["val_loss"] == 1
    assert logs["loss_at_end"] == pytest.approx(1.25, abs=0.05)
    assert logs["val_loss_regularized"] == pytest.approx(1.25, abs=0.05)
    # One batch has no spread.
    one_batch = measured(model, (ones, 0 * ones), (ones, 0 * ones), size=4000)
    assert math.isnan(one_batch["data_error"])


def test_without_learning_rate_the_next_epoch_finds_the_loss_that_was_measured():
    # Dropout goes on where it stood, and so draws the masks that the measurement drew.
    # Batch normalization makes the loss depend on who is in a batch: here, no epoch has
    # other batches.
    keras.utils.set_random_seed(5)
    model = dropping_network()
    run(model, batches(TRAINING), epochs=2)
    history = run(model, batches(TRAINING), rate=0.0, epochs=6)
    assert len({round(loss, 3) for loss in history["loss"]}) > 3
    assert history["loss_at_end"][:-1] == pytest.approx(history["loss"][1:], **ROUNDING)


def test_with_one_batch_of_all_images_the_training_loss_is_a_whole_epoch_older():
    history = run(plain_network(), size=len(TRAINING[0]), epochs=6)
    assert len({round(loss, 3) for loss in history["loss"]}) > 3
    assert history["loss_at_end"][:-1] == pytest.approx(history["loss"][1:], **ROUNDING)


def test_the_change_of_a_penalty_is_timing():
    penalized = layers.Dense(16, kernel_regularizer=keras.regularizers.L2(0.1))
    model = network(penalized)
    model.compile(keras.optimizers.SGD(0.05), "categorical_crossentropy")
    penalties = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: penalties.append(
            0.1 * (penalized.kernel.numpy() ** 2).sum()
        )
    )
    # Weights of 0: the penalty is all of the loss.
    training, validation = (
        (*part, np.zeros(len(part[0]))) for part in (TRAINING, VALIDATION)
    )
    measure = MeasureReasons(training, validation, batch_size=16)
    history = model.fit(
        *TRAINING,
        sample_weight=training[2],
        batch_size=16,
        validation_data=validation,
        callbacks=[note, measure],
        verbose=0,
    ).history
    last = 0.1 * (penalized.kernel.numpy() ** 2).sum()
    terms = split(history)
    assert np.mean(penalties) - last > 0.01
    assert terms["timing"] == pytest.approx([np.mean(penalties) - last], rel=1e-4)
    assert terms["gap"] == pytest.approx(terms["timing"], rel=1e-4)


def test_held_out_images_that_are_the_others():
    model = dropping_network()
    # The dropout masks are the same for all.
    terms = split(run(model, held_out=VALIDATION))
    np.testing.assert_allclose(terms["data"], 0, atol=1e-6)
    assert (np.abs(terms["overfitting"]) > 0.001).all()
    terms = split(run(model, held_out=TRAINING))
    np.testing.assert_allclose(terms["overfitting"], 0, atol=1e-6)
    assert (np.abs(terms["data"]) > 0.001).all()


@pytest.fixture(scope="module")
def overfitted():
    """A network that has learned its few training images, and their wrong labels."""
    keras.utils.set_random_seed(1)
    model = plain_network()
    run(model, epochs=40)
    return model


def test_what_was_learned_by_heart_is_overfitting_and_not_data(overfitted):
    terms = terms_of(
        measured(overfitted, validation=data(2000, 4), held_out=data(2000, 5))
    )
    assert terms["overfitting"] < -1 < -3 * terms["overfitting error"]
    assert abs(terms["data"]) < 3 * terms["data error"]


def test_a_leak_and_an_easier_validation_set_make_data_positive(overfitted):
    for validation in (TRAINING, data(2000, 4, right=1)):
        terms = terms_of(
            measured(overfitted, validation=validation, held_out=data(2000, 5))
        )
        assert terms["data"] > 3 * terms["data error"] > 0
        assert terms["overfitting"] < 0


def test_the_error_is_how_far_many_pairs_of_sets_differ():
    keras.utils.set_random_seed(1)
    model = plain_network()
    run(model)
    # 100 pairs of 2048 and 1024 images, none of them in two sets.
    images, labels = data(100 * 3072, seed=6)
    right = model.predict(images, batch_size=4096, verbose=0)[labels == 1]
    losses = -np.log(right).reshape(100, 3072)
    differences = losses[:, :2048].mean(axis=1) - losses[:, 2048:].mean(axis=1)
    held_out, validation = (
        (images[rows], labels[rows]) for rows in (slice(2048), slice(2048, 3072))
    )
    logs = measured(model, held_out=held_out, validation=validation, size=16)
    data_term = logs["held_out_loss_regularized"] - logs["val_loss_regularized"]
    assert data_term == pytest.approx(differences[0], rel=1e-3)
    assert logs["data_error"] == pytest.approx(differences.std(), rel=0.2)


def test_the_errors_by_hand():
    model = compiled()
    # Batches as they lie, the last one of the training images half as large.
    training = tuple(array[:40] for array in TRAINING)

    def squared_error(images, labels):
        right = model.predict(images, verbose=0)[labels == 1]
        parts = np.split(-np.log(right), range(16, len(right), 16))
        losses, sizes = np.array([[part.mean(), len(part)] for part in parts]).T
        mean = np.average(losses, weights=sizes)
        variance_of_an_image = (sizes * (losses - mean) ** 2).sum() / (len(parts) - 1)
        return variance_of_an_image / sizes.sum()

    trained, held_out, validation = (
        squared_error(*part) for part in (training, HELD_OUT, VALIDATION)
    )
    logs = measured(model, batches(training), batches(VALIDATION), batches(HELD_OUT))
    assert logs["overfitting_error"] ** 2 == pytest.approx(trained + held_out, rel=2e-3)
    assert logs["data_error"] ** 2 == pytest.approx(held_out + validation, rel=2e-3)
    logs = measured(model, batches(training), batches(VALIDATION))
    assert logs["data_error"] ** 2 == pytest.approx(trained + validation, rel=2e-3)
    assert "overfitting_error" not in logs


class GlobalNoise(layers.Layer):
    """Draws from Keras's global generator, not from one of its own."""

    def call(self, inputs, training=False):
        return inputs + keras.random.normal((16,)) if training else inputs


@pytest.mark.parametrize("as_data_set", [False, True])
def test_training_goes_on_as_if_nothing_had_been_measured(as_data_set):
    def train(measure):
        # With Keras 3.0.5, a seed alone does not reach its global generator. Clearing
        # switches the progress bars on again.
        keras.backend.clear_session()
        keras.utils.disable_interactive_logging()
        keras.utils.set_random_seed(3)
        model = network(GlobalNoise(), *dropping_network().layers[2:-1])
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
        model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
        training, validation = TRAINING, VALIDATION
        callback = MeasureReasons(TRAINING, VALIDATION, HELD_OUT)
        if as_data_set:
            # Each reading has another order; the callback reads one of its own.
            slices = tf.data.Dataset.from_tensor_slices(TRAINING)
            training = (slices.shuffle(192, seed=1).batch(32),)
            validation = batches(VALIDATION, 32)
            own = slices.shuffle(192, seed=2).batch(32)
            callback = MeasureReasons(own, validation, batches(HELD_OUT))
        history = model.fit(
            *training,
            epochs=3,
            shuffle=not as_data_set,
            validation_data=validation,
            callbacks=[callback] if measure else [],
            verbose=0,
        ).history
        state = [one.numpy() for one in [*model.variables, *optimizer.variables]]
        after = [random.random(), np.random.random()]
        after += [keras.random.uniform(()).numpy(), tf.random.uniform(()).numpy()]
        return history, [*state, *after]

    history, state = train(measure=False)
    measured_history, measured_state = train(measure=True)
    assert {name: measured_history[name] for name in history} == history
    assert len(measured_history) == len(history) + 5
    for one, other in zip(measured_state, state, strict=True):
        np.testing.assert_array_equal(one, other)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.network = [layers.Flatten(), layers.Dropout(0.5)]
        self.network += [layers.Dense(3, activation="softmax")]

    def call(self, images, training=False):
        for layer in self.network[:2]:
            images = layer(images, training=training)
        return self.network[2](images)


class NeverInTraining(Subclassed):
    """Its `call` has no `training`: then Keras trains without dropout, too."""

    def call(self, images):
        for layer in self.network:
            images = layer(images)
        return images


def functional():
    images = keras.Input((8, 8, 1))
    dropped = layers.Dropout(0.5)(layers.Flatten()(images))
    return keras.Model(images, layers.Dense(3, activation="softmax")(dropped))


@pytest.mark.parametrize("build", [functional, Subclassed, NeverInTraining])
def test_kinds_of_models_labels_and_data(build):
    model = build()
    images, labels = TRAINING
    integers = (images, labels.argmax(axis=1))
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    model.fit(*integers, verbose=0)
    data_set = batches(integers, 32)
    of_arrays = measured(model, integers, integers)
    of_data_set = measured(model, data_set, data_set)
    inference = model.evaluate(*integers, verbose=0)
    dropout = abs(of_arrays["loss_at_end"] - inference) > 0.01
    assert dropout == (build is not NeverInTraining)
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    eagerly = measured(model, integers, integers)
    if not dropout:  # otherwise another order means other masks
        for logs in (of_arrays, of_data_set, eagerly):
            assert logs["loss_at_end"] == pytest.approx(inference, **ROUNDING)


def test_sample_weights_count():
    model = plain_network()
    model.compile(keras.optimizers.SGD(0.0), "categorical_crossentropy")
    weights = np.random.default_rng(0).random(64).astype("float32")
    logs = measured(model, validation=(*VALIDATION, weights))
    keras_says = model.evaluate(*VALIDATION, sample_weight=weights, verbose=0)
    assert logs["val_loss_regularized"] == pytest.approx(keras_says, rel=1e-4)


class Sequence(keras.utils.PyDataset):
    """Batches of 16 that are made when they are asked for by their index."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels

    def __len__(self):
        return math.ceil(len(self.images) / 16)

    def __getitem__(self, batch):
        rows = slice(16 * batch, 16 * batch + 16)
        return self.images[rows], self.labels[rows]


class Endless(Sequence):
    num_batches = None


@pytest.mark.parametrize("kind", ["shuffled", "sequence"])
def test_data_that_fit_reads_as_well(kind):
    if kind == "sequence" and not hasattr(Sequence, "num_batches"):
        pytest.skip("Keras 3.0 does not tell the number of batches of a PyDataset")
    training = tf.data.Dataset.from_tensor_slices(TRAINING).shuffle(192).batch(16)
    if kind == "sequence":
        training = Sequence(*TRAINING)
    model = plain_network()
    history = run(model, training, training if kind == "sequence" else VALIDATION)
    # Nothing in the network works otherwise in training.
    assert history["val_loss_regularized"] == pytest.approx(
        history["val_loss"], **ROUNDING
    )
    at_end = model.evaluate(training, verbose=0)[0]
    assert history["loss_at_end"][-1] == pytest.approx(at_end, **ROUNDING)


UNKNOWN_LENGTH = batches(TRAINING).filter(lambda images, labels: True)


@pytest.mark.parametrize(
    ("unfit", "reason"),
    [
        (TRAINING[0], r"give \(images, labels\)"),
        ((TRAINING[0], VALIDATION[1]), "as many labels as images"),
        (tuple(array[:0] for array in TRAINING), "one or more of each"),
        (batches(TRAINING).repeat(), "is empty, infinite or of unknown length"),
        (UNKNOWN_LENGTH, "is empty, infinite or of unknown length"),
        (Endless(*TRAINING), "is empty, infinite or of unknown length"),
    ],
)
def test_data_that_cannot_be_measured_on_are_refused(unfit, reason):
    for position in range(3):
        measure = [TRAINING, VALIDATION, HELD_OUT]
        measure[position] = unfit
        with pytest.raises(ValueError, match=reason):
            MeasureReasons(*measure)


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="KERAS_BACKEND=tensorflow"):
        MeasureReasons(TRAINING, VALIDATION)


def compiled(model=None, **arguments):
    model = model or plain_network()
    model.compile("sgd", "categorical_crossentropy", **arguments)
    return model


SPLIT = {"validation_data": None, "validation_split": 0.25}


@pytest.mark.parametrize(
    ("training", "measure", "arguments"),
    [
        (TRAINING, (TRAINING, VALIDATION), SPLIT),
        (batches(TRAINING), (batches(TRAINING), VALIDATION), {"steps_per_epoch": 9}),
        (batches(TRAINING), (batches(VALIDATION), VALIDATION), {}),
        (batches(TRAINING, 48), (TRAINING, VALIDATION), {}),
    ],
)
def test_other_batches_than_those_of_fit_are_refused_at_once(
    training, measure, arguments
):
    model = compiled()
    weights = model.get_weights()
    with pytest.raises(ValueError, match=r"fit counts (9|12|4) batches, .* batch_size"):
        fit(model, training, measure, **arguments)
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_other_batches_are_refused_after_the_first_epoch_where_fit_cannot_count_them():
    with pytest.raises(ValueError, match="fit counts 12 .* MeasureReasons 6"):
        fit(compiled(), UNKNOWN_LENGTH, (batches(TRAINING).take(6), VALIDATION))


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_generator_that_runs_out_is_noticed():
    def some_batches():
        yield from (tuple(one) for one in batches(TRAINING).take(10))

    with pytest.raises(ValueError, match="fit counts [0-9] batches"):
        fit(
            compiled(),
            some_batches(),
            (batches(TRAINING).take(6), VALIDATION),
            steps_per_epoch=6,
            epochs=2,
        )


@pytest.mark.parametrize(
    ("compile_with", "fit_with"),
    [
        ({"steps_per_execution": 5}, {}),
        ({}, {"validation_batch_size": 7}),
        ({"optimizer": {"gradient_accumulation_steps": 5}}, {}),
    ],
)
def test_no_false_alarm(compile_with, fit_with):
    if compile_with and KERAS_VERSION < (3, 2):
        pytest.skip("Keras 3.0 has no such optimizer, and reports a wrong val_loss")
    optimizer = compile_with.pop("optimizer", {})
    model = plain_network()
    sgd = keras.optimizers.SGD(0.05, **optimizer)
    model.compile(sgd, "categorical_crossentropy", **compile_with)
    history = fit(model, epochs=2, **fit_with)
    at_end = model.evaluate(*TRAINING, verbose=0)
    assert history["loss_at_end"][-1] == pytest.approx(at_end, **ROUNDING)


def test_no_false_alarm_where_training_stops_within_an_epoch():
    model = compiled()
    stop = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(model, "stop_training", True)
    )
    callbacks = [MeasureReasons(TRAINING, VALIDATION, batch_size=16), stop]
    data = {"validation_data": VALIDATION, "batch_size": 16}
    history = model.fit(*TRAINING, **data, callbacks=callbacks, verbose=0).history
    at_end = model.evaluate(*TRAINING, verbose=0)
    assert history["loss_at_end"] == [pytest.approx(at_end, **ROUNDING)]


def test_no_false_alarm_in_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert np.isfinite(run(normalizing_network(), rate=0.01)["loss_at_end"]).all()
    finally:
        keras.config.set_dtype_policy(policy)


@pytest.mark.skipif(
    KERAS_VERSION < (3, 2), reason="Keras 3.0 miscounts a smaller last batch"
)
def test_a_val_loss_that_the_given_data_do_not_have_is_refused():
    images, labels = VALIDATION
    weights = np.linspace(0, 2, 64, dtype="float32")
    shuffled = tf.data.Dataset.from_tensor_slices(TRAINING).shuffle(192)
    parts = shuffled.skip(64).batch(16), shuffled.take(64).batch(16)
    for training, measure, arguments in (
        (TRAINING, (TRAINING, HELD_OUT), {}),
        (TRAINING, (TRAINING, (255 * images, labels)), {}),
        (TRAINING, (TRAINING, VALIDATION), {"validation_data": (*VALIDATION, weights)}),
        (TRAINING, (TRAINING, VALIDATION), {"validation_steps": 1}),
        # Shuffled anew at each reading, and only then split.
        (parts[0], parts, {"validation_data": parts[1]}),
    ):
        with pytest.raises(
            ValueError, match="fit reports a val_loss of [0-9.]+, but .*"
        ):
            fit(compiled(), training, measure, **arguments)


def test_averaged_weights_in_the_validation_are_refused():
    if not hasattr(keras.callbacks, "SwapEMAWeights"):
        pytest.skip("Keras 3.0 does not swap averaged weights")
    keras.utils.set_random_seed(1)
    model = plain_network()
    optimizer = keras.optimizers.SGD(1.0, use_ema=True)
    model.compile(optimizer, "categorical_crossentropy")
    callbacks = [MeasureReasons(TRAINING, VALIDATION), keras.callbacks.SwapEMAWeights()]
    with pytest.raises(ValueError, match="swap the weights"):
        model.fit(*TRAINING, validation_data=VALIDATION, callbacks=callbacks, verbose=0)


def test_a_step_of_its_own_is_warned_of():
    class Own(keras.Sequential):
        def train_step(self, data):
            return super().train_step(data)

    model = Own(plain_network().layers)
    with pytest.warns(UserWarning, match="Own has a custom train_step"):
        fit(compiled(model))


def test_what_fit_does_not_get_is_told():
    model = compiled()
    for without in ({"validation_data": None}, {"validation_freq": 2}):
        with pytest.raises(ValueError, match="give fit validation_data, and leave val"):
            fit(model, epochs=4, **without)
    assert model.optimizer.iterations == 2 * 12  # after one epoch each


def test_the_snippet_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch, caplog):
    _, snippet = (ROOT / "README.md").read_text().split("```python\n")
    shutil.copy(ROOT / "pyimagesearch" / "reasons.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "snippet.py").write_text(snippet.split("```")[0])
    tf.get_logger().addHandler(caplog.handler)
    runpy.run_path("snippet.py")
    assert caplog.text == "", "TensorFlow warns of many graphs"
    history = pickle.loads((tmp_path / "training.pickle").read_bytes())
    assert {len(values) for values in history.values()} == {10}
    assert {"loss_at_end", "val_loss_regularized", "data_error"} < set(history)
