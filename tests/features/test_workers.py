"""A decoder that crashes or never ends costs the image it was at, and nothing else."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import make

from interp.encoders.encoder import Encoder
from interp.features.extract import extract
from interp.features.loading import PixelDataset, pixel_batches
from interp.images import workers as module
from interp.images.decode import read_image
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing

COUNT = 23


class Troubled(PixelDataset):
    """Images of which some do something to the process that decodes them."""

    def __init__(self, paths: list[Path], trouble: dict[int, str]):
        super().__init__(paths, Preprocessing.clip(8))
        self.trouble = trouble

    def decode(self, index: int, reason: str | None = None):
        if reason is None and (what := self.trouble.get(index)):
            if what == "hang":
                time.sleep(60)
            elif what == "raise":
                raise EOFError("a defect of the program")
            elif what == "exit":
                os._exit(3)
            elif what == "once":
                mark = Path(self.paths[index] + ".tried")
                if not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            else:
                faulthandler.disable()  # pytest's, which would print
                os.kill(os.getpid(), signal.Signals[what])
        return super().decode(index, reason)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    names = [tmp_path / f"{i:02d}.png" for i in range(COUNT)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(name)
    names[20].write_bytes(b"")
    return names


def load(dataset: PixelDataset, workers: int, timeout: float = 20) -> tuple[torch.Tensor, list[dict]]:
    batches = [range(i, min(i + 5, COUNT)) for i in range(0, COUNT, 5)]
    loaded = list(pixel_batches(dataset, batches, workers, timeout=timeout))
    assert [len(batch.pixels) for batch in loaded] == [5, 5, 5, 5, 3]
    return torch.cat([batch.pixels for batch in loaded]), [f for batch in loaded for f in batch.facts]


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_processes_give_what_this_one_gives(workers: int, paths: list[Path]) -> None:
    dataset = PixelDataset(paths, Preprocessing.clip(8))
    pixels, facts = load(dataset, 0)
    theirs, their_facts = load(dataset, workers)
    assert torch.equal(pixels, theirs) and facts == their_facts
    assert facts[20]["error"] == "the file is empty" and pixels[19].any() and not pixels[20].any()


REASONS = {
    "SIGSEGV": "the decoder crashed (SIGSEGV)",
    "SIGKILL": "the decoder crashed (SIGKILL)",
    "exit": "the decoder crashed (exit code 3)",
    "hang": "decoding took longer than 0.3 s",
}


def test_each_trouble_is_the_reason_of_its_own_row(paths: list[Path]) -> None:
    trouble = {0: "SIGSEGV", 3: "hang", 4: "SIGSEGV", 5: "once", 11: "exit", 22: "SIGKILL"}
    pixels, facts = load(PixelDataset(paths, Preprocessing.clip(8)), 0)
    theirs, found = load(Troubled(paths, trouble), 2, timeout=0.3)
    for index in range(COUNT):
        if reason := REASONS.get(trouble.get(index, "")):
            assert found[index] == {"error": reason} and not theirs[index].any()
        else:
            assert found[index] == facts[index] and torch.equal(theirs[index], pixels[index])


def test_an_error_of_the_program_is_no_image_s_fault(paths: list[Path]) -> None:
    with pytest.raises(EOFError, match="a defect of the program"):
        load(Troubled(paths, {7: "raise"}), 2)


def test_a_process_that_cannot_begin_is_given_up(paths: list[Path], monkeypatch) -> None:
    monkeypatch.setattr(module, "_serve", lambda *rest: os._exit(7))
    with pytest.raises(RuntimeError, match=r"end by themselves \(exit code 7\)"):
        load(PixelDataset(paths, Preprocessing.clip(8)), 2)


def test_a_pass_goes_on_after_crashes_and_keeps_every_other_bit(
    paths: list[Path], tmp_path, monkeypatch
) -> None:
    """The first image crashes too: it is among those that are looked at before the pass."""
    images = ImageSet.from_paths(tmp_path)
    encoder = Encoder(make("clip-gelu"), Preprocessing.clip(32), name="tiny")
    options: dict = {"batch_size": 4, "shard_size": 8, "workers": 2, "progress": False}
    whole = extract(images, encoder, tmp_path / "whole", **options)

    def read(path: str):
        if path.endswith(("00.png", "09.png")):
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGSEGV)
        if path.endswith("17.png"):
            time.sleep(60)
        return read_image(path)

    monkeypatch.setattr("interp.features.loading.read_image", read)
    store = extract(images, encoder, tmp_path / "store", timeout=0.5, **options)
    errors = store.rows["error"]
    assert errors[errors != whole.rows["error"]].to_dict() == {
        "00.png": "the decoder crashed (SIGSEGV)",
        "09.png": "the decoder crashed (SIGSEGV)",
        "17.png": "decoding took longer than 0.5 s",
    }
    for name in ("head_values", "embedding"):
        there, here = whole.array(name), store.array(name)
        assert np.isnan(here[~store.usable]).all() and np.isfinite(here[store.usable]).all()
        np.testing.assert_array_equal(there[store.usable], here[store.usable])


def children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_no_process_stays(paths: list[Path]) -> None:
    before = children()
    loaded = pixel_batches(Troubled(paths, {9: "hang"}), [range(9), range(9, 18)], 2)
    next(loaded)
    assert len(children() - before) == 2
    loaded.close()
    assert children() <= before


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_processes_end_when_nobody_asks_them_any_more(paths: list[Path]) -> None:
    """Also after one was replaced, which holds copies of the others' pipes."""
    readable, writable = os.pipe()
    asker = os.fork()
    if asker == 0:
        loaded = pixel_batches(Troubled(paths, {0: "SIGSEGV"}), [range(i, i + 2) for i in range(0, 20, 2)], 3)
        next(loaded)
        os.write(writable, " ".join(children()).encode())
        time.sleep(60)
    started = [int(pid) for pid in os.read(readable, 999).split()]
    assert len(started) == 3
    os.kill(asker, signal.SIGKILL)
    os.waitpid(asker, 0)
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in started) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in started)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
