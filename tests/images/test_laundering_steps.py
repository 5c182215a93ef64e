"""Each laundering step against a reference: Pillow, SciPy, OpenCV, or the definition; and how much it harms."""

from __future__ import annotations

import io
import itertools
import math

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from interp.errors import InputError, UnreadableImage
from interp.images import launder_codecs
from interp.images.laundering import Laundering


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def landscape(seed: int, size: int = 96) -> Image.Image:
    """A picture with the spectrum of photographs (1/f) and an edge, in colour."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    planes = [
        np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) / frequency, s=(size, size))
        for _ in range(3)
    ]
    tones = np.stack(planes, axis=-1)
    tones = 128 + 45 * tones / tones.std()
    tones[size // 2 :, : size // 3] += 40
    return Image.fromarray(np.clip(tones, 0, 255).astype(np.uint8))


def laundered(text: str, image: Image.Image, key: str = "key") -> Image.Image:
    return Laundering.parse(text).apply(image, key)


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


def psnr(one: Image.Image, other: Image.Image) -> float:
    return 10 * math.log10(255**2 / max(float(((levels(one) - levels(other)) ** 2).mean()), 1e-9))


@pytest.mark.parametrize(
    "text",
    ["resize:1", "resize:1:nearest", "blur:0", "blur:0:down", "noise:0", "gamma:1", "crop:1", "crop:1:0:1"]
    + ["cropback:1", "contrast:1", "sharpen:0", "kernelblur:1", "kernelblur:1:4", "printscan:0", "none"],
)
def test_no_step_at_all_leaves_every_bit(text: str) -> None:
    image = noise(37, 23)
    assert laundered(text, image).tobytes() == image.tobytes()


@pytest.mark.parametrize("quality", [1, 30, 75, 90, 100])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_jpeg_is_pillows(quality: int, subsampling: str) -> None:
    image, buffer = landscape(0), io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling={"444": 0, "422": 1, "420": 2}[subsampling])
    expected = Image.open(buffer).convert("RGB")
    assert laundered(f"jpeg:{quality}:{subsampling}", image).tobytes() == expected.tobytes()


def test_the_default_is_pillows_own_subsampling() -> None:
    image, buffer = landscape(1), io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    assert laundered("jpeg:60", image).tobytes() == Image.open(buffer).convert("RGB").tobytes()


def test_bgr_is_a_jpeg_of_exchanged_channels() -> None:
    image = landscape(2)
    turned = Image.fromarray(np.asarray(image)[..., ::-1].copy())
    expected = np.asarray(laundered("jpeg:40", turned))[..., ::-1]
    assert np.array_equal(np.asarray(laundered("jpeg:40:bgr", image)), expected)
    assert laundered("jpeg:40:bgr", image).tobytes() != laundered("jpeg:40", image).tobytes()


def test_double_jpeg_is_two_jpegs_with_the_grid_moved() -> None:
    image = landscape(3)
    assert laundered("jpeg2:90:60", image).tobytes() == laundered("jpeg:90+jpeg:60", image).tobytes()
    once = laundered("jpeg:90", image)
    moved = laundered("jpeg:60", once.crop((3, 3, *once.size)))
    assert laundered("jpeg2:90:60:3", image).tobytes() == moved.tobytes()


@pytest.mark.parametrize(("text", "format"), [("webp:60", "WEBP"), ("webp:0", "WEBP")])
def test_webp_is_pillows(text: str, format: str) -> None:
    image, buffer = landscape(4), io.BytesIO()
    image.save(buffer, format, quality=int(text.split(":")[1]))
    assert laundered(text, image).tobytes() == Image.open(buffer).convert("RGB").tobytes()


def test_a_format_that_pillow_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launder_codecs.features, "check", lambda name: False)
    with pytest.raises(InputError, match="built without AVIF; install"):
        laundered("avif:50", noise(8, 8))


def test_what_a_format_cannot_hold_is_an_unreadable_image() -> None:
    with pytest.raises(UnreadableImage, match="WEBP holds edges up to 16,383 pixels"):
        laundered("webp:50", Image.new("RGB", (16_384, 1)))
    with pytest.raises(UnreadableImage, match="32000 × 32000 pixels after resize:8"):
        laundered("resize:8", Image.new("RGB", (4000, 4000)))


def test_an_encoder_that_gives_up_is_an_unreadable_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError("encoding error 6")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(UnreadableImage, match="WEBP encoder gave up"):
        laundered("webp:50", noise(8, 8))


@pytest.mark.parametrize("colours", [2, 16, 256])
@pytest.mark.parametrize("dither", ["floyd", "plain"])
def test_a_palette_has_no_more_colours_than_asked_for(colours: int, dither: str) -> None:
    few = laundered(f"palette:{colours}:{dither}", landscape(5))
    assert 1 < len(set(few.get_flattened_data())) <= colours


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_resize_is_pillows(name: str) -> None:
    image = noise(50, 30)
    for factor, size in ((0.5, (25, 15)), (1.3, (65, 39))):
        expected = image.resize(size, Image.Resampling[name.upper()])
        assert laundered(f"resize:{factor}:{name}", image).tobytes() == expected.tobytes()


def test_crops_lie_where_they_are_said_to_lie() -> None:
    image = noise(101, 50)
    assert laundered("crop:0.5", image).tobytes() == image.crop((25, 12, 75, 37)).tobytes()
    assert laundered("crop:0.5:0:0", image).tobytes() == image.crop((0, 0, 50, 25)).tobytes()
    assert laundered("crop:0.5:1:1", image).tobytes() == image.crop((51, 25, 101, 50)).tobytes()
    back = image.crop((25, 12, 75, 37)).resize((101, 50), Image.Resampling.LANCZOS)
    assert laundered("cropback:0.5:lanczos", image).tobytes() == back.tobytes()
    assert laundered("cropback:0.9:swapped", image).size == (50, 101)


def test_through_is_two_resizes_by_pillow_and_keeps_the_size() -> None:
    image = noise(61, 40)
    expected = image.resize((30, 20), Image.Resampling.BICUBIC).resize((61, 40), Image.Resampling.BICUBIC)
    assert laundered("through:20", image).tobytes() == expected.tobytes()
    assert laundered("through:40", image).tobytes() == image.tobytes()


def test_blur_is_scipys() -> None:
    pixels = np.asarray(noise(40, 30))
    for sigma in (0.7, 3):
        planes = [ndimage.gaussian_filter(pixels[..., c].astype(float), sigma) for c in range(3)]
        ours = levels(laundered(f"blur:{sigma}", Image.fromarray(pixels)))
        assert np.abs(ours - np.stack(planes, axis=-1)).max() <= 0.5 + 1e-4
        wang = pixels.copy()  # each plane filtered into itself, as the published code does
        for c in range(3):
            ndimage.gaussian_filter(wang[:, :, c], output=wang[:, :, c], sigma=sigma)
        assert laundered(f"blur:{sigma}:down", Image.fromarray(pixels)).tobytes() == wang.tobytes()


OPENCV_BLUR = {  # cv2.GaussianBlur of `(arange(42).reshape(6, 7)**2 * 37) % 256`, sigmaX = 4, OpenCV 5.0
    5: [
        [83, 90, 104, 123, 133, 139, 140],
        [104, 102, 107, 126, 128, 135, 137],
        [103, 110, 107, 119, 115, 123, 117],
        [112, 122, 121, 128, 128, 130, 124],
        [109, 127, 120, 121, 115, 118, 104],
        [129, 138, 122, 124, 110, 114, 100],
    ],
    3: [
        [41, 79, 110, 127, 134, 131, 156],
        [63, 75, 106, 127, 136, 133, 133],
        [130, 115, 123, 122, 137, 141, 141],
        [155, 114, 126, 103, 123, 105, 109],
        [134, 123, 143, 125, 123, 110, 116],
        [98, 89, 140, 126, 124, 86, 91],
    ],
}


@pytest.mark.parametrize("kernel", OPENCV_BLUR)
def test_kernel_blur_is_opencvs_within_a_level(kernel: int) -> None:
    plane = ((np.arange(42).reshape(6, 7) ** 2 * 37) % 256).astype(np.uint8)
    image = Image.fromarray(np.stack([plane] * 3, axis=-1))
    found = levels(laundered(f"kernelblur:{kernel}:4", image))[..., 0]
    assert np.abs(found - OPENCV_BLUR[kernel]).max() <= 1


def test_noise_has_its_deviation() -> None:
    grey = Image.new("RGB", (200, 200), (128, 128, 128))
    for text, deviation, mean in (("noise:6", 6, 0), ("noise:16:variance", 4, 0), ("noise:6:down", 6, -0.5)):
        found = levels(laundered(text, grey)) - 128
        tolerance = 5 * deviation / math.sqrt(found.size)
        assert abs(found.mean() - mean) < tolerance
        assert abs(found.std() - math.sqrt(deviation**2 + 1 / 12)) < tolerance


def test_shot_noise_is_poisson() -> None:
    photons = 51  # a white pixel; this grey expects 20
    grey = Image.new("RGB", (150, 150), (100, 100, 100))
    counts = np.rint(levels(laundered(f"shot:{photons}", grey)) * photons / 255)
    observed = np.bincount(counts.ravel().astype(int), minlength=52)[8:36]
    expected = counts.size * stats.poisson(20).pmf(np.arange(8, 36))
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4


def test_tones_follow_their_curves() -> None:
    ramp = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))
    x = np.arange(256.0)
    assert np.array_equal(levels(laundered("gamma:2.2", ramp))[0, :, 1], np.rint(255 * (x / 255) ** 2.2))
    assert np.array_equal(levels(laundered("contrast:0.5", ramp))[0, :, 1], np.rint(127.5 + (x - 127.5) / 2))


def test_sharpening_adds_what_the_blur_took() -> None:
    image = landscape(6)
    smooth = np.stack([ndimage.gaussian_filter(levels(image)[..., c], 2) for c in range(3)], axis=-1)
    expected = np.clip(levels(image) + 0.5 * (levels(image) - smooth), 0, 255)
    assert np.abs(levels(laundered("sharpen:0.5:2", image)) - expected).max() <= 0.5 + 1e-3


CURVES = {
    "jpeg": [100, 90, 75, 50, 30, 10],
    "webp": [95, 75, 50, 20],
    "avif": [90, 60, 30, 10],
    "palette": [128, 32, 8, 2],
    "blur": [0.5, 1, 2, 4],
    "kernelblur": [3, 5, 7, 9],
    "cropback": [0.99, 0.95, 0.9],
    "through": [80, 48, 24, 12],
    "sharpen": [0.25, 1, 3],
    "noise": [1, 2, 5, 10, 20],
    "shot": [1000, 200, 50, 10],
    "gamma": [1.05, 1.2, 1.5, 2],
    "contrast": [0.95, 0.8, 0.5, 0.2],
    "printscan": [0.25, 1, 2, 4],
}


@pytest.mark.parametrize("name", CURVES)
def test_more_of_a_step_harms_more(name: str) -> None:
    """The peak signal-to-noise ratio falls with severity, on the mean over pictures."""
    pictures = [landscape(seed) for seed in range(4)]
    means = [
        np.mean([psnr(laundered(f"{name}:{level}", picture), picture) for picture in pictures])
        for level in CURVES[name]
    ]
    assert all(less > more for less, more in itertools.pairwise(means)), means
