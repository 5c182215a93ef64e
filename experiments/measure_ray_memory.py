"""What memory an extraction through Ray takes at most, at several numbers of images: it should not grow with them.

    python experiments/measure_ray_memory.py --images 10000 100000

Draws 1,000 images of 12 × 12 pixels, gives them as many names as asked for, and looks at them with the
embedded encoder on a cluster that is started on this machine. Prints a table and writes ray_memory.csv into --out.
Reads /proc and /dev/shm, so let nothing else use much shared memory meanwhile.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from PIL import Image

DRAWN = 1000
EVERY = 0.5  # seconds between two looks


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    images: tuple[int, ...] = (10_000, 100_000)
    """Numbers of images, one run each."""
    out: Path = Path("runs/ray_memory")
    """Folder for the table."""
    workers: int = 1
    """Decoding actors."""


def name_images(folder: Path, count: int) -> Path:
    """Write a manifest of `count` names for at most 1,000 different files; returns it."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    names = [f"{i:07d}.png" for i in range(count)]
    for i, name in enumerate(names):
        if i < DRAWN:
            Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(folder / name)
        else:
            os.link(folder / names[i % DRAWN], folder / name)
    labels = np.where(np.arange(count) % 2, "fake", "real")
    pd.DataFrame({"path": names, "label": labels}).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def look(manifest: Path, out: Path, workers: int) -> None:
    """One extraction, in a process of its own."""
    from interp.encoders.loading import load_encoder
    from interp.features.extract import extract
    from interp.images.image_set import ImageSet

    extract(
        ImageSet.open(manifest), load_encoder("embedded"), out, engine="ray", workers=workers, progress=False
    )


def peaks(process: int, seen: dict[str, float]) -> None:
    """Raise what was seen to what a process and all that it started hold now, in MB; shared pages aside."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines())
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, ValueError):  # it ended meanwhile
            continue
        found[int(folder.name)] = int(status["PPid"]), command, int(status.get("RssAnon", "0").split()[0])
    for number, (_, command, kilobytes) in found.items():
        above = number
        while above in found and above != process:
            above = found[above][0]
        names = {"_Decoding": "decoding", "_Encoding": "encoding", "": "driver" if number == process else ""}
        who = next(name for part, name in names.items() if part in command)
        if who and above == process:
            seen[who] = max(seen[who], kilobytes / 1024)


def shared_memory() -> float:
    """MB taken in the folder where Ray's object store keeps its blocks, of whatever program."""
    found = os.statvfs("/dev/shm")
    return (found.f_blocks - found.f_bfree) * found.f_frsize / 2**20


def measure(settings: Settings) -> pd.DataFrame:
    """A row for each number of images: the largest process of each kind and the object store, MB; seconds."""
    rows = []
    for count in settings.images:
        with tempfile.TemporaryDirectory() as folder:
            manifest = name_images(Path(folder) / "images", count)
            seen: dict[str, float] = defaultdict(float)
            arguments = (manifest, Path(folder) / "store", settings.workers)
            process = multiprocessing.get_context("spawn").Process(target=look, args=arguments)
            start, before = time.perf_counter(), shared_memory()
            process.start()
            while process.is_alive():
                peaks(process.pid or 0, seen)
                seen["object store"] = max(seen["object store"], shared_memory() - before)
                time.sleep(EVERY)
            if process.exitcode:
                raise SystemExit(f"the extraction of {count} images ended with {process.exitcode}")
            rows.append({"images": count, **seen, "seconds": time.perf_counter() - start})
    return pd.DataFrame(rows).round(1)


if __name__ == "__main__":
    chosen = tyro.cli(Settings, description=__doc__)
    table = measure(chosen)
    chosen.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(chosen.out / "ray_memory.csv", index=False)
    print(table.to_string(index=False))
