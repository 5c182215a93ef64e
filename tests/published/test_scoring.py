"""Sets are scored as scikit-learn does, against their own photographs, and whole entries run on their layouts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rine_files import rine_tensors
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from interp.detectors import fitting
from interp.detectors.fitting import OPENAI, RESIZED
from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.images.image_set import ImageSet
from interp.published.entries import entries
from interp.published.scoring import MEAN, sample_sets, score_sets, set_members
from interp.reproduction import reproduce

ROWS = pd.DataFrame(
    {
        "label": ["real"] * 4 + ["fake"] * 4 + ["real"] * 2 + ["fake"] * 2,
        "generator": ["real"] * 4 + ["glide"] * 2 + ["ldm"] * 2 + ["real"] * 2 + ["guided"] * 2,
        "source": ["laion"] * 4 + ["glide"] * 2 + ["ldm"] * 2 + ["imagenet"] * 2 + ["guided"] * 2,
    },
    index=[f"{i}.png" for i in range(12)],
)
SETS = {"glide": "laion", "ldm": "laion", "guided": "imagenet"}


def test_sets_share_photographs_or_have_their_own():
    members = set_members(ROWS, SETS)
    assert {name: m.tolist() for name, m in members.items()} == {
        "glide": [0, 1, 2, 3, 4, 5],
        "ldm": [0, 1, 2, 3, 6, 7],
        "guided": [8, 9, 10, 11],
    }
    everything = set_members(ROWS, {})
    assert sorted(everything) == ["glide", "guided", "ldm"] and len(everything["guided"]) == 6 + 2
    assert sorted(set_members(ROWS, {**SETS, "biggan": "biggan"})) == sorted(SETS)
    with pytest.raises(InputError, match="no column `source`"):
        set_members(ROWS.drop(columns="source"), SETS)
    with pytest.raises(InputError, match="unknown set 'gilde'; did you mean 'glide'"):
        set_members(ROWS, {"gilde": "laion"})
    with pytest.raises(InputError, match="no photograph"):
        set_members(ROWS[ROWS.label == "fake"], SETS)


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30))
def test_metrics_are_those_of_scikit_learn(pairs):
    y = np.array([fake for fake, _ in pairs]).astype(int)
    y[:2] = 0, 1
    s = np.array([score for _, score in pairs], dtype=float)
    rows = pd.DataFrame({"label": np.where(y, "fake", "real"), "generator": np.where(y, "glide", "real")})
    found = score_sets(pd.DataFrame({"score": s}), rows, {}).loc["glide"]
    assert found["ap"] == pytest.approx(average_precision_score(y, s))
    assert found["auc"] == pytest.approx(roc_auc_score(y, s))
    assert found["accuracy"] == pytest.approx(accuracy_score(y, s > 0))
    best = max(accuracy_score(y, s > t) for t in [-np.inf, *s])
    assert found["oracle_accuracy"] == pytest.approx(best)
    assert (found["n_real"], found["n_fake"]) == ((y == 0).sum(), y.sum())


def test_the_mean_is_over_sets_and_counts_them():
    scores = pd.DataFrame({"score": [-1.0, -2, 1, -3, 2, 3, -1, 1, np.nan, -1, 1, 2]}, index=ROWS.index)
    table = score_sets(scores, ROWS, SETS)
    assert table.loc["guided", "n_real"] == 1  # one photograph could not be read
    assert table.loc[MEAN, "accuracy"] == pytest.approx(table.loc[list(SETS), "accuracy"].mean())
    assert table["n_sets"].tolist() == [1, 1, 1, 3]


def test_a_sample_is_drawn_once_for_sets_that_share_photographs():
    table = pd.DataFrame({"family": "", "group": ROWS.index, **ROWS}).rename_axis("key")
    images = ImageSet(table, Path("."))
    drawn = sample_sets(images, SETS, 1, seed=0)
    assert len(drawn) == 5 and drawn.table["source"].is_unique
    assert list(sample_sets(images, SETS, 1, seed=0).keys) == list(drawn.keys)
    assert len(sample_sets(images, {"glide": "laion"}, None, seed=0)) == 6
    alone = sample_sets(images, {"glide": "laion"}, 1, seed=0)
    assert set(alone.keys) < set(drawn.keys)
    assert {tuple(sample_sets(images, SETS, 1, seed=s).keys) for s in range(8)} != {tuple(drawn.keys)}


def draw(folder: Path, paths: list[str]) -> None:
    rng = np.random.default_rng(0)
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)).save(folder / path)


@pytest.fixture
def looking() -> Encoder:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    pixels = {"image_size": 224, "patch_size": 56, "projection_dim": 768}
    return Encoder(CLIPVisionModelWithProjection(CLIPVisionConfig(**shape, **pixels)), RESIZED, name=OPENAI)


def fake_head(folder: Path) -> Path:
    torch.save({"weight": torch.randn(1, 768), "bias": torch.zeros(1)}, folder / "fc_weights.pth")
    return folder / "fc_weights.pth"


def draw_sets(folder: Path, sets: Mapping[str, str]) -> None:
    """Two images of each class for each set, as the released test sets lie."""
    inside = {
        name: "diffusion_datasets/" if source in ("imagenet", "laion") else ""
        for name, source in sets.items()
    }
    paths = [f"{inside[name]}{name}/1_fake/{i}.png" for name in sets for i in range(2)]
    paths += [f"{inside[name]}{source}/0_real/{i}.png" for name, source in sets.items() for i in range(2)]
    paths = [p.replace("progan/", "progan/cat/").replace("cyclegan/", "cyclegan/horse/") for p in paths]
    draw(folder, sorted(set(paths)))


def test_universal_fake_detect_finds_all_its_sets_in_their_layout(tmp_path, looking):
    draw_sets(tmp_path / "data", entries()["universal-fake-detect"].steps["sets"])
    options = {"encoder": looking, "head": fake_head(tmp_path), "workers": 0, "progress": False}
    verdict = reproduce("universal-fake-detect", tmp_path / "data", out=tmp_path / "out", **options)
    assert not verdict.table["missing"].any() and verdict.exit_code == 1
    assert verdict.table.query("metric == 'n_sets'")["within"].tolist() == ["yes"]
    table = pd.read_csv(tmp_path / "out" / "tables" / "sets.csv", index_col=0)
    assert set(table["n_real"]) == {2}
    with pytest.raises(InputError, match="quick_gelu"):
        other = Encoder(looking.model, RESIZED, name="laion/CLIP-ViT-L-14-laion2B-s32B-b82K")
        reproduce(
            "universal-fake-detect", tmp_path / "data", out=tmp_path / "o", **{**options, "encoder": other}
        )
    assert not (tmp_path / "o").exists()


def test_genimage_finds_all_its_generators_in_their_layout(tmp_path, looking):
    folders = [
        "Midjourney",
        "stable_diffusion_v_1_4",
        "stable_diffusion_v_1_5",
        "ADM",
        "glide",
        "wukong",
        "VQDM",
        "BigGAN",
    ]
    kinds = ("val/ai", "val/nature", "train/ai")
    draw(
        tmp_path / "data",
        [f"{f}/imagenet_x/{kind}/{i}.png" for f in folders for kind in kinds for i in range(2)],
    )
    options = {"encoder": looking, "head": fake_head(tmp_path), "workers": 0, "progress": False}
    verdict = reproduce("genimage-univfd-sd14", tmp_path / "data", out=tmp_path / "out", **options)
    assert not verdict.table["missing"].any()
    table = pd.read_csv(tmp_path / "out" / "tables" / "sets.csv", index_col=0)
    assert set(table["n_real"]) == set(table["n_fake"]) == {2}  # training images are left out


def test_rine_reads_the_norms_of_the_encoder_that_extracts(tmp_path, looking, monkeypatch):
    monkeypatch.setitem(fitting.RINE_ENCODERS, (1, 32), OPENAI)
    draw_sets(tmp_path / "data", entries()["rine-4class"].steps["sets"])
    torch.save(rine_tensors(1, 32, 4, 2), tmp_path / "head.pth")
    options = {"encoder": looking, "head": tmp_path / "head.pth", "workers": 0, "progress": False}
    verdict = reproduce("rine-4class", tmp_path / "data", out=tmp_path / "out", **options)
    assert not verdict.table["missing"].any()
    assert pd.read_parquet(tmp_path / "out" / "scores.parquet")["score"].notna().all()
