"""One pass over the images into a feature store: checked, estimated, resumable."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from interp.encoders.encoder import LARGEST_DEVIATION, Encoder
from interp.encoders.recorder import HeadRecord
from interp.errors import InputError
from interp.features.loading import PixelBatch, PixelDataset, pixel_batches
from interp.features.provenance import refuse_other_settings, store_key
from interp.features.shards import (
    KEY,
    READOUT,
    ROWS,
    finished_shards,
    read_json,
    shard_name,
    to_storage,
    write_json,
    write_shard,
)
from interp.features.store import FeatureStore
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_SUM_ERROR = 1e-5
"""Largest relative distance between the sum of parts and the embedding, in float32."""
SMALL = ("head_values", "mlp_values", "first")
FULL = ("norm_mean", "norm_std", "embedding")


def extract(
    images: ImageSet,
    encoder: Encoder,
    out: str | Path,
    *,
    equalize: Equalize | str | None = None,
    batch_size: int = 32,
    shard_size: int = 256,
    workers: int | None = None,
    store_dtype: str = "float16",
    progress: bool = True,
) -> FeatureStore:
    """Record every head and MLP of every image into a store; go on where an earlier run was cut off.

    Before the pass it checks on four images that the parts sum to the embedding (relative error at most
    1e-5 in float32) and how far a low-precision run is from float32, and prints an estimate of time and
    disk. An unreadable image becomes a row with its error.

    Args:
        images: what to look at.
        encoder: who looks.
        out: the store's folder; may hold an unfinished store made with the same settings.
        equalize: bring every image through one path first, such as `common:128:75`.
        batch_size: images in one pass of the encoder. Part of what makes a store's bytes.
        shard_size: images in one shard, the unit of resuming.
        workers: decoding processes; by default one for each core.
        store_dtype: float16, or float32 where values overflow.
        progress: show a bar with images/s.

    Raises:
        InputError: the folder holds a store made with other settings, the disk is too small, the parts
            do not sum to the whole, a low-precision run is too far from float32, or a value overflows.

    See the README for the whole path in ten lines.
    """
    out = Path(out)
    equalize = Equalize.parse(equalize) if isinstance(equalize, str) else equalize
    header = {
        "key": store_key(encoder, images.keys, equalize, store_dtype),
        "images": len(images),
        "batch_size": batch_size,
        "shard_size": shard_size,
    }
    done = _open_or_create(out, header, encoder)
    shards = [range(i, min(i + shard_size, len(images))) for i in range(0, len(images), shard_size)]
    todo = [number for number in range(len(shards)) if number not in done]
    if todo:
        dataset = PixelDataset([images.path(key) for key in images.keys], encoder.preprocessing, equalize)
        speed = check_on_four_images(encoder, dataset)
        count = sum(len(shards[number]) for number in todo)
        _estimate(out, encoder, count, len(images) - count, speed, store_dtype)
        workers = (os.cpu_count() or 1) if workers is None else workers
        bar = tqdm(total=len(images), initial=len(images) - count, unit="image", disable=not progress)
        with bar:
            for number, arrays, facts in _record_shards(
                encoder, dataset, shards, todo, batch_size, workers, bar
            ):
                stored = {
                    n: to_storage(a, store_dtype if n in SMALL else "float32", n) for n, a in arrays.items()
                }
                rows = _rows(images, shards[number], facts)
                _blank_unreadable(stored, rows)
                write_shard(out / "shards", number, stored, rows)
    if not (out / ROWS).exists():
        parts = [pd.read_parquet(out / "shards" / shard_name(i) / ROWS) for i in range(len(shards))]
        temporary = out / f".{ROWS}.{os.getpid()}"
        pd.concat(parts).to_parquet(temporary)
        os.replace(temporary, out / ROWS)
    return FeatureStore(out)


def check_on_four_images(encoder: Encoder, dataset: PixelDataset) -> float:
    """Check the encoder's exactness on the first four readable images; returns its images/s.

    Where no image can be read there is nothing to check or to encode: every row gets its reason.

    Raises:
        InputError: the parts miss the embedding, or the precision is too low.
    """
    readable: list[np.ndarray] = []
    for index in range(len(dataset)):
        pixels, facts = dataset[index]
        if not facts["error"]:
            readable.append(pixels)
        if len(readable) == 4:
            break
    if not readable:
        print(f"none of the {len(dataset)} images can be read; the store will hold their reasons")
        return math.inf
    values = encoder.preprocessing.normalize(torch.from_numpy(np.stack(readable)).to(encoder.device))
    start = time.perf_counter()
    record = encoder.record(values)
    speed = len(values) / (time.perf_counter() - start)
    sum_error = float(encoder.readout.decompose(record).error().max())
    deviation = float(encoder.precision_error(values).max())
    allowed = LARGEST_DEVIATION.get(encoder.dtype, 0.0)
    if encoder.dtype == torch.float32 and sum_error > LARGEST_SUM_ERROR:
        raise InputError(
            f"the parts of {encoder.name} miss its embedding by {sum_error:.1e} (relative; allowed "
            f"{LARGEST_SUM_ERROR:.0e}): it adds something to its class token that the family description leaves out"
        )
    if deviation > allowed:
        raise InputError(
            f"{encoder.name} in {encoder.dtype} is {deviation:.1e} from float32 on four images (relative; "
            f"allowed {allowed:.0e}); use --dtype float32 or bfloat16"
        )
    print(
        f"parts sum to the embedding within {sum_error:.1e}; distance to float32 {deviation:.1e} (four images)"
    )
    return speed


def bytes_per_image(encoder: Encoder, dtype: str = "float16") -> int:
    """What one image takes in a store, rows aside.

    For ViT-L/14 in float16: 24·16·64 + 24·1024 + 1024 values of two bytes and 768 + 2 of four, 103 KB.
    """
    shape = encoder.layout
    wide = encoder.readout.norm_weight.shape[0]
    small = shape.size + shape.layers * wide + wide
    return small * np.dtype(dtype).itemsize + (encoder.width + 2) * 4


def _open_or_create(out: Path, header: dict[str, Any], encoder: Encoder) -> set[int]:
    """Shards already there; refuses a folder that holds something else."""
    if (out / KEY).exists():
        refuse_other_settings(out, read_json(out / KEY), header)
        return finished_shards(out / "shards")
    if out.exists() and any(entry for entry in out.iterdir() if not entry.name.startswith(".")):
        raise InputError(f"{out} is not empty and holds no feature store; name a new folder with --out")
    (out / "shards").mkdir(parents=True, exist_ok=True)
    encoder.readout.save(out / READOUT)
    write_json(out / KEY, header)
    return set()


def _estimate(out: Path, encoder: Encoder, todo: int, done: int, speed: float, dtype: str) -> None:
    """Print what the work will take; refuse to begin if the disk cannot hold it."""
    need = todo * bytes_per_image(encoder, dtype)
    free = shutil.disk_usage(out).free
    seconds = todo / speed
    duration = f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
    print(
        f"{todo} images × {bytes_per_image(encoder, dtype) / 1e3:.1f} KB = {need / 1e6:.0f} MB into {out}"
        + (f" ({done} done before)" if done else "")
        + f"; about {duration} at {speed:.0f} images/s on {encoder.device}, decoding aside"
    )
    if need > free:
        raise InputError(
            f"the store needs {need / 1e9:.1f} GB and {out} has {free / 1e9:.1f} GB free; name another --out"
        )


def _record_shards(
    encoder: Encoder,
    dataset: PixelDataset,
    shards: Sequence[range],
    todo: Sequence[int],
    batch_size: int,
    workers: int,
    bar: tqdm,
) -> Iterator[tuple[int, dict[str, np.ndarray], list[dict[str, Any]]]]:
    """Encode shard after shard; batches never cross a shard, so resuming changes no byte."""
    plan = [
        (n, list(shards[n][i : i + batch_size])) for n in todo for i in range(0, len(shards[n]), batch_size)
    ]
    loaded = pixel_batches(dataset, [b for _, b in plan], workers, pin=encoder.device.type == "cuda")
    records: list[dict[str, np.ndarray]] = []
    facts: list[dict[str, Any]] = []
    for (number, indices), batch in zip(plan, loaded, strict=True):
        records.append(_arrays(encoder.record(_full_batch(encoder, batch, batch_size)), len(indices)))
        facts += batch.facts
        bar.update(len(indices))
        if indices[-1] == shards[number][-1]:
            yield number, {name: np.concatenate([r[name] for r in records]) for name in records[0]}, facts
            records, facts = [], []


def _full_batch(encoder: Encoder, batch: PixelBatch, batch_size: int) -> torch.Tensor:
    """Pixel values padded to the full batch, so that an image's numbers do not depend on the batch's length."""
    missing = batch_size - len(batch.pixels)
    pixels = torch.cat([batch.pixels, batch.pixels.new_zeros(missing, *batch.pixels.shape[1:])])
    return encoder.preprocessing.normalize(pixels.to(encoder.device, non_blocking=True))


def _arrays(record: HeadRecord, count: int) -> dict[str, np.ndarray]:
    return {name: getattr(record, name)[:count].float().cpu().numpy() for name in (*SMALL, *FULL)}


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
