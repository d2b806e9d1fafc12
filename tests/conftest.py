"""What the tests share: a small data set in Keras's cache, and runs of the scripts."""

import atexit
import gzip
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Keras reads KERAS_HOME once, when it is imported. In the tests' own process it is a
# folder of theirs, and never the cache of whoever runs them.
USERS_KERAS_HOME = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
REAL_DATA = USERS_KERAS_HOME / "datasets" / "fashion-mnist"
OWN_KERAS_HOME = Path(tempfile.mkdtemp(prefix="keras-home-"))
os.environ["KERAS_HOME"] = str(OWN_KERAS_HOME)
atexit.register(shutil.rmtree, OWN_KERAS_HOME)

# A shell makes the processes in its background ignore Ctrl-C, and their children ignore
# it as well. But the scripts that the tests interrupt must listen to it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A proxy that refuses every connection takes the network away, wherever the tests run.
NO_NETWORK = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}


def environment(**variables):
    """Return the environment of a script, with these variables: no network, no screen."""
    ours = {**os.environ, **NO_NETWORK, "MPLBACKEND": "agg", **variables}
    for name in ("DISPLAY", "no_proxy", "PYTHONUNBUFFERED"):
        ours.pop(name, None)
    return {name: str(value) for name, value in ours.items()}


def command(script, *arguments):
    """Return the words of the command that runs a script."""
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def run(script, *arguments, cwd, **variables):
    """Run a script to its end, redirected, from a folder that is not the project's."""
    return subprocess.run(
        command(script, *arguments),
        check=False,
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def assert_one_line_error(process, words):
    """Check that a script failed, and said so in one line that has these words."""
    assert process.returncode not in (0, None)
    assert len(process.stderr.splitlines()) == 1, process.stderr
    assert words in process.stderr


def write_idx(path, array):
    """Write an array of uint8 in the IDX format of Fashion MNIST."""
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    header = bytes([0, 0, 8, array.ndim]) + shape
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture(scope="session")
def images():
    """Make 320 training and 100 test images: class k has a bright row 2k in noise."""
    random = np.random.default_rng(1)

    def make(count):
        labels = np.arange(count, dtype="uint8") % 10
        noisy = random.integers(0, 128, (count, 28, 28), dtype="uint8")
        noisy[np.arange(count), 2 * labels] += 127
        return noisy, labels

    return make(320), make(100)


@pytest.fixture(scope="session")
def keras_home(images, tmp_path_factory):
    """Make a KERAS_HOME whose Fashion MNIST is `images`."""
    return write_data_set(tmp_path_factory.mktemp("keras"), *images)


def write_data_set(home, training, validation):
    """Put images and labels where Keras looks for Fashion MNIST below its home."""
    folder = home / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True, exist_ok=True)
    for part, (pictures, labels) in (("train", training), ("t10k", validation)):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", pictures)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return home
