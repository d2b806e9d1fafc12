"""The measurement of the three reasons, in cases whose answer is known before the run."""

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
from pyimagesearch.minivggnet import MiniVGGNet
from pyimagesearch.reasons import MeasureReasons

layers = keras.layers
ROUNDING = {"rel": 1e-5, "abs": 1e-6}


def data(count, seed):
    """Images of 8x8 pixels and one-hot labels, which are right for only 80% of them."""
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(count, 8, 8, 1)).astype("float32")
    labels = (images.reshape(count, -1)[:, :3].argmax(axis=1)).astype("int64")
    wrong = generator.random(count) < 0.2
    labels[wrong] = generator.integers(0, 3, wrong.sum())
    return images, np.eye(3, dtype="float32")[labels]


# Whole batches of 16 and 32: Keras before 3.2 counts a smaller last one in full.
TRAINING, VALIDATION = data(192, seed=1), data(64, seed=2)


def plain_network(**dense):
    """Nothing in it is random, and nothing works otherwise in training."""
    network = [layers.Flatten(), layers.Dense(16, activation="relu", **dense)]
    return keras.Sequential([keras.Input((8, 8, 1)), *network, output()])


def output():
    return layers.Dense(3, activation="softmax")


def normalizing_network():
    """Batch normalization, which works otherwise in training, but no dropout."""
    network = [layers.Flatten(), layers.Dense(16), layers.BatchNormalization()]
    return keras.Sequential([keras.Input((8, 8, 1)), *network, output()])


def batches(data, size=16):
    """The same batches whenever they are read."""
    return tf.data.Dataset.from_tensor_slices(data).batch(size)


def run(model, training=TRAINING, validation=VALIDATION, rate=0.05, epochs=3, size=16):
    """Train with the measurement; return the history of the run."""
    measure = MeasureReasons(training, validation, batch_size=size)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9 if rate else 0.0)
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    arrays = isinstance(training, tuple)
    return model.fit(
        *(training if arrays else [training]),
        batch_size=size if arrays else None,
        epochs=epochs,
        shuffle=arrays,
        validation_data=validation,
        callbacks=[measure],
        verbose=0,
    ).history


def measured(model, training=TRAINING, validation=VALIDATION, **measure):
    """Measure a compiled model as it is; return `loss_at_end`, `val_loss_regularized`."""
    callback = MeasureReasons(training, validation, **measure)
    callback.set_model(model)
    callback.set_params({})
    callback.on_train_begin()
    callback.on_epoch_end(0, logs := {"val_loss": 0.0})
    return logs["loss_at_end"], logs["val_loss_regularized"]


def test_without_dropout_and_batch_normalization_regularization_is_0():
    history = run(plain_network())
    assert history["val_loss_regularized"] == pytest.approx(
        history["val_loss"], **ROUNDING
    )


def test_dropout_makes_the_regularization_term_that_it_makes_by_hand():
    # One input, 1, dropped with probability p = 0.2, else 1 / (1 - p); the label is 0.
    # The squared error is 1 in inference mode and 1 / (1 - p) on average in training.
    model = keras.Sequential([keras.Input((1,)), layers.Dropout(0.2)])
    model.compile("sgd", "mse")
    ones = np.ones((4000, 1), "float32")
    inference = model.evaluate(ones, 0 * ones, verbose=0)
    # With batches of one image, one mask for all would make it 0 or 1.5625.
    at_end, regularized = measured(
        model, (ones, 0 * ones), (ones, 0 * ones), batch_size=1
    )
    assert inference == 1
    assert at_end == pytest.approx(1.25, abs=0.05)
    assert at_end == regularized


def test_without_learning_rate_timing_is_0():
    model = plain_network()
    history = run(model, rate=0.0)
    assert history["loss_at_end"] == pytest.approx(history["loss"], **ROUNDING)


def test_without_learning_rate_the_next_epoch_finds_the_loss_that_was_measured():
    # Dropout goes on where it stood, and so draws the masks that the measurement drew.
    # Batch normalization makes the loss depend on who is in a batch: here, no epoch has
    # other batches.
    keras.utils.set_random_seed(5)
    model = MiniVGGNet.build(8, 8, 1, 3)
    run(model, batches(TRAINING), epochs=2)
    history = run(model, batches(TRAINING), rate=0.0, epochs=6)
    assert len({round(loss, 3) for loss in history["loss"]}) > 3
    assert history["loss_at_end"][:-1] == pytest.approx(history["loss"][1:], **ROUNDING)


def test_with_one_batch_of_all_images_the_training_loss_is_a_whole_epoch_older():
    history = run(plain_network(), size=len(TRAINING[0]), epochs=6)
    assert len({round(loss, 3) for loss in history["loss"]}) > 3
    assert history["loss_at_end"][:-1] == pytest.approx(history["loss"][1:], **ROUNDING)


def test_validation_on_the_training_images_makes_data_0():
    for model in (plain_network(), MiniVGGNet.build(8, 8, 1, 3)):
        terms = split(run(model, validation=TRAINING))
        # The dropout masks of both passes are the same.
        np.testing.assert_allclose(terms["data"], 0, atol=1e-6)


