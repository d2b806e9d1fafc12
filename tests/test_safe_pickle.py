"""Pickles from strangers: what is read equals what `pickle.load` reads, and nothing runs."""

import collections
import math
import pickle
import sys

import numpy as np
import pytest
from conftest import assert_one_line_error, run

from pyimagesearch import safe_pickle

GOOD = {"loss": [0.5, 0.25], "val_loss": [0.4, 0.3]}
NUMPY_TYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


@pytest.mark.parametrize("protocol", range(6))
def test_reads_what_pickle_reads(protocol):
    shared = [0.1, -2, 1e300, math.inf]
    history = {"loss": shared, "again": shared, "many": [i / 7 for i in range(2000)]}
    history |= {
        "large": [2**31, -(2**70), 255],
        "nested": ({"a": [None, True, b"\xff"]},),
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
    return pytest.param(content, words, id=" ".join(map(str, words))[:30])


# 60 tuples, each of which holds the one before twice: a hash of it takes 2**60 steps.
TUPLES = b")q\x00" + b"h\x00h\x00\x86q\x00" * 60
# A text of 200 kB, and 10,000 times the request for a copy of it as bytes.
TEXT = b"X" + (200_000).to_bytes(4, "little") + b"a" * 200_000 + b"q\x01"
COPIES = b"](c_codecs\nencode\nq\x02" + TEXT + b"\x85q\x03" + b"h\x02h\x03R" * 10_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        refused(b"", "empty"),
        refused(pickle.dumps(GOOD)[:-9], "cut-off"),
        refused(bytes(range(256)), "not a pickle"),
        refused(b"c_codecs\nencode\n(I5\ntR.", "not a pickle"),
        refused(b"cnumpy.core.multiarray\nscalar\n(I5\nI5\ntR.", "not a pickle"),
        refused(b"cos\nsystem\n(S'touch ran'\ntR.", "os.system"),
        refused(b"(S'touch ran'\nios\nsystem\n.", "os.system"),
        refused(pickle.dumps(Command()), "builtins.print"),
        refused(pickle.dumps(collections.OrderedDict(GOOD)), "collections.OrderedDict"),
        refused(pickle.dumps(np.zeros(3)), "_reconstruct"),
        refused(pickle.dumps({"loss": [np.complex64(1)]}), "c8"),
        refused(b"\x8c\x02a\n\x8c\x03\x1b[1\x93.", "a?.?[1"),
        # Instructions that make Python's own Unpickler hang, or fill the memory: a dict
        # key and a NumPy type that take forever to hash; a memo, bytes, a bytearray and
        # a frame of gigabytes; gigabytes of copies.
        refused(b"}" + TUPLES + b"K\x00s.", "cut-off or damaged"),
        refused(b"cnumpy\ndtype\n" + TUPLES + b"\x85R.", "cut-off or damaged"),
        refused(b"]r\xff\xff\xff\x7f.", "holds a list"),
        refused(b"B\xff\xff\xff\x7f.", "cut-off"),
        refused(b"\x96" + b"\xff" * 7 + b"\x7f.", "cut-off"),
        refused(b"\x80\x04\x95" + b"\xff" * 8 + b".", "cut-off"),
        refused(COPIES + b"e.", "more bytes than a number has"),
        refused(b"(" * 900_000 + b".", "cut-off"),
        refused(b"]" * 900_000 + b".", "cut-off"),
        refused(b"]" * 400_000 + b"a" * 399_999 + b".", "holds a list"),
        refused(b"0" * 1_000_001, "too large"),
        refused(pickle.dumps([1, 2]), "holds a list"),
        refused(pickle.dumps({1: [0.5]}), "cut-off or damaged"),
        refused(pickle.dumps({}), "no loss", "none"),
        refused(pickle.dumps({"loss": [1.0]}), "no val_loss"),
        refused(pickle.dumps({"val_loss": [1.0]}), "no loss"),
        refused(pickle.dumps({**GOOD, "loss": [1.0]}), "1 epochs of loss", "2 of val"),
        refused(pickle.dumps({**GOOD, "loss": []}), "loss is empty"),
        refused(pickle.dumps({**GOOD, "loss": 0.5}), "is a float, not a list"),
        refused(pickle.dumps({**GOOD, "loss": [0.5, "0.4"]}), "epoch 1 is a str"),
        refused(pickle.dumps({**GOOD, "loss": [[0.5], 0.4]}), "epoch 0 is a list"),
        refused(pickle.dumps({**GOOD, "loss": [math.nan] * 2}), "no epoch", "finite"),
        refused(pickle.dumps({**GOOD, "loss": [math.inf] * 2}), "no epoch", "finite"),
        refused(pickle.dumps({**GOOD, "loss": [10**400] * 2}), "no epoch", "finite"),
    ],
)
def test_bad_file_ends_in_one_line(content, words, tmp_path):
    (tmp_path / "h.pickle").write_bytes(content)
    process = run(
        "plot_shift.py", "-i", "h.pickle", cwd=tmp_path, preexec_fn=limit, timeout=60
    )
    assert_one_line_error(process, "h.pickle", *words)
    assert len(process.stderr) < 1100
    assert [file.name for file in tmp_path.iterdir()] == ["h.pickle"], "nothing ran"


def limit_memory():
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))


limit = limit_memory if sys.platform == "linux" else None
