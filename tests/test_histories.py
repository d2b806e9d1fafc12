"""Which files are read, as which curves, and what is said of the others."""

import collections
import itertools
import json
import pickle

import numpy as np
import pytest
from conftest import ROOT, run

from pyimagesearch.histories import choose_curves, load_history
from pyimagesearch.terminal import UserError

NAN = float("nan")
H = {"loss": [2, 1], "val_loss": [1, 3]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history"  # a name that tells nothing


def save(path, content):
    """Write a file of these bytes or this text, or the pickle of anything else."""
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))


def assert_read(path, content, history=H):
    """The file has the curves of a history, and no others."""
    save(path, content)
    curves = load_history(path)
    assert [*curves] == [*history]
    np.testing.assert_array_equal([*curves.values()], [*history.values()])


# What is no curve does not matter.
OTHERS = {"text": "55", "texts": ["a"], "none": None, "number": 5, "empty": []}
OTHERS |= {"lists": [[1], [2]], "dicts": {"a": {"b": 1}}, "huge": [10**400]}
ARRAYS = {"square": np.ones((2, 2)), "row": np.ones((1, 2), object), 1: np.float32(1)}
ARRAYS |= {"days": np.array(["2024"], "M8[D]"), "bytes": b"55", "rest": [1, {}]}


def test_a_pickle_is_read(path):
    things = [H, collections.OrderedDict(H), {**H, **OTHERS, **ARRAYS}]
    for kind in ("f2", "f4", ">f4", "f8", ">f8", "u1", "i4", ">i8", object):
        arrays = {name: np.array(curve, kind) for name, curve in H.items()}
        things += [arrays, {name: [*array] for name, array in arrays.items()}]
    for thing, protocol in itertools.product(things, (2, 3, 4, 5)):
        content = pickle.dumps(thing, protocol)
        assert_read(path, content)
        if protocol < 4:  # as NumPy 1 writes it
            assert_read(path, content.replace(b"numpy._core", b"numpy.core"))
    # Numbers from a machine with the other order of bytes.
    swapped = {name: [*np.array(H[name], "f4").byteswap()] for name in H}
    assert_read(path, pickle.dumps(swapped).replace(b"<", b">"))
    np.save(path, {**H, **ARRAYS})
    assert_read(path, path.with_suffix(".npy").read_bytes())


GAPS = {"loss": [NAN, 1], "val_loss": [1, 3]}
READ = [
    (json.dumps({**H, **OTHERS}, indent=4), H),
    (json.dumps(H).ljust(1_000_000), H),
    ("\ufeff" + json.dumps(GAPS), GAPS),  # NaN, as Python writes it
    ('{"loss":[null,1.0],"val_loss":[1e0,3]}', GAPS),
    # By row, as pandas writes it.
    ('{"loss":{"0":null,"1":1.0},"val_loss":{"0":1.0,"1":3.0}}', GAPS),
    ("epoch,loss,val_loss\r\n0,2.0,1e0\r\n1,1,3\r\n", {"epoch": [0, 1], **H}),
    ({"epoch": [1, 2], **H}, {"epoch": [1, 2], **H}),
    ("\ufeffloss;val_loss;run\nNA;1;a\n1;3;\n", GAPS),
    ('"loss"\t"val_loss"\r\n""\t1\r\n"1"\t3\r\n\r\n', GAPS),
    ('"loss", "val_loss"\n, "1"\n"1", 3\n', GAPS),
    (b"run,loss,val_loss\n\xe9,2,1\n\n\xe9,1,3", H),  # not in UTF-8
    # What is too large for a figure is missing.
    ({"loss": [float("inf"), 1e300, -1e300, 9e299]}, {"loss": [NAN, NAN, NAN, 9e299]}),
]


def test_another_file_is_read(path, capsys):
    for content, history in READ:
        assert_read(path, content, history)
    assert capsys.readouterr() == ("", "")


def test_a_row_that_is_cut_off_is_left_out_and_told(path, capsys):
    assert_read(path, "loss,val_loss\r\n2,1\r\n1,3\r\n0.2,0.")
    assert "the last row has no end, as if cut off" in capsys.readouterr().out


