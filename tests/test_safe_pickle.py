"""Pickles from strangers: what is read equals what `pickle.load` reads, and nothing runs."""

import collections
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, environment, run

from pyimagesearch import safe_pickle
from pyimagesearch.cli import UserError

GOOD = {"loss": [0.5, 0.25], "val_loss": [0.4, 0.3]}
NUMPY_TYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


@pytest.mark.parametrize("protocol", range(6))
def test_reads_what_pickle_reads(protocol):
    shared = [0.1, -2, 1e300, math.inf]
    history = {"loss": shared, "again": shared, "many": [i / 7 for i in range(2000)]}
    history |= {
        "large": [2**31, -(2**60), 255],
        "nested": [{"a": [None, True]}],
    }
    content = pickle.dumps(history, protocol)
    assert safe_pickle.loads(content) == pickle.loads(content)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", NUMPY_TYPES)
def test_reads_numpy_scalars(name, order, protocol):
    scalar = np.array([100.25], dtype=order + name)[0]
    content = pickle.dumps({"loss": [scalar, scalar]}, protocol)
    assert safe_pickle.loads(content) == {"loss": [scalar.item()] * 2}


@pytest.mark.parametrize("padding", range(25))
def test_reads_many_numpy_scalars(padding):
    # So many that the rewritten pickle gets a second frame, after any instruction.
    history = {"-" * padding: [*np.linspace(0, 1, 5_000)]}
    assert safe_pickle.loads(pickle.dumps(history, 4)) == history


def test_reads_scalars_of_old_and_new_numpy():
    old = pickle.dumps([np.float32(0.1)], 2).replace(b"numpy._core", b"numpy.core")
    for content in (old, old.replace(b"numpy.core", b"numpy._core")):
        assert safe_pickle.loads(content) == [np.float32(0.1).item()]


def test_reads_big_endian_bytes():
    # dtype('f8') with the byte order that its state names, as NumPy writes it.
    content = (
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR"
        b"(I3\nS'>'\nNNNI-1\nI-1\nI0\ntbC\x08?\xe0\0\0\0\0\0\0tR."
    )
    assert safe_pickle.loads(content) == 0.5


class Command:
    def __reduce__(self):
        return print, ("this ran",)


def refused(content, *words):
    return content, words


# 60 tuples, each of which holds the one before twice: a hash of it takes 2**60 steps.
TUPLES = b")q\x00" + b"h\x00h\x00\x86q\x00" * 60
# The same through the arguments of a call, kept in the memo and fetched from there.
HIDDEN = b"}cnumpy\ndtype\nU\x02f8I1\nI1\n\x87q\x01Rq\x02h\x01"
SAME_HASH = [pickle.dumps(number * (2**61 - 1), 2)[2:-1] for number in range(1, 60_000)]
# A text of 200 kB, and 10,000 times the request for a copy of it as bytes.
TEXT = b"X" + (200_000).to_bytes(4, "little") + b"a" * 200_000 + b"q\x01"
COPIES = b"](c_codecs\nencode\nq\x02" + TEXT + b"00" + b"h\x02h\x01h\x01\x86R" * 10_000


