"""The history file: whole at every moment, refused early where it cannot be written."""

import os
import pickle

import pytest

from pyimagesearch.cli import UserError
from pyimagesearch.history import HistoryFile, load_history

HISTORY = {"loss": [0.5, 0.25], "val_loss": [0.4, 0.3]}


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_an_earlier_history_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "training.pickle"
    path.write_bytes(b"an earlier run")
    file = HistoryFile(path)
    file.save(HISTORY)
    assert path.read_bytes() == b"an earlier run"
    assert pickle.loads((tmp_path / "training.pickle.part").read_bytes()) == HISTORY
    file.complete()
    assert pickle.loads(path.read_bytes()) == HISTORY
    assert names(tmp_path) == ["training.pickle"]


def test_a_file_that_cannot_be_written_loses_nothing(tmp_path, monkeypatch):
    file = HistoryFile(tmp_path / "training.pickle")
    file.save(HISTORY)

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError, match="No space left.*2 epochs are saved"):
        file.save({name: [*values, 0.2] for name, values in HISTORY.items()})
    assert pickle.loads((tmp_path / "training.pickle.part").read_bytes()) == HISTORY
    assert names(tmp_path) == ["training.pickle.part"]


def test_a_history_that_cannot_take_its_place_is_kept(tmp_path):
    file = HistoryFile(tmp_path / "training.pickle")
    file.save(HISTORY)
    (tmp_path / "training.pickle").mkdir()
    with pytest.raises(UserError, match="cannot write .*; 2 epochs are saved"):
        file.complete()
    assert pickle.loads((tmp_path / "training.pickle.part").read_bytes()) == HISTORY


def test_places_where_nothing_can_be_written_are_refused_at_once(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.pickle.part").mkdir()
    for path, reason in {
        "": "is empty",
        os.devnull: "is not a file",
        tmp_path / "missing" / "training.pickle": "there is no folder",
        tmp_path / "folder": "is not a file",
        tmp_path / "a.pickle": "a.pickle.part is not a file",
        tmp_path / ("x" * 300): "name too long",
    }.items():
        with pytest.raises(UserError, match=reason):
            HistoryFile(path)
    assert names(tmp_path) == ["a.pickle.part", "folder"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_place_without_permission_is_refused(tmp_path):
    (tmp_path / "kept.pickle").write_bytes(b"kept")
    (tmp_path / "kept.pickle").chmod(0o444)
    with pytest.raises(UserError, match="write-protected"):
        HistoryFile(tmp_path / "kept.pickle")
    tmp_path.chmod(0o555)
    with pytest.raises(UserError, match="Permission denied"):
        HistoryFile(tmp_path / "new.pickle")
    tmp_path.chmod(0o755)


def test_nothing_is_left_by_a_run_that_saved_nothing(tmp_path):
    file = HistoryFile(tmp_path / "training.pickle")
    assert names(tmp_path) == []
    assert "nothing was saved" in file.summary()


def test_some_missing_numbers_are_warned_of(tmp_path, capsys):
    history = {"loss": [0.5, float("inf"), 2], "val_loss": [0.4, 0.3, float("nan")]}
    (tmp_path / "h.pickle").write_bytes(pickle.dumps(history))
    curves = load_history(tmp_path / "h.pickle")
    assert str(curves) == "{'loss': [0.5, nan, 2.0], 'val_loss': [0.4, 0.3, nan]}"
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2
    assert "val_loss is not finite in 1 of 3 epochs" in warnings[1]


def test_validation_after_some_epochs_only_is_explained(tmp_path):
    history = {"loss": [0.5, 0.4, 0.3], "val_loss": [0.4]}
    (tmp_path / "h.pickle").write_bytes(pickle.dumps(history))
    with pytest.raises(UserError, match="1 of val_loss.* validation_freq of 1"):
        load_history(tmp_path / "h.pickle")


def test_what_reasons_adds_is_read_with_the_loss_and_checked_like_it(tmp_path, capsys):
    path = tmp_path / "h.pickle"

    def load(metric="loss", **reasons):
        path.write_bytes(pickle.dumps({**HISTORY, **reasons}))
        return load_history(path, metric)

    ends, nan = {"loss_at_end": [0.3, 0.2]}, float("nan")
    both = {**ends, "val_loss_regularized": [0.4, nan]}
    assert list(load(**both)) == ["loss", "val_loss", *both]
    assert "val_loss_regularized is not finite in 1 of 2" in capsys.readouterr().err
    assert list(load()) == ["loss", "val_loss"]
    for bad, reason in (
        (ends, "has loss_at_end, but not val_loss_regularized"),
        (
            {**ends, "val_loss_regularized": [0.4]},
            "2 epochs of loss, but 1 of val_loss_r",
        ),
        ({**both, "loss_at_end": [nan, nan]}, "no epoch with a finite loss_at_end"),
        ({**both, "loss_at_end": 0.3}, "loss_at_end is a float, not a list"),
        ({**both, "loss_at_end": [0.3, "0.2"]}, "loss_at_end of epoch 1 is a str"),
    ):
        with pytest.raises(UserError, match=reason):
            load(**bad)