def test_an_easier_validation_set_makes_data_positive_and_a_leak_moves_it_up():
    model = plain_network()
    run(model, rate=0.3, epochs=12)
    right = model.predict(VALIDATION[0], verbose=0)[VALIDATION[1] == 1]
    easiest = np.argsort(right)[-20:]
    easy = VALIDATION[0][easiest], VALIDATION[1][easiest]
    leaked = tuple(np.concatenate(both) for both in zip(VALIDATION, TRAINING))
    terms = {}
    for name, validation in (("easy", easy), ("own", VALIDATION), ("leaked", leaked)):
        at_end, regularized = measured(model, validation=validation)
        terms[name] = at_end - regularized
    # Overfitted to wrong labels: new images are harder for it, those it knows are not.
    assert terms["own"] < terms["leaked"] < 0 < terms["easy"]


def test_one_batch_has_the_loss_that_train_on_batch_reports():
    model = normalizing_network()
    run(model)
    model.compile(keras.optimizers.SGD(0.0), "categorical_crossentropy")
    _, regularized = measured(model, batch_size=64)
    keras_says = model.train_on_batch(*VALIDATION, return_dict=True)["loss"]
    assert regularized == pytest.approx(keras_says, **ROUNDING)
    inference = model.evaluate(*VALIDATION, verbose=0)
    assert regularized != pytest.approx(inference, rel=0.01)


def test_penalties_are_counted_as_keras_counts_them():
    model = plain_network(kernel_regularizer=keras.regularizers.L2(0.1))
    history = run(model)
    penalty = 0.1 * (model.layers[1].kernel.numpy() ** 2).sum()
    assert penalty > 0.1
    assert history["val_loss_regularized"] == pytest.approx(
        history["val_loss"], **ROUNDING
    )
    at_end, _ = model.evaluate(*TRAINING, verbose=0)
    assert history["loss_at_end"][-1] == pytest.approx(at_end, **ROUNDING)
    right = model.predict(TRAINING[0], verbose=0)[TRAINING[1] == 1]
    assert at_end == pytest.approx(penalty - np.log(right).mean(), rel=1e-4)


class GlobalNoise(layers.Layer):
    """Draws from Keras's global generator, not from one of its own."""

    def call(self, inputs, training=False):
        return inputs + keras.random.normal((64,)) if training else inputs


def noisy_network():
    network = [layers.Flatten(), GlobalNoise(), layers.Dropout(0.5)]
    return keras.Sequential([keras.Input((8, 8, 1)), *network, output()])


@pytest.mark.parametrize("build", [lambda: MiniVGGNet.build(8, 8, 1, 3), noisy_network])
@pytest.mark.parametrize("as_data_set", [False, True])
def test_training_goes_on_as_if_nothing_had_been_measured(build, as_data_set):
    def train(measure):
        # With Keras 3.0.5, a seed alone does not reach its global generator.
        keras.backend.clear_session()
        keras.utils.set_random_seed(3)
        model = build()
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
        model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
        training, validation = TRAINING, VALIDATION
        callback = MeasureReasons(TRAINING, VALIDATION)
        if as_data_set:
            # Each reading has another order; the callback reads one of its own.
            slices = tf.data.Dataset.from_tensor_slices(TRAINING)
            training = (slices.shuffle(192, seed=1).batch(32),)
            validation = batches(VALIDATION, 32)
            own = slices.shuffle(192, seed=2).batch(32)
            callback = MeasureReasons(own, validation)
        history = model.fit(
            *training,
            epochs=3,
            shuffle=not as_data_set,
            validation_data=validation,
            callbacks=[callback] if measure else [],
            verbose=0,
        ).history
        variables = [*model.variables, *optimizer.variables]
        after = [random.random(), np.random.random()]
        after += [keras.random.uniform(()), tf.random.uniform(())]
        state = [keras.ops.convert_to_numpy(one) for one in [*variables, *after]]
        return history, state

    history, state = train(measure=False)
    measured_history, measured_state = train(measure=True)
    assert len(measured_history.pop("loss_at_end")) == 3
    assert len(measured_history.pop("val_loss_regularized")) == 3
    assert measured_history == history
    for one, other in zip(measured_state, state, strict=True):
        np.testing.assert_array_equal(one, other)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.network = [layers.Flatten(), layers.Dropout(0.5), output()]

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
    return keras.Model(images, output()(dropped))


@pytest.mark.parametrize("build", [functional, Subclassed, NeverInTraining])
def test_kinds_of_models_labels_and_data(build):
    model = build()
    images, labels = TRAINING
    numbers = labels.argmax(axis=1)
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    model.fit(images, numbers, verbose=0)
    integers = (images, numbers)
    data_set = batches(integers, 32)
    of_arrays = measured(model, integers, integers, batch_size=32)
    of_data_set, _ = measured(model, data_set, data_set)
    if build is NeverInTraining:  # otherwise another order means other masks
        assert of_data_set == pytest.approx(of_arrays[0], **ROUNDING)
    inference = model.evaluate(*integers, verbose=0)
    dropout = abs(of_arrays[0] - inference) > 0.01
    assert dropout == (build is not NeverInTraining)
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    eagerly = measured(model, integers, integers, batch_size=32)
    if not dropout:
        assert eagerly == pytest.approx(of_arrays, **ROUNDING)


