"""Statistics of the very pixels that a store's encoder saw, row by row, kept in the store's folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from interp.errors import InputError
from interp.features.loading import TIMEOUT, PixelDataset
from interp.features.lock import only_writer
from interp.features.shards import whole_or_absent
from interp.features.store import FeatureStore
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.laundering import as_laundering
from interp.images.pixel_statistics import STATISTICS, VERSION, pixel_statistics
from interp.images.preprocess import Preprocessing
from interp.images.views import VIEW_OF, Views, with_views
from interp.images.workers import Decoded, decoded_in_turn

FILE = "pixel_statistics.parquet"
"""Where a store keeps them."""
_BATCH = 32
_MADE_OF = "made_of"


def measure_statistics(
    images: ImageSet,
    store: FeatureStore,
    *,
    workers: int | None = None,
    timeout: float = TIMEOUT,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure what can be read off each image's pixels, after everything that was done to them for the encoder.

    Images are decoded again and brought through the store's own laundering, equalisation, views, and resizing; a
    number speaks of what the encoder could see, not of the file. The table is kept in the store's folder, and read
    from there when it belongs to this very store.

    Args:
        images: where the store's images lie.
        store: whose rows, and whose preprocessing.
        workers: decoding processes; by default one for each core, 0 for this process alone.
        timeout: seconds that one image may take.
        progress: show a bar.

    Returns:
        A row for each row of the store, in its order, and a float64 column for each of
        `interp.images.pixel_statistics.STATISTICS`; NaN where the image cannot be read.

    Raises:
        InputError: the store's images are not among those given, or are no longer what they were; or the folder
            cannot be written.
    """
    kept = _kept(store)
    if kept is not None:
        return kept
    dataset = _Measured(_seen_pixels(images, store))
    workers = (os.cpu_count() or 1) if workers is None else workers
    bar = tqdm(total=len(store), desc="pixels", unit="image", disable=not progress)
    with bar, only_writer(store.folder):
        values, hashes = _measure(dataset, len(store), workers, timeout, bar)
        _refuse_changed(store, hashes)
        values[~store.usable] = np.nan
        table = pd.DataFrame(values, index=store.rows.index, columns=list(STATISTICS))
        table.attrs[_MADE_OF] = _made_of(store)
        with whole_or_absent(store.folder / FILE) as temporary:
            table.to_parquet(temporary)
    return _without_note(table)


def read_statistics(store: FeatureStore) -> pd.DataFrame:
    """The statistics that `measure_statistics` left in a store's folder, without the images.

    Raises:
        InputError: there are none, or they belong to other images or to an older way to measure.
    """
    kept = _kept(store)
    if kept is None:
        there = (
            "those in it are of other images or measured in an older way" if _exists(store) else "none yet"
        )
        raise InputError(
            f"{store.folder} holds no statistics of its images' pixels ({there}); "
            "measure them with measure_statistics(images, store)"
        )
    return kept


def preprocessing_of(key: Mapping[str, Any]) -> Preprocessing:
    """The preprocessing that a store's key describes.

    >>> clip = Preprocessing.clip(64)
    >>> preprocessing_of({"preprocessing": clip.spec()}) == clip
    True
    """
    spec = key["preprocessing"]
    if spec.get("backend") != "pillow":
        raise InputError(
            f"the store's images were resized by {spec.get('backend')!r}; only Pillow is known here"
        )
    resize, crop = spec["resize"], spec["crop"]
    if resize is not None:
        resize = resize.get("shortest_edge") or (resize["height"], resize["width"])
    crop = None if crop is None else (crop["height"], crop["width"])
    mean, std = tuple(spec["mean"]), tuple(spec["std"])
    return Preprocessing(resize, crop, spec["resample"], spec["scale"], mean, std)


class _Measured:
    """A dataset whose images become their statistics in the process that decodes them."""

    def __init__(self, pixels: PixelDataset):
        self.pixels = pixels

    def decode(self, index: int, reason: str | None = None) -> Decoded:
        pixels, facts = self.pixels.decode(index, reason)
        if facts["error"]:
            return np.full(len(STATISTICS), np.nan), facts
        return pixel_statistics(pixels.transpose(1, 2, 0)), facts


def _measure(
    dataset: _Measured, count: int, workers: int, timeout: float, bar: tqdm
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics (n, k) of all images, and the hash of each one's pixels, empty where it cannot be read."""
    batches = [range(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]

    def room(many: int) -> np.ndarray:
        return np.empty((many, len(STATISTICS)))

    def here() -> Generator[tuple[np.ndarray, list[dict[str, Any]]]]:
        for batch in batches:
            vectors, facts = zip(*(dataset.decode(index) for index in batch), strict=True)
            yield np.stack(vectors), list(facts)

    values, hashes = [], []
    with closing(
        decoded_in_turn(dataset.decode, batches, workers, timeout, room) if workers else here()
    ) as done:
        for found, facts in done:
            values.append(found)
            hashes += [str(one.get("pixel_hash", "")) for one in facts]
            bar.update(len(found))
    return np.concatenate([room(0), *values]), np.array(hashes, dtype=object)


def _seen_pixels(images: ImageSet, store: FeatureStore) -> PixelDataset:
    """The store's rows as the encoder saw them."""
    views = Views.parse(store.key.get("views", "none"))
    images = images if views is None else with_views(images, views)
    unknown = store.rows.index.difference(images.keys)
    if len(unknown):
        raise InputError(
            f"{len(unknown)} of {len(store)} rows of {store.folder} are not among the images given, such as "
            f"{unknown[0]!r}; open the same images that the store was made of"
        )
    equalize, launder = Equalize.parse(store.key["equalize"]), as_laundering(store.key["laundering"])
    paths = [os.fspath(images.path(key)) for key in store.rows.index]
    keys = store.rows.index if views is None else store.rows[VIEW_OF]
    seed = store.key.get("laundering_seed", 0)
    return PixelDataset(
        paths, preprocessing_of(store.key), equalize, views, launder, seed, list(map(str, keys))
    )


def _refuse_changed(store: FeatureStore, hashes: np.ndarray) -> None:
    changed = store.usable & (store.rows["pixel_hash"].to_numpy() != hashes)
    if changed.any():
        raise InputError(
            f"{changed.sum()} images are no longer what {store.folder} was made of, such as "
            f"{store.rows.index[changed][0]!r}; give the images as they were, or extract again"
        )


def _made_of(store: FeatureStore) -> str:
    """A digest of everything that decides the numbers: the store's key, its images' pixels, the way to measure."""
    hashes = store.rows["pixel_hash"].astype(str).tolist()
    text = json.dumps([VERSION, list(STATISTICS), store.key, hashes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _exists(store: FeatureStore) -> bool:
    return (store.folder / FILE).exists()


def _kept(store: FeatureStore) -> pd.DataFrame | None:
    """The table in the store's folder, if it belongs to this store."""
    if not _exists(store):
        return None
    try:
        table = pd.read_parquet(store.folder / FILE)
    except (OSError, ValueError):  # pyarrow's errors are of these; a damaged file is measured anew
        return None
    return _without_note(table) if table.attrs.get(_MADE_OF) == _made_of(store) else None


def _without_note(table: pd.DataFrame) -> pd.DataFrame:
    table.attrs = {}
    return table
