"""Which files are drawn, as which curves, and what is said of the others."""

import collections
import io
import itertools
import json
import math
import pickle
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from conftest import ROOT, environment

from pyimagesearch.histories import choose_curves, load_history, measured_numbers
from pyimagesearch.terminal import UserError

H = {"loss": [0.5, 0.25], "val_loss": [0.375, 0.75]}
NAN = math.nan


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "history")  # a name that tells nothing


def choose(path, content, metric="loss"):
    """Return the curves in a file with these bytes or text, or with a thing pickled."""
    content = content.encode() if isinstance(content, str) else content
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else pickle.dumps(content))
    return choose_curves(load_history(path), metric, "FILE")


def assert_drawn(path, content, history=H):
    """The file is drawn with the two curves of a history, and nothing else is said."""
    *curves, labels = choose(path, content)
    np.testing.assert_array_equal(curves, [*history.values()])
    assert labels == ("training loss", "validation loss")


def refusal(path, content, metric="loss"):
    """Return the line that refuses a file."""
    with pytest.raises(UserError) as caught:
        choose(path, content, metric)
    line = str(caught.value).replace(path, "FILE")
    assert line.startswith("error: FILE")
    return line.removeprefix("error: ")


def saved_by(save, thing):
    file = io.BytesIO()
    save(file, thing)
    return file.getvalue()


def curves_as(make):
    return {name: make(curve) for name, curve in H.items()}


# What is not drawn does not matter.
OTHERS = {"model": "A", "table": np.zeros((2, 2)), "days": np.array(["2024"], "M8[D]")}
OTHERS |= {"rest": [None, True, 2**70, b"a", {}], 1: (), None: "é", "empty": []}
MAKERS = [tuple, lambda curve: dict(enumerate(curve)), np.float16, np.array]
MAKERS += [lambda curve: np.array(curve, ">f4"), lambda curve: np.array(curve, object)]
MAKERS += [
    lambda curve: [*map(np.float32, curve)],
    lambda curve: [*map(np.array, curve)],
]
THINGS = [H, {**H, **OTHERS}, collections.OrderedDict(H), np.array(H)]
THINGS += [collections.defaultdict(list, H), *map(curves_as, MAKERS)]
THINGS += [{"train": {"loss": H["loss"]}, "val": {"loss": H["val_loss"]}}]


def test_a_pickle_is_drawn(path, capsys):
    for thing, protocol in itertools.product(THINGS, range(6)):
        content = pickle.dumps(thing, protocol)
        assert_drawn(path, content)
        if protocol < 4:  # as NumPy 1 writes it
            assert_drawn(path, content.replace(b"numpy._core", b"numpy.core"))
    assert capsys.readouterr().err == ""


GAPS = {"loss": [NAN, 0.25], "val_loss": [0.375, 0.75]}
LINES = ['{"epoch":0,"loss":0.5,"val_loss":0.375}', '{"val_loss":0.75,"loss":"0.25"}']
LIGHTNING = "epoch,step,train_loss,val_loss\n0,9,0.9,\n0,9,,0.375\n0,9,0.5,\n\n"
LIGHTNING += "1,19,,0.75\n1,19,0.25,\n"
ROWS = "\n0.5;.375;NA\n0.25;.75;\n"
DRAWN = [
    (saved_by(np.save, H), H),
    (json.dumps(H, indent=4), H),
    (json.dumps(GAPS), GAPS),  # NaN, as Python writes it
    ('{"loss":[null,"0.25"],"val_loss":["0.375",0.75]}', GAPS),
    ('{"loss":{"0":null,"1":0.25},"val_loss":{"0":0.375,"1":0.75}}', GAPS),
    ('{"train":{"loss":[0.5,0.25]},"val":{"loss":[0.375,0.75]}}', H),
    (f"[{','.join(LINES)}]", H),
    ("\n".join(LINES), H),
    ("\r\n".join(LINES) + "\r\n", H),
    (LINES[0], {"loss": [0.5], "val_loss": [0.375]}),
    ("epoch,loss,val_loss\r\n0,0.5,0.375\r\n1,0.25,0.75\r\n", H),
    (",train,val\n0,0.5,0.375\n1,0.25,0.75\n", H),
    ("\ufeffloss;val_loss;accuracy" + ROWS.replace("\n", "\r\n"), H),
    ('\n"loss"\t"val_loss"\n"NA"\t0.375\n"0.25"\t.75\n\n', GAPS),
    ('"loss", "val_loss"\n, ".375"\n"0.25", .75\n', GAPS),
    (b"model,loss,val_loss\n\xe9,0.5,0.375\n\xe9,0.25,0.75\n", H),  # not in UTF-8
    ("\ufeff" + LIGHTNING, H),
]


