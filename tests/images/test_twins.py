"""Twins: the same picture through one mechanism, in the same size and format, and nothing else changed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from twin_pictures import levels, made, picture

from interp.errors import InputError
from interp.images.image_set import ImageSet
from interp.images.laundering import Laundering
from interp.images.twins import make_twins
from interp.images.twins_mechanisms import MECHANISMS, Mechanism, read_mechanisms
from interp.images.vae import use_autoencoder

UPSAMPLERS = ("nearest", "bilinear", "bicubic", "lanczos", "checkerboard")


def test_twins_are_their_own_class_beside_their_photograph(photographs: ImageSet, tmp_path: Path) -> None:
    twins = made(photographs, tmp_path / "out", "nearest", "checkerboard:2|4").table
    assert twins["label"].value_counts().to_dict() == {"twin": 6, "real": 3}
    assert set(twins["generator"]) == {"real", "twin-nearest", "twin-checkerboard-2-4"}
    assert set(twins["family"]) == {"real", "upsampling"}
    assert twins.groupby("group").size().tolist() == [3, 3, 3]
    of = twins[twins["label"] == "twin"]
    assert set(of["twin_of"]) == set(twins.index[twins["label"] == "real"])
    assert (twins.loc[of["twin_of"], "group"].to_numpy() == of["group"].to_numpy()).all()
    assert set(of.loc[of["generator"] == "twin-checkerboard-2-4", "drawn"]) <= {
        "checkerboard",
        "checkerboard:4",
    }


@pytest.mark.parametrize("side", [32, None])
def test_both_sides_have_one_size_and_format(photographs: ImageSet, tmp_path: Path, side: int | None) -> None:
    twins = made(photographs, tmp_path / "out", *UPSAMPLERS, side=side)
    for key, original in twins.table["twin_of"].dropna().items():
        if original:
            twin, photograph = (Image.open(twins.path(str(name))) for name in (key, original))
            assert (twin.size, twin.format, twin.mode) == (
                photograph.size,
                photograph.format,
                photograph.mode,
            )
            assert twin.size == (32, 32) or side is None
            assert np.abs(levels(twin) - levels(photograph)).mean() < 25


@pytest.mark.parametrize("name", UPSAMPLERS)
@pytest.mark.parametrize("size", [(8, 6), (7, 5), (1, 1)])
def test_a_flat_picture_is_its_own_twin_but_for_the_checkerboard(name: str, size: tuple[int, int]) -> None:
    flat = Image.new("RGB", size, (90, 130, 200))
    twin = levels(Mechanism.read(name).step.apply(flat, np.random.default_rng(0)))
    assert np.abs(twin - levels(flat)).max() <= (30 if name == "checkerboard" else 0)
    if name == "checkerboard" and min(size) >= 6:
        assert np.ptp(twin[..., 0]) > 0 and np.abs(twin - levels(flat)).mean((0, 1)).max() < 15
        assert (twin[::2, ::2] == twin[0, 0]).all() and (twin[1::2, 1::2] == twin[1, 1]).all()


@settings(max_examples=10, deadline=None)
@given(width=st.integers(4, 40), height=st.integers(4, 40), factor=st.integers(2, 4))
def test_nearest_is_the_mean_of_each_block_repeated(width: int, height: int, factor: int) -> None:
    photograph = picture(width, height)
    twin = levels(Mechanism.read(f"nearest:{factor}").step.apply(photograph, np.random.default_rng(0)))
    whole_y, whole_x = height // factor * factor, width // factor * factor
    blocks = levels(photograph)[:whole_y, :whole_x].reshape(
        height // factor, factor, width // factor, factor, 3
    )
    expected = np.rint(blocks.mean((1, 3)).astype(np.float32)).repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_array_equal(twin[:whole_y, :whole_x], expected)


def test_bicubic_equals_the_same_upsampling_by_torch() -> None:
    """Catmull-Rom, a = -0.5, as torch has it with antialias; away from the border."""
    photograph = picture(32, 24)
    small = torch.from_numpy(levels(photograph)).permute(2, 0, 1)[None].float()
    small = torch.nn.functional.avg_pool2d(small, 2)
    expected = torch.nn.functional.interpolate(small, scale_factor=2, mode="bicubic", antialias=True)[0]
    twin = levels(Mechanism.read("bicubic").step.apply(photograph, np.random.default_rng(0)))
    assert np.abs(twin - expected.permute(1, 2, 0).clamp(0, 255).numpy()).max() <= 0.51


def test_a_vae_twin_is_the_laundered_photograph_and_still_no_photograph(
    photographs: ImageSet, tmp_path: Path
) -> None:
    use_autoencoder("halves", SimpleNamespace(encode=lambda x: x / 2, decode=lambda z: z))
    twins = made(photographs, tmp_path / "out", "vae:halves")
    key = twins.keys[twins.table["label"] == "twin"][0]
    photograph = Image.open(twins.path(twins.table.at[key, "twin_of"]))
    expected = Laundering.parse("vae:halves").apply(photograph.copy(), "any")
    assert levels(twins.path(key)).tolist() == levels(expected).tolist()
    assert twins.table.at[key, "generator"] == "twin-vae-halves"


def test_twins_do_not_depend_on_company_order_or_processes(photographs: ImageSet, tmp_path: Path) -> None:
    mechanisms = ["checkerboard", "nearest"]
    options: dict[str, Any] = {"mix": (0.1, 0.9)}
    first = made(photographs, tmp_path / "a", *mechanisms, **options)
    turned = ImageSet(photographs.table.iloc[::-1], photographs.root)
    other = made(turned, tmp_path / "b", "checkerboard", n_jobs=2, **options)
    assert made(photographs, tmp_path / "c", *mechanisms, **options, random_state=1).path("x")
    for key in other.keys:
        bytes_of = [(tmp_path / folder / key).read_bytes() for folder in "abc"]
        assert bytes_of[0] == bytes_of[1]
        assert (bytes_of[0] == bytes_of[2]) == key.startswith("photograph")
    assert len(set(first.table.loc[first.table["label"] == "twin", "share"])) == 6


def test_a_run_that_was_cut_off_goes_on_and_makes_nothing_twice(
    photographs: ImageSet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = made(photographs, out, "nearest")
    before = {key: (out / key).stat().st_mtime_ns for key in first.keys}
    lost = first.keys[-1]
    (out / lost).unlink()
    (out / "manifest.csv").unlink()
    again = made(photographs, out, "nearest", "bilinear")
    assert len(again) == 9 and (out / lost).exists()
    assert all((out / key).stat().st_mtime_ns == when for key, when in before.items() if key != lost)
    with pytest.raises(InputError, match="random_state was 0, asked for 1"):
        made(photographs, out, "nearest", random_state=1)


def test_unreadable_photographs_are_rows(photographs: ImageSet, tmp_path: Path) -> None:
    photographs.path("real/1.jpg").write_bytes(b"\xff\xd8 nothing")
    table = made(photographs, tmp_path / "out", "nearest").table
    wrong = table["twin_error"].fillna("") != ""
    assert len(table) == 6 and sorted(table.index[wrong]) == [
        "photograph/real/1.jpg.png",
        "twin-nearest/real/1.jpg.png",
    ]


def test_images_outside_the_folder_stay_inside_the_twins(photographs: ImageSet, tmp_path: Path) -> None:
    elsewhere = ImageSet(photographs.table.rename(index=lambda key: f"../given/{key}"), photographs.root)
    twins = made(elsewhere, tmp_path / "out", "nearest")
    assert all(
        (tmp_path / "out" / "photograph" / "__" / "given" / "real" / f"{i}.jpg.png").exists()
        for i in range(3)
    )
    assert len(twins) == 6


@pytest.mark.parametrize(
    ("mechanisms", "words"),
    [
        (["bilinar"], "did you mean 'bilinear'"),
        ([], "give a list of mechanisms"),
        ("nearest", "give a list of mechanisms"),
        (["nearest:9"], "a whole number from 2 to 8"),
        (["denoise:0.3"], "needs a model behind it"),
        (["denoise:model"], "write denoise:STRENGTH:MODEL"),
        (["inpaint:0.3:inpaint:0.2:nearest"], "cannot hold inpainting"),
        (["vae:a/x", "vae:b/x"], "two mechanisms are called 'twin-vae-x'"),
        (["nearest", "nearest:2"], "two mechanisms are called 'twin-nearest'"),
    ],
)
def test_wrong_mechanisms_are_told_what_to_do(mechanisms: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_mechanisms(mechanisms)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frequencies": "jpg"}, "did you mean 'jpeg'"),
        ({"frequencies": "jpeg"}, "give side=None"),
        ({"mix": (0.5, 0.2)}, "a lowest and a highest share"),
        ({"mix": (0, 1)}, "a lowest and a highest share"),
        ({"side": 8}, "16 pixels or more"),
    ],
)
def test_wrong_settings_are_told_what_to_do(
    photographs: ImageSet, tmp_path: Path, options: dict, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        made(photographs, tmp_path / "out", "nearest", **options)
    assert not (tmp_path / "out").exists()


def test_folders_of_something_else_and_sets_without_photographs_are_refused(
    photographs: ImageSet, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="holds something else than twins"):
        made(photographs, tmp_path / "given", "nearest")
    with pytest.raises(InputError, match="none of 1 images is one"):
        made(photographs.where("label=fake"), tmp_path / "out", "nearest")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "twins.json").write_text("{")
    with pytest.raises(InputError, match="holds other twins"):
        made(photographs, tmp_path / "broken", "nearest")


def test_every_mechanism_has_an_example_that_reads() -> None:
    for name, kind in MECHANISMS.items():
        assert str(Mechanism.read(kind.example).step).startswith(name)


def test_real_photographs_have_twins_through_real_weights(shared: Path, tmp_path: Path) -> None:
    weights = shared / "models" / "taef2"
    if not weights.exists():
        pytest.skip(f"no weights at {weights}")
    photographs = ImageSet.open(shared / "corpus", where="label=real")
    few = ImageSet(photographs.table.sample(2, random_state=0), photographs.root)
    twins = make_twins(few, [f"vae:{weights}"], tmp_path / "out", side=96, n_jobs=1, progress=False)
    table = pd.read_csv(tmp_path / "out" / "manifest.csv", keep_default_na=False)
    assert table["twin_error"].tolist() == [""] * 4 and len(twins) == 4
    for key, original in twins.table["twin_of"].dropna().items():
        if original:
            error = np.abs(levels(twins.path(str(key))) - levels(twins.path(original))).mean()
            assert 0.5 < error < 20
    assert json.loads((tmp_path / "out" / "twins.json").read_text())["side"] == 96
