"""A look at every file of a set before anything is measured on it: what cannot be read, is there twice, or leaks."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import UnreadableImage
from interp.images.check_findings import (
    LINES,
    distribution,
    find_crossings,
    find_duplicates,
    find_giveaways,
)
from interp.images.decode import read_image
from interp.images.image_set import ImageSet
from interp.images.jpeg import jpeg_facts
from interp.images.workers import decoded_in_turn

UNREADABLE = 3
"""Exit code of a check that met images it could not read."""

FACTS = ("content_hash", "pixel_hash", "width", "height", "format", "mode", "bytes")
FACTS += ("jpeg_quality", "jpeg_standard", "subsampling", "error")
_SAVE_EVERY = 20.0  # seconds between two savings of the cache


@dataclass(frozen=True, repr=False)
class Check:
    """What was found in a set of images; nothing in it is changed.

    Attributes:
        files: indexed by key: `label`, `generator`, and `split` or `role` where there are; `content_hash` and
            `pixel_hash` (SHA-256, hex), `width` and `height` (pixels, upright), `format`, `mode`, `bytes`;
            `jpeg_quality` (1 to 100 against the IJG tables, NaN if not JPEG), `jpeg_standard` (whether it is
            exactly such a table), `subsampling`; `error`, empty where the file could be read.
        duplicates: files that are there twice; see `find_duplicates`.
        crossings: copies across labels, generators, splits or roles, which make measurements dishonest.
        distribution: values of format, mode, size, JPEG quality and subsampling by class and generator.
        giveaways: how well each fact of the file alone tells the label; see `find_giveaways`.
    """

    files: pd.DataFrame
    duplicates: pd.DataFrame
    crossings: pd.DataFrame
    distribution: pd.DataFrame
    giveaways: pd.DataFrame

    @property
    def unreadable(self) -> pd.DataFrame:
        """Files that could not be read, with the reason in `error`."""
        return self.files.loc[self.files["error"] != "", ["label", "generator", "error"]]

    @property
    def exit_code(self) -> int:
        """3 if a file could not be read, else 0."""
        return UNREADABLE if len(self.unreadable) else 0

    def text(self, *, most: int = 10) -> str:
        """The findings for a terminal, with at most `most` examples of each."""
        from interp.images.check_text import check_text

        return check_text(self, most)

    def __repr__(self) -> str:
        return self.text()

    def write(self, folder: str | Path) -> None:
        """Write every table as a CSV, and the text as `check.txt`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.files.to_csv(folder / "files.csv")
        self.unreadable.to_csv(folder / "unreadable.csv")
        for name in ("duplicates", "crossings", "distribution", "giveaways"):
            getattr(self, name).to_csv(folder / f"{name}.csv", index=False)
        (folder / "check.txt").write_text(self.text() + "\n", encoding="utf-8")


def check_images(
    images: ImageSet,
    *,
    n_jobs: int | None = None,
    cache: str | Path | None = None,
    timeout: float = 60.0,
    progress: bool = True,
) -> Check:
    """Decode every image of a set, and say what is wrong with it as a basis for measurements.

    Every file is decoded in a process of its own kind: one that crashes or hangs costs that file alone.

    Args:
        images: the set.
        n_jobs: processes; by default one for each core.
        cache: a Parquet file that keeps the facts of each file by path, size and time of change; a check that
            was cut off, or is repeated, goes on from it.
        timeout: seconds for one file.
        progress: show a bar.
    """
    places = pd.Series(
        [os.path.abspath(images.path(key)) for key in images.keys], index=images.keys, dtype=str
    )
    places = places[~places.duplicated()]  # several rows may be views of one file
    jobs, kept = n_jobs or os.cpu_count() or 1, Path(cache) if cache else None
    facts = _facts(list(places), jobs, kept, timeout, progress).set_axis(places.index, axis=0)
    told = [name for name in LINES if name in images.table.columns]
    files = pd.concat([images.table.loc[places.index, told], facts], axis=1)
    duplicates = find_duplicates(files)
    return Check(files, duplicates, find_crossings(duplicates), distribution(files), find_giveaways(files))