# Tables that do not have one row for each epoch of one run, and how `epoch` goes.
STEPS = "0,49,2.0, 0,99,1.0, 0,149,0.3, 0,160,,0.9 1,199,0.8, 1,249,0.7, 1,299,0.1,"
STEPS += " 1,320,,0.6 2,349,0.5, 2,399,0.4, 2,449,0.9, 2,480,,0.5"
TWO_RUNS = "0,0.90,0.70 1,0.60,0.58 2,0.45,0.52 0,0.88,0.71 1,0.61,0.57 2,0.44,0.51"
NOT_BY_ONE = [
    f"epoch,step,train_loss,val_loss {STEPS}: 0, 0",
    f"epoch,loss,val_loss {TWO_RUNS}: 0, 1, 2, 0",
    "epoch,loss,val_loss 5,2.0,1.6 10,1.2,1.1 15,0.9,0.95: 5, 10",
    # Each row comes from a fit(epochs=1) of its own.
    "epoch,loss,val_loss 0,0.91,0.82 0,0.70,0.63 0,0.52,0.44: 0, 0",
    # A row lacks its epoch, and a run goes on from an earlier epoch.
    "epoch,loss,val_loss 1,0.91,0.82 ,0.70,0.63: 1, nan",
    "epoch 3 4 5 6 7 8 7 8 9: 6, 7, 8, 7",
]


def test_an_epoch_that_does_not_go_up_by_one_is_told(path):
    for table, goes in (case.split(": ") for case in NOT_BY_ONE):
        epochs = [row.split(",")[0] for row in table.split()[1:]]
        history = {**H, "epoch": [float(epoch or "nan") for epoch in epochs]}
        told = f", epoch goes {goes}, ...: give one row for each epoch of one run; if"
        for content in (table.replace(" ", "\n"), json.dumps(history), history):
            save(path, content)
            with pytest.raises(UserError, match=told):
                load_history(path)


def test_a_file_that_does_not_exist(path):
    with pytest.raises(UserError, match="history does not exist: train with fashion_m"):
        load_history(path)
    # An earlier run is better than nothing, and the epochs of this run are better.
    for name in (".old", ".csv"):
        path.with_suffix(".csv").write_text("")
        path.with_suffix(name).write_text("epoch,loss,val_loss\n")
        with pytest.raises(UserError, match=f"use --input .*{name}, which is there"):
            load_history(path)


def test_of_several_names_keras_s_come_first():
    for metric in ("loss", "top/1"):
        curves = {f"train_{metric}": ["train"]}
        with pytest.raises(UserError, match=f"and val_{metric}: it has train_"):
            choose_curves(curves, metric, "FILE")
        for name in ("test", "validation", "valid", "val"):
            curves[f"{name}_{metric}"] = [name]
            assert choose_curves(curves, metric, "FILE") == (["train"], [name])
        curves[metric] = ["Keras"]
        assert choose_curves(curves, metric, "FILE") == (["Keras"], ["val"])


