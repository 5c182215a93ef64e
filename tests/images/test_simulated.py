"""The drawn set: as announced, the same again, and nothing but traces tells its classes apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from interp.errors import InputError
from interp.images.decode import read_image
from interp.images.image_set import ImageSet
from interp.images.simulated import draw_simulated_set
from interp.images.simulators import SIMULATORS


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return draw_simulated_set(tmp_path_factory.mktemp("drawn") / "set", n_per_class=40)


def levels(images: ImageSet, generator: str) -> np.ndarray:
    keys = images.table.index[images.table["generator"] == generator]
    return np.stack([np.asarray(read_image(images.path(key)).pixels, dtype=float) for key in keys])


def test_the_set_is_as_announced(drawn: ImageSet) -> None:
    table = drawn.table
    fakes = table[table["label"] == "fake"]
    assert table["generator"].value_counts().to_dict() == dict.fromkeys(["real", *SIMULATORS], 40)
    assert fakes["family"].nunique() >= 4
    assert fakes["generator"].str.startswith("simulated-").all()
    assert table["group"].is_unique
    assert not table["shortcut"].any()
    assert (pd.crosstab(table["generator"], table["scene"]) == 8).all(axis=None)
    facts = [read_image(drawn.path(key)).facts for key in drawn.keys]
    assert {(f["format"], f["mode"], f["width"], f["height"]) for f in facts} == {("PNG", "RGB", 64, 64)}
    assert len({f["pixel_hash"] for f in facts}) == len(table)


def test_files_do_not_tell_the_classes_apart(drawn: ImageSet) -> None:
    """One length in bytes for all: what compresses well is not told by its file."""
    assert len({drawn.path(key).stat().st_size for key in drawn.keys}) == 1


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
def test_sizes_that_cannot_be_drawn_are_refused(wrong: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected n_per_class of 1 or more"):
        draw_simulated_set(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()


SOME = ("simulated-nearest", "simulated-autoencoder")


def files(images: ImageSet) -> dict[str, bytes]:
    return {key: images.path(key).read_bytes() for key in images.keys}


def test_processes_numbers_and_other_generators_change_no_image(tmp_path: Path) -> None:
    alone = draw_simulated_set(tmp_path / "one", n_per_class=30, size=16, generators=SOME, n_jobs=1)
    beside = draw_simulated_set(tmp_path / "two", n_per_class=30, size=16, generators=SOME, n_jobs=2)
    assert files(alone) == files(beside)
    pd.testing.assert_frame_equal(alone.table, beside.table)
    whole = files(draw_simulated_set(tmp_path / "few", n_per_class=2, size=16))
    assert len(set(files(alone).items()) & set(whole.items())) == 2 * 3
    assert alone.table["generator"].unique().tolist() == ["real", *SOME]


def test_the_shortcut_is_where_it_is_asked_for_and_nowhere_else(tmp_path: Path) -> None:
    one = {"n_per_class": 10, "size": 32, "generators": SOME}
    plain = draw_simulated_set(tmp_path / "plain", **one)
    cast = draw_simulated_set(tmp_path / "cast", **one, shortcut=0.15, shortcut_generators=[SOME[0]])
    marked = cast.table["shortcut"].to_numpy(bool)
    assert (marked == (cast.table["generator"] == SOME[0])).all() and marked.sum() == 10
    before, after = files(plain), files(cast)
    assert [before[key] != after[key] for key in cast.keys] == marked.tolist()
    red, green, blue = (levels(cast, SOME[0]) / levels(plain, SOME[0]).clip(1)).mean(axis=(0, 1, 2))
    assert 1.05 < red < 1.2 and 0.97 < green < 1.03 and 0.8 < blue < 0.95
    with pytest.raises(InputError, match="'shortcut': 0.15.*asked for.*'shortcut': 0.0"):
        draw_simulated_set(tmp_path / "cast", **one)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shortcut": 0.1},
        {"shortcut_generators": SOME},
        {"shortcut": 0.6, "shortcut_generators": SOME},
        {"shortcut": -0.1, "shortcut_generators": SOME},
    ],
)
def test_a_shortcut_by_halves_is_refused(wrong: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a shortcut is a strength above 0"):
        draw_simulated_set(tmp_path / "set", n_per_class=1, size=16, **wrong)


def test_an_unknown_generator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'simulated-nearest'"):
        draw_simulated_set(tmp_path / "set", generators=["simulated-nearst"])
    with pytest.raises(InputError, match="unknown simulated generator"):
        draw_simulated_set(
            tmp_path / "set", generators=SOME, shortcut=0.1, shortcut_generators=["simulated-palette"]
        )
    assert not (tmp_path / "set").exists()


def within_cells(pixels: np.ndarray) -> np.ndarray:
    """Mean step inside the cells of a 2 × 2 grid over that across cells, by image."""
    right, down = np.abs(np.diff(pixels, axis=2)), np.abs(np.diff(pixels, axis=1))
    inside = right[:, :, ::2].mean(axis=(1, 2, 3)) + down[:, ::2].mean(axis=(1, 2, 3))
    return inside / (right[:, :, 1::2].mean(axis=(1, 2, 3)) + down[:, 1::2].mean(axis=(1, 2, 3)))


def at_nyquist(pixels: np.ndarray) -> np.ndarray:
    """Power at the highest horizontal frequency over that of its neighbourhood, for each image."""
    power = (np.abs(np.fft.rfft(pixels.mean(axis=3), axis=2)) ** 2).mean(axis=1)
    return power[:, -1] / power[:, -5:-1].mean(axis=1)


def steepness(pixels: np.ndarray) -> np.ndarray:
    """Power beyond 0.4 of the sampling rate over that from 0.15 to 0.3, for each image."""
    power = np.abs(np.fft.fft2(pixels.mean(axis=3), axes=(1, 2))) ** 2
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(pixels.shape[1])] * 2))
    return power[:, frequency > 0.4].mean(axis=1) / power[:, abs(frequency - 0.225) < 0.075].mean(axis=1)


def residue(pixels: np.ndarray) -> np.ndarray:
    """Of the prediction of green from its four neighbours."""
    green = pixels[..., 1]
    around = green[:, :-2, 1:-1] + green[:, 2:, 1:-1] + green[:, 1:-1, :-2] + green[:, 1:-1, 2:]
    return np.abs(green[:, 1:-1, 1:-1] - around / 4)


def lattice(pixels: np.ndarray) -> np.ndarray:
    """How unlike the residue is on the two halves of a chessboard: demosaicing (Popescu and Farid 2005)."""
    found = residue(pixels)
    odd = np.indices(found.shape[1:]).sum(axis=0) % 2
    return np.abs(np.log(found[:, odd == 1].mean(axis=1) / found[:, odd == 0].mean(axis=1)))


def calm(pixels: np.ndarray) -> np.ndarray:
    """The calmest quarter of the residue over its mean: noise over structure."""
    found = residue(pixels).reshape(len(pixels), -1)
    return np.percentile(found, 25, axis=1) / found.mean(axis=1)


def requantised(pixels: np.ndarray) -> np.ndarray:
    """What a palette of 96 colours loses, over the picture's contrast."""
    lost = []
    for one in pixels:
        few = Image.fromarray(one.astype(np.uint8)).quantize(96, kmeans=2, dither=Image.Dither.NONE)
        lost.append(np.sqrt(((np.asarray(few.convert("RGB")) - one) ** 2).mean()) / one.std())
    return np.array(lost)


