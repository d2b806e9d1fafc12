"""`loads` reads what `pickle.loads` reads, runs nothing, and ends soon."""

import argparse
import collections
import datetime
import functools
import io
import math
import pickle
import pickletools
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, environment

from pyimagesearch.safe_pickle import Foreign, from_numpy, loads

PROTOCOLS = range(6)
GOOD = {"loss": [0.5, 0.25], "val_loss": [0.4, 0.3]}


def read(content):
    """Return the object in a pickle that is all of the content."""
    thing, end = loads(content)
    assert end == len(content)
    return thing


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reads_what_pickle_reads(protocol):
    shared = [0.1, -2, 1e300, math.inf, 2**31, -(2**70), "é", "", None, True, False]
    history = {"loss": shared, "again": shared, "many": [i / 7 for i in range(2000)]}
    history |= {"dict": {"a": [{}, [], {"b": [[]]}]}, "tuples": ((), (1,), (1, 2))}
    history |= {"long": "a" * 300, "more": (*"four",)}
    content = pickle.dumps(history, protocol)
    assert read(content) == pickle.loads(content) == history
    assert read(pickle.dumps([{7}, frozenset([7]), set()], 4)) == [[7], [7], []]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_keys_of_a_dict_are_strings(protocol):
    keys = {0: "fold", -(2**62): 0, 2**63: 1, 0.5: 2, None: 3, True: 4, (1,): 5}
    history = read(pickle.dumps({"a": 1, **keys}, protocol))
    assert history == {"a": 1, "0": "fold", str(-(2**62)): 0}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_call_would_make_is_noted_down(protocol):
    day = read(pickle.dumps(datetime.timedelta(1), protocol))
    assert (day.name, day.arguments) == ("datetime.timedelta", (1, 0, 0))
    namespace = read(pickle.dumps(argparse.Namespace(lr=0.01), protocol))
    assert (namespace.name, namespace.state) == ("argparse.Namespace", {"lr": 0.01})
    ordered = read(pickle.dumps(collections.OrderedDict(GOOD), protocol))
    assert (ordered.name, dict(ordered)) == ("collections.OrderedDict", GOOD)
    assert read(pickle.dumps(collections.deque([1]), protocol)) == {}
    # What is called is made by a call itself, before protocol 4.
    error = UnicodeDecodeError("utf-8", b"a", 0, 1, "why")
    error.__dict__["note"] = functools.partial(print, 1)
    assert read(pickle.dumps(error, protocol)).name.endswith("UnicodeDecodeError")
    assert read(b"Pa\n.").name == "another file"
    assert read(b"(S'a'\nF1.0\nI5\nI6\nd.") == {"a": 1.0, "5": 6}  # seldom written


