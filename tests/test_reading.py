"""Which files are drawn, as which curves, and what is said of the others."""

import bz2
import collections
import gzip
import io
import json
import lzma
import math
import pickle
import pickletools
import sys
import types

import numpy as np
import pytest

from pyimagesearch import curves, reading
from pyimagesearch.cli import UserError

H = {"loss": [0.5, 0.25], "val_loss": [0.4, 0.3]}
TABLE = b"epoch,loss,val_loss\r\n0,0.5,0.4\r\n1,0.25,0.3\r\n"
ORDERED, NAN = collections.OrderedDict(H), math.nan


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "history.csv")  # a name that tells nothing


def choose(path, content, metric="loss"):
    """Return the curves of a file with this content, a pickle unless bytes or text."""
    content = content.encode() if isinstance(content, str) else content
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else pickle.dumps(content))
    return curves.choose_curves(reading.load_history(path), metric, path)


def refusal(path, content, metric="loss"):
    """Return the line that refuses a file."""
    with pytest.raises(UserError) as caught:
        choose(path, content, metric)
    return str(caught.value).replace(path, "FILE").removeprefix("error: ")


def filled_in_a_loop():
    history = collections.defaultdict(list)
    for loss, val_loss in zip(*H.values()):
        history["loss"].append(np.float32(loss))
        history["val_loss"].append(np.array(val_loss))
    return history


def saved_by(save, thing):
    file = io.BytesIO()
    save(file, thing)
    return file.getvalue()


NPY = saved_by(np.save, H)


@pytest.mark.parametrize(
    "content",
    [
        *(pickle.dumps(H, protocol) for protocol in range(6)),
        *(ORDERED, filled_in_a_loop(), NPY, json.dumps(H), TABLE),
        {name: tuple(curve) for name, curve in H.items()},
        {name: np.array(curve, object) for name, curve in H.items()},
        # What is not drawn does not matter.
        {**H, "loss": np.array(H["loss"]), "model": print, "lr": "low", 1j: None},
        # pandas: to_json, to_dict, to_csv.
        '{"loss":{"0":0.5,"1":0.25},"val_loss":{"0":0.4,"1":0.3}}',
        {name: dict(enumerate(curve)) for name, curve in H.items()},
        ",loss,val_loss\n0,0.5,0.4\n1,0.25,0.3\n",
        # CSVLogger with another separator, Excel with a byte-order mark, by hand.
        "epoch;accuracy;loss;val_loss\r\n0;NA;0.5;0.4\r\n1;0.6;0.25;0.3\r\n",
        "\ufeffloss\tval_loss\r\n0.5\t0.4\r\n0.25\t0.3\r\n",
        '"loss", "val_loss"\n"0.5", "0.4"\n.25, .3\n\n',
        "\nmodel,loss,val_loss\na,0.5,0.4\nb,0.25,0.3\n",
        # A pickle without zeros, in which "loss" comes early.
        pickletools.optimize(pickle.dumps(H, 2)),
    ],
)
def test_is_drawn(path, capsys, content):
    curves = {"training loss": H["loss"], "validation loss": H["val_loss"]}
    assert choose(path, content) == curves
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("after", "rest"),
    [(pickle.dumps(H) * 2, 2), (b"N." * 9999, 9999), (b"\n", "bytes"), (NPY, "bytes")],
)
def test_of_several_pickles_the_first_is_drawn(path, capsys, after, rest):
    choose(path, pickle.dumps(H) + after)
    line = f"warning: {path}: the first pickle is drawn, not the {rest} after it\n"
    assert capsys.readouterr().err == line


def loss(*values):
    return {**H, "loss": [*values]}