OTHER_KINDS = ["", "Dear reader,\n", "<!DOCTYPE html>\n<p>2, 1\n", "[1]", b"PK\3\4"]
OTHER_KINDS += [json.dumps([H, H], indent=2), f"{json.dumps(H)}\n{json.dumps(H)}\n"]
OTHER_KINDS += [json.dumps(H)[:-1], "loss,val_loss\n", "loss,val_loss\n2,1\n1\n"]
OTHER_KINDS += ["[" * 900_000, '{"a":' * 190_000, "," * 999_999, [H, H], np.zeros(2)]
OTHER_KINDS += [pickle.dumps(H, protocol)[:-9] for protocol in (2, 3, 4, 5)]
NO_CURVES = ["{}", "Dear reader,\nhere you are,\n", "loss;val_loss\n0,5;0,4\n"]
NO_CURVES += [pickle.dumps(H, 0), {}, {"train": H}, {"loss": 2, "val_loss": 1}]
OBJECTS = [pickle.dumps(collections.Counter(H), protocol) for protocol in (2, 4)]
UNKNOWN = "error: FILE is no history as pickle, JSON or CSV; it begins with b"
NO_PAIR = "error: FILE has no loss and val_loss: it has"
REFUSED = {
    UNKNOWN: [*OTHER_KINDS, *NO_CURVES],
    "error: two columns have the same name": ["loss,loss,val_loss\n1,2,3\n"],
    f"{NO_PAIR} 0, 1, 2, 3": [json.dumps({f"{n}": [1] for n in range(60_000)})],
    "FILE must have loss and val_loss of each epoch": [{**H, "val_loss": [1]}],
    "FILE is larger than a megabyte: save H.history alone": [b" " * 1_000_001],
    "error: the file holds a collections.Counter: save H.history alone": OBJECTS,
}
# What follows is pickled by hand. It must not run, crash, take long or fill the memory.
SYSTEM = [b"cos\nsystem\n(S'touch ran'\ntR.", b"(S'touch ran'\nios\nsystem\n."]
# NumPy itself would take eight bytes for the place of an object.
OBJECT = b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
SCALAR = b"cnumpy.core.multiarray\nscalar\n(" + OBJECT + b"S'AAAAAAAA'\ntR."
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(NNNtR(I1\n(I1\nt" + OBJECT
# Two memos, bytes, a frame and an array of gigabytes.
LARGE = [b"}r\0\1\0\0.", b"}r\xff\xff\xff\x7f.", b"B\xff\xff\xff\x3f."]
LARGE += [b"\x95" + b"\xff" * 8 + b".", b"cnumpy\nndarray\n((I2000000000\ntS'u1'\ntR."]
# Bytes, of which another call could make twice as many, and so on.
LARGE += [b"}U\1ac_codecs\nencode\n(C\2aaU\3hextRs.", b"(" * 900_000]
# A list, then that list under many names, many times in a list, and copied often.
LIST = b"](" + b"N" * 300_000 + b"eq\1"
NAMES = b"".join(b"U\4%04xh\1" % number for number in range(60_000))
NAMES = b"}(U\1b](" + b"N" * 300_000 + b"U\1xeq\1" + NAMES + b"u."
TIMES = b"}(U\x08val_loss" + LIST + b"U\4loss](" + b"h\1" * 200_000 + b"eu."
COPIES = b"cbuiltins\nlist\nq\0](" + LIST + b"h\0h\1\x85R" * 100_000 + b"e."
# A list in a list, and so on.
NESTED = b"}U\1a" + b"]" * 200_000 + b"a" * 199_999 + b"s."
BAD = {
    "holds a os.system: save H.history alone": SYSTEM,
    "holds a numpy.os.system: ": [b"cnumpy\nos.system\n(S'touch ran'\ntR."],
    "holds a builtins.list: ": [COPIES],
    UNKNOWN: [*LARGE, NAMES, NESTED, SCALAR, ARRAY + b"I0\nS'AAAAAAAA'\ntb."],
    f"{NO_PAIR} val_loss": [TIMES],
}
# It may take 20 seconds for all files and, with NumPy itself, 0.6 gigabytes.
READER = """
import os, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
if sys.platform == "linux":
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (600_000_000, 600_000_000))
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
from pyimagesearch.histories import choose_curves, load_history
for number in range(int(sys.argv[1])):
    try:
        choose_curves(load_history(f"{number}"), "loss", f"{number}")
    except SystemExit as error:
        line = str(error).replace(f" {number} ", " FILE ")
        print(line, type(error.__cause__))
"""


def test_is_refused(tmp_path):
    files = [(told, content) for told in REFUSED for content in REFUSED[told]]
    for start in (b"\x80\4", b"\x93NUMPY{}\n\x80\4"):  # as from np.save, too
        files += [(told, start + code) for told in BAD for code in BAD[told]]
    for number, (_, content) in enumerate(files):
        save(tmp_path / f"{number}", content)
    save(tmp_path / "reader.py", READER)
    process = run(tmp_path / "reader.py", len(files), cwd=tmp_path, PYTHONPATH=ROOT)
    assert (process.returncode, process.stderr) == (0, "")
    assert not (tmp_path / "ran").exists() and "MemoryError" not in process.stdout
    for line, (told, content) in zip(process.stdout.splitlines(), files, strict=True):
        assert told in line and len(line) < 350, repr(content)[:80]