def test_another_file_is_drawn(path):
    for content, history in DRAWN:
        assert_drawn(path, content, history)


def test_of_several_pickles_the_first_is_drawn(path, capsys):
    assert_drawn(path, pickle.dumps(H) + pickle.dumps(GAPS))
    assert capsys.readouterr().err == (
        f"warning: {path} goes on after its first pickle: only that one is drawn\n"
    )


def test_a_row_that_is_cut_off_is_left_out(path, capsys):
    assert_drawn(
        path, "epoch,loss,val_loss\r\n0,0.5,0.375\r\n1,0.25,0.75\r\n2,0.2,0.", H
    )
    assert "is cut off" in capsys.readouterr().err


def test_a_megabyte_is_read_and_not_a_byte_more(path):
    text = json.dumps(H).ljust(1_000_000)
    assert_drawn(path, text)
    for more in (text + " ", "\ufeff" + text):
        line = "FILE is larger than a megabyte: save H.history alone"
        assert refusal(path, more) == line


def loss(*values):
    return {**H, "loss": [*values]}


NO_KIND = "FILE is no pickle, .npy, JSON or CSV of a history; it begins with"
NO_DICT = "FILE holds no dict of lists of numbers: save H.history"
NO_NUMBERS = "FILE has no list of numbers as loss, one per epoch"
NO_PAIR = "FILE has no training and validation curve of loss; it has"
ADVISED = "name them loss and val_loss, or give fit validation_data"
HTML = "<!DOCTYPE html>\n<p>loss, 0.5\n"
REFUSED = {
    f"{NO_KIND} nothing": [""],
    f"{NO_KIND} {HTML.encode()}": [HTML],
    f"{NO_KIND} b'Dear,\\nhere, yours\\n'": ["Dear,\nhere, yours\n"],
    f"{NO_KIND} b'Dear,\\r\\nhere, you": ["Dear,\r\nhere, yours\r\n1"],
    f"{NO_KIND} b'loss,val_loss\\n": ["loss,val_loss\n", "loss,val_loss\n1,2\n3\n"],
    NO_KIND: [pickle.dumps(H, protocol)[:-9] for protocol in range(6)],
    f"{NO_KIND} b": ["\n", "[0.5]", json.dumps(H)[:-1], saved_by(np.save, [0.5])],
    f"{NO_KIND} b'PK": [saved_by(np.savez, [0.5])],
    NO_DICT: [[H, H], 0.5, np.zeros(2), np.float32(0.5)],
    "FILE has 2 columns named loss: rename one": ["loss,loss,val_loss\n1,2,3\n"],
    f"{NO_PAIR} nothing: {ADVISED}": [{}, "{}", "[]"],
    f"{NO_PAIR} loss, lr: {ADVISED}": [{"loss": [1], "lr": [1]}],
    f"{NO_PAIR} loss/best, val_loss: name them": [{**H, "loss": {"best": 0.5}}],
    f"{NO_PAIR} 0, 1, 2": [{str(number): [1] for number in range(1000)}],
    NO_NUMBERS: [
        *({**H, "loss": one} for one in (0.5, "55", {0: {}}, None, np.zeros((2, 2)))),
        *map(loss, ["a", [1], {}, np.zeros(2), np.zeros((2, 2))]),
        *(loss(), "loss;val_loss\n0,5;0,4\n"),
    ],
    "FILE has 1 epochs of loss, but 2 of val_loss: save each epoch (val": [loss(1)],
    "FILE: loss is never finite: lower the learning rate": [loss(NAN, math.inf)],
}


def test_is_refused(path, capsys):
    for line, contents in REFUSED.items():
        for content in contents:
            told = refusal(path, content)
            assert told.startswith(line) and len(told) < 450
    assert capsys.readouterr().err == ""


