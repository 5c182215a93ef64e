"""What is checked before a pass over many images: that the encoder is exact, and that the disk can hold it."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from interp.encoders.encoder import LARGEST_DEVIATION, Encoder
from interp.errors import InputError
from interp.features.loading import TIMEOUT, PixelDataset, pixel_batches

LARGEST_SUM_ERROR = 1e-5
"""Largest relative distance between the sum of parts and the embedding, in float32."""


def check_on_four_images(
    encoder: Encoder, dataset: PixelDataset, workers: int = 0, timeout: float = TIMEOUT
) -> float:
    """Check the encoder's exactness on the first four readable images; returns its images/s.

    Where no image can be read there is nothing to check or to encode: every row gets its reason.

    Raises:
        InputError: the parts miss the embedding, or the precision is too low.
    """
    readable: list[torch.Tensor] = []
    fours = [range(i, min(i + 4, len(dataset))) for i in range(0, len(dataset), 4)]
    for batch in pixel_batches(dataset, fours, min(workers, 1), timeout=timeout):
        readable += [p for p, facts in zip(batch.pixels, batch.facts, strict=True) if not facts["error"]]
        if len(readable) >= 4:
            break
    if not readable:
        print(f"none of the {len(dataset)} images can be read; the store will hold their reasons")
        return math.inf
    values = encoder.preprocessing.normalize(torch.stack(readable[:4]).to(encoder.device))
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


def print_estimate(out: Path, encoder: Encoder, todo: int, done: int, speed: float, dtype: str) -> None:
    """Print what the work will take.

    Raises:
        InputError: the disk cannot hold it.
    """
    need = todo * bytes_per_image(encoder, dtype)
    seconds = todo / speed
    duration = f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
    print(
        f"{todo} images × {bytes_per_image(encoder, dtype) / 1e3:.1f} KB = {need / 1e6:.0f} MB into {out}"
        + (f" ({done} done before)" if done else "")
        + f"; about {duration} at {speed:.0f} images/s on {encoder.device}, decoding aside"
    )
    refuse_full_disk(out, need)


def refuse_full_disk(out: Path, need: int) -> None:
    """Refuse work that the disk of a folder cannot hold.

    Raises:
        InputError: it has less than `need` bytes free.
    """
    free = shutil.disk_usage(out).free
    if need > free:
        raise InputError(
            f"the store needs {need / 1e9:.1f} GB and {out} has {free / 1e9:.1f} GB free; name another --out"
        )
