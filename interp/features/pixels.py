"""The pixels of images beside their stored features, for detectors that look for themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.encoders.encoder import Encoder
from interp.encoders.loading import locate
from interp.errors import InputError, unknown_name
from interp.features.loading import TIMEOUT, pixel_batches, pixel_dataset
from interp.features.store import FeatureStore
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.laundering import Laundering, as_laundering
from interp.images.preprocess import Preprocessing

AT_ONCE = 64


class PixelStore:
    """Preprocessed images in memory, with their rows.

    Attributes:
        pixels: (n, 3, H, W) grey levels, uint8; zeros where an image could not be read.
        rows: (n rows) the images' table with `pixel_hash` and `error` (empty if it could be read).
    """

    def __init__(self, pixels: np.ndarray, rows: pd.DataFrame):
        self.pixels, self.rows = pixels, rows

    @classmethod
    def decode(
        cls,
        images: ImageSet,
        preprocessing: Preprocessing,
        *,
        equalize: Equalize | str | None = None,
        launder: Laundering | str | None = None,
        random_state: int = 0,
        workers: int | None = None,
        timeout: float = TIMEOUT,
    ) -> PixelStore:
        """Decode, launder, equalise and resize every image, as `extract` does before its encoder looks.

        An unreadable image is a row with its error. All parameters are those of `extract`.

        Raises:
            InputError: laundering misses a library or a model, or the preprocessing leaves images of different shapes.
        """
        equalize = Equalize.parse(equalize) if isinstance(equalize, str) else equalize
        dataset = pixel_dataset(
            images, preprocessing, equalize, launder=as_laundering(launder), random_state=random_state
        )
        processes = (os.cpu_count() or 1) if workers is None else workers
        batches = [range(i, min(i + AT_ONCE, len(images))) for i in range(0, len(images), AT_ONCE)]
        pixels, facts = np.empty((len(images), *dataset.blank.shape), np.uint8), []
        for batch in pixel_batches(dataset, batches, processes, timeout=timeout):
            pixels[len(facts) : len(facts) + len(batch.facts)] = batch.pixels.numpy()
            facts += batch.facts
        found = pd.DataFrame(facts, index=images.keys).reindex(columns=["pixel_hash", "error"])
        kept = images.table.drop(columns=[name for name in found if name in images.table])
        return cls(pixels, pd.concat([kept, found], axis=1))

    @property
    def usable(self) -> np.ndarray:
        """(n,) bool: images that could be read."""
        return (self.rows["error"] == "").to_numpy()


class StoreWithImages(FeatureStore):
    """A feature store whose images are at hand too: `features("pixels")` are what the store's encoder would look at.

    Images go through the very equalisation and laundering that the store's key names. So systems that look at images
    stand in one table with those that read features (`interp.compare_systems`).

    Args:
        folder: of the store.
        images: the set that the store was extracted from.
        encoder: hub id, folder or "embedded" of the model that is to look, or an `Encoder`; its preprocessing counts.
            It need not be the store's encoder.
        maps: (n, C, h, w) of the same images, such as `interp.detectors.lare_maps.MapStore.maps`; with them,
            `features("pixels_and_maps")` is a structured array with the fields `pixels` and `map`.
        workers: decoding processes.

    Raises:
        InputError: other images than the store's, or maps of another number of images.
    """

    def __init__(
        self,
        folder: str | Path,
        images: ImageSet,
        encoder: str | Encoder,
        maps: np.ndarray | None = None,
        workers: int | None = None,
    ):
        super().__init__(folder)
        if not images.keys.equals(self.rows.index) or self.views > 1:
            raise InputError(
                f"{folder} has the features of other images than the {len(images)} given, or of views; give the set it "
                "was extracted from, of whole images"
            )
        if maps is not None and len(maps) != len(self):
            raise InputError(f"{len(maps)} maps for {len(self)} images; make them of the same set")
        self.images, self.encoder, self.maps, self.workers = images, encoder, maps, workers
        named = isinstance(encoder, str)
        self.preprocessing = Preprocessing.of(locate(encoder)[0]) if named else encoder.preprocessing
        self._decoded: PixelStore | None = None

    @property
    def path(self) -> dict[str, Any]:
        """What happens to every image first, as `extract` takes it: equalisation, laundering and its seed."""
        laundering = self.key.get("laundering", "none")
        return {
            "equalize": self.key["equalize"],
            "launder": None if laundering == "none" else laundering,
            "random_state": self.key.get("laundering_seed", 0),
        }

    def features(self, kind: str) -> np.ndarray:
        """As `FeatureStore.features`, and also "pixels" (n, 3, H, W) uint8 and "pixels_and_maps" (n,) structured."""
        if kind == "pixels":
            return self._pixels().pixels
        if kind == "pixels_and_maps":
            if self.maps is None:
                raise unknown_name("features (no maps= were given)", kind, ["pixels", "embedding", "heads"])
            return joined(self._pixels().pixels, self.maps)
        return super().features(kind)

    def _pixels(self) -> PixelStore:
        if self._decoded is None:
            self._decoded = PixelStore.decode(
                self.images, self.preprocessing, **self.path, workers=self.workers
            )
        return self._decoded


def joined(pixels: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Images (n, 3, H, W) uint8 and their maps (n, C, h, w) as one array (n,) with the fields `pixels` and `map`.

    >>> both = joined(np.zeros((5, 3, 8, 8), np.uint8), np.ones((5, 4, 2, 2)))
    >>> both.shape, both[3:]["map"].shape
    ((5,), (2, 4, 2, 2))
    """
    if len(pixels) != len(maps):
        raise InputError(f"{len(pixels)} images and {len(maps)} maps; give one map for each image")
    both = np.empty(
        len(pixels), [("pixels", np.uint8, pixels.shape[1:]), ("map", np.float32, maps.shape[1:])]
    )
    both["pixels"], both["map"] = pixels, maps
    return both
