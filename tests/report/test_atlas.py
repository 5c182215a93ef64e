"""The head atlas: its numbers are the run's, its pictures those asked for, and no name in it can run."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from random_clip import random_clip

from interp.detectors.detector import load_detector
from interp.errors import InputError
from interp.explain.parts import LinearReading
from interp.features.extract import extract
from interp.images.image_set import ImageSet
from interp.images.simulated import draw_simulated_set
from interp.report.atlas import write_atlas
from interp.report.atlas_heads import HeadAtlas, head_atlas
from interp.report.atlas_measures import spread

HOSTILE = "</script><script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>"


@pytest.fixture(scope="module")
def atlas(small_run) -> HeadAtlas:
    options = {"images": small_run.images, "encoder": random_clip(), "top": 3, "progress": False}
    return head_atlas(small_run.folder, **options)


def held(page) -> dict:
    """What the page's script reads."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.S)[1])


def test_numbers_are_those_of_the_run_s_tables(small_run, atlas, tmp_path):
    run = held(write_atlas(atlas, tmp_path))["runs"][0]
    heads = [head["name"] for head in run["heads"]]
    assert heads == list(small_run.result.store.layout.names)
    shown = {m["name"]: m["values"] for m in run["measures"]}
    ranking = pd.read_csv(small_run.folder / "tables" / "ranking.csv").set_index("head").loc[heads]
    for name in ("transfer_auc", "stability", "in_distribution_auc", "gap"):
        assert shown[name] == pytest.approx(ranking[name].tolist(), rel=1e-3, abs=1e-9), name
    ranks = next(m["ranks"] for m in run["measures"] if m["name"] == "transfer_auc")
    assert heads[ranks.index(1)] == ranking["rank"].idxmin()
    assert run["generators"] == ["simulated-smooth"]
    assert [head["transfer"][0] for head in run["heads"]] == pytest.approx(shown["worst_auc"])
    direct = next(m for m in run["measures"] if m["name"] == "direct_effect")
    low, high = (np.array(end) for end in direct["interval"])
    assert (low <= np.array(direct["values"])).all() and (np.array(direct["values"]) <= high).all()


def test_spread_is_the_variance_of_what_a_head_writes(small_run):
    store = small_run.result.store
    written = store.head_embeddings().astype(np.float64).var(0).sum(-1)
    np.testing.assert_allclose(spread(store), written / store.embedding().var(0).sum(), rtol=1e-4)


def test_images_at_the_ends_are_those_whose_head_says_most(small_run, atlas):
    store = small_run.result.store
    reading = LinearReading.of(load_detector(small_run.folder / "detectors" / "embedding"), store.readout)
    added = pd.DataFrame(
        reading.contributions(store.record())[:, : store.layout.n_heads], store.rows.index, store.layout.names
    )
    for head in store.layout.names:
        shown = atlas.extremes[atlas.extremes["head"] == head]
        ends = {end: part.sort_values("rank")["key"].tolist() for end, part in shown.groupby("end")}
        assert ends["+"] == added[head].nlargest(3).index.tolist()
        assert ends["-"] == added[head].nsmallest(3).index.tolist()


def test_attention_sums_to_one_and_comes_back_out_of_the_page(atlas, tmp_path):
    run = held(write_atlas(atlas, tmp_path))["runs"][0]
    assert len(atlas.attention) == len(run["heads"]) == 16
    for head in run["heads"]:
        found, shown = atlas.attention[head["name"]], head["attention"]
        assert found.weights.sum() + found.elsewhere == pytest.approx(1, abs=1e-5)
        levels = np.frombuffer(base64.b64decode(shown["levels"]), np.uint8).reshape(-1, shown["columns"])
        np.testing.assert_allclose(
            levels / 255 * shown["largest"], found.weights, atol=shown["largest"] / 400
        )
        plus = atlas.extremes.query("head == @head['name'] and end == '+' and rank == 1")["key"].item()
        assert found.key == plus


def test_pictures_are_there_only_for_images_that_were_given(small_run, atlas, tmp_path):
    text = write_atlas(small_run.folder, tmp_path / "bare.html", progress=False).read_text()
    assert "data:image" not in text and '"attention": {' not in text
    shown = held(write_atlas(atlas, tmp_path))
    assert set(atlas.pictures) == set(atlas.extremes["key"])
    assert all(uri == "" or uri.startswith("data:image/webp;base64,") for uri in shown["pictures"])
    assert len(shown["pictures"]) == len(set(shown["pictures"]))
    both = held(write_atlas(atlas, tmp_path / "two.html", other=atlas))
    assert len(both["runs"]) == 2 and both["pictures"] == shown["pictures"]


