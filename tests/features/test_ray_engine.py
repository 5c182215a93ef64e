"""Ray Data writes the store that one process writes: bad images, killed workers and cut-off runs included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from features.test_extract import same_tree
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_models import make

from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.features.extract import extract
from interp.features.lock import LOCK, only_writer
from interp.features.ray_engine import _for_the_way, share_out
from interp.features.shards import to_storage
from interp.features.store import FeatureStore
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing

CRASH, HANG, KILL = 41, 43, 47
"""Widths of images at which the decoder crashes or never ends, or that end the actor that asked for it, once;
never the process `here`."""


@dataclass(frozen=True)
class Dangerous(Equalize):
    """An equalisation that some images are too much for; every process has `flags` to itself to leave a mark in."""

    flags: str = ""
    here: int = 0

    def apply(self, image: Image.Image) -> Image.Image:
        if image.width == CRASH:
            os.kill(os.getpid(), signal.SIGKILL)
        if image.width == HANG:
            time.sleep(60)
        if image.width == KILL and os.getppid() != self.here and first_time(self.flags, "decoding"):
            os.kill(os.getppid(), signal.SIGKILL)
        return super().apply(image)


@dataclass(frozen=True)
class Deadly(Preprocessing):
    """A preprocessing that ends the first process, other than `here`, that normalises with it."""

    flags: str = ""
    here: int = 0

    def normalize(self, pixels: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        if os.getpid() != self.here and first_time(self.flags, "encoding"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().normalize(pixels, dtype)


def first_time(folder: str, name: str) -> bool:
    try:
        return bool((Path(folder) / name).touch(exist_ok=False)) or True
    except FileExistsError:
        return False


def draw(folder: Path, widths: list[int]) -> ImageSet:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i, width in enumerate(widths):
        levels = rng.integers(0, 256, (40, width, 3), dtype=np.uint8)
        Image.fromarray(levels).save(folder / f"{i:03d}.png")
    return ImageSet.open(folder)


def tiny(preprocessing: Preprocessing | None = None) -> Encoder:
    return Encoder(make("clip-gelu"), preprocessing or Preprocessing.clip(32), name="tiny")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Three processors and a small object store on this machine, where this module's own classes are known."""
    ray = pytest.importorskip("ray", reason="needs interp[ray]")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(
        "local", num_cpus=3, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False
    )
    yield
    ray.shutdown()


@pytest.mark.slow
def test_the_store_is_that_of_the_local_engine_with_views_and_images_that_crash_or_hang(cluster, tmp_path):
    widths = [40] * 21
    widths[2], widths[9] = CRASH, HANG
    images = draw(tmp_path / "images", widths)
    images.path(images.keys[5]).write_bytes(b"not an image")
    images.path(images.keys[20]).unlink()
    options: dict = {"batch_size": 4, "shard_size": 10, "views": 4, "timeout": 2.0, "progress": False}
    options |= {"equalize": Dangerous(side=40), "launder": "noise:9+jpeg:20-90", "workers": 2}
    local = extract(images, tiny(), tmp_path / "local", **options)
    store = extract(images, tiny(), tmp_path / "ray", engine="ray", **options)
    assert same_tree(local.folder, store.folder)
    reasons = store.rows.loc[~store.usable].groupby("view_of")["error"].first().to_dict()
    assert reasons == {
        "002.png": "the decoder crashed (SIGKILL)",
        "005.png": reasons["005.png"],
        "009.png": "decoding took longer than 2 s",
        "020.png": "no such file",
    }
    assert reasons["005.png"].startswith("not an image")


@pytest.mark.slow
def test_killed_actors_cost_nothing(cluster, tmp_path):
    images = draw(tmp_path / "images", [40] * 10 + [KILL] + [40] * 10)
    flags = tmp_path / "flags"
    flags.mkdir()
    options: dict = {"batch_size": 4, "shard_size": 4, "workers": 1, "progress": False}
    local = extract(images, tiny(), tmp_path / "local", equalize=Equalize(side=40), **options)
    deadly = Deadly(**vars(Preprocessing.clip(32)), flags=str(flags), here=os.getpid())
    dangerous = Dangerous(side=40, flags=str(flags), here=os.getpid())
    store = extract(images, tiny(deadly), tmp_path / "ray", engine="ray", equalize=dangerous, **options)
    assert sorted(path.name for path in flags.iterdir()) == ["decoding", "encoding"]
    assert store.usable.all() and local.usable.all()
    assert same_tree(local.folder / "shards", store.folder / "shards")