WHOLE = [*(pickle.dumps(H, protocol) for protocol in range(6)), NPY, TABLE]
WHOLE += [pickle.dumps(ORDERED, 0), json.dumps(H).encode()]
LFS = "version https://git-lfs.github.com/spec/v1\nsize 1\n"
DICT = "is no dict of lists of numbers: save H.history"
LIST = "save a list of numbers, one per epoch"
NOT_BOTH = "but not both loss and val_loss: save one of these by itself"
OTHERS = ["{'loss': [0.5]}", "[INFO] a, b\n", "# My loss\n\nIt is low.\n"]
EACH = "each needs one per epoch (validation_freq=1)"
SQUARE = np.zeros((2, 2)).T
# What is said, and of what.
REFUSED = {
    "is compressed: unpack it first": [
        *(tool.compress(WHOLE[0]) for tool in (gzip, bz2, lzma)),
        saved_by(np.savez, H["loss"]),
    ],
    "is empty: save the history again": ["", "\n"],
    "is a web page: download the file itself": ["<HTML>", "\n<!doctype html>"],
    "is a Git LFS pointer: download the file itself": [LFS],
    "is larger than a megabyte: save H.history alone": [
        {**H, "weights": [0.5] * 200_000}
    ],
    "is cut off or damaged: save it again": [
        *(content[:-9] for content in WHOLE),
        "loss,val_loss\n",
    ],
    "is no pickle, .npy, JSON or CSV of a history": OTHERS,
    "is an array of numbers: save H.history": [saved_by(np.save, [0.5, 0.4])],
    DICT: [np.zeros(2), ([0.5], [0.4]), "[0.5, 0.4]", 0.5, np.float32(0.5)],
    "is a list of 2 dicts: save one dict of lists of numbers": [
        *([H, H], [ORDERED, ORDERED], np.array([H, H]), json.dumps([H, H]))
    ],
    f"has 0, 1, {NOT_BOTH}": [{0: H, 1: H}],
    f"has train, val, {NOT_BOTH}": [
        '{"train": {"loss": [0.5]}, "val": {"loss": [0.4]}}'
    ],
    "has nothing, but not both loss and val_loss: give fit validation_data": [{}, "{}"],
    "has loss, lr, but not both loss and val_loss: give fit validation_data": [
        {"loss": [1], "lr": [1]}
    ],
    f"has a single number as loss: {LIST}": [{**H, "loss": 0.5}],
    f"has a string as loss: {LIST}": [{**H, "loss": "0.5, 0.4"}],
    f"has a dict as loss: {LIST}": [{**H, "loss": {"best": 0.5}}],
    f"has an empty list as loss: {LIST}": [loss(), {**H, "loss": np.zeros(0)}],
    f"has an object of numpy.ndarray as loss: {LIST}": [{**H, "loss": SQUARE}],
    f"has a string in loss: {LIST}": [loss(0.5, "0.4"), "a;loss;val_loss\n0;0,5;0,4\n"],
    f"has None in loss: {LIST}": [loss(0.5, None)],
    f"has a list in loss: {LIST}": [loss([0.5], [0.4]), loss(np.array([0.5]))],
    f"has True or False in loss: {LIST}": [loss(True, False), loss(np.bool_(True))],
    f"has 1 epochs of loss, but 2 of val_loss: {EACH}": [loss(0.5)],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_is_refused(path, reason):
    for content in REFUSED[reason]:
        assert refusal(path, content) == f"FILE {reason}"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("keras.src.callbacks.history.History", "pickle H.history instead of H"),
        ("pandas.core.frame.DataFrame", "save a dict of lists of numbers instead"),
        ("torch.Tensor", "save a dict of lists of numbers instead"),
    ],
)
def test_an_object_is_refused_by_its_class(path, monkeypatch, name, advice):
    module, _, class_name = name.rpartition(".")
    for imported in (module, module.partition(".")[0]):  # instead of the real ones
        monkeypatch.setitem(sys.modules, imported, types.ModuleType(imported))
    kind = type(class_name, (), {"__module__": module, "history": H})
    monkeypatch.setattr(sys.modules[module], class_name, kind, raising=False)
    words = "a History object" if class_name == "History" else f"an object of {name}"
    for protocol in range(6):
        told = refusal(path, pickle.dumps(kind(), protocol))
        assert told == f"FILE is {words}: {advice}"
    told = refusal(path, loss(0.5, kind()))
    assert told == f"FILE has an object of {name} in loss: {LIST}"


