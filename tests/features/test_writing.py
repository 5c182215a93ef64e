"""A shard is written while the next one is encoded, one at a time, and its error is not lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from features.test_cut_off import draw, same_tree, tiny

from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.features.extract import extract
from interp.features.shards import write_shard
from interp.features.store import FeatureStore

OPTIONS: dict[str, Any] = {"batch_size": 4, "shard_size": 4, "workers": 0, "progress": False}
WRITE = "interp.features.writing.write_shard"
PATIENCE = 60.0


def test_the_next_shard_is_encoded_while_one_is_written_and_no_two_are(tmp_path: Path, monkeypatch) -> None:
    images = draw(tmp_path / "images", 22)
    whole = extract(images, tiny(), tmp_path / "whole", **OPTIONS)
    passes, writing, together = threading.Condition(), 0, []
    encoded = 0
    record = Encoder.record

    def recorded(self: Encoder, pixels: Any) -> Any:
        nonlocal encoded
        with passes:
            encoded += 1
            passes.notify_all()
        return record(self, pixels)

    def written(folder: Path, number: int, *rest: Any) -> None:
        """Not before the pass of the next shard has begun; the check before the pass was one, too."""
        nonlocal writing
        writing += 1
        together.append(writing)
        with passes:
            assert number == 5 or passes.wait_for(lambda: encoded > number + 2, PATIENCE)
        write_shard(folder, number, *rest)
        writing -= 1

    monkeypatch.setattr(Encoder, "record", recorded)
    monkeypatch.setattr(WRITE, written)
    store = extract(images, tiny(), tmp_path / "store", **OPTIONS)
    assert together == [1] * 6
    assert same_tree(whole.folder, store.folder)


@pytest.mark.parametrize("bad", [1, 5])
@pytest.mark.parametrize("error", [InputError("the disk is full"), KeyboardInterrupt()])
def test_the_error_of_a_shard_ends_the_run_which_goes_on_later(bad, error, tmp_path, monkeypatch) -> None:
    """Whether it is a shard on the way or the last one."""
    images = draw(tmp_path / "images", 22)
    whole = extract(images, tiny(), tmp_path / "whole", **OPTIONS)
    tried = []

    def written(folder: Path, number: int, *rest: Any) -> None:
        tried.append(number)
        if number == bad:
            raise error
        write_shard(folder, number, *rest)

    with monkeypatch.context() as patched, pytest.raises(type(error)):
        patched.setattr(WRITE, written)
        extract(images, tiny(), tmp_path / "store", **OPTIONS)
    assert tried == list(range(bad + 1))
    with pytest.raises(InputError, match=f"{bad} of 6 shards"):
        FeatureStore(tmp_path / "store")
    extract(images, tiny(), tmp_path / "store", **OPTIONS)
    assert same_tree(whole.folder, tmp_path / "store")


def test_an_error_of_the_pass_leaves_the_shard_that_is_being_written_whole(tmp_path, monkeypatch) -> None:
    images = draw(tmp_path / "images", 22)
    begun, failed = threading.Event(), threading.Event()
    record, passes = Encoder.record, []

    def recorded(self: Encoder, pixels: Any) -> Any:
        passes.append(len(pixels))
        if len(passes) == 3:  # the check, the first shard, the second
            assert begun.wait(PATIENCE)
            failed.set()
            raise ZeroDivisionError
        return record(self, pixels)

    def written(folder: Path, number: int, *rest: Any) -> None:
        begun.set()
        assert failed.wait(PATIENCE)
        write_shard(folder, number, *rest)

    monkeypatch.setattr(Encoder, "record", recorded)
    monkeypatch.setattr(WRITE, written)
    with pytest.raises(ZeroDivisionError):
        extract(images, tiny(), tmp_path / "store", **OPTIONS)
    done = sorted(path.name for path in (tmp_path / "store" / "shards").iterdir())
    assert done == ["00000"]  # and no temporary folder