BAD = [
    refused(b"", "exhausted before seeing STOP"),
    refused(pickle.dumps(GOOD)[:-9], "not enough data"),
    refused(bytes(range(256)), "unknown"),
    refused(b"c_codecs\nencode\n(I5\ntR.", "missing 1 required"),
    refused(b"cnumpy.core.multiarray\nscalar\n(I5\nI5\ntR.", "has no attribute"),
    refused(b"cos\nsystem\n(S'touch ran'\ntR.", "os.system"),
    refused(b"(S'touch ran'\nios\nsystem\n.", "os.system"),
    refused(pickle.dumps(Command()), "builtins.print"),
    refused(pickle.dumps(collections.OrderedDict(GOOD)), "collections.OrderedDict"),
    refused(pickle.dumps(np.zeros(3)), "no history needs TUPLE1"),
    refused(pickle.dumps({"loss": [np.complex64(1)]}), "c8"),
    # Instructions that make Python's own Unpickler hang, or fill the memory: a dict
    # key and a NumPy type that take forever to hash; a memo, bytes, a bytearray and
    # a frame of gigabytes; gigabytes of copies.
    refused(b"}" + TUPLES + b"K\x00s.", "no history needs EMPTY_TUPLE"),
    refused(b"cnumpy\ndtype\n" + TUPLES + b"\x85R.", "needs EMPTY_TUPLE"),
    refused(HIDDEN + b"K\x00s.", "no history needs TUPLE3"),
    refused(b"}" + b")2" + b"\x862" * 60 + b"K\x00s.", "no history needs EMPTY_TUPLE"),
    refused(b"}((lcnumpy\ndtype\n)\x81K\x00u.", "no history needs EMPTY_TUPLE"),
    refused(b"]r\xff\xff\xff\x7f.", "is not a mapping"),
    refused(b"B\xff\xff\xff\x7f.", "only 1 remain"),
    refused(b"\x96" + b"\xff" * 7 + b"\x7f.", "only 1 remain"),
    refused(b"\x80\x04\x95" + b"\xff" * 8 + b".", "underflow"),
    refused(COPIES + b"e.", "is not a mapping"),
    refused(b"(" * 900_000 + b".", "unexpected MARK"),
    refused(b"]" * 900_000 + b".", "is not a mapping"),
    refused(b"]" * 400_000 + b"a" * 399_999 + b".", "is not a mapping"),
    refused(
        pickle.dumps({**GOOD, "more": [0.5] * 200_000}), "megabyte", "not enough data"
    ),
    refused(pickle.dumps([1, 2]), "is not a mapping"),
    refused(pickle.dumps({1: [0.5]}), "no numbers of loss, but has 1"),
    refused(pickle.dumps({}), "no numbers of loss", "nothing"),
    refused(pickle.dumps({"loss": [1.0]}), "no numbers of val_loss"),
    refused(pickle.dumps({"val_loss": [1.0]}), "no numbers of loss"),
    refused(pickle.dumps({**GOOD, "loss": [1.0]}), "1 epochs of loss", "2 of val"),
    refused(pickle.dumps({**GOOD, "loss": []}), "no numbers of loss"),
    refused(pickle.dumps({**GOOD, "loss": (0.5, 0.4)}), "no history needs TUPLE2"),
    refused(pickle.dumps({**GOOD, "loss": 0.5}), "no numbers of loss"),
    refused(pickle.dumps({**GOOD, "loss": [0.5, "0.4"]}), "no numbers of loss"),
    refused(pickle.dumps({**GOOD, "loss": [[0.5], 0.4]}), "no numbers of loss"),
    refused(pickle.dumps({**GOOD, "loss": [math.nan] * 2}), "never finite"),
    refused(pickle.dumps({**GOOD, "loss": [math.inf] * 2}), "never finite"),
    refused(pickle.dumps({**GOOD, "loss": [10**400] * 2}), "no history needs LONG"),
    refused(pickle.dumps({10**5000: 1}), "no history needs LONG"),
    # 60,000 keys with one hash.
    refused(b"}(" + b"N".join(SAME_HASH) + b"Nu.", "no history needs LONG"),
    # A frozen set, and a set: those with one hash are easily made.
    refused(b"}((K\x01\x91K\x01u.", "no history needs FROZENSET"),
    refused(b"\x8f(K\x01\x90.", "no history needs EMPTY_SET"),
    # BUILD, on a function: with a dict of attributes, and with one for slots.
    refused(b"c_codecs\nencode\n}U\x01aK\x01sb.", "is not a mapping"),
    refused(b"c_codecs\nencode\nN}U\x0c__defaults__Ns\x86b.", "is not a mapping"),
]
# Reads file after file, as plot_shift.py does, in a process of little memory.
READER = """
import sys
from pyimagesearch.cli import UserError
from pyimagesearch.safe_pickle import load_history
for number in range(int(sys.argv[1])):
    try:
        load_history(f"{number}.pickle")
    except UserError as error:
        print(f"{number} {str(error)!r}", flush=True)
"""


def limit_memory():
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))


