"""Twins under a mask, and through a diffusion pipeline that is lent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from twin_pictures import levels, made, picture

from interp.errors import InputError
from interp.images.image_set import ImageSet
from interp.images.twins_diffusion import Inpaint, use_pipeline
from interp.images.twins_mechanisms import Mechanism


@settings(max_examples=12, deadline=None)
@given(
    share=st.floats(0.05, 0.9), width=st.integers(20, 90), height=st.integers(20, 90), seed=st.integers(0, 99)
)
def test_a_mask_covers_its_share_and_nothing_changes_outside(
    share: float, width: int, height: int, seed: int
) -> None:
    step = Mechanism.read(f"inpaint:{share:.3f}:nearest:4").step
    assert isinstance(step, Inpaint)
    photograph = picture(width, height)
    mask = levels(step.mask(photograph.size, np.random.default_rng(seed)))
    twin = levels(step.apply(photograph, np.random.default_rng(seed)))
    assert set(np.unique(mask)) <= {0, 255} and abs((mask == 255).mean() - share) < 0.1
    np.testing.assert_array_equal(twin[mask == 0], levels(photograph)[mask == 0])
    whole = levels(Mechanism.read("nearest:4").step.apply(photograph, np.random.default_rng(0)))
    np.testing.assert_array_equal(twin[mask == 255], whole[mask == 255])


def test_inpainting_keeps_the_mask_that_was_used(photographs: ImageSet, tmp_path: Path) -> None:
    twins = made(photographs, tmp_path / "out", "inpaint:0.2-0.6:nearest:4")
    for key, row in twins.table[twins.table["label"] == "twin"].iterrows():
        outside = levels(tmp_path / "out" / row["mask"]) == 0
        real, twin = levels(twins.path(str(row["twin_of"]))), levels(twins.path(str(key)))
        np.testing.assert_array_equal(twin[outside], real[outside])
        assert (twin[~outside] != real[~outside]).any()
    assert (twins.table["family"].iloc[1], len(set(twins.table["drawn"].dropna()))) == ("inpainting", 3)


def test_diffusion_gets_the_picture_a_strength_and_a_seed_of_the_image(
    photographs: ImageSet, tmp_path: Path
) -> None:
    calls = []

    def pipeline(**given: Any) -> SimpleNamespace:
        calls.append({**given, "seed": given["generator"].initial_seed()})
        return SimpleNamespace(images=[Image.eval(given["image"], lambda level: 255 - level)])

    use_pipeline("negative", pipeline)
    twins = made(photographs, tmp_path / "out", "denoise:0.1-0.5:negative", "inpaint:0.3:negative", side=None)
    assert len(calls) == 6 and len({call["seed"] for call in calls}) == 6
    assert all(edge % 8 == 0 for call in calls for edge in call["image"].size)
    strengths = [call["strength"] for call in calls if "mask_image" not in call]
    assert len(set(strengths)) == 3 and all(0.1 <= strength <= 0.5 for strength in strengths)
    table = twins.table[twins.table["family"] == "diffusion"]
    assert sorted(float(text.split(":")[1]) for text in table["drawn"]) == sorted(strengths)
    for key, row in table.iterrows():
        np.testing.assert_array_equal(levels(twins.path(str(key))), 255 - levels(twins.path(row["twin_of"])))
    use_pipeline("shrinks", lambda **given: SimpleNamespace(images=[given["image"].resize((8, 8))]))
    with pytest.raises(InputError, match="twins keep the size"):
        made(photographs, tmp_path / "small", "denoise:0.1:shrinks")
