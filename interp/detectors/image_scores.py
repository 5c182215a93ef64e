"""Scores of new images by a saved detector that looks at images, along the path its training images took."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.detectors.clip_finetune import ClipFinetune
from interp.detectors.image_detector import DESCRIPTION, load_image_detector
from interp.detectors.lare import Lare
from interp.detectors.lare_maps import LatentError, load_pipeline
from interp.detectors.map_store import extract_maps
from interp.encoders.loading import locate
from interp.errors import InputError
from interp.features.pixels import PixelStore, joined
from interp.features.provenance import refuse_other_settings
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing

FREE = ("step", "draws", "side", "prompt", "random_state")
"""Settings of `LatentError` that a saved detector keeps."""


def is_image_detector(folder: str | Path) -> bool:
    """Whether a folder holds a detector that looks at images."""
    return (Path(folder) / DESCRIPTION).exists()


def image_key(equalize: str, pipeline: str = "", error: LatentError | None = None) -> dict[str, Any]:
    """What has to be saved with a detector so that new images take the same path."""
    maps = {} if error is None else {"pipeline": pipeline, "lare": error.provenance}
    return {"equalize": equalize, **maps}


def score_by_images(
    images: ImageSet, folder: str | Path, *, device: str | None = None, workers: int | None = None
) -> pd.DataFrame:
    """Score images without labels.

    Args:
        images: what to look at.
        folder: of a `ClipFinetune` or `Lare` that was saved with `image_key`.
        device: where to run; by default on the CPU.
        workers: decoding processes.

    Returns:
        A row for each image: score, verdict ("fake", "real", "" where unreadable), of a tuned CLIP the source whose
        caption is nearest, and error.

    Raises:
        InputError: no such detector, or its diffusion model is another one now.
    """
    detector, key = load_image_detector(folder, device)
    model = str(detector.clip if isinstance(detector, ClipFinetune) else detector.encoder)
    looked = PixelStore.decode(
        images, Preprocessing.of(locate(model)[0]), equalize=key["equalize"], workers=workers
    )
    X: Any = looked.pixels
    if isinstance(detector, Lare):
        if "lare" not in key:
            raise InputError(
                f"{folder} does not say which diffusion model made its maps; make them and call it yourself"
            )
        error = LatentError(
            load_pipeline(key["pipeline"]),
            device=device or "cpu",
            **{name: key["lare"][name] for name in FREE},
        )
        refuse_other_settings(key["pipeline"], error.provenance, key["lare"])
        with tempfile.TemporaryDirectory(prefix="interp-maps-") as out:
            made = extract_maps(images, error, out, equalize=key["equalize"], workers=workers, progress=False)
            X = joined(looked.pixels, made.maps)
    table = looked.rows[["error"]].copy()
    usable = looked.usable
    scores, verdict = np.full(len(table), np.nan), np.full(len(table), "", dtype=object)
    if usable.any():
        scores[usable] = detector.decision_function(X[usable])
        verdict[usable] = np.where(scores[usable] > detector.threshold_, "fake", "real")
    table.insert(0, "score", scores)
    table.insert(1, "verdict", verdict)
    if isinstance(detector, ClipFinetune):
        source = np.full(len(table), "", dtype=object)
        if usable.any():
            source[usable] = detector.source(X[usable])
        table.insert(2, "source", source)
    return table