def test_a_file_that_cannot_be_read(path, tmp_path):
    with pytest.raises(
        UserError,
        match="does not exist: name another --input, or train.*fashion_mnist.py --h",
    ):
        reading.load_history(path)
    (tmp_path / "history.csv.part").touch()
    with pytest.raises(UserError, match="plot_shift.py --input .*history.csv.part"):
        reading.load_history(path)
    with pytest.raises(UserError, match=f"cannot read {tmp_path}: "):
        reading.load_history(tmp_path)


@pytest.mark.parametrize(
    ("names", "metric", "other"),
    [
        ("accuracy val_accuracy", "accuracy", "validation"),
        ("train_acc test_acc", "acc", "test"),
        ("train_loss val_train_loss", "train_loss", "validation"),
        # Of several that fit, the names that Keras gives.
        ("loss val_loss train_loss test_loss", "loss", "validation"),
    ],
)
def test_which_names_are_drawn(path, names, metric, other):
    history = {name: [number] for number, name in enumerate(names.split())}
    curves = [(f"training {metric}", [0]), (f"{other} {metric}", [1])]
    assert list(choose(path, history, metric).items()) == curves


@pytest.mark.parametrize(
    ("names", "metric", "told"),
    [
        ("loss a_loss val_a_loss", "loss", "a_loss"),
        ("a val_a b val_b", "c", "a or b"),
        ("lr acc val_acc", "lr", "acc"),
        ("loss val_loss loss_at_end", "loss_at_end", "loss"),
        ("loss val_loss", "val_loss", "loss"),
        ("train_loss val_loss", "train_loss", "loss"),
    ],
)
def test_what_metric_takes(path, names, metric, told):
    history = {name: [1] for name in names.split()}
    reason = f"has no training and validation curve of {metric}: try --metric {told}"
    assert refusal(path, history, metric) == f"FILE {reason}"


def test_a_long_list_of_names_is_cut(path):
    history = {name: [1] for name in map(str, range(1000))}
    assert len(refusal(path, history)) < 450


def test_numbers_that_are_missing_are_warned_of(path, capsys):
    history = {"loss": [0.5, math.inf, 2, -(10**400)], "val_loss": [1, 2, NAN, 3]}
    curves = choose(path, history).values()
    np.testing.assert_array_equal([*curves], [[0.5, NAN, 2, NAN], [1, 2, NAN, 3]])
    choose(path, "epoch,loss,val_loss\n0,0.5,\n1,0.4,0.3\n")
    assert capsys.readouterr().err.splitlines() == [
        "warning: loss is not finite in 2 of 4 epochs, left out",
        "warning: val_loss is not finite in 1 of 4 epochs, left out",
        "warning: val_loss is not finite in 1 of 2 epochs, left out",
    ]
    never = refusal(path, loss(math.inf, 1e301))
    assert never == "FILE: loss is never finite: train with a lower learning rate"


OLD = {"loss_at_end": [0.3, 0.2], "val_loss_regularized": [1, 2]}
NEW = {**OLD, "held_out_loss_regularized": [3, 4], "data_error": [0.1, 0.2]}


def test_what_reasons_measured(capsys):
    assert curves.measured_losses({**H, **OLD, "lr": None}, "FILE") == {**H, **OLD}
    assert curves.measured_losses({**H, **NEW}, "FILE") == {**H, **NEW}
    # A single batch has no error. Of the two losses, `choose_curves` has warned.
    history = {**H, **NEW, "loss": [1, NAN], "data_error": [NAN, NAN]}
    assert len(curves.measured_losses(history, "FILE")) == 6
    assert curves.measured_losses(H, "FILE") == {}
    assert capsys.readouterr().err == ""
    for name, values in NEW.items():
        assert curves.measured_losses({**H, name: values}, "FILE") == {}
        missing = ", ".join(other for other in OLD if other != name)
        line = f"warning: {name} is not drawn without {missing}\n"
        assert capsys.readouterr().err == line
    for name in NEW:
        with pytest.raises(UserError, match=f"a string in {name}"):
            curves.measured_losses({**H, **NEW, name: [0.1, "0.2"]}, "FILE")
    curves.measured_losses({**H, **OLD, "loss_at_end": [1, NAN]}, "FILE")
    assert "loss_at_end is not finite in 1 of 2 epochs" in capsys.readouterr().err
