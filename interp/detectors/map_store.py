"""Maps of latent reconstruction error on disk, beside the features: one pass, resumable, with a key."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from interp.detectors.lare_maps import LatentError
from interp.errors import InputError
from interp.features.loading import TIMEOUT, pixel_batches, pixel_dataset
from interp.features.lock import only_writer
from interp.features.provenance import refuse_other_settings
from interp.features.shards import (
    KEY,
    ROWS,
    clear_leftovers,
    finished_shards,
    read_json,
    read_rows,
    read_shards,
    to_storage,
    whole_or_absent,
    write_json,
    write_rows,
    write_shard,
)
from interp.features.writing import FACTS, refuse_foreign
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.laundering import Laundering, as_laundering

MAP = "map"


class MapStore:
    """Maps of n images and the rows they belong to.

    Args:
        folder: what `extract_maps` wrote.

    Raises:
        InputError: it holds no finished maps.

    Attributes:
        rows: (n rows) indexed by row key, as in `FeatureStore`.
        key: what decides the maps: `LatentError.provenance`, equalisation, laundering.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / KEY).exists() or not (self.folder / ROWS).exists():
            raise InputError(
                f"{folder} holds no finished maps; make them with interp.detectors.map_store.extract_maps"
            )
        header = read_json(self.folder / KEY)
        if "lare" not in header["key"]:
            raise InputError(
                f"{folder} is a store of something else than maps; give the folder of extract_maps"
            )
        self.key: dict[str, Any] = header["key"]
        self._shards = range(-(-header["images"] // header["shard_size"]))
        self.rows = pd.read_parquet(self.folder / ROWS)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def usable(self) -> np.ndarray:
        """(n,) bool: rows whose image could be read; the maps of the others are NaN."""
        return (self.rows["error"] == "").to_numpy()

    @property
    def maps(self) -> np.ndarray:
        """(n, C, h, w) float32, squared errors in units of the noise's variance."""
        return read_shards(self.folder / "shards", self._shards, MAP).astype(np.float32)


def extract_maps(
    images: ImageSet,
    error: LatentError,
    out: str | Path,
    *,
    equalize: Equalize | str | None = None,
    launder: Laundering | str | None = None,
    random_state: int = 0,
    batch_size: int = 16,
    shard_size: int = 256,
    workers: int | None = None,
    progress: bool = True,
    timeout: float = TIMEOUT,
) -> MapStore:
    """Make the map of every image; go on where an earlier run was cut off.

    Maps are kept as float16: 8 KB for the 4 × 32 × 32 of Stable Diffusion at 256 pixels. An unreadable image is a row
    with its error and a map of NaN (the public code stores zeros, which is what a perfectly known image would have).

    Args:
        images: what to look at.
        error: the model.
        out: the store's folder; may hold unfinished maps made with the same settings.
        equalize, launder, random_state: what happens to every image first; see `interp.extract`.
        batch_size: images in one pass; the UNet sees `error.draws` times as many.
        shard_size: images in one shard, the unit of resuming.
        workers, progress, timeout: see `interp.extract`.

    Raises:
        InputError: the folder holds something else or maps of other settings, is being written, or cannot be.
    """
    out, launder = Path(out), as_laundering(launder)
    equalize = Equalize.parse(equalize) if isinstance(equalize, str) else equalize
    key = {
        "lare": error.provenance,
        "equalize": str(equalize) if equalize else "none",
        "laundering": str(launder) if launder else "none",
        **({"laundering_seed": random_state} if launder else {}),
        "libraries": {name: version(name) for name in ("torch", "diffusers", "pillow")},
        "images": hashlib.sha256("\n".join(images.keys).encode(errors="surrogateescape")).hexdigest(),
    }
    header = {"key": key, "images": len(images), "batch_size": batch_size, "shard_size": shard_size}
    refuse_foreign(out)
    folder, shards = out / "shards", range(-(-len(images) // shard_size))
    with only_writer(out):
        if (out / KEY).exists():
            refuse_other_settings(out, read_json(out / KEY), header)
        clear_leftovers(out)
        write_json(out / KEY, header)
        done = finished_shards(folder)
        todo = [number for number in shards if number not in done]
        dataset = pixel_dataset(
            images, error.preprocessing, equalize, launder=launder, random_state=random_state
        )
        rows = {n: range(n * shard_size, min((n + 1) * shard_size, len(images))) for n in todo}
        batches = [r[i : i + batch_size] for r in rows.values() for i in range(0, len(r), batch_size)]
        processes = (os.cpu_count() or 1) if workers is None else workers
        bar = tqdm(
            total=len(images), initial=len(images) - sum(map(len, rows.values())), disable=not progress
        )
        with bar, closing(pixel_batches(dataset, batches, processes, timeout=timeout)) as loaded:
            for number in todo:
                found, facts = [], []
                while len(facts) < len(rows[number]):
                    batch = next(loaded)
                    found.append(_maps_of(error, batch.pixels, batch.facts))
                    facts += batch.facts
                    bar.update(len(batch.facts))
                stored = np.concatenate(found)
                read = ~np.isnan(stored).any(axis=(1, 2, 3))
                half = np.full(stored.shape, np.nan, np.float16)
                half[read] = to_storage(stored[read], "float16", "maps of latent reconstruction error")
                write_shard(folder, number, {MAP: half}, _rows(images, rows[number], facts))
        with whole_or_absent(out / ROWS) as temporary:
            write_rows(temporary, read_rows(folder, shards))
    return MapStore(out)


def _maps_of(error: LatentError, pixels: torch.Tensor, facts: list[dict[str, Any]]) -> np.ndarray:
    read = [row for row, fact in enumerate(facts) if fact["error"] == ""]
    found = np.full((len(facts), *error.shape), np.nan, np.float32)
    if read:
        found[read] = error(pixels[read], [str(facts[row]["pixel_hash"]) for row in read]).numpy()
    return found


def _rows(images: ImageSet, indices: range, facts: list[dict[str, Any]]) -> pd.DataFrame:
    table = images.table.iloc[list(indices)]
    found = pd.DataFrame(facts, index=table.index).reindex(columns=FACTS)
    return pd.concat([table.drop(columns=[c for c in FACTS if c in table]), found], axis=1)
