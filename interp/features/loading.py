"""Images into batches of pixels, decoded, equalised and resized in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from interp.errors import InputError, UnreadableImage
from interp.images.decode import read_image
from interp.images.equalize import Equalize
from interp.images.preprocess import Preprocessing


@dataclass(frozen=True)
class PixelBatch:
    """Preprocessed images.

    Attributes:
        pixels: (n, 3, H, W), uint8; all zero where an image could not be read.
        facts: one dict for each image: what its file said, and `error`, empty if it could be read.
    """

    pixels: torch.Tensor
    facts: list[dict[str, Any]]


class PixelDataset(Dataset):
    """Decode, equalise and preprocess the image at each path; an unreadable one becomes zeros and a reason."""

    def __init__(self, paths: Sequence[Path], preprocessing: Preprocessing, equalize: Equalize | None):
        if preprocessing.crop is None and not isinstance(preprocessing.resize, tuple):
            raise InputError(
                "this encoder's preprocessing leaves images of different shapes, which cannot be put into one batch; "
                f"give it a crop or a (height, width): {preprocessing}"
            )
        self.paths, self.preprocessing, self.equalize = list(paths), preprocessing, equalize
        self.blank = np.zeros_like(preprocessing.apply(Image.new("RGB", (512, 512))))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, Any]]:
        try:
            decoded = read_image(self.paths[index])
        except UnreadableImage as reason:
            return self.blank, {"error": str(reason)}
        image = self.equalize.apply(decoded.pixels) if self.equalize else decoded.pixels
        return self.preprocessing.apply(image), {**decoded.facts, "error": ""}


def pixel_batches(
    dataset: PixelDataset, batches: Sequence[Sequence[int]], workers: int, *, pin: bool = False
) -> Iterator[PixelBatch]:
    """Load the given batches of indices, in order, in `workers` processes (0: in this one)."""
    loader = DataLoader(
        dataset,
        batch_sampler=list(batches),  # type: ignore[arg-type]
        num_workers=min(workers, len(batches)),
        collate_fn=_collate,
        pin_memory=pin,
        prefetch_factor=4 if workers and batches else None,
    )
    yield from loader


def _collate(items: list[tuple[np.ndarray, dict[str, Any]]]) -> PixelBatch:
    pixels, facts = zip(*items, strict=True)
    return PixelBatch(torch.from_numpy(np.stack(pixels)), list(facts))