def look_at(path: str) -> dict[str, Any]:
    """The facts of one file, as `Check.files` holds them.

    >>> look_at("no/such/image.png")["error"]
    'no such file'
    """
    try:
        facts = dict(read_image(path).facts)
    except UnreadableImage as reason:
        return _unread(str(reason))
    return {**_unread(""), **facts, **(jpeg_facts(path) if facts["format"] == "JPEG" else {})}


def _unread(error: str) -> dict[str, Any]:
    blank: dict[str, Any] = dict.fromkeys(FACTS, "")
    blank |= dict.fromkeys(("width", "height", "bytes", "jpeg_quality"), math.nan)
    return blank | {"jpeg_standard": False, "error": error}


def _facts(paths: list[str], n_jobs: int, cache: Path | None, timeout: float, progress: bool) -> pd.DataFrame:
    from tqdm import tqdm

    stamps = [_stamp(path) for path in paths]
    known = _read_cache(cache)
    todo = [
        i for i, (path, stamp) in enumerate(zip(paths, stamps, strict=True)) if (path, *stamp) not in known
    ]
    size = sum(max(0, stamps[i][0]) for i in todo) / 1e6
    looked = _look_at_all([paths[i] for i in todo], n_jobs, timeout)
    saved = time.monotonic()
    try:
        bar = tqdm(
            looked,
            total=len(todo),
            unit="image",
            desc=f"checking {size:,.0f} MB",
            mininterval=0.5,
            disable=not (progress and todo),
        )
        for at, facts in zip(todo, bar, strict=True):
            known[(paths[at], *stamps[at])] = facts
            if cache and time.monotonic() - saved > _SAVE_EVERY:
                _write_cache(cache, known)
                saved = time.monotonic()
    finally:
        looked.close()
        if cache and todo:
            _write_cache(cache, known)
    rows = [known[(path, *stamp)] for path, stamp in zip(paths, stamps, strict=True)]
    return pd.DataFrame(rows, columns=list(FACTS))


def _look_at_all(paths: list[str], n_jobs: int, timeout: float) -> Generator[dict[str, Any]]:
    """The facts of file after file; one that crashes or hangs its process is unreadable."""
    pixel = np.zeros(1, np.uint8)  # what is handed over besides facts; nobody looks at it

    def decode(index: int, reason: str | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        return pixel, look_at(paths[index]) if reason is None else _unread(reason)

    one_by_one = [range(i, i + 1) for i in range(len(paths))]
    with closing(
        decoded_in_turn(decode, one_by_one, n_jobs, timeout, lambda n: np.zeros((n, 1), np.uint8))
    ) as looked:
        for _, (facts,) in looked:
            yield facts


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _read_cache(cache: Path | None) -> dict[tuple[str, int, int], dict[str, Any]]:
    if cache is None or not cache.exists():
        return {}
    table = pd.read_parquet(cache)
    if not {"path", "size", "time", *FACTS} <= set(table.columns):
        return {}
    stamps = zip(table["path"], table["size"], table["time"], strict=True)
    return dict(zip(stamps, table[list(FACTS)].to_dict("records"), strict=True))  # type: ignore[arg-type]


def _write_cache(cache: Path, known: dict[tuple[str, int, int], dict[str, Any]]) -> None:
    stamps = pd.DataFrame(list(known), columns=["path", "size", "time"])
    cache.parent.mkdir(parents=True, exist_ok=True)
    part = cache.with_name(cache.name + ".part")
    kept = pd.concat([stamps, pd.DataFrame(list(known.values()), columns=list(FACTS))], axis=1)
    kept[kept["size"] >= 0].to_parquet(part)  # a missing file is looked for again
    os.replace(part, cache)