@pytest.mark.slow
def test_a_cut_off_run_goes_on_with_either_engine(cluster, tmp_path, monkeypatch):
    images = draw(tmp_path / "images", [40] * 22)
    options: dict = {"batch_size": 4, "shard_size": 4, "workers": 1, "progress": False}
    whole = extract(images, tiny(), tmp_path / "whole", **options)

    from interp.features.shards import write_shard

    def cut(folder: Path, number: int, *rest: object) -> None:
        if number == 2:
            raise KeyboardInterrupt
        write_shard(folder, number, *rest)  # type: ignore[arg-type]

    for first, second in (("ray", "local"), ("local", "ray")):
        out = tmp_path / f"begun by {first}"
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr("interp.features.writing.write_shard", cut)
            extract(images, tiny(), out, engine=first, **options)
        with pytest.raises(InputError, match="2 of 6 shards"):
            FeatureStore(out)
        extract(images, tiny(), out, engine=second, **options)
        assert same_tree(whole.folder, out)


OWN = """
import os, sys, torch
from features.test_ray_engine import ImageSet, extract, tiny
import ray
extract(ImageSet.open(sys.argv[1]), tiny(), sys.argv[2], engine="ray", shard_size=4, workers=1, progress=False)
print("connected" if ray.is_initialized() else "ended", [n for n in os.environ if n.startswith("RAY_USAGE")])
"""


@pytest.mark.slow
def test_a_cluster_that_was_started_here_ends_here_and_says_little(tmp_path):
    pytest.importorskip("ray", reason="needs interp[ray]")
    draw(tmp_path / "images", [40] * 9)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    command = [sys.executable, "-c", OWN, str(tmp_path / "images"), str(tmp_path / "store")]
    ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "ended []"
    assert len(FeatureStore(tmp_path / "store")) == 9
    assert [line for line in ran.stderr.splitlines() if "WARN" in line or "ERROR" in line] == []


def test_a_second_writer_is_refused_before_a_cluster_is_sought(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    images = draw(tmp_path / "images", [40] * 3)
    with only_writer(tmp_path / "store"), pytest.raises(InputError, match="is being written by process"):
        extract(images, tiny(), tmp_path / "store", engine="ray", progress=False)


def test_what_is_missing_or_wrong_is_said(tmp_path, monkeypatch):
    images = draw(tmp_path / "images", [40] * 3)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'pip install "interp\[ray\]"'):
        extract(images, tiny(), tmp_path / "store", engine="ray", progress=False)
    assert not (tmp_path / "store" / LOCK).read_text()
    with pytest.raises(InputError, match="workers=0"):
        extract(images, tiny(), tmp_path / "store", engine="ray", workers=0, progress=False)
    with pytest.raises(InputError, match="did you mean 'ray'"):
        extract(images, tiny(), tmp_path / "store", engine="rya", progress=False)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_arrays_travel_as_they_are_stored_but_for_those_that_the_writer_refuses(dtype):
    fits, overflows = np.float32([[1 / 3, 70.0]]), np.float32([[1.0, 7e4]])
    arrays = {"head_values": fits, "mlp_values": overflows, "first": -fits, "embedding": fits}
    found = _for_the_way(arrays, dtype)
    assert {name: str(array.dtype) for name, array in found.items()} == {
        "head_values": dtype,
        "mlp_values": "float32",
        "first": dtype,
        "embedding": "float32",
    }
    for name in ("head_values", "first"):
        np.testing.assert_array_equal(
            to_storage(found[name], dtype, name), to_storage(arrays[name], dtype, name)
        )
    if dtype == "float16":
        with pytest.raises(InputError, match="mlp_values reach 7e"):
            to_storage(found["mlp_values"], dtype, "mlp_values")


@given(
    cpus=st.integers(0, 500),
    gpus=st.integers(0, 64),
    decoders=st.none() | st.integers(1, 600),
    threads=st.integers(1, 128),
    on_gpu=st.booleans(),
)
def test_there_is_room_for_every_actor(cpus, gpus, decoders, threads, on_gpu):
    room = share_out({"CPU": cpus, "GPU": gpus}, decoders, threads, on_gpu=on_gpu)
    assert room.decoders == (decoders or room.decoders) >= 1 and room.encoders >= 1
    assert room.decoder_cpus > 0 and (room.encoder_cpus > 0 or room.gpus > 0)
    taken = room.encoders * room.encoder_cpus + room.decoders * room.decoder_cpus
    assert taken <= max(cpus, 1) * (1 + 1e-9)
    assert room.encoders * room.gpus == (gpus if on_gpu else 0)