limit = limit_memory if sys.platform == "linux" else None


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What is told of each bad file, within a minute for all of them."""
    folder = tmp_path_factory.mktemp("bad")
    for number, (content, _) in enumerate(BAD):
        (folder / f"{number}.pickle").write_bytes(content)
    process = subprocess.run(
        [sys.executable, "-c", READER, str(len(BAD))],
        cwd=folder,
        env=environment(PYTHONPATH=ROOT),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    assert not (folder / "ran").exists()
    return dict(line.split(" ", 1) for line in process.stdout.splitlines())


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_bad_file_is_refused(told, number):
    for word in BAD[number][1]:
        assert word in told[str(number)]


@pytest.mark.parametrize("number", [0, 5, 7])
def test_a_bad_file_ends_the_script_in_one_line(number, tmp_path):
    content, words = BAD[number]
    (tmp_path / "h.pickle").write_bytes(content)
    process = run("plot_shift.py", "-i", "h.pickle", cwd=tmp_path)
    assert_one_line_error(process, "h.pickle", *words)
    assert [file.name for file in tmp_path.iterdir()] == ["h.pickle"], "nothing ran"


def test_a_name_from_a_pickle_is_printable_and_short_on_the_terminal(tmp_path):
    name = b"\x1b[1m\n" + b"a" * 2000
    content = b"\x8c\x02os" + b"X" + len(name).to_bytes(4, "little") + name + b"\x93."
    (tmp_path / "h.pickle").write_bytes(content)
    process = run("plot_shift.py", "-i", "h.pickle", cwd=tmp_path)
    assert_one_line_error(process, "os.?[1m?aaa")
    assert len(process.stderr) < 1100


def test_some_missing_numbers_are_warned_of(tmp_path, capsys):
    history = {"loss": [0.5, float("inf"), 2], "val_loss": [0.4, 0.3, float("nan")]}
    (tmp_path / "h.pickle").write_bytes(pickle.dumps(history))
    curves = safe_pickle.load_history(tmp_path / "h.pickle")
    assert str(curves) == "{'loss': [0.5, nan, 2.0], 'val_loss': [0.4, 0.3, nan]}"
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2
    assert "val_loss is not finite in 1 of 3 epochs" in warnings[1]


def test_validation_after_some_epochs_only_is_explained(tmp_path):
    history = {"loss": [0.5, 0.4, 0.3], "val_loss": [0.4]}
    (tmp_path / "h.pickle").write_bytes(pickle.dumps(history))
    with pytest.raises(UserError, match="1 of val_loss.*validation_freq=1"):
        safe_pickle.load_history(tmp_path / "h.pickle")


def test_what_reasons_adds_is_read_with_the_loss_and_checked_like_it(tmp_path, capsys):
    path = tmp_path / "h.pickle"

    def load(metric="loss", **reasons):
        history = {**GOOD, "accuracy": [0.5, 0.6], "val_accuracy": [0.5, 0.6]}
        path.write_bytes(pickle.dumps({**history, **reasons}))
        return safe_pickle.load_history(path, metric)

    ends, nan = {"loss_at_end": [0.3, 0.2]}, float("nan")
    both = {**ends, "val_loss_regularized": [0.4, nan]}
    assert list(load(**both)) == ["loss", "val_loss", *both]
    assert "val_loss_regularized is not finite in 1 of 2" in capsys.readouterr().err
    assert list(load()) == ["loss", "val_loss"]
    assert list(load("accuracy", **both)) == ["accuracy", "val_accuracy"]
    assert capsys.readouterr().err == ""
    # Alone, it is no reason to refuse two good curves.
    assert list(load(**ends)) == ["loss", "val_loss"]
    assert "warning: loss_at_end is not drawn" in capsys.readouterr().err
    for bad, reason in (
        (
            {**ends, "val_loss_regularized": [0.4]},
            "2 epochs of loss, but 1 of val_loss_r",
        ),
        ({**both, "loss_at_end": [nan, nan]}, "loss_at_end is never finite"),
        ({**both, "loss_at_end": 0.3}, "no numbers of loss_at_end"),
        ({**both, "loss_at_end": [0.3, "0.2"]}, "no numbers of loss_at_end"),
    ):
        with pytest.raises(UserError, match=reason):
            load(**bad)
