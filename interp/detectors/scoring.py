"""Score images without labels by a saved detector, along the path that its training images took."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from interp.encoders.encoder import Encoder


def score_images(
    paths: Sequence[str | Path],
    detector: str | Path,
    *,
    encoder: str | Path | Encoder | None = None,
    device: str | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """Score images without labels by a saved detector, along the very path its training images took.

    Args:
        paths: images or folders.
        detector: folder of a saved detector, or of a run (then the arm its report recommends).
        encoder: where its encoder is, if not where it was.

    Returns:
        A row for each image: score (log-odds), verdict, error.
    """
    from interp.detectors.detector import load_detector
    from interp.encoders.loading import load_encoder
    from interp.features.extract import extract
    from interp.images.equalize import Equalize
    from interp.images.image_set import ImageSet
    from interp.images.views import Views

    folder = Path(detector)
    if (folder / "summary.json").exists():
        recommended = json.loads((folder / "summary.json").read_text())["recommended"]
        folder = folder / "detectors" / recommended
    loaded = load_detector(folder)
    images = ImageSet.from_paths(paths)
    if encoder is None or isinstance(encoder, str | Path):
        location = encoder or loaded.notes.get("encoder_location") or loaded.key["encoder"]["name"]
        encoder = load_encoder(location, device=device, dtype=loaded.key["encoder"]["dtype"])
    with tempfile.TemporaryDirectory(prefix="interp-score-") as temporary:
        store = extract(
            images,
            encoder,
            temporary,
            equalize=Equalize.parse(loaded.key["equalize"]),
            views=Views.parse(loaded.key.get("views", "none")),
            workers=workers,
            store_dtype=loaded.key["dtype"],
        )
        return loaded.score(store)