def test_sample_weights_count():
    model = plain_network()
    model.compile(keras.optimizers.SGD(0.0), "categorical_crossentropy")
    weights = np.random.default_rng(0).random(64).astype("float32")
    _, regularized = measured(model, validation=(*VALIDATION, weights))
    keras_says = model.evaluate(*VALIDATION, sample_weight=weights, verbose=0)
    assert regularized == pytest.approx(keras_says, rel=1e-4)


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


def picture_folder(folder):
    """Images of two classes in a folder, as `image_dataset_from_directory` wants them."""
    for name, brightness in (("dark", 0.0), ("light", 1.0)):
        (folder / name).mkdir()
        for number in range(24):
            picture = np.full((8, 8, 1), 0.1 + 0.8 * brightness + number / 1000)
            keras.utils.save_img(folder / name / f"{number}.png", picture, scale=True)
    return keras.utils.image_dataset_from_directory(
        folder, label_mode="categorical", image_size=(8, 8), batch_size=16, seed=1
    )


def generator():
    tools = tf.keras.preprocessing.image
    augmented = tools.ImageDataGenerator(horizontal_flip=True)
    return augmented.flow(*TRAINING, batch_size=16)


@pytest.mark.parametrize("kind", ["shuffled", "folder", "sequence", "generator"])
def test_data_that_fit_reads_as_well(kind, tmp_path):
    if kind in ("sequence", "generator") and not hasattr(Sequence, "num_batches"):
        pytest.skip("Keras 3.0 does not tell the number of batches of a PyDataset")
    training = {
        "shuffled": lambda: (
            tf.data.Dataset.from_tensor_slices(TRAINING).shuffle(192).batch(16)
        ),
        "folder": lambda: picture_folder(tmp_path),
        "sequence": lambda: Sequence(*TRAINING),
        "generator": generator,
    }[kind]()
    shape, classes = ((8, 8, 3), 2) if kind == "folder" else ((8, 8, 1), 3)
    network = [layers.Flatten(), layers.Dense(classes, activation="softmax")]
    model = keras.Sequential([keras.Input(shape), layers.Rescaling(0.01), *network])
    validation = training if kind in ("folder", "sequence") else VALIDATION
    history = run(model, training, validation)
    assert len({round(loss, 5) for loss in history["loss"]}) == 3
    # Nothing in the network works otherwise in training.
    assert history["val_loss_regularized"] == pytest.approx(
        history["val_loss"], **ROUNDING
    )
    if kind != "generator":  # which flips half of the images at each reading
        at_end = model.evaluate(training, verbose=0)[0]
        assert history["loss_at_end"][-1] == pytest.approx(at_end, **ROUNDING)


@pytest.mark.parametrize(
    ("unfit", "reason"),
    [
        (TRAINING[0], r"give \(images, labels\)"),
        ((TRAINING[0], VALIDATION[1]), r"differ in number: \[64, 192\]"),
        (tf.data.Dataset.from_tensors(TRAINING).repeat(), "never ends"),
        (Endless(*TRAINING), "never ends"),
    ],
)
def test_data_that_cannot_be_measured_on_are_refused(unfit, reason):
    with pytest.raises(ValueError, match=reason):
        MeasureReasons(TRAINING, unfit)


def test_what_fit_does_not_get_is_told_at_once():
    model = plain_network()
    model.compile("sgd", "categorical_crossentropy")
    weights = model.get_weights()

    def fit(batch_size=16, **arguments):
        callback = MeasureReasons(TRAINING, VALIDATION, batch_size=batch_size)
        fixed = {"batch_size": 16, "epochs": 4, "callbacks": [callback], "verbose": 0}
        return model.fit(*TRAINING, **fixed, **arguments)

    with pytest.raises(
        ValueError, match="fit counts 12 batches, and MeasureReasons 6: give"
    ):
        fit(batch_size=32, validation_data=VALIDATION)
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])
    for without in ({}, {"validation_data": VALIDATION, "validation_freq": 2}):
        with pytest.raises(ValueError, match="give fit validation_data, and leave val"):
            fit(**without)
    assert model.optimizer.iterations == 2 * 12  # after one epoch each


def test_the_snippet_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch):
    _, snippet = (ROOT / "README.md").read_text().split("```python\n")
    shutil.copy(ROOT / "pyimagesearch" / "reasons.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "snippet.py").write_text(snippet.split("```")[0])
    runpy.run_path("snippet.py")
    history = pickle.loads((tmp_path / "training.pickle").read_bytes())
    assert {len(values) for values in history.values()} == {10}
    assert sorted(history) == [
        "loss",
        "loss_at_end",
        "val_loss",
        "val_loss_regularized",
    ]
