"""Read a pickle from a stranger: plain containers and numbers, and nothing else.

A pickle is a program for a small stack machine, and one of its instructions calls any
function of any module. The usual remedy, an Unpickler whose `find_class` says no, shuts
that door but leaves others open: a few bytes can make it fill the memory (a memo index
of two billion) or run for years (a dict key of tuples that share tuples). This machine
knows only the instructions that a history needs. `pickletools` decodes them.
"""

import pickletools
import struct

# Instructions whose decoded argument is the value itself: numbers, texts (the last three
# are those of Python 2) and bytes.
VALUES = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
VALUES |= {"FLOAT", "BINFLOAT"}
VALUES |= {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
VALUES |= {"STRING", "BINSTRING", "SHORT_BINSTRING"}
VALUES |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NEW = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
# What `struct` calls NumPy's number types.
FORMATS = {"f2": "e", "f4": "f", "f8": "d"}
FORMATS |= {"i1": "b", "i2": "h", "i4": "i", "i8": "q"}
FORMATS |= {"u1": "B", "u2": "H", "u4": "I", "u8": "Q"}
MARK = object()


class ForeignObject(ValueError):
    """The pickle holds, or calls, something that is not a plain container or number."""


class NumPyType:
    """Stands in for `numpy.dtype`: the type of a NumPy scalar."""

    def __init__(self, name, align=False, copy=True):
        if _expect(str, name) not in FORMATS:
            raise ForeignObject(f"NumPy values of the type {name:.80}")
        self.format = "<" + FORMATS[name]

    def set_state(self, version, byte_order, *rest):
        self.format = (">" if byte_order == ">" else "<") + self.format[-1]


def _numpy_scalar(number_type, content):
    """Stands in for NumPy's `scalar`: decode the bytes of one number."""
    number_format = _expect(NumPyType, number_type).format
    # Python 2 wrote bytes as what is read as a text here.
    content = _encode(content) if isinstance(content, str) else content
    return struct.unpack(number_format, _expect(bytes, content))[0]


def _encode(text, encoding="latin1"):
    """Stands in for `_codecs.encode`: protocols 0 to 2 write bytes as Latin-1 text.

    No number has more than 8 bytes. Longer texts are refused, since a small file could
    ask for many copies of a large one.
    """
    if len(_expect(str, text)) > 8:
        raise ForeignObject("more bytes than a number has")
    return text.encode("latin1")


STAND_INS = {
    "numpy.dtype": NumPyType,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
    "_codecs.encode": _encode,
}


def loads(content):
    """Return the object in a pickle of dicts, lists, tuples, texts and numbers.

    Parameters
    ----------
    content : bytes
        The pickle, of any protocol from 0 to 5. It may hold NumPy scalars (float16 to
        float64 and integers), which become Python numbers.

    Returns
    -------
    object
        A fresh object. Dict keys are texts.

    Raises
    ------
    ForeignObject
        If the pickle asks for anything else; the message names it. It was not imported.
    ValueError
        If the pickle is cut off or otherwise malformed.
    """
    try:
        return _run(content)
    except ForeignObject:
        raise
    except Exception as error:
        # Whatever goes wrong in a stranger's program is the fault of that program.
        raise ValueError("not a pickle, or a cut-off or damaged one") from error


def _run(content):
    """Execute the instructions of a pickle."""
    stack, memo = [], {}

    def pop_to_mark():
        items = []
        while (item := stack.pop()) is not MARK:
            items.append(item)
        return items[::-1]

    for instruction, argument, _ in pickletools.genops(content):
        name = instruction.name
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in NEW:
            stack.append(NEW[name]())
        elif name == "MARK":
            stack.append(MARK)
        elif name in TUPLES:
            stack[-TUPLES[name] :] = [tuple(stack[-TUPLES[name] :])]
        elif name == "TUPLE":
            stack.append(tuple(pop_to_mark()))
        elif name == "LIST":
            stack.append(pop_to_mark())
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else pop_to_mark()
            _expect(list, stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS", "DICT"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else pop_to_mark()
            if name == "DICT":
                stack.append({})
            keys = [_expect(str, key) for key in items[::2]]
            _expect(dict, stack[-1]).update(zip(keys, items[1::2], strict=True))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("GLOBAL", "INST"):
            stack.append(_stand_in(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            function, module = stack.pop(), stack.pop()
            stack.append(_stand_in(module, function))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            if function not in STAND_INS.values():
                raise ValueError("a call of what is not a function")
            stack.append(function(*_expect(tuple, arguments)))
        elif name == "BUILD":
            state = _expect(tuple, stack.pop())
            _expect(NumPyType, stack[-1]).set_state(*state)
        elif name == "STOP":
            if len(stack) != 1 or stack[0] is MARK:
                raise ValueError("more or less than one object")
            return stack[0]
        elif name not in ("PROTO", "FRAME"):
            raise ForeignObject(f"the pickle instruction {name}")


def _expect(kind, value):
    """Return the value if it is of that kind, as the instruction at hand requires."""
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value


def _stand_in(module, name):
    """Return what stands in for a function or class that the pickle names."""
    name = f"{_expect(str, module):.80}.{_expect(str, name):.80}"
    if name not in STAND_INS:
        raise ForeignObject(name)
    return STAND_INS[name]