def test_pickles_in_a_row():
    first, second = pickle.dumps(GOOD), pickle.dumps([1], 0)
    assert loads(first + second) == (GOOD, len(first))
    assert loads(first + second, len(first)) == ([1], len(first + second))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_is_cut_off(protocol):
    content = pickle.dumps({**GOOD, "array": np.zeros(2)}, protocol)
    for size in range(len(content)):
        with pytest.raises(ValueError, match="cut off or damaged"):
            loads(content[:size])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reads_what_numpy_holds(protocol):
    things = [np.array(GOOD), np.array([GOOD, None])]
    names = ["b1", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
    for kind in (order + name for name in names for order in "<>"):
        array = np.array([1, 0, 100.25], kind)
        things += [array, array[::2], array[:0], array[2], array[2].reshape(())]
    for thing in things:
        content = pickle.dumps(thing, protocol)
        contents = [content]
        if protocol < 4:  # NumPy 1; later protocols also give the length of a name
            contents.append(content.replace(b"numpy._core", b"numpy.core"))
        for found in map(from_numpy, map(read, contents)):
            assert found == thing.tolist() and isinstance(found, type(thing.tolist()))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_leaves_what_is_no_curve_as_it_is(protocol):
    things = [np.zeros((2, 2)), np.zeros((1, 1), object), np.complex64(1), np.array(1j)]
    things += [np.array(["a"]), np.zeros(2, "f4,f4"), np.datetime64("2024"), range(3)]
    for thing in things:
        foreign = read(pickle.dumps(thing, protocol))
        assert isinstance(foreign, Foreign) and from_numpy(foreign) is foreign


class Command:
    def __reduce__(self):
        return print, ("this ran",)


# 60 lists, each of which holds the one before twice: as tuples, they take 2**60 steps
# to hash.
TUPLES = b")q\x00" + b"0h\x00h\x00\x86q\x00" * 60
# The same through the arguments of a call, kept in the memo and fetched from there.
HIDDEN = b"}cnumpy\ndtype\nU\x02f8I1\nI1\n\x87q\x01Rq\x02h\x01"
SAME_HASH = [pickle.dumps(number * (2**61 - 1), 2)[2:-1] for number in range(1, 60_000)]
PLACES = [b"p%d\n" % (number * (2**61 - 1)) for number in range(1, 40_000)]
# A text of 200 kB, and 10,000 times the request for a copy of it as bytes, or 100,000
# times for a name made of two.
TEXT = b"X" + (200_000).to_bytes(4, "little") + b"a" * 200_000 + b"q\x01"
COPIES = b"](c_codecs\nencode\nq\x02" + TEXT + b"00" + b"h\x02h\x01h\x01\x86R" * 10_000
NAMES = TEXT + b"0](" + b"h\x01h\x01\x93" * 100_000
ARRAY = pickletools.optimize(pickle.dumps(np.zeros(20_000), 3))[2:-1] + b"q\x01"
LOSSES = b"}(X\x08\0\0\0val_lossh\x01X\x04\0\0\0loss](" + b"h\x01" * 200_000 + b"eu."
KEYED = b"".join(b"X\x05\0\0\0%05dh\x01" % number for number in range(50_000))
NUMBERS = b"}(" + b"".join(b"X\x05\0\0\0%05dK\0" % i for i in range(30_000)) + b"uq\x01"
DAMAGED, NO_KIND = "cut off or damaged", "no pickle, .npy, JSON or CSV"


def with_loss(*values):
    return pickle.dumps({**GOOD, "loss": [*values]})


# Files, and what is said of them. None may run, take long or fill the memory.
BAD = [
    (b"c_codecs\nencode\n(I5\ntR.", "is an object of _codecs.encode"),
    (b"cnumpy.core.multiarray\nscalar\n(I5\nI5\ntR.", "numpy.core.multiarray.scalar"),
    (b"cos\nsystem\n(S'touch ran'\ntR.", "is an object of os.system"),
    (b"(S'touch ran'\nios\nsystem\n.", "is an object of os.system"),
    (b"cposix\nsystem\n(S'touch ran'\ntR}b.", "is an object of posix.system"),
    (b"(dVloss\ncos\nsystem\n(S'touch ran'\ntRs.", "has loss, but not both"),
    (pickle.dumps(Command()), "is an object of builtins.print"),
    (with_loss(Command()), "an object of builtins.print in loss"),
    (with_loss(np.complex64(1)), "multiarray.scalar in loss"),
    (bytes(range(256)), NO_KIND),
    # Dict keys and a NumPy type that take forever to hash.
    (b"}" + TUPLES + b"K\x00s.", "has nothing"),
    (b"cnumpy\ndtype\n" + TUPLES + b"\x85R.", "is an object of numpy.dtype"),
    (HIDDEN + b"K\x00s.", "is an object of numpy.dtype"),
    (b"}" + b")2" + b"\x862" * 60 + b"K\x00s.", NO_KIND),
    (b"}((lcnumpy\ndtype\n)\x81K\x00u.", NO_KIND),
    # A memo, bytes, a bytearray and a frame of gigabytes.
    (b"]r\xff\xff\xff\x7f.", NO_KIND),
    (b"B\xff\xff\xff\x7f.", NO_KIND),
    (b"\x96" + b"\xff" * 7 + b"\x7f.", NO_KIND),
    (b"\x80\x04\x95" + b"\xff" * 8 + b".", DAMAGED),
    # Gigabytes of copies.
    (COPIES + b"e.", "is a list of 10"),
    (NAMES + b"e.", "no dict of lists"),
    (ARRAY + LOSSES, "has a list in loss"),
    (ARRAY + b"0}(" + KEYED + b"u.", "has 00000, 00001"),
    (NUMBERS + b"0}(" + KEYED + b"u.", "has 00000, 00001"),
    # Many of a kind, or one in the other.
    (b"(" * 400_000 + b".", NO_KIND),
    (b"]" * 400_000 + b".", "no dict of lists"),
    (b"]" * 200_000 + b"a" * 199_999 + b".", "no dict of lists"),
    (b"](" + b"\x97" * 400_000 + b"e.", NO_KIND),
    (b"cos\nsystem\n" * 50_000 + b"N" + b"\x85R" * 50_000 + b".", "os.system"),
    (b"](" + b"".join(b"c.%d\na\n" % i for i in range(90_000)) + b"e.", "no dict of"),
    (b"](cA\nA\nq\0" + b")\x81h\0" * 240_000 + b"e.", "is a list of 2"),
    (b"N." * 400_000, "no dict of lists"),
    (b"[" * 200_000, DAMAGED),
    (b'{"a":' * 200_000, DAMAGED),
    (b"," * 999_999, NO_KIND),
    (b"loss" + b"," * 400_000 + b"\n" + b"," * 400_000, "has loss, but not both"),
    # Dict keys, and places in the memo, that all have one hash.
    (b"}(" + b"N".join(SAME_HASH) + b"Nu.", "has 2305843009213693951, "),
    (b"N" + b"".join(PLACES) + b".", NO_KIND),
    (pickle.dumps({10**5000: 1}), "has nothing"),
    (with_loss(10**400, 10**400), "loss is never finite"),
    # A frozen set, and a set: those with one hash are easily made.
    (b"}((K\x01\x91K\x01u.", "has nothing"),
    (b"\x8f(K\x01\x90.", "no dict of lists"),
    # Attributes of a function, and of the dicts that are made: in a dict, and for
    # slots.
    (b"c.\nStringKeys\nN}U\x06valuesK\0s\x86b.", DAMAGED),
    # Dicts that are called by the name that they have here.
    (b"c.\nStringKeys\n])" + b"2\x86" * 40 + b"K\x01\x86a\x85R.", DAMAGED),
    (b"c.\nStringKeys\n)" + b"2\x86" * 40 + b"K\x01\x86R.", "has nothing"),
    (b"c.\nStringKeys\n]K\x05K\x06\x86a\x85R.", DAMAGED),
    (b"ccopyreg\n_reconstructor\n}}U\x04nameK\5sb\x85R.", DAMAGED),
    (b"c_codecs\nencode\n}U\x01aK\x01sb.", DAMAGED),
    (b"c_codecs\nencode\nN}U\x0c__defaults__Ns\x86b.", DAMAGED),
    (pickle.dumps({**GOOD, "more": [0.5] * 200_000}), "larger than a megabyte"),
]
READER = """
import sys
from pyimagesearch import curves, reading
from pyimagesearch.cli import UserError
for number in range(int(sys.argv[1])):
    try:
        curves.choose_curves(reading.load_history(f"{number}"), "loss", "file")
    except UserError as error:
        print(f"{number} {str(error)!r}", flush=True)
"""


def limit_memory():
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What is told of each bad file, in a process of little memory and a minute."""
    folder = tmp_path_factory.mktemp("bad")
    array = io.BytesIO()
    np.save(array, None)
    header = array.getvalue().partition(b"\n")[0] + b"\n"
    contents = [content for content, _ in BAD]
    contents += [header + content for content, _ in BAD]
    for number, content in enumerate(contents):
        (folder / f"{number}").write_bytes(content)
    process = subprocess.run(
        [sys.executable, "-c", READER, str(len(contents))],
        cwd=folder,
        env=environment(PYTHONPATH=ROOT),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit_memory if sys.platform == "linux" else None,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    assert not (folder / "ran").exists() and "this ran" not in process.stdout
    return dict(line.split(" ", 1) for line in process.stdout.splitlines())


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_bad_file_is_refused(told, number):
    assert BAD[number][1] in told[str(number)]
    assert set(told) == {*map(str, range(2 * len(BAD)))}
