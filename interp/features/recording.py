"""Batches of pixels through the encoder, shard after shard."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from interp.encoders.encoder import Encoder
from interp.features.loading import PixelDataset, pixel_batches

SMALL = ("head_values", "mlp_values", "first")
"""Arrays that are stored in a precision of choice."""
FULL = ("norm_mean", "norm_std", "embedding")
"""Arrays that are always stored in float32."""

RecordedShard = tuple[int, dict[str, np.ndarray], list[dict[str, Any]]]
"""Number of a shard, its arrays by name, (rows, …) float32, and the facts of each row."""


def record_shards(
    encoder: Encoder,
    dataset: PixelDataset,
    shards: Mapping[int, range],
    batch_size: int,
    workers: int,
    timeout: float,
    bar: tqdm,
) -> Generator[RecordedShard]:
    """Encode shard after shard; batches never cross a shard, so resuming changes no byte.

    Args:
        encoder: who looks.
        dataset: the images.
        shards: the indices of each shard to record, by its number.
        batch_size: images in one pass of the encoder.
        workers, timeout: of the decoding processes; see `pixel_batches`.
        bar: told of every batch.
    """
    plan = [(number, batch) for number, rows in shards.items() for batch in batches_of(rows, batch_size)]
    pin = encoder.device.type == "cuda"
    records: list[dict[str, np.ndarray]] = []
    facts: list[dict[str, Any]] = []
    loading = pixel_batches(dataset, [batch for _, batch in plan], workers, timeout=timeout, pin=pin)
    with closing(loading) as loaded:
        for (number, indices), batch in zip(plan, loaded, strict=True):
            records.append(record_batch(encoder, batch.pixels, batch_size))
            facts += batch.facts
            bar.update(len(indices))
            if indices[-1] == shards[number][-1]:
                yield number, joined(records), facts
                records, facts = [], []


def batches_of(rows: range, batch_size: int) -> list[range]:
    """A shard's rows in passes of the encoder.

    >>> batches_of(range(8, 13), 2)
    [range(8, 10), range(10, 12), range(12, 13)]
    """
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def record_batch(encoder: Encoder, pixels: torch.Tensor, batch_size: int) -> dict[str, np.ndarray]:
    """Arrays of a batch, (n, …) float32, by name.

    The pixels, (n, 3, H, W) uint8, are padded to the full batch, so that an image's numbers do not depend on the
    batch's length.
    """
    count = len(pixels)
    if count < batch_size:
        pixels = torch.cat([pixels, pixels.new_zeros(batch_size - count, *pixels.shape[1:])])
    values = encoder.preprocessing.normalize(pixels.to(encoder.device, non_blocking=True))
    record = encoder.record(values)
    return {name: getattr(record, name)[:count].float().cpu().numpy() for name in (*SMALL, *FULL)}


def joined(records: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of successive batches, one after the other."""
    return {name: np.concatenate([record[name] for record in records]) for name in records[0]}
