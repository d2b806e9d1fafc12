"""The filter of TensorFlow's chatter, with stand-ins that start up as TensorFlow does."""

import os
import subprocess
import sys

from conftest import ROOT, environment

KERAS = """
import os
os.write(2, b"I0000 port.cc:153] oneDNN custom operations are on. You may see\\n")
os.write(2, b"W0000 something.cc:1] this machine is on fire\\n")
class config:
    set_image_data_format = staticmethod(lambda name: print(name))
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
DIES = """
import os
os.write(2, b"compiled to use AVX instructions, but these aren't available\\n")
os.abort()
"""


def start(folder, tensorflow):
    (folder / "keras.py").write_text(KERAS)
    (folder / "tensorflow.py").write_text(tensorflow)
    return subprocess.run(
        [sys.executable, "-c", "import pyimagesearch.backend"],
        env=environment(PYTHONPATH=f"{folder}{os.pathsep}{ROOT}"),
        capture_output=True,
        text=True,
        check=False,
    )


def test_drops_chatter_and_passes_warnings_on(tmp_path):
    process = start(tmp_path, TENSORFLOW)
    warnings = ["W0000 something.cc:1] this machine is on fire"]
    assert process.stderr.splitlines() == [*warnings, "a warning of Python's own"]
    assert process.stdout == "channels_last\nno bars\n"
    assert process.returncode == 0


def test_passes_on_what_tensorflow_says_when_it_dies(tmp_path):
    process = start(tmp_path, DIES)
    assert process.returncode != 0
    assert "AVX instructions, but these aren't available" in process.stderr
    assert "oneDNN" not in process.stderr