def test_an_object_is_refused_by_its_name(path):
    told = "FILE holds a types.SimpleNamespace: save H.history alone"
    for thing in (types.SimpleNamespace(history=H), loss(types.SimpleNamespace())):
        for protocol in (2, 4):
            assert refusal(path, pickle.dumps(thing, protocol)) == told


def test_a_file_that_cannot_be_read(path, tmp_path):
    with pytest.raises(UserError, match="not exist: name another --input, or train"):
        load_history(path)
    with pytest.raises(OSError, match=str(tmp_path)):  # terminal.py tells it in a line
        load_history(tmp_path)


TRAINING = ["loss", "train_loss", "Training Loss"]
OTHER = ["val_loss", "ValidLoss", "validation/loss", "eval-loss", "Test Loss"]


def chosen(path, names, metric="loss"):
    """Return which of these names the two curves have, and their labels."""
    history = {name: [number] for number, name in enumerate(names)}
    training, other, labels = choose(path, history, metric)
    return names[int(training[0])], names[int(other[0])], *labels


def test_of_several_names_keras_s_come_first(path):
    for training, other in itertools.product(range(3), range(5)):
        names = TRAINING[training:] + OTHER[other:]
        for left in (names, names[::-1]):
            drawn = TRAINING[training], OTHER[other]
            assert chosen(path, ["value_loss", *left])[:2] == drawn


NAMES = """accuracy val_accuracy: Accuracy, validation
train val: loss, validation
Train TEST: loss, test
TrainLoss ValLoss: loss, validation
train/box_loss val/box_loss: box_loss, validation
Loss/train Loss/val: loss, validation
acc_training acc_valid: acc, validation
train eval: loss, validation
train_loss val_train_loss: train_loss, validation"""
ADVICE = """loss a_loss val_a_loss: loss, try --metric a_loss
a val_a train_b test_b: c, try --metric a or b
train val: accuracy, try --metric loss
loss val_loss: val_loss, try --metric loss
loss value_loss: loss, it has loss, value_loss: name them loss and val_loss, or"""


def test_which_names_are_drawn(path):
    for line in NAMES.splitlines():
        names, metric, data = re.split(": |, ", line)
        drawn = (*names.split(), f"training {metric}", f"{data} {metric}")
        assert chosen(path, ["lr", *names.split()[::-1]], metric) == drawn
    for line in ADVICE.splitlines():
        names, metric, advice = re.split(": |, ", line, maxsplit=2)
        told = f"FILE has no training and validation curve of {metric}; {advice}"
        content = {name: [1] for name in names.split()}
        assert refusal(path, content, metric).startswith(told)


def test_missing_numbers_are_warned_of(path, capsys):
    history = {"loss": [0.5, math.inf, 2, -1e300], "val_loss": [1, 2, None, -1e299]}
    drawn = {"loss": [0.5, NAN, 2, NAN], "val_loss": [1, 2, NAN, -1e299]}
    assert_drawn(path, history, drawn)
    assert capsys.readouterr().err.splitlines() == [
        "warning: loss is not finite in 2 of 4 epochs, left out",
        "warning: val_loss is not finite in 1 of 4 epochs, left out",
    ]


ADDED = {"loss": [13, 14], "val_loss": [15, 16], "loss_data_error": [7, 8]}
ADDED |= {"val_loss_during": [1, NAN], "val_loss_regularized": [3, 4]}
ADDED |= {"loss_timing_error": [NAN, NAN], "loss_regularization_error": [5, 6]}
HELD_OUT = {"held_out_loss_during": [9, 10], "loss_overfitting_error": [11, 12]}


def test_what_reasons_measured(capsys):
    for added in (ADDED, {**ADDED, **HELD_OUT}):
        history = {**added, "auc": [0], "val_auc": [0]}
        assert measured_numbers(history, "auc", "FILE") == {}
        measured = measured_numbers(history, "Loss", "FILE")
        assert measured.keys() == {name.replace("loss", "Loss") for name in added}
        for name, curve in measured.items():
            np.testing.assert_array_equal(curve, added[name.lower()])
        assert capsys.readouterr().err == ""
        for name in [*added][2:]:
            bad = {f"no list of numbers as {name}": ["a", 1], f"but 1 of {name}": [1]}
            if not name.endswith("_error"):  # those of a single batch are not known
                bad[f"{name} is never finite"] = [NAN, None]
            for told, curve in bad.items():
                assert measured_numbers({**added, name: curve}, "loss", "FILE") == {}
                line = capsys.readouterr().err
                assert line.startswith("warning: what makes the gap is not drawn, ")
                assert told in line and line.count("\n") == 1
            part = {other: added[other] for other in added if other != name}
            assert measured_numbers(part, "loss", "FILE") == {}
            assert f"no list of numbers as {name}" in capsys.readouterr().err


