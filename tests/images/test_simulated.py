"""The drawn set: as announced, the same again, and with the traces that it claims."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interp.errors import InputError
from interp.images.decode import read_image
from interp.images.image_set import ImageSet
from interp.images.simulated import draw_simulated_set


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return draw_simulated_set(tmp_path_factory.mktemp("drawn") / "set", n_per_class=24, size=32)


def levels(images: ImageSet, generator: str) -> np.ndarray:
    keys = images.table.index[images.table["generator"] == generator]
    return np.stack([np.asarray(read_image(images.path(key)).pixels, dtype=float) for key in keys])


def test_the_set_is_as_announced(drawn: ImageSet) -> None:
    table = drawn.table
    fakes = table[table["label"] == "fake"]
    assert set(table["generator"].value_counts()) == {24}
    assert fakes["generator"].nunique() >= 5 and fakes["family"].nunique() >= 3
    assert fakes["generator"].str.startswith("simulated-").all()
    assert table["group"].is_unique
    facts = [read_image(drawn.path(key)).facts for key in drawn.keys]
    assert {(f["format"], f["mode"], f["width"], f["height"]) for f in facts} == {("PNG", "RGB", 32, 32)}
    assert len({f["pixel_hash"] for f in facts}) == len(table)


def test_the_same_settings_give_the_same_files(tmp_path: Path) -> None:
    sets = [
        draw_simulated_set(tmp_path / name, n_per_class=2, size=16, random_state=s)
        for name, s in [("a", 3), ("b", 3), ("c", 4)]
    ]
    files = [[images.path(key).read_bytes() for key in images.keys] for images in sets]
    assert files[0] == files[1]
    assert all(one != other for one, other in zip(files[0], files[2], strict=True))


def test_a_complete_folder_is_reused_and_no_other_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "set"
    images = draw_simulated_set(folder, n_per_class=1, size=16)
    times = {key: images.path(key).stat().st_mtime_ns for key in images.keys}
    again = draw_simulated_set(folder, n_per_class=1, size=16)
    assert {key: again.path(key).stat().st_mtime_ns for key in again.keys} == times
    assert [path.name for path in folder.parent.iterdir()] == ["set"]
    with pytest.raises(InputError, match="'size': 16.*asked for.*'size': 18"):
        draw_simulated_set(folder, n_per_class=1, size=18)
    images.path(images.keys[0]).unlink()
    with pytest.raises(InputError, match="1 images .* are gone"):
        draw_simulated_set(folder, n_per_class=1, size=16)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep me")
    with pytest.raises(InputError, match="holds something else"):
        draw_simulated_set(tmp_path / "mine", n_per_class=1, size=16)
    assert (tmp_path / "mine/notes.txt").read_text() == "keep me"


@pytest.mark.parametrize("wrong", [{"n_per_class": 0}, {"size": 33}, {"size": 8}])
def test_sizes_that_cannot_be_drawn_are_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected n_per_class of 1 or more"):
        draw_simulated_set(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()


def within_cells(pixels: np.ndarray) -> np.ndarray:
    """Mean difference of neighbours inside the cells of a 2 × 2 grid over that across cells, by image."""
    steps = np.abs(np.diff(pixels, axis=2))
    return steps[:, :, ::2].mean(axis=(1, 2, 3)) / steps[:, :, 1::2].mean(axis=(1, 2, 3))


def at_nyquist(pixels: np.ndarray) -> np.ndarray:
    """Power at the highest horizontal frequency over that of its neighbourhood, for each image."""
    power = (np.abs(np.fft.rfft(pixels.mean(axis=3), axis=2)) ** 2).mean(axis=1)
    return power[:, -1] / power[:, -5:-1].mean(axis=1)


def steepness(pixels: np.ndarray) -> np.ndarray:
    """Share of the power beyond a quarter of the sampling rate, for each image."""
    size = pixels.shape[1]
    power = np.abs(np.fft.fft2(pixels.mean(axis=3), axes=(1, 2))) ** 2
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    return power[:, frequency > 0.25].sum(axis=1) / power[:, frequency > 0].sum(axis=1)


def test_every_generator_leaves_its_trace_and_photographs_do_not(drawn: ImageSet) -> None:
    real = levels(drawn, "real")
    assert 0.9 < np.median(within_cells(real)) < 1.1
    assert np.mean(within_cells(levels(drawn, "simulated-nearest")) < 0.8) > 0.9
    checkerboard = levels(drawn, "simulated-checkerboard")
    assert np.median(at_nyquist(checkerboard)) > 3 * np.median(at_nyquist(real))
    for name in ("simulated-bilinear", "simulated-smooth", "simulated-spectral"):
        assert np.median(steepness(levels(drawn, name))) < 0.7 * np.median(steepness(real))
    colours = [len(np.unique(image.reshape(-1, 3), axis=0)) for image in levels(drawn, "simulated-palette")]
    assert max(colours) <= 48 < min(len(np.unique(image.reshape(-1, 3), axis=0)) for image in real)


def test_scenes_do_not_tell_the_classes_apart(drawn: ImageSet) -> None:
    """Mean colours, which no trace touches, are drawn from one distribution."""
    means = {name: levels(drawn, name).mean(axis=(1, 2, 3)) for name in drawn.table["generator"].unique()}
    for name, values in means.items():
        shift = (values.mean() - means["real"].mean()) / np.hypot(values.std(), means["real"].std())
        assert abs(shift) < 1, name


def test_large_pictures_show_the_same_world(tmp_path: Path) -> None:
    images = draw_simulated_set(tmp_path / "set", n_per_class=1, size=128)
    with Image.open(images.path(images.keys[0])) as photo:
        assert photo.size == (128, 128)
