"""A run that is killed, refused or starved of disk leaves a store that goes on to the same bytes."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import make

from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.features.extract import extract, refuse_folder
from interp.features.lock import LOCK, only_writer, refuse_unwritable
from interp.features.shards import read_rows, read_shards
from interp.features.store import FeatureStore
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing

KILLER = Path(__file__).with_name("killed_runs.py")
OPTIONS = {"batch_size": 4, "shard_size": 8, "workers": 0, "progress": False}


def draw(folder: Path, count: int = 30) -> ImageSet:
    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / ("real" if i % 2 else "simulated") / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return ImageSet.open(folder)


def tiny() -> Encoder:
    return Encoder(make("clip-gelu"), Preprocessing.clip(32), name="tiny")


def same_tree(a: Path, b: Path) -> bool:
    files = sorted(p.relative_to(a) for p in a.rglob("*"))
    assert files == sorted(p.relative_to(b) for p in b.rglob("*"))
    store = [f for f in files if (a / f).is_file() and f.name != LOCK]  # a kill may leave a name in the lock
    return all(filecmp.cmp(a / f, b / f, shallow=False) for f in store)


def python(*arguments: object) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    return draw(tmp_path / "images")


def test_killed_twenty_times_and_resumed_it_is_byte_identical(tmp_path: Path) -> None:
    """Ten kills just before or after a step that writes, renames or forces to the disk, ten at any moment."""
    images = draw(tmp_path / "images", 60)
    with python(KILLER, images.root, tmp_path, 20) as process:
        said = json.loads(process.communicate()[0].splitlines()[-1])
    assert process.returncode == 0
    assert said["killed"] == 20, said
    assert said["moments"] >= 8, said  # different steps, so that the kills were spread over the run
    assert said["identical"] and same_tree(tmp_path / "whole", tmp_path / "killed")


def test_a_second_process_is_refused_by_name_and_harms_nothing(images: ImageSet, tmp_path: Path) -> None:
    out = tmp_path / "store"
    code = (
        "import sys, time\nfrom interp.features.lock import only_writer\n"
        "with only_writer(sys.argv[1]):\n print('holds', flush=True)\n time.sleep(60)"
    )
    with python("-c", code, out) as first:
        assert first.stdout is not None and first.stdout.readline() == "holds\n"
        (out / ".00000.1").mkdir()
        with pytest.raises(InputError, match=rf"is being written by process {first.pid} on .*; wait"):
            extract(images, tiny(), out, **OPTIONS)
        assert (out / ".00000.1").is_dir() and len(list(out.iterdir())) == 2
        first.kill()
    assert (out / LOCK).read_text()  # a killed process leaves its name, and no lock
    store = extract(images, tiny(), out, **OPTIONS)
    assert len(store) == len(images) and (out / LOCK).read_text() == "" and not (out / ".00000.1").exists()


def test_a_finished_store_opens_while_it_is_held_and_where_nothing_can_be_written(images, tmp_path) -> None:
    out = tmp_path / "store"
    extract(images, tiny(), out, **OPTIONS)
    with only_writer(out):
        refuse_folder(out)
        assert len(FeatureStore(out)) == len(extract(images, tiny(), out, **OPTIONS)) == len(images)


def test_one_process_does_not_hold_a_folder_twice(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    with only_writer(tmp_path / "folder"):
        with pytest.raises(InputError, match=f"process {os.getpid()}"), only_writer(tmp_path / "link"):
            pass
        with only_writer(tmp_path / "other"):
            pass
    refuse_unwritable(tmp_path / "link")


def test_where_there_are_no_locks_there_is_a_warning(tmp_path: Path, monkeypatch) -> None:
    def none(*rest: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("interp.features.lock.fcntl.lockf", none)
    with pytest.warns(UserWarning, match="keeps no locks"), only_writer(tmp_path):
        pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("room", [0, 4, 40, 120, 180, 250])
def test_a_full_disk_is_an_error_and_the_run_goes_on_when_there_is_room(room, tmp_path, small_disk) -> None:
    """`room` in KB: nothing, for the key, for the weights, for some shards, …"""
    images = draw(tmp_path / "images", 64)
    whole = extract(images, tiny(), tmp_path / "whole", **OPTIONS)
    out, filler = small_disk / "store", small_disk / "filler"
    out.mkdir()
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(bytes(free - room * 1024))
    with pytest.raises(InputError, match="No space left on device|the store needs .* free"):
        extract(images, tiny(), out, **OPTIONS)
    filler.unlink()
    with pytest.raises(InputError, match="not finished|holds no feature store"):
        FeatureStore(out)
    extract(images, tiny(), out, **OPTIONS)
    assert same_tree(whole.folder, out)


def test_a_folder_that_cannot_be_written_is_refused_before_an_image_is_read(images, small_disk, monkeypatch):
    monkeypatch.setattr("interp.features.extract.check_on_four_images", lambda *rest: pytest.fail("began"))
    store = small_disk / "store"
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for out in (small_disk, store, store / "deeper"):
        with pytest.raises(InputError, match=r"cannot write into .*Read-only file system; make it writable"):
            extract(images, tiny(), out, **OPTIONS)
        with pytest.raises(InputError, match="cannot write into"):
            refuse_folder(out)


def test_a_folder_is_refused_without_leaving_a_trace(images, tmp_path) -> None:
    before = sorted(images.root.iterdir())
    with pytest.raises(InputError, match="not empty and holds no feature store"):
        refuse_folder(images.root)
    assert sorted(images.root.iterdir()) == before
    refuse_folder(tmp_path / "new")


def test_a_file_in_the_place_of_the_folder_is_refused(images, tmp_path) -> None:
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot write into .*store: (File exists|Not a directory)"):
        extract(images, tiny(), tmp_path / "store", **OPTIONS)


DAMAGE = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-7]),
    "cut in its head": lambda file: file.write_bytes(file.read_bytes()[:20]),
    "empty": lambda file: file.write_bytes(b""),
    "noise": lambda file: file.write_bytes(bytes(range(256)) * 9),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_shard_is_named_and_made_anew(how: str, images: ImageSet, tmp_path: Path) -> None:
    whole = extract(images, tiny(), tmp_path / "whole", **OPTIONS)
    out = tmp_path / "store"
    shutil.copytree(whole.folder, out)
    shard = out / "shards" / "00002"
    DAMAGE[how](shard / "embedding.npy")
    DAMAGE[how](shard / "rows.parquet")
    message = rf"shard 00002 of the store {out} is damaged: %s .*Delete the folder {shard} and run the same"
    with pytest.raises(InputError, match=message % "embedding.npy"):
        FeatureStore(out).embedding()
    with pytest.raises(InputError, match=message % "embedding.npy"):
        read_shards(out / "shards", range(4), "embedding")
    with pytest.raises(InputError, match=message % "rows.parquet"):
        read_rows(out / "shards", range(4))
    shutil.rmtree(shard)
    with pytest.raises(InputError, match=r"shard 00002 .* embedding.npy is missing"):
        FeatureStore(out).embedding()
    extract(images, tiny(), out, **OPTIONS)
    assert same_tree(whole.folder, out)


def test_what_is_finished_keeps_what_it_saw_when_images_are_replaced(images, tmp_path, monkeypatch) -> None:
    """Rows of finished shards name, by their hash, the bytes that their features come from."""
    before = extract(images, tiny(), tmp_path / "before", **OPTIONS)
    out = tmp_path / "store"
    shutil.copytree(before.folder, out)
    shutil.rmtree(out / "shards" / "00001")
    for key in images.keys:
        Image.new("RGB", (40, 40), "red").save(images.path(key))
    after = extract(images, tiny(), out, **OPTIONS)
    replaced = np.arange(len(images)) // OPTIONS["shard_size"] == 1
    same = after.rows["content_hash"] == before.rows["content_hash"]
    np.testing.assert_array_equal(same, ~replaced)
    np.testing.assert_array_equal((after.embedding() == before.embedding()).all(1), ~replaced)