class Command:
    def __reduce__(self):
        return print, ("this ran",)


RUN = b"cos\nsystem\n(S'touch ran'\ntR."
# NumPy itself would take eight bytes for the place of an object.
OBJECT = b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
NUMPY = b"cnumpy.core.multiarray\n"
# A list 200,000 times in a list, a long dict under five names, a name in 9,000 names.
LIST = b"](" + b"N" * 200_000 + b"eq\1}(X\x08\0\0\0val_lossh\1X\4\0\0\0loss]("
SHARED = b"}(" + b"".join(b"X\5\0\0\0a%04dN" % i for i in range(9_000)) + b"uq\0000}("
SHARED += b"".join(b"X\5\0\0\0%05dh\0" % i for i in range(5)) + b"u."
LONG = json.dumps({"a" * 400_000: {f"{i}a": 0 for i in range(9_000)}}).encode()
# Bad files, by what is said of them. None may run, crash, take long or fill the memory.
BAD = {
    "holds a os.system: save H.history alone": [
        *(RUN, b"(S'touch ran'\nios\nsystem\n.", b"(dVloss\n" + RUN[:-1] + b"s."),
    ],
    "holds a numpy.os.system: ": [b"\x80\2cnumpy\nos.system\n(S'touch ran'\ntR."],
    "holds a builtins.print: ": [*map(pickle.dumps, (Command(), loss(Command())))],
    NO_KIND[5:]: [
        NUMPY + b"scalar\n(" + OBJECT + b"S'AAAAAAAA'\ntR.",
        NUMPY + b"_reconstruct\n(NNNtR(I1\n(I1\nt" + OBJECT + b"I0\nS'AAAAAAAA'\ntb.",
        # Two memos, bytes, a frame and an array of gigabytes.
        *(b"]r\0\1\0\0.", b"]r\xff\xff\xff\x7f.", b"B\xff\xff\xff\x3f."),
        b"\x80\4\x95" + b"\xff" * 8 + b".",
        # Bytes, of which another call could make twice as many, and so on.
        b"c_codecs\nencode\n(C\2aaX\3\0\0\0hextR.",
        b"cnumpy\nndarray\n((I2000000000\ntS'u1'\ntR.",
        *(b"(" * 900_000, b"[" * 900_000, b'{"a":' * 190_000, b"," * 999_999),
        *(pickle.dumps({10**5000: 1}), bytes(range(256))),
    ],
    NO_DICT[5:]: [b"]" * 400_000 + b"a" * 399_999 + b"."],
    NO_NUMBERS[5:]: [LIST + b"h\1" * 200_000 + b"eu."],
    NO_PAIR[5:]: [f"loss{',' * 400_000}\n1{',' * 400_000}".encode(), LONG, SHARED],
}
READER = """
import resource, sys
from pyimagesearch.histories import choose_curves, load_history
from pyimagesearch.terminal import UserError
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))
for number in range(int(sys.argv[1])):
    try:
        choose_curves(load_history(f"{number}"), "loss", f"{number}")
    except UserError as error:
        print(error, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_bad_files_are_refused(tmp_path):
    header = saved_by(np.save, None).partition(b"\n")[0] + b"\n"
    files = [(words, content) for words in BAD for content in BAD[words]]
    files += [("", header + content) for _, content in files]
    for number, (_, content) in enumerate(files):
        (tmp_path / f"{number}").write_bytes(content)
    process = subprocess.run(
        [sys.executable, "-c", READER, str(len(files))],
        cwd=tmp_path,
        env=environment(PYTHONPATH=ROOT),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert not (tmp_path / "ran").exists() and "this ran" not in process.stdout
    lines = process.stdout.splitlines()
    for told, (words, content) in zip(lines, files, strict=True):
        assert words in told, content[:80]
