"""Read an untrusted pickle, and run nothing. Not needed for the story.

A pickle is a program for a small stack machine, and one of its instructions calls any
function of any module. The standard library's recipe against that is an Unpickler with
a `find_class` of one's own. Here it finds nothing, but hands out stand-ins that note
down what would have been called.

The recipe leaves two doors open. A pickle numbers what it needs again, and for a number
of two billion the Unpickler makes a table of gigabytes. And what is put into a dict or
a set is hashed, which takes years for tuples in tuples. So `loads` goes through the
program first: it refuses such numbers, and replaces the instructions that make dicts
and sets.
"""

import functools
import io
import pickle
import pickletools
import re

import numpy as np

# By the names of instructions, what the program has instead.
INSTEAD = {
    "DICT": b"i.\nStringKeys\n",  # INST: call what `find_class` has for "." and this
    "EMPTY_DICT": b"(i.\nStringKeys\n",
    "EMPTY_SET": b"]",  # make an empty list
    "ADDITEMS": b"e",  # append to it
    "FROZENSET": b"l",  # make a list
    "FRAME": b"",  # how many bytes follow: they are others now
}


class StringKeys(dict):
    """A dict with strings as keys. Integers become strings; other keys are dropped."""

    def __init__(self, *items):  # keys and values in turn, as DICT has them
        for key, value in zip(items[::2], items[1::2], strict=True):
            self[key] = value

    def __setitem__(self, key, value):
        if type(key) is str or (type(key) is int and abs(key) < 2**63):
            super().__setitem__(str(key), value)

    def __setstate__(self, state):
        """Take no attributes."""


class Foreign(StringKeys):
    """What a pickle would make by a call: noted down, not made.

    As a dict it holds what the pickle puts into it by key. Other items are dropped. The
    name is the dotted one of the class or function that would be called, with these
    arguments; the state would become its attributes.
    """

    name, arguments, state = "another file", (), None  # for `persistent_load`

    def __init__(self, *arguments):
        self.arguments = arguments
        # copyreg's and NumPy's functions that make an empty object of a class.
        if arguments and self.name.endswith(("._reconstructor", "._reconstruct")):
            self.name = arguments[0].name

    def __setstate__(self, state):
        self.state = state

    def append(self, *items):
        """Ignore items; and calls."""

    extend = __call__ = append


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        return StringKeys if module == "." else _stand_in(f"{module:.99}.{name:.99}")

    def persistent_load(self, key):
        return Foreign()


@functools.cache
def _stand_in(name):
    """Return the class that stands in for the class or function of a dotted name."""
    return type("Foreign", (Foreign,), {"name": name})


def loads(content, start=0):
    """Return the object in a pickle, and where in the content the pickle ends.

    `content` has a pickle of any protocol from 0 to 5 after `start` bytes. The object
    is made of dicts (`StringKeys`), lists, tuples, strings, bytes, numbers, True, False
    and None; and of `Foreign` for all else. Sets are lists. ValueError is raised if
    there is no whole pickle.
    """
    file, program = io.BytesIO(content), bytearray()
    file.seek(start)
    try:
        for instruction, argument, begin in pickletools.genops(file):
            name = instruction.name
            if name.endswith("PUT") and int(argument) > len(content):
                raise ValueError(f"a memo of {argument} places")
            program += INSTEAD.get(name, content[begin : file.tell()])
        thing = _Unpickler(io.BytesIO(program), encoding="latin1").load()
    # Whatever goes wrong in an untrusted program is the fault of that program.
    except Exception as error:
        raise ValueError("the pickle is cut off or damaged") from error
    return thing, file.tell()


def from_numpy(value):
    """Return the number that a NumPy scalar is, and the list that an array is.

    `value` is from `loads`. A scalar, or an array without an axis, becomes an int,
    float or bool. An array of one axis becomes a list of these, or of anything if it is
    one of objects. All else comes back as it is.
    """
    match value:
        # numpy.core.multiarray.scalar
        case Foreign(arguments=[Foreign() as dtype, content]):
            shape = []
        # numpy.core.numeric._frombuffer: an array in protocol 5
        case Foreign(arguments=[content, Foreign() as dtype, shape, _]):
            pass
        # numpy.ndarray
        case Foreign(state=[_, shape, Foreign() as dtype, _, content]):
            pass
        case _:
            return value
    try:
        code, order, (count,) = dtype.arguments[0], dtype.state[1], shape or [1]
        if isinstance(content, Foreign):  # encode(text, "latin1"), in protocols 0 to 2
            content = "".join(content.arguments[:1])
        # The size comes first: one long string could stand for many numbers.
        numbers = re.fullmatch("b1|f[248]|[iu][1248]", code)
        if numbers and len(content) == int(code[1]) * count:
            content = content.encode("latin1") if isinstance(content, str) else content
            order = ">" if order == ">" else "<"
            content = np.frombuffer(content, order + code).tolist()
        if isinstance(content, list):
            return content if shape else content[0]
    except (AttributeError, LookupError, TypeError, ValueError):
        pass  # not NumPy's
    return value
