"""`interp tune` trains what looks at images and goes on where it was; `interp score` uses it; one table with others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from latent_pipelines import small_pipeline
from whole_clips import save_small_clip

from interp.cli.detectors import score
from interp.cli.options import Parts
from interp.cli.tuning import tune
from interp.detectors.image_detector import load_image_detector
from interp.detectors.lare_maps import LatentError
from interp.detectors.map_store import extract_maps
from interp.detectors.systems import make_system
from interp.encoders.loading import load_encoder
from interp.errors import InputError
from interp.evaluation.system_comparison import compare_systems
from interp.features.extract import extract
from interp.features.pixels import StoreWithImages
from interp.images.image_set import ImageSet
from interp.images.simulated import draw_simulated_set
from interp.protocol.splits import Protocol

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")

PARTS = Parts(
    protocol="by-hand",
    train=("simulated-palette",),
    select=("simulated-smooth",),
    test=("simulated-nearest",),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Drawn images, a small CLIP, its store, and a small diffusion pipeline."""
    folder = tmp_path_factory.mktemp("tune")
    names = ["simulated-palette", "simulated-smooth", "simulated-nearest"]
    draw_simulated_set(folder / "set", n_per_class=12, size=32, generators=names, progress=False)
    save_small_clip(folder / "clip")
    small_pipeline().save_pretrained(folder / "pipeline")
    images, encoder = ImageSet.open(folder / "set"), load_encoder(folder / "clip", device="cpu")
    extract(images, encoder, folder / "store", equalize="32:90", workers=0, progress=False)
    return folder


def test_a_tuned_clip_scores_new_images(made, tmp_path, capsys):
    options = {
        "out": tmp_path / "tuned",
        "system": "clip_finetune",
        "encoder": str(made / "clip"),
        "epochs": 1,
    }
    options |= {"parts": PARTS, "workers": 0, "device": "cpu"}
    assert tune(made / "store", made / "set", **options) == 0
    said = capsys.readouterr().out
    assert "trained on simulated-palette" in said and "simulated-smooth" in said and "peak" in said
    new = sorted((made / "set").rglob("*.png"))[:5]
    (tmp_path / "broken.png").write_bytes(b"no image")
    out = tmp_path / "scores.csv"
    assert score((*new, tmp_path / "broken.png"), tmp_path / "tuned", out=out, workers=0) == 3
    table = pd.read_csv(out, index_col=0, keep_default_na=False)
    assert (table["error"] != "").sum() == 1 and set(table["source"]) <= {"real", "simulated-palette", ""}
    detector, key = load_image_detector(tmp_path / "tuned")
    assert key == {"equalize": "32:90"}
    store = StoreWithImages(made / "store", ImageSet.open(made / "set"), str(made / "clip"), workers=0)
    scores = pd.Series(detector.decision_function(store.features("pixels")), store.rows.index)
    for path in new:
        row = table[[str(name).endswith(path.name) and path.parent.name in str(path) for name in table.index]]
        known = scores[scores.index.str.endswith(f"{path.parent.name}/{path.name}")]
        assert len(known) == 1 and np.isclose(row["score"].astype(float), known.iloc[0], atol=1e-4).any()
    assert tune(made / "store", made / "set", **options) == 0  # finished: nothing is trained again
    with pytest.raises(InputError, match="made with other settings; epochs"):
        tune(made / "store", made / "set", **options | {"epochs": 2})


def test_lare_makes_its_own_maps_for_new_images(made, tmp_path):
    options = {"out": tmp_path / "lare", "system": "lare", "encoder": str(made / "clip"), "epochs": 1}
    options |= {"parts": PARTS, "workers": 0, "device": "cpu", "side": 16, "tunes": "head"}
    with pytest.raises(InputError, match="lare needs --pipeline"):
        tune(made / "store", made / "set", **options)
    assert tune(made / "store", made / "set", **options, pipeline=str(made / "pipeline")) == 0
    assert score((made / "set",), tmp_path / "lare", out=tmp_path / "scores.csv", workers=0) == 0
    table = pd.read_csv(tmp_path / "scores.csv", index_col=0)
    assert len(table) == 48 and np.isfinite(table["score"]).all()


def test_systems_that_look_at_images_stand_in_one_table(made, tmp_path):
    images = ImageSet.open(made / "set")
    error = LatentError(small_pipeline(), side=16, draws=2)
    maps = extract_maps(images, error, tmp_path / "maps", equalize="32:90", workers=0, progress=False).maps
    store = StoreWithImages(made / "store", images, str(made / "clip"), maps, workers=0)
    parts = {"train": PARTS.train, "select": PARTS.select, "test": PARTS.test}
    protocol = Protocol.by_hand(store.rows, **parts, seeds=1)
    quick = {"epochs": 1, "device": "cpu"}
    systems = {name: make_system(name, store) for name in ("embedding", "clip_finetune", "lare")}
    for name in ("clip_finetune", "lare"):
        systems[name].set_params(**quick)
    table = compare_systems(store, protocol, systems, n_resamples=20, progress=False).table()
    assert (table["reason"] == "").all() and table["mean_ood_auc"].between(0, 1).all()
    assert (table.loc[["clip_finetune", "lare"], "trainable"] > 1000).all()
