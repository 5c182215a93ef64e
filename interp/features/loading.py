"""Images into batches of pixels: decoded, laundered, equalised and resized in worker processes."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from interp.errors import InputError, UnreadableImage
from interp.images.decode import DecodedImage, read_image
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.laundering import Laundering
from interp.images.preprocess import Preprocessing
from interp.images.views import VIEW_OF, Views
from interp.images.workers import Decoded, decoded_in_turn

TIMEOUT = 60.0
"""Seconds that one image may take; the largest that is decoded at all takes a few."""


@dataclass(frozen=True)
class PixelBatch:
    """Preprocessed images.

    Attributes:
        pixels: (n, 3, H, W), uint8; all zero where an image could not be read.
        facts: one dict for each image: what its file said, and `error`, empty if it could be read.
    """

    pixels: torch.Tensor
    facts: list[dict[str, Any]]


class PixelDataset:
    """Decode, launder, equalise and preprocess the image at each path; an unreadable one becomes zeros and a reason.

    Args:
        paths: of the images; with `views`, each path once for every view, in their order.
        preprocessing: of the encoder.
        equalize: the path that every image is brought through first.
        views: cut these crops out of the image instead of resizing it.
        launder: what happens to every image at its own size, before it is equalised.
        random_state: seed of what laundering draws.
        keys: of the images, which the draws depend on too; needed with `launder`. The views of an image share one.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        preprocessing: Preprocessing,
        equalize: Equalize | None = None,
        views: Views | None = None,
        launder: Laundering | None = None,
        random_state: int = 0,
        keys: Sequence[str] = (),
    ):
        if preprocessing.crop is None and not isinstance(preprocessing.resize, tuple):
            raise InputError(
                "this encoder's preprocessing leaves images of different shapes, which cannot be put into one batch; "
                f"give it a crop or a (height, width): {preprocessing}"
            )
        self.paths = [os.fspath(path) for path in paths]
        self.preprocessing, self.equalize, self.views = preprocessing, equalize, views
        self.launder, self.random_state, self.keys = launder, random_state, list(keys)
        if launder is not None:  # a missing library or model is an error now, not in a worker
            launder.apply(Image.new("RGB", (64, 64)), "", random_state)
        self._last: tuple[str, Image.Image, dict[str, Any]] | None = None
        self.blank = np.zeros_like(preprocessing.apply(Image.new("RGB", (512, 512))))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Decoded:
        return self.decode(index)

    def decode(self, index: int, reason: str | None = None) -> Decoded:
        """Pixels and facts of one image; with a `reason`, what stands for it when it cannot be read."""
        if reason is not None:
            return self.blank, {"error": reason}
        try:
            image, facts = self._looked_at(index)
            if self.views is None:
                pixels = self.preprocessing.apply(image)
            else:
                pixels = self.views.crop(image, index % self.views.number, self.blank.shape[1:])
        except UnreadableImage as unreadable:
            return self.blank, {"error": str(unreadable)}
        except MemoryError:
            return self.blank, {"error": "too large: there is not enough memory to resize it"}
        return pixels, {**facts, "error": ""}

    def read(self, path: str) -> DecodedImage:
        """Decode a file."""
        return read_image(path)

    def _looked_at(self, index: int) -> tuple[Image.Image, dict[str, Any]]:
        """The image as it is before its resize, with its facts; kept for its next view, which is asked for next."""
        path = self.paths[index]
        if self._last is not None and self._last[0] == path:
            return self._last[1:]
        self._last = None
        decoded = self.read(path)
        image = decoded.pixels
        if self.launder is not None:
            image = self.launder.apply(image, self.keys[index], self.random_state)
        if self.equalize is not None:
            image = self.equalize.apply(image)
        if self.views is not None:
            self._last = path, image, decoded.facts
        return image, decoded.facts


def pixel_dataset(
    images: ImageSet,
    preprocessing: Preprocessing,
    equalize: Equalize | None = None,
    views: Views | None = None,
    launder: Laundering | None = None,
    random_state: int = 0,
) -> PixelDataset:
    """The dataset of a set of images; with `views`, of what `with_views` made of it.

    Raises:
        InputError: laundering misses a library or a model, or the preprocessing leaves images of different shapes.
    """
    keys = images.keys if views is None else images.table[VIEW_OF]
    return PixelDataset(
        [os.path.abspath(images.path(key)) for key in images.keys],  # other processes may stand elsewhere
        preprocessing,
        equalize,
        views,
        launder,
        random_state,
        [str(key) for key in keys],
    )


def pixel_batches(
    dataset: PixelDataset,
    batches: Sequence[Sequence[int]],
    workers: int,
    *,
    timeout: float = TIMEOUT,
    pin: bool = False,
) -> Generator[PixelBatch]:
    """Load the given batches of indices, in order.

    Args:
        dataset: the images.
        batches: indices of the images of each batch.
        workers: processes that decode. An image that crashes one, or takes too long in it, gets its reason. With 0
            the images are decoded in this process, without that guard.
        timeout: seconds that one image may take in a worker.
        pin: put the pixels into pinned memory, from which a GPU copies faster.
    """
    if workers == 0:
        for batch in batches:
            pixels, facts = zip(*(dataset[index] for index in batch), strict=True)
            yield PixelBatch(torch.from_numpy(np.stack(pixels)), list(facts))
        return

    def room(count: int) -> np.ndarray:
        return torch.empty((count, *dataset.blank.shape), dtype=torch.uint8, pin_memory=pin).numpy()

    with closing(decoded_in_turn(dataset.decode, batches, workers, timeout, room)) as decoded:
        for pixels, facts in decoded:
            yield PixelBatch(torch.from_numpy(pixels), facts)
