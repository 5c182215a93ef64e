"""Embeddings under pruning: every image through the encoder again without one head, or without a set of heads."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from interp.encoders.encoder import LARGEST_DEVIATION, Encoder
from interp.encoders.pruning import pruned
from interp.errors import InputError
from interp.features.loading import TIMEOUT, PixelBatch, PixelDataset, pixel_batches
from interp.features.lock import only_writer
from interp.features.provenance import refuse_other_settings
from interp.features.shards import (
    KEY,
    clear_leftovers,
    finished_shards,
    read_json,
    read_shards,
    write_json,
    write_shard,
)
from interp.features.store import FeatureStore
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.laundering import as_laundering

NAME = "pruned"
LARGEST_DIFFERENCE = 1e-3
"""Largest relative distance of a new unpruned embedding to the stored one, in float32."""


def prune_effects(
    encoder: Encoder,
    images: ImageSet,
    store: FeatureStore,
    *,
    folder: str | Path,
    heads: Sequence[str | Sequence[str]] | None = None,
    rows: Sequence[int] | np.ndarray | None = None,
    batch_size: int = 32,
    shard_size: int = 128,
    workers: int | None = None,
    timeout: float = TIMEOUT,
    progress: bool = True,
) -> np.ndarray:
    """Embed images under each of several prunings; go on where an earlier run was cut off.

    Each batch is decoded once and runs through the encoder once for each pruning. The first batch also runs unpruned,
    to see that encoder and images are those of the store, and to print an estimate of time and disk.

    Args:
        encoder: who looks; the one that made the store.
        images: where the store's images lie.
        store: whose rows, and whose equalisation.
        folder: of the results; may hold an unfinished run with the same settings.
        heads: what to prune: a head such as `L3.H5`, or a set of heads that are pruned together. By default every
            head of the encoder, one at a time.
        rows: positions in the store; by default all rows that could be read.
        batch_size, shard_size: images in one pass, and in one shard, the unit of resuming.
        workers: decoding processes; by default one for each core.
        timeout: seconds that decoding one image may take.
        progress: show a bar, in passes of one image.

    Returns:
        (n, k, P) float32: the embedding of each of n rows under each of k prunings; NaN where an image cannot be read.

    Raises:
        InputError: an encoder or images other than the store's, unknown heads, a disk too small, or a folder that
            holds results of other settings.
    """
    folder = Path(folder)
    sets = [[head] if isinstance(head, str) else list(head) for head in heads or encoder.layout.names]
    positions = np.flatnonzero(store.usable) if rows is None else np.asarray(rows, dtype=np.int64)
    for head in {head for heads in sets for head in heads}:
        encoder.layout.index(head)
    _check_encoder(encoder, store)
    if store.key.get("views", "none") != "none":
        raise InputError(f"{store.folder} holds views of images; prune on a store of whole images")
    keys = store.rows.index[positions]
    unknown = keys.difference(images.keys)
    if len(unknown):
        raise InputError(
            f"{len(unknown)} of {len(keys)} rows of {store.folder} are not among the images given, such as "
            f"{unknown[0]!r}; open the same images that the store was made of"
        )
    header = {"store": store.key, "heads": [" ".join(heads) for heads in sets], "rows": positions.tolist()}
    header |= {"batch_size": batch_size, "shard_size": shard_size}
    shards = [range(i, min(i + shard_size, len(keys))) for i in range(0, len(keys), shard_size)]
    with only_writer(folder):
        done = _open_or_create(folder, header)
        todo = {number: shard for number, shard in enumerate(shards) if number not in done}
        if todo:
            paths = [os.fspath(images.path(key)) for key in keys]
            dataset = PixelDataset(
                paths,
                encoder.preprocessing,
                Equalize.parse(store.key["equalize"]),
                launder=as_laundering(store.key["laundering"]),
                random_state=store.key.get("laundering_seed", 0),
                keys=list(map(str, keys)),
            )
            run = _Run(encoder, dataset, sets, store.array("embedding")[positions], batch_size)
            workers = (os.cpu_count() or 1) if workers is None else workers
            found = run.shards(folder, todo, workers, timeout, progress)
            with closing(found):
                for number, embeddings in found:
                    table = pd.DataFrame(index=keys[list(shards[number])])
                    write_shard(folder / "shards", number, {NAME: embeddings}, table)
    if not shards:
        return np.empty((0, len(sets), encoder.width), np.float32)
    return read_shards(folder / "shards", range(len(shards)), NAME)


class _Run:
    """The passes over some shards.

    Args:
        stored: (n, P) embeddings of the dataset's images as the store has them.
    """

    def __init__(
        self,
        encoder: Encoder,
        dataset: PixelDataset,
        sets: Sequence[Sequence[str]],
        stored: np.ndarray,
        batch_size: int,
    ):
        self.encoder, self.dataset, self.sets = encoder, dataset, sets
        self.stored, self.batch_size = stored, batch_size

    def shards(
        self, folder: Path, todo: dict[int, range], workers: int, timeout: float, progress: bool
    ) -> Generator[tuple[int, np.ndarray]]:
        """Number and embeddings (rows, k, P) of shard after shard; batches never cross a shard."""
        plan = [
            (number, list(shard[i : i + self.batch_size]))
            for number, shard in todo.items()
            for i in range(0, len(shard), self.batch_size)
        ]
        pin = self.encoder.device.type == "cuda"
        loaded = pixel_batches(self.dataset, [b for _, b in plan], workers, timeout=timeout, pin=pin)
        count = sum(map(len, todo.values()))
        bar = tqdm(total=count * len(self.sets), unit="pass", desc="prune", disable=not progress)
        parts: list[np.ndarray] = []
        with closing(loaded), bar:
            for place, ((number, indices), batch) in enumerate(zip(plan, loaded, strict=True)):
                device = self.encoder.device
                pixels = self.encoder.preprocessing.normalize(batch.pixels.to(device, non_blocking=True))
                if place == 0:
                    self._check_and_estimate(folder, pixels, indices, batch, count)
                parts.append(self._prune(pixels, batch, bar))
                if indices[-1] == todo[number][-1]:
                    yield number, np.concatenate(parts)
                    parts = []

    def _prune(self, pixels: torch.Tensor, batch: PixelBatch, bar: tqdm) -> np.ndarray:
        found = []
        for heads in self.sets:
            with pruned(self.encoder, heads):
                found.append(self.encoder.record(pixels).embedding.cpu().numpy())
            bar.update(len(batch.pixels))
        embeddings = np.stack(found, axis=1).astype(np.float32)
        embeddings[[bool(facts["error"]) for facts in batch.facts]] = np.nan
        return embeddings

    def _check_and_estimate(
        self, folder: Path, pixels: torch.Tensor, indices: list[int], batch: PixelBatch, count: int
    ) -> None:
        start = time.perf_counter()
        plain = self.encoder.record(pixels).embedding.cpu().numpy()
        speed = len(pixels) / (time.perf_counter() - start)
        read = np.array([not facts["error"] for facts in batch.facts])
        stored = self.stored[indices]
        distance = np.linalg.norm(plain - stored, axis=1) / np.linalg.norm(stored, axis=1)
        allowed = max(LARGEST_DIFFERENCE, 2 * LARGEST_DEVIATION.get(self.encoder.dtype, 0.0))
        if read.any() and not distance[read].max() <= allowed:
            raise InputError(
                f"unpruned embeddings are {distance[read].max():.1e} from those of the store (relative; allowed "
                f"{allowed:.0e}): the files have changed, or another library decodes them; extract the store again"
            )
        passes, each = count * len(self.sets), 4 * self.encoder.width
        free = shutil.disk_usage(folder).free
        print(
            f"{count} images × {len(self.sets)} prunings × {each / 1e3:.1f} KB = {passes * each / 1e6:.1f} MB into "
            f"{folder}; about {passes / speed / 60:.1f} min at {speed:.0f} passes/s on {self.encoder.device}, "
            "decoding aside"
        )
        if passes * each > free:
            raise InputError(f"{folder} has {free / 1e9:.1f} GB free; name another folder")


def _check_encoder(encoder: Encoder, store: FeatureStore) -> None:
    asked = {name: encoder.provenance[name] for name in ("encoder", "preprocessing")}
    refuse_other_settings(store.folder, {name: store.key[name] for name in asked}, asked)


def _open_or_create(folder: Path, header: dict) -> set[int]:
    """Shards already there; refuses a folder that holds something else."""
    if (folder / KEY).exists():
        refuse_other_settings(folder, read_json(folder / KEY), header)
        clear_leftovers(folder)
        return finished_shards(folder / "shards")
    if any(entry.name[0] != "." for entry in folder.iterdir()):
        raise InputError(f"{folder} is not empty and holds no prunings; name a new folder")
    write_json(folder / KEY, header)
    return set()