def test_a_store_alone_has_spread_and_images_of_its_first_component(small_run, tmp_path):
    store = small_run.result.store
    alone = head_atlas(store.folder, top=2, progress=False)
    assert [one.name for one in alone.measures] == ["spread"]
    assert alone.transfer.empty and alone.curve.empty and "principal" in alone.scored_by
    scores = alone.extremes.query("head == 'L1.H2'")["score"].to_numpy()
    values = store.head_features()[:, store.layout.slice("L1.H2")].astype(np.float64)
    first = np.linalg.svd(values - values.mean(0), full_matrices=False)
    assert np.sort(np.abs(first[0][:, 0] * first[1][0]))[-1] == pytest.approx(np.abs(scores).max(), rel=1e-3)
    assert write_atlas(alone, tmp_path).exists()


def test_further_measures_are_shown_and_signed_where_they_are_negative(small_run, tmp_path):
    names = small_run.result.store.layout.names
    total = pd.DataFrame({"total_auc": np.linspace(-0.1, 0.1, 16), "total_auc_low": -1.0}, index=names)
    atlas = head_atlas(small_run.folder, measures=total, progress=False)
    last = held(write_atlas(atlas, tmp_path))["runs"][0]["measures"][-1]
    assert last["title"] == "total_auc" and last["signed"] is True
    assert last["values"] == pytest.approx(np.linspace(-0.1, 0.1, 16), rel=1e-3)
    with pytest.raises(InputError, match="L9.H9"):
        head_atlas(small_run.folder, measures=total.rename({"L0.H0": "L9.H9"}), progress=False)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> HeadAtlas:
    """Files, folders and generators with names that want to be scripts."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = []
    for i in range(6):
        path = folder / f"{i}{HOSTILE}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        names = {"label": "fake", "generator": HOSTILE} if i % 2 else {"label": "real", "generator": "real"}
        rows.append({"path": path.relative_to(folder).as_posix(), **names})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    images = ImageSet.open(folder)
    store = extract(images, random_clip(), folder / "store", workers=0, progress=False)
    found = head_atlas(store.folder, images=images, encoder=random_clip(), top=2, progress=False)
    words = pd.DataFrame({"head": store.layout.names, "rank": 1, "phrase": HOSTILE, "explained": 0.5})
    words = words.assign(so_far=0.5, null_so_far=np.nan, reliable=False)
    return dataclasses.replace(found, name=HOSTILE, encoder=HOSTILE, about=(HOSTILE,), words=words)


def test_hostile_names_are_text_and_only_the_page_s_own_script_may_run(hostile, tmp_path):
    text = write_atlas(hostile, tmp_path, title=HOSTILE).read_text()
    assert any(HOSTILE in key for key in hostile.extremes["key"])
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", text, re.S)
    assert [attributes for attributes, _ in scripts] == [' type="application/json" id="data"', ""]
    digest = base64.b64encode(hashlib.sha256(scripts[1][1].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert f"script-src 'sha256-{digest}'" in policy and policy.startswith("default-src 'none'")
    assert "window.hacked=1</script>" not in text and "<img" not in text
    assert held(tmp_path / "atlas.html")["runs"][0]["heads"][0]["words"][0][0] == HOSTILE


def test_what_does_not_belong_together_is_refused(small_run, tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        head_atlas(tmp_path)
    with pytest.raises(InputError, match="called already"):
        write_atlas(head_atlas(small_run.folder, progress=False), tmp_path, top=3)
    strangers = draw_simulated_set(tmp_path / "other", n_per_class=1, size=32, progress=False)
    other = ImageSet.from_folder(tmp_path / "other" / strangers.keys[0].split("/")[0])
    with pytest.raises(InputError, match="is a row of the store"):
        head_atlas(small_run.folder, images=other, progress=False)
    with pytest.raises(InputError, match="is not the store of"):
        store = extract(strangers, random_clip(), tmp_path / "store", workers=0, progress=False)
        head_atlas(small_run.folder, store=store)
    encoder = random_clip()
    encoder.model.visual_projection.weight.data.add_(1)
    with pytest.raises(InputError, match="is not the encoder"):
        from interp.encoders.encoder import Encoder

        head_atlas(small_run.folder, encoder=Encoder(encoder.model, encoder.preprocessing, name="x"))


def test_the_command_writes_a_page_and_says_what_it_lacks(small_run, tmp_path, capsys):
    from interp.cli.atlas import atlas

    options = {"images": small_run.images.root, "top": 1, "nulls": 0, "encoder": str(tmp_path)}
    assert atlas(small_run.folder, small_run.result.store.folder, tmp_path / "a.html", **options) == 0
    said = capsys.readouterr()
    assert "a.html (" in said.out and "no words: " in said.err and "no attention: " in said.err
    runs = held(tmp_path / "a.html")["runs"]
    assert [len(run["measures"]) for run in runs] == [7, 1]
    assert atlas(small_run.result.store.folder, out=tmp_path) == 0
    assert "no words" not in capsys.readouterr().err and (tmp_path / "atlas.html").exists()
