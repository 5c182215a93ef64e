"""Exchanging heads between two images: nothing for equal ones, everything when all heads go, and what lies between."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_models import make

from interp.detectors.detector import Detector, LinearScore
from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.explain.patching import patch_pairs, patching_effects
from interp.images.preprocess import Preprocessing

FAMILIES = ["clip-gelu", "deit", "dinov3", "open-clip"]
LAST = "L3.H1"


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def setting(name: str, features: str = "embedding") -> tuple[Encoder, Detector]:
    encoder = Encoder(make(name), Preprocessing.clip(32), name=name)
    p = {"embedding": encoder.width, "heads": encoder.layout.size}[features]
    coef = np.random.default_rng(0).normal(size=p)
    return encoder, Detector("random", features, LinearScore(coef, 0.2), 0.0, {})


def patch(encoder: Encoder, detector: Detector, *pair: Image.Image, heads: list) -> pd.DataFrame:
    return patch_pairs(encoder, detector, [pair], heads=heads, progress=False)  # type: ignore[list-item]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("features", ["embedding", "heads"])
def test_with_every_head_exchanged_the_verdict_is_the_other_images(name, features):
    encoder, detector = setting(name, features)
    table = patch(encoder, detector, picture(0), picture(1), heads=[list(encoder.layout.names)])
    np.testing.assert_allclose(table["total"], table["gap"], rtol=1e-3)
    assert table["gap"].abs().min() > 0.1


@pytest.mark.parametrize("name", FAMILIES)
def test_an_image_patched_with_itself_stays_as_it_is(name):
    encoder, detector = setting(name)
    table = patch(encoder, detector, picture(0), picture(0), heads=["L0.H1", LAST])
    assert table[["total", "direct", "gap"]].abs().max(axis=None) < 1e-3


@pytest.mark.parametrize("name", ["deit", "open-clip"])
def test_a_head_of_the_last_layer_whose_mlp_is_off_has_a_heads_detectors_direct_effect_but_for_the_norm(name):
    """Later layers see nothing of it: the total effect is the direct one up to the final norm's std."""
    encoder, detector = setting(name)
    parts = encoder.recorder.parts
    last = [m for m in parts.mlps[-1].modules() if isinstance(m, torch.nn.Linear)][-1]
    torch.nn.init.zeros_(last.weight)
    norm = parts.final_norm
    norm.eps = 1e6  # type: ignore[union-attr]  # so large that the std is a constant
    norm.weight.data *= 1e3  # type: ignore[union-attr]
    encoder = Encoder(encoder.model, encoder.preprocessing, name=name)
    table = patch(encoder, detector, picture(0), picture(1), heads=[LAST, "L0.H0"]).set_index("head")
    np.testing.assert_allclose(table.loc[LAST, "total"], table.loc[LAST, "direct"], rtol=2e-3)
    assert (table.loc["L0.H0", "total"] - table.loc["L0.H0", "direct"]).abs().min() > 1e-2


def test_direct_effects_of_all_heads_are_those_of_the_parts():
    from interp.explain.verdict import explain

    encoder, detector = setting("vit", "heads")
    pair = picture(0), picture(1)
    table = patch(encoder, detector, *pair, heads=list(encoder.layout.names))
    verdicts = [explain(encoder, detector, image) for image in pair]
    stds = [float(encoder.record(encoder.pixel_values([image])).norm_std[0]) for image in pair]
    moved = (verdicts[1].heads * stds[1] - verdicts[0].heads * stds[0]).ravel()
    np.testing.assert_allclose(
        table[table["into"] == "photograph"]["direct"], moved / stds[0], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        table[table["into"] == "twin"]["direct"], moved / stds[1], rtol=1e-4, atol=1e-6
    )


def planted(pairs: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        [
            (p, into, head)
            for p in range(pairs)
            for into in ("photograph", "twin")
            for head in ("L0.H0", "L0.H1")
        ],
        columns=["pair", "into", "head"],
    )
    strong = frame["head"] == "L0.H1"
    return frame.assign(total=2.0 * strong + rng.normal(size=len(frame)), direct=1.0 * strong, gap=4.0)


def test_intervals_hold_a_planted_effect_and_leave_out_zero_where_there_is_one():
    effects = patching_effects(planted(60)).query("into == 'both'").set_index("head")
    assert list(effects.index) == ["L0.H1", "L0.H0"]
    assert effects.loc["L0.H1", "total_low"] < 2 < effects.loc["L0.H1", "total_high"]
    assert effects.loc["L0.H0", "total_low"] < 0 < effects.loc["L0.H0", "total_high"]
    assert effects.loc["L0.H1", "total_low"] > 1
    np.testing.assert_allclose(effects.loc["L0.H1", ["direct_low", "direct_high"]].astype(float), 1)


def test_pairs_of_one_group_count_as_one():
    once = planted(20)
    copies = pd.concat([once.assign(pair=once["pair"] + 20 * i) for i in range(4)])
    width = {}
    for name, groups in (("groups", np.tile(np.arange(20), 4)), ("pairs", None)):
        found = patching_effects(copies, groups=groups)
        width[name] = (found["total_high"] - found["total_low"]).mean()
    assert width["groups"] == pytest.approx(2 * width["pairs"], rel=0.1)


def test_what_cannot_be_patched_is_refused():
    encoder, detector = setting("vit")
    with pytest.raises(InputError, match="no pair"):
        patch_pairs(encoder, detector, [])
    with pytest.raises(InputError, match="unknown head"):
        patch(encoder, detector, picture(0), picture(1), heads=["L9.H0"])
    with pytest.raises(InputError, match="each of 60 pairs"):
        patching_effects(planted(60), groups=[1])
