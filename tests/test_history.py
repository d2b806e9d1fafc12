"""The history file: whole at every moment, refused early where it cannot be written."""

import os
import pickle
import shlex
import types

import pytest

from pyimagesearch.cli import UserError
from pyimagesearch.history import SaveHistory

HISTORY = {"loss": [0.5, 0.25], "val_loss": [0.4, 0.3]}
EARLIER = pickle.dumps({"loss": [0.9], "val_loss": [0.8]})


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def after_two_epochs(path):
    """Return the callback of a training that has finished two epochs."""
    saved = SaveHistory(str(path))
    saved.set_model(types.SimpleNamespace())
    saved.set_params({"epochs": 3})
    saved.on_train_begin()
    for epoch in range(2):
        saved.on_epoch_end(epoch, {name: HISTORY[name][epoch] for name in HISTORY})
    return saved


def test_an_earlier_history_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "training.pickle"
    path.write_bytes(EARLIER)
    saved = after_two_epochs(path)
    assert path.read_bytes() == EARLIER
    assert pickle.loads((tmp_path / "training.pickle.part").read_bytes()) == HISTORY
    saved.complete(HISTORY)
    assert pickle.loads(path.read_bytes()) == HISTORY
    assert names(tmp_path) == ["training.pickle"]


def test_the_command_that_draws_what_is_saved_can_be_pasted(tmp_path):
    saved = after_two_epochs(tmp_path / "my training.pickle")
    epochs, command = saved.summary().split("; to draw them: ")
    assert epochs == "2 of 3 epochs saved"
    part = str(tmp_path / "my training.pickle.part")
    assert shlex.split(command)[-2:] == ["--input", part]
    saved.complete(HISTORY)
    assert shlex.split(saved.summary())[-1] == part.removesuffix(".part")


def test_a_history_that_cannot_take_its_place_is_kept(tmp_path):
    saved = after_two_epochs(tmp_path / "training.pickle")
    (tmp_path / "training.pickle").mkdir()
    with pytest.raises(UserError, match="cannot write .*; 2 of 3 epochs saved"):
        saved.complete(HISTORY)
    assert pickle.loads((tmp_path / "training.pickle.part").read_bytes()) == HISTORY


def test_places_where_nothing_can_be_written_are_refused_at_once(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.pickle.part").mkdir()
    for path, reason in {
        "": "cannot write",
        os.devnull: "is not a file",
        tmp_path / "missing" / "training.pickle": "No such file or directory",
        tmp_path / "folder": "is not a file",
        tmp_path / "a.pickle": "a.pickle.part is not a file",
        tmp_path / ("x" * 250): "name too long",
    }.items():
        with pytest.raises(UserError, match=reason):
            SaveHistory(str(path))
    assert names(tmp_path) == ["a.pickle.part", "folder"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_place_without_permission_is_refused(tmp_path):
    (tmp_path / "kept.pickle").write_bytes(b"kept")
    (tmp_path / "kept.pickle").chmod(0o444)
    with pytest.raises(UserError, match="kept.pickle: Permission denied"):
        SaveHistory(str(tmp_path / "kept.pickle"))
    tmp_path.chmod(0o555)
    with pytest.raises(UserError, match="new.pickle: Permission denied"):
        SaveHistory(str(tmp_path / "new.pickle"))
    tmp_path.chmod(0o755)


def test_nothing_is_left_or_changed_by_a_run_that_saved_nothing(tmp_path):
    path = tmp_path / "training.pickle"
    assert SaveHistory(str(path)).summary() == "nothing was saved"
    assert names(tmp_path) == []
    path.write_bytes(EARLIER)
    saved = SaveHistory(str(path))
    assert names(tmp_path) == ["training.pickle"]
    assert path.read_bytes() == EARLIER
    assert saved.summary() == f"nothing was saved; from an earlier run: {path}"


@pytest.mark.parametrize("suffix", ["", ".part", ".part.new"])
def test_what_is_no_history_is_never_replaced(tmp_path, suffix):
    theirs = tmp_path / f"notes{suffix}"
    for content in (
        b"# Notes\n",
        b"loss,val_loss\n1,2\n",
        pickle.dumps(["loss"]),
        pickle.dumps("my loss"),
        pickle.dumps({"weights": [1.0]}),
        pickle.dumps({"loss": 0.3, "weights": [1.0]}),
        EARLIER + b"and more",
        EARLIER[:-5],
    ):
        theirs.write_bytes(content)
        with pytest.raises(UserError, match=f"{theirs} is not a history: name another"):
            SaveHistory(str(tmp_path / "notes"))
        assert theirs.read_bytes() == content and names(tmp_path) == [theirs.name]
    for content in (b"", EARLIER):
        theirs.write_bytes(content)
        SaveHistory(str(tmp_path / "notes"))


def test_a_loss_that_is_not_finite_stops_but_an_unknown_error_does_not(tmp_path):
    saved = after_two_epochs(tmp_path / "training.pickle")
    logs = {"loss": 0.2, "val_loss": 0.2}
    saved.on_epoch_end(2, {**logs, "data_error": float("nan")})
    with pytest.raises(UserError, match="a loss of epoch 4 is not finite: try a lower"):
        saved.on_epoch_end(3, {**logs, "loss": float("inf")})
    part = pickle.loads((tmp_path / "training.pickle.part").read_bytes())
    assert part["loss"] == [0.5, 0.25, 0.2, float("inf")]
