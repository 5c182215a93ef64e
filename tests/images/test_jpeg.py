"""JPEG quality and subsampling, against what Pillow was told to save."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interp.images.jpeg import estimate_quality, jpeg_facts


def drawn(mode: str = "RGB") -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    return Image.fromarray(levels).convert(mode)


def test_every_quality_that_was_saved_is_found_again(tmp_path: Path) -> None:
    for quality in range(1, 101):
        drawn().save(tmp_path / "x.jpg", quality=quality)
        facts = jpeg_facts(tmp_path / "x.jpg")
        assert (facts["jpeg_quality"], facts["jpeg_standard"]) == (quality, True)


@pytest.mark.parametrize("name", ["4:4:4", "4:2:2", "4:2:0"])
def test_subsampling_is_what_was_saved(name: str, tmp_path: Path) -> None:
    drawn().save(tmp_path / "x.jpg", subsampling=name)
    assert jpeg_facts(tmp_path / "x.jpg")["subsampling"] == name
    drawn("L").save(tmp_path / "x.jpg")
    assert jpeg_facts(tmp_path / "x.jpg")["subsampling"] == "grey"


def test_tables_of_other_programs_get_the_nearest_quality(tmp_path: Path) -> None:
    drawn().save(tmp_path / "ijg.jpg", quality=83)
    with Image.open(tmp_path / "ijg.jpg") as picture:
        luma = list(vars(picture)["quantization"][0])
    luma[5] += 1
    assert estimate_quality(luma) == (83, False)
    drawn().save(tmp_path / "own.jpg", qtables=[luma, luma])
    facts = jpeg_facts(tmp_path / "own.jpg")
    assert facts["jpeg_quality"] == 83 and not facts["jpeg_standard"]
    assert not math.isnan(float(facts["jpeg_quality"]))