TRACES = {
    "simulated-nearest": (within_cells, -1),
    "simulated-bilinear": (within_cells, -1),
    "simulated-bicubic": (within_cells, -1),
    "simulated-checkerboard": (at_nyquist, 1),
    "simulated-spectral": (steepness, -1),
    "simulated-diffusion": (calm, -1),
    "simulated-palette": (requantised, -1),
    "simulated-no-sensor": (lattice, -1),
}


@pytest.mark.parametrize("name", TRACES)
def test_traces_are_still_told_by_their_own_statistic_after_jpeg(name: str, drawn: ImageSet) -> None:
    """Well above chance, and not by every image: strengths vary. The others' traces are weaker: see the simulators."""
    statistic, sign = TRACES[name]
    scores = sign * np.concatenate([statistic(levels(drawn, one)) for one in ("real", name)])
    assert roc_auc_score(np.repeat([0, 1], 40), scores) > 0.7


def test_photographs_have_no_trace_of_a_generator(drawn: ImageSet) -> None:
    real = levels(drawn, "real")
    assert 0.95 < np.median(within_cells(real)) < 1.05
    assert 0.8 < np.median(at_nyquist(real)) < 1.25
    assert np.median(lattice(real)) > 0.04


def test_scenes_do_not_tell_the_classes_apart(drawn: ImageSet) -> None:
    """Mean colours, which no trace touches, are drawn from one distribution."""
    means = {name: levels(drawn, name).mean(axis=(1, 2)) for name in drawn.table["generator"].unique()}
    for name, values in means.items():
        for colour in range(3):
            score = roc_auc_score(np.repeat([0, 1], 40), np.r_[means["real"][:, colour], values[:, colour]])
            assert 0.3 < score < 0.7, name  # the deviation by chance is 0.065


def test_large_pictures_show_the_same_world(tmp_path: Path) -> None:
    images = draw_simulated_set(tmp_path / "set", n_per_class=1, size=128)
    with Image.open(images.path(images.keys[0])) as photo:
        assert photo.size == (128, 128)
