"""Read a pickle, also a stranger's, and run nothing. Not needed to follow the story.

A pickle is a program for a small stack machine, and one of its instructions calls any
function of any module. The standard library's recipe against that, an Unpickler whose
`find_class` says no, leaves doors open: a few bytes can make it fill the memory (a memo
index of two billion) or run for years (dict keys that take so long to hash). It also
refuses the whole file for one object that nobody wants to see. So the standard library
only splits the program into its instructions here, and a machine of our own pushes and
pops. It imports and calls nothing: it notes down what would have been called.
"""

import io
import pickletools
import re

import numpy as np

MARK = object()  # on the stack, it stands below what an instruction takes
CONSTANTS = {"MARK": MARK, "NEWTRUE": True, "NEWFALSE": False}


class Foreign(dict):
    """What a pickle would make by a call: noted down, not made.

    As a dict it holds what the pickle puts into it by key.

    Attributes
    ----------
    name : str
        The dotted name of what would be called: a class or a function.
    arguments : list
        What it would be called with.
    state : object
        What would become its attributes, or None.
    """

    __slots__ = ("arguments", "name", "state")  # a small file can ask for a million

    def __init__(self, name, arguments=()):
        # Two functions make an empty object of the class that is their first argument.
        if arguments and name.endswith(("._reconstructor", "._reconstruct")):
            name = arguments[0].name
        self.name, self.arguments, self.state = name, arguments, None


def loads(content, start=0):
    """Return the object in a pickle, as far as it can be had without a call.

    Parameters
    ----------
    content : bytes
        Holds a pickle, of any protocol from 0 to 5.
    start : int
        The number of bytes before it.

    Returns
    -------
    thing : object
        Made of dicts, lists, texts, bytes, numbers, True, False and None; and of
        `Foreign` for all else. Tuples and sets are lists, so that nothing but texts is
        ever hashed. Of dict keys, texts are kept, and whole numbers below 2**63 in
        size, as texts; other keys are dropped, with their values.
    end : int
        The number of bytes up to the end of the pickle.

    Raises
    ------
    ValueError
        If there is no whole pickle.
    """
    file = io.BytesIO(content)
    file.seek(start)
    try:
        return _run(file), file.tell()
    # Whatever goes wrong in a stranger's program is the fault of that program.
    except Exception as error:
        raise ValueError("the pickle is cut off or damaged") from error


def _run(file):
    """Return what the program in a file makes; each step is as long as its operands."""
    stack, memo = [], {}
    for instruction, argument, _ in pickletools.genops(file):
        name = instruction.name.removeprefix("EMPTY_").rstrip("1234")
        operands = _operands(stack, instruction.stack_before)
        match name:
            case "PROTO" | "FRAME" | "POP" | "POP_MARK" | "STOP":
                continue
            case "DUP":
                made = operands[0]
                stack.append(made)
            # The memo has texts as its keys: of numbers, many can have the same hash.
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                made = memo[str(argument)] = stack.pop()
            case "MEMOIZE":
                made = memo[str(len(memo))] = operands[0]
            case "GET" | "BINGET" | "LONG_BINGET":
                made = memo[str(argument)]
            case "LIST" | "TUPLE" | "SET" | "FROZENSET":
                made = operands
            case "APPEND" | "APPENDS" | "ADDITEMS":
                made, *values = operands
                if not isinstance(made, Foreign):
                    made += values
            case "DICT":
                made = _filled({}, operands)
            case "SETITEM" | "SETITEMS":
                made = _filled(operands[0], operands[1:])
            case "GLOBAL" | "INST":
                made = Foreign(argument.replace(" ", "."), operands)
            case "STACK_GLOBAL":
                # Cut short: a small program could join two long texts many times.
                made = Foreign("{:.99}.{:.99}".format(*operands))
            case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX":
                made = Foreign(operands[0].name, operands[1])
            case "OBJ":
                made = Foreign(operands[0].name, operands[1:])
            case "BUILD":
                made, made.state = operands
            case "EXT" | "PERSID" | "BINPERSID" | "NEXT_BUFFER" | "READONLY_BUFFER":
                made = Foreign("another file")
            case _:  # a text, bytes, a number, or nothing for NONE
                made = CONSTANTS.get(name, argument)
        stack.append(made)
    return operands[0]


def _operands(stack, before):
    """Pop what an instruction takes, named by `pickletools`; the lowest comes first."""
    operands, below = [], len(before)
    if pickletools.markobject in before:
        below = before.index(pickletools.markobject)
        while (value := stack.pop()) is not MARK:
            operands.append(value)
    operands += [stack.pop() for _ in range(below)]
    return operands[::-1]


def _filled(target, pairs):
    """Return a dict with keys and values added that follow each other in a list."""
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        if type(key) is str or (type(key) is int and abs(key) < 2**63):
            target[str(key)] = value
    return target


def unpacked(value):
    """Return the number that a NumPy scalar is, and the list that an array is.

    Parameters
    ----------
    value : object
        From `loads`.

    Returns
    -------
    object
        An int, float or bool for a scalar of these, or an array without an axis. A list
        for an array of one axis, which is one of anything if it is one of objects. All
        else comes back as it is.
    """
    match value:
        case Foreign(arguments=[Foreign() as dtype, content]):
            shape = []  # numpy.core.multiarray.scalar
        case Foreign(arguments=[content, Foreign() as dtype, shape, _]):
            pass  # numpy.core.numeric._frombuffer: an array in protocol 5
        case Foreign(state=[_, shape, Foreign() as dtype, _, content]):
            pass  # numpy.ndarray
        case _:
            return value
    try:
        code, order, (count,) = dtype.arguments[0], dtype.state[1], shape or [1]
        if isinstance(content, Foreign):  # encode(text, "latin1"), in protocols 0 to 2
            content = "".join(content.arguments[:1])
        # The size comes first: one long text could stand for many numbers.
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
