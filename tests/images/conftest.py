"""What tests of images share."""

from __future__ import annotations

from pathlib import Path

import pytest
from twin_pictures import picture

from interp.images.image_set import ImageSet


@pytest.fixture
def photographs(tmp_path: Path) -> ImageSet:
    """Three JPEG photographs of odd sizes, and a generated image."""
    folder = tmp_path / "given"
    for number, size in enumerate([(41, 33), (32, 50), (37, 37)]):
        path = folder / "real" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(*size, seed=number).save(path, quality=60 + 10 * number, subsampling="4:4:4")
    (folder / "glide").mkdir()
    picture(32, 32).save(folder / "glide" / "0.png")
    return ImageSet.open(folder)
