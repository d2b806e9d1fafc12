"""Read a training history as people save it. Not needed for the story.

The content tells what kind of file it is, not the name. `curves.py` looks at what is in
it.
"""

import contextlib
import csv
import json
import os
import re

from pyimagesearch.cli import UserError, command, warn
from pyimagesearch.safe_pickle import Foreign, from_numpy, loads

# What `--help` says of the flag.
INPUT = "history to draw: a pickle, .npy, JSON or CSV file"

LARGEST = 1_000_000  # bytes: room for 25,000 epochs of four metrics
# How files begin that are refused.
REFUSED = {
    rb"\s*$": "is empty: save the history again",
    rb"\x1f\x8b|PK\x03\x04|BZh|\xfd7zXZ": "is compressed: unpack it first",
    rb"(?i)\s*<(!doctype|html)": "is a web page: download the file itself",
    rb"version https://git-lfs": "is a Git LFS pointer: download the file itself",
    rb"\x93NUMPY[^\n]*'descr': (?!'\|O')": "is an array of numbers: save H.history",
}
# How the formats begin. A table's first line has a separator, and a metric's name.
JSON = rb"\s*[{[]\s*[]}[{\"\d-]"
PICKLE = rb"\x93NUMPY|\x80|\([dl]|[]}]q|c[\w.]+\n"
TABLE = rb"\s*(?=[^\0\n]*[,;\t])[^\0\n{[]*(loss|val_|test_)"


def load_history(path):
    """Read a training history, also from a file that is not to be trusted.

    The file holds a dict by the names of metrics: as a pickle, also by `np.save`; as
    JSON; or as a table with one row per epoch, such as `CSVLogger` writes. Return it.
    Of several pickles in a row, the first is read; a line on stderr tells of the
    others. Raise UserError if the file cannot be read, or holds something else.
    """
    try:
        with open(path, "rb") as file:
            # UTF-8's byte-order mark may come first.
            content = file.read(LARGEST + 4).removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError as error:
        advice = f"train, with {command('fashion_mnist.py', '--history', path)}"
        if os.path.exists(f"{path}.part"):  # what an unfinished run has left
            advice = f"try {command('plot_shift.py', '--input', f'{path}.part')}"
        reason = f"{path} does not exist: name another --input, or {advice}"
        raise UserError(reason) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > LARGEST:
        raise UserError(f"{path} is larger than a megabyte: save H.history alone")
    for beginning, reason in REFUSED.items():
        if re.match(beginning, content):
            raise UserError(f"{path} {reason}")
    try:
        found, end = _parse(content)
    except (ValueError, RecursionError, csv.Error) as error:
        reason = "no pickle, .npy, JSON or CSV of a history"
        if re.match(b"|".join((JSON, TABLE, PICKLE)), content):
            reason = "cut off or damaged: save it again"
        raise UserError(f"{path} is {reason}") from error
    if end < len(content):
        more = _count_pickles(content, end) or "bytes"
        warn(f"{path}: the first pickle is drawn, not the {more} after it")
    match found:
        case Foreign(name=name) if name.endswith(".History"):
            reason = "a History object: pickle H.history instead of H"
        case Foreign(name=name) if not found:
            reason = f"an object of {name:.80}: save a dict of lists of numbers instead"
        case dict():
            return found
        case [dict(), *_]:
            reason = f"a list of {len(found)} dicts: save one dict of lists of numbers"
        case _:
            reason = "no dict of lists of numbers: save H.history"
    raise UserError(f"{path} is {reason}")


def _parse(content):
    """Return what a file holds, and where that ends."""
    if re.match(JSON, content):
        return json.loads(content), len(content)
    if re.match(TABLE, content) and not re.match(PICKLE, content):
        return _read_table(content.decode("utf-8", "replace")), len(content)
    # NumPy's header is a line.
    start = content.find(b"\n") + 1 if content.startswith(b"\x93NUMPY") else 0
    found, end = loads(content, start)
    return from_numpy(found), end


def _count_pickles(content, end):
    """Return how many pickles follow each other from there on."""
    count = 0
    with contextlib.suppress(ValueError):
        while end < len(content):
            _, end = loads(content, end)
            count += 1
    return count


def _read_table(text):
    """Return the columns of a table by their names, as numbers where they are."""
    first, *lines = filter(str.strip, text.splitlines())
    separator = max(",;\t", key=first.count)
    names, *rows = csv.reader(
        [first, *lines], delimiter=separator, skipinitialspace=True
    )
    columns = zip(names, zip(*rows, strict=True), strict=True)
    # pandas leaves the column of row numbers without a name.
    return {name: [*map(_read_cell, cells)] for name, cells in columns if name}


def _read_cell(cell):
    """Return the number in a cell, NaN for an empty one, or else its text."""
    try:
        return float("nan" if cell in ("", "NA") else cell)
    except ValueError:
        return cell
