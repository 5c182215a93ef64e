"""One pass over the images into a feature store: checked, estimated, resumable."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from interp.encoders.encoder import Encoder
from interp.errors import InputError, unknown_name
from interp.features.checks import check_on_four_images, print_estimate
from interp.features.loading import TIMEOUT, PixelDataset
from interp.features.lock import only_writer, refuse_unwritable
from interp.features.provenance import refuse_other_settings, store_key
from interp.features.recording import SMALL, record_shards
from interp.features.shards import (
    KEY,
    READOUT,
    ROWS,
    clear_leftovers,
    finished_shards,
    read_json,
    read_rows,
    to_storage,
    whole_or_absent,
    write_json,
    write_rows,
    write_shard,
)
from interp.features.store import FeatureStore
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.views import Views, with_views

ENGINES = ("local", "ray")


def extract(
    images: ImageSet,
    encoder: Encoder,
    out: str | Path,
    *,
    equalize: Equalize | str | None = None,
    views: Views | int | None = None,
    batch_size: int = 32,
    shard_size: int = 256,
    workers: int | None = None,
    store_dtype: str = "float16",
    progress: bool = True,
    timeout: float = TIMEOUT,
    engine: str = "local",
) -> FeatureStore:
    """Record every head and MLP of every image into a store; go on where an earlier run was cut off.

    Before the pass it checks on four images that the parts sum to the embedding (relative error at most
    1e-5 in float32) and how far a low-precision run is from float32, and prints an estimate of time and
    disk. An unreadable image becomes a row with its error, and so does one that crashes the decoder or takes
    longer than `timeout`. One process writes a store; a second one is refused.

    Every pass has `batch_size` rows, so that an image's numbers do not depend, bit for bit, on which images share
    its batch, wherever the encoder treats all rows alike; docs/odd_images.md says where that is so. With
    `batch_size=1` it always is.

    Args:
        images: what to look at.
        encoder: who looks.
        out: the store's folder; may hold an unfinished store made with the same settings.
        equalize: bring every image through one path first, such as `common:128:75`.
        views: look at this many crops at native resolution instead of one resized image; a row for each.
        batch_size: images in one pass of the encoder. Part of what makes a store's bytes.
        shard_size: images in one shard, the unit of resuming.
        workers: decoding processes; by default one for each core. With 0 images are decoded in this process,
            which an image that crashes the decoder takes down with it.
        store_dtype: float16, or float32 where values overflow.
        progress: show a bar with images/s.
        timeout: seconds that decoding one image may take.
        engine: "local", or "ray" to decode and encode on a Ray cluster, which gives the same store; then `workers`
            are decoding actors. See `record_with_ray`, and docs/scale.md.

    Raises:
        InputError: the folder cannot be written, is being written, or holds something else, such as a store made
            with other settings; the disk is too small or becomes full; the parts do not sum to the whole; a
            low-precision run is too far from float32; a value overflows; or the engine is unknown or not installed.
            What is finished stays.

    See the README for the whole path in ten lines.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    out = Path(out)
    equalize = Equalize.parse(equalize) if isinstance(equalize, str) else equalize
    views = Views(views) if isinstance(views, int) else views
    images = images if views is None else with_views(images, views)
    header = {
        "key": store_key(encoder, images.keys, equalize, views, store_dtype),
        "images": len(images),
        "batch_size": batch_size,
        "shard_size": shard_size,
    }
    shards = [range(i, min(i + shard_size, len(images))) for i in range(0, len(images), shard_size)]
    _refuse_foreign(out)
    if (out / ROWS).exists() and len(finished_shards(out / "shards")) == len(shards):
        refuse_other_settings(out, read_json(out / KEY), header)
        return FeatureStore(out)
    with only_writer(out):
        done = _open_or_create(out, header, encoder)
        todo = {number: shard for number, shard in enumerate(shards) if number not in done}
        if todo:
            (out / ROWS).unlink(missing_ok=True)  # a shard was taken away: the store is not finished
            paths = [os.fspath(images.path(key)) for key in images.keys]
            dataset = PixelDataset(paths, encoder.preprocessing, equalize, views)
            processes = (os.cpu_count() or 1) if workers is None else workers
            speed = check_on_four_images(encoder, dataset, processes, timeout)
            count = sum(map(len, todo.values()))
            print_estimate(out, encoder, count, len(images) - count, speed, store_dtype)
            bar = tqdm(total=len(images), initial=len(images) - count, unit="image", disable=not progress)
            if engine == "ray":
                from interp.features.ray_engine import record_with_ray

                recorded = record_with_ray(encoder, dataset, todo, batch_size, workers, timeout, bar)
            else:
                recorded = record_shards(encoder, dataset, todo, batch_size, processes, timeout, bar)
            with bar, closing(recorded):
                for number, arrays, facts in recorded:
                    stored = {
                        n: to_storage(a, store_dtype if n in SMALL else "float32", n)
                        for n, a in arrays.items()
                    }
                    rows = _rows(images, shards[number], facts)
                    _blank_unreadable(stored, rows)
                    write_shard(out / "shards", number, stored, rows)
        with whole_or_absent(out / ROWS) as temporary:
            write_rows(temporary, read_rows(out / "shards", range(len(shards))))
    return FeatureStore(out)


def refuse_folder(out: str | Path) -> None:
    """Raise at once, before an encoder is loaded, what `extract` would raise about the folder of its store.

    Raises:
        InputError: it holds something else, or has no finished store and cannot be written, or is being written.
    """
    out = Path(out)
    _refuse_foreign(out)
    if not (out / ROWS).exists():
        refuse_unwritable(out)


def _refuse_foreign(out: Path) -> None:
    """Refuse a folder that holds something else than a store; hidden files do not count."""
    if out.is_dir() and not (out / KEY).exists() and any(e for e in out.iterdir() if e.name[0] != "."):
        raise InputError(f"{out} is not empty and holds no feature store; name a new folder with --out")


def _open_or_create(out: Path, header: dict[str, Any], encoder: Encoder) -> set[int]:
    """Shards already there; the key is the first thing that a store holds."""
    if (out / KEY).exists():
        refuse_other_settings(out, read_json(out / KEY), header)
        clear_leftovers(out)
    else:
        clear_leftovers(out)
        write_json(out / KEY, header)
    if not (out / READOUT).exists():
        with whole_or_absent(out / READOUT) as temporary:
            encoder.readout.save(temporary)
    return finished_shards(out / "shards")


def _rows(images: ImageSet, indices: range, facts: list[dict[str, Any]]) -> pd.DataFrame:
    """The image set's columns with what the files said; a file's fact wins over a manifest's column."""
    table = images.table.iloc[list(indices)]
    found = pd.DataFrame(facts, index=table.index)
    kept = table.drop(columns=[c for c in found.columns if c in table.columns])
    return pd.concat([kept, found.reindex(columns=FACTS)], axis=1)


def _blank_unreadable(arrays: dict[str, np.ndarray], rows: pd.DataFrame) -> None:
    bad = (rows["error"] != "").to_numpy()
    for array in arrays.values():
        array[bad] = np.nan


FACTS = ["content_hash", "pixel_hash", "width", "height", "format", "mode", "bytes", "error"]
