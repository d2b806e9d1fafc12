"""The filter of TensorFlow's chatter, with stand-ins that start up as TensorFlow does."""

import os
import subprocess
import sys

from conftest import ROOT, environment

KERAS = """
import os
os.write(2, b"I0000 port.cc:153] oneDNN custom operations are on. You may see\\n")
os.write(2, b"W0000 something.cc:1] this machine is on fire\\n")
class utils:
    disable_interactive_logging = staticmethod(lambda: print("no bars"))
"""
TENSORFLOW = """
import os, sys
print("a warning of Python's own", file=sys.stderr)
class config:
    def list_logical_devices():
        os.write(2, b"E0000 cuda_platform.cc:52] failed call to cuInit: INTERNAL\\n")
"""


def test_drops_chatter_and_passes_warnings_on(tmp_path):
    (tmp_path / "keras.py").write_text(KERAS)
    (tmp_path / "tensorflow.py").write_text(TENSORFLOW)
    process = subprocess.run(
        [sys.executable, "-c", "from pyimagesearch.backend import keras; keras.utils"],
        env=environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}"),
        capture_output=True,
        text=True,
        check=True,
    )
    warnings = ["W0000 something.cc:1] this machine is on fire"]
    assert process.stderr.splitlines() == [*warnings, "a warning of Python's own"]
    assert process.stdout == "no bars\n"
