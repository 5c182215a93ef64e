"""What a container says is read as it was written, whatever the format, and a damaged block is no crash."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from interp.errors import InputError
from interp.images.container import CONTAINER, container_facts
from interp.images.radial_spectrum import RINGS, radial_spectrum

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


def facts(kind: str, **options: object) -> dict[str, str]:
    buffer = io.BytesIO()
    PICTURE.save(buffer, kind, **options)
    return container_facts(buffer)  # type: ignore[arg-type]


def test_every_fact_is_there_for_every_format() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        assert set(facts(kind)) == set(CONTAINER)


def test_quantisation_tables_are_told_apart_and_recognised() -> None:
    assert (
        facts("JPEG", quality=75)["quantisation"] == facts("JPEG", quality=75, comment=b"x")["quantisation"]
    )
    found = {facts("JPEG", quality=q)["quantisation"] for q in (50, 74, 75, 95)}
    assert len(found) == 4 and facts("PNG")["quantisation"] == "none"


def test_metadata_is_named() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = facts("JPEG", exif=exif, icc_profile=profile, progressive=True, subsampling="4:4:4")
    assert (found["exif"], found["progressive"], found["subsampling"]) == ("Make", "yes", "4:4:4")
    assert found["icc"] != "none" and facts("JPEG")["icc"] == "none"
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat, 20 steps")
    assert facts("PNG", pnginfo=text)["metadata"] == "parameters"
    assert facts("PNG")["metadata"] == "none" and facts("PNG")["subsampling"] == "none"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_block_is_no_crash() -> None:
    assert facts("JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")["exif"] in ("damaged", "none")
    assert facts("JPEG", exif=b"Exif\x00\x00nonsense that is no TIFF header")["exif"] in ("damaged", "none")


def test_rings_follow_the_definition() -> None:
    rng = np.random.default_rng(0)
    white = radial_spectrum(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8))
    assert np.ptp(white[1:]) < 0.3  # white noise has the same power everywhere
    assert np.exp(white).sum() == pytest.approx(1)
    y, x = np.mgrid[:128, :128]
    for ring in range(1, RINGS):
        wave = 127 + 90 * np.sin(2 * np.pi * (ring + 0.5) / (2 * RINGS) * y)
        pixels = np.repeat(np.round(wave)[..., None], 3, axis=2).astype(np.uint8)
        assert radial_spectrum(pixels).argmax() == ring
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert np.allclose(radial_spectrum(flat), np.log(1 / RINGS))
    with pytest.raises(InputError, match="20 or more"):
        radial_spectrum(flat[:10])
