"""A run leaves all it promises, goes on where it was cut off, and says no more than its nulls allow."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sklearn.metrics import roc_auc_score

from interp.encoders.loading import load_encoder
from interp.errors import InputError
from interp.evaluation.placebo_kinds import ALTERATIONS
from interp.images.image_set import ImageSet
from interp.images.simulated import draw_simulated_set
from interp.main_job import describe, evaluate_store, make_protocol, run
from interp.protocol.splits import Protocol

FIELDS = ["mean_ood_auc", "low", "high", "mean_id_auc", "worst_generator", "worst_auc"]
FIELDS += ["delta_to_embedding", "delta_low", "delta_high", "null_delta"]


def test_the_summary_has_every_detector_and_field(small_run):
    saved = json.loads((small_run.folder / "summary.json").read_text())
    for name in ("embedding", "all_heads", "selected_heads", "coordinate_removal"):
        row = saved["detectors"][name]
        assert set(FIELDS) <= set(row)
        assert 0 <= row["low"] <= row["mean_ood_auc"] <= row["high"] <= 1
    assert saved["detectors"]["selected_heads"]["null_delta"] is not None
    assert saved["recommended"] in saved["detectors"]


def test_scores_of_every_image_give_the_table_again(small_run):
    scores = pd.read_parquet(small_run.folder / "scores.parquet")
    rows = small_run.result.store.rows
    one = scores[(scores["arm"] == "all_heads") & ~scores["in_distribution"]]
    one = one.assign(
        label=(rows["label"] == "fake").reindex(one["key"]).to_numpy(),
        generator=rows["generator"].reindex(one["key"]).to_numpy(),
    )
    found = []
    for _, split in one.groupby("seed"):
        for name in ("simulated-palette", "simulated-spectral"):
            cell = split[split["generator"].isin(["real", name])]
            found.append(roc_auc_score(cell["label"], cell["score"]))
    assert small_run.result.summary.loc["all_heads", "mean_ood_auc"] == pytest.approx(np.mean(found))


def test_tables_figures_and_words_are_there(small_run):
    tables = {p.name for p in (small_run.folder / "tables").iterdir()}
    assert {"summary.csv", "transfer.csv", "cells.csv", "ranking.csv", "nulls.csv", "choices.csv"} <= tables
    figures = {p.name for p in (small_run.folder / "figures").iterdir()}
    assert {"head_map.png", "gains.png", "removal_curve.png", "transfer_embedding.png"} <= figures
    report = (small_run.folder / "report.md").read_text()
    assert all(f"- {arm}: " in report for arm in ("all_heads", "selected_heads", "coordinate_removal"))
    record = json.loads((small_run.folder / "run.json").read_text())
    assert record["store"]["encoder"]["weights"] == small_run.result.store.key["encoder"]["weights"]
    assert len(record["splits"]) == 2


def test_a_run_asks_every_detector_and_head_about_photographs_alone(small_run):
    result, folder = small_run.result, small_run.folder
    panel = pd.read_csv(folder / "tables" / "placebos.csv")
    asked = [(arm, name) for name in ALTERATIONS for arm in result.summary.index]
    assert list(zip(panel["arm"], panel["placebo"], strict=True)) == asked
    heads = pd.read_csv(folder / "tables" / "placebos_of_heads.csv")
    assert len(heads) == len(ALTERATIONS) * result.store.layout.layers * result.store.layout.heads
    report, page = (folder / "report.md").read_text(), (folder / "index.html").read_text()
    for arm, mark in result.marks.items():
        assert f"- placebos, {arm}: {mark or 'silent'}\n" in report
        assert mark in page and json.loads((folder / "summary.json").read_text())["placebos"][arm] == mark
    assert (folder / "altered").is_dir() and (folder / "figures" / "placebos.png").exists()


def test_a_gain_that_a_placebo_could_explain_is_neither_claimed_nor_recommended(small_run):
    summary = small_run.result.summary.copy()
    gain = {"delta_to_embedding": 0.2, "delta_low": 0.15, "delta_high": 0.25, "p_holm": 0.001}
    summary.loc["all_heads", list(gain)] = list(gain.values())
    panel = small_run.result.placebos.assign(auc=0.5, gap=0.0, explained=False)
    shown = SimpleNamespace(summary=summary, nulls=small_run.result.transfer.nulls.iloc[:0])
    silent = replace(small_run.result, transfer=shown, placebos=panel)
    assert silent.recommended == "all_heads" and "a gain; nothing was chosen" in silent.claims["all_heads"]
    panel.loc[panel["arm"] == "all_heads", ["auc", "gap", "explained"]] = 0.7, 0.2, True
    loud = replace(small_run.result, transfer=shown, placebos=panel)
    assert loud.recommended == "embedding" and "a placebo could explain" in loud.claims["all_heads"]
    panel.loc[panel["arm"] == "embedding", ["auc", "gap", "explained"]] = 0.75, 0.25, True
    assert replace(small_run.result, transfer=shown, placebos=panel).recommended == "all_heads"


def test_a_planted_cast_is_named_and_erased_by_a_run(tmp_path):
    names = [f"simulated-{name}" for name in ("bilinear", "nearest", "bicubic")]
    images = draw_simulated_set(
        tmp_path / "images",
        n_per_class=250,
        generators=names,
        shortcut=0.2,
        shortcut_generators=names[:1],
        progress=False,
    )
    parts = {"protocol": "by-hand", "train": names[:1], "select": names[1:2], "test": names[2:]}
    options = {"seeds": 1, "nulls": 1, "resamples": 20, "jobs": 1, "workers": 0, "progress": False}
    result = run(
        images, load_encoder("embedded"), tmp_path / "run", shortcut_removal=True, **parts, **options
    )
    assert result.shortcuts is not None
    named = result.shortcuts.loc[result.shortcuts["removed"], "candidate"].tolist()
    assert named[0] == "colour cast"
    assert "shortcuts found in 1 of 1 splits" in result.words
    page = (tmp_path / "run" / "index.html").read_text()
    assert "colour cast: tells train fakes from photographs" in page
    kept = pd.read_csv(tmp_path / "run" / "tables" / "shortcuts.csv")
    assert kept.loc[kept["removed"], "candidate"].tolist() == named
    assert set(result.nulls.query("arm == 'shortcut_removal'")["null"]) == {
        "random directions",
        "shuffled statistics",
    }


def test_a_run_on_twins_says_so_first(small_run):
    protocol = small_run.result.protocol
    twins = replace(small_run.result, protocol=Protocol(protocol.rows, protocol.splits, kind="twins"))
    assert any("photographs from their twins" in note for note in twins.notes)
    assert twins.words.startswith("NOTE: Detectors were trained to tell photographs from their twins")
    assert not any("twins" in note for note in small_run.result.notes)


def test_files_that_tell_the_label_stand_at_the_top_of_the_report(small_run, tmp_path):
    """A leak that is planted in the metadata of the files of fakes."""
    from interp.evaluation.audit import container_alarm

    images = tmp_path / "images"
    shutil.copytree(small_run.images.root, images)
    for row in small_run.images.table.query("label == 'fake'").itertuples():
        with Image.open(small_run.images.path(str(row.Index))) as opened:
            note = PngInfo()
            note.add_text("parameters", "steps: 20")
            opened.save(
                images / small_run.images.path(str(row.Index)).relative_to(small_run.images.root),
                pnginfo=note,
            )
    leaky = ImageSet.open(images)
    assert container_alarm(small_run.images, progress=False) == ""
    told = container_alarm(leaky, progress=False)
    assert "metadata AUC 1.00" in told
    result = replace(small_run.result, container=told)
    assert result.warnings[0] == told and result.words.startswith("WARNING: ALARM") and not result.notes
    assert result.recommended == "embedding"


def test_an_evaluation_without_measured_pixels_says_what_to_do(small_run, tmp_path):
    with pytest.raises(InputError, match="measure_statistics"):
        evaluate_store(small_run.result.store, small_run.result.protocol, tmp_path, shortcut_removal=True)


def test_a_run_that_lost_some_splits_goes_on_to_the_same_result(small_run, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(small_run.folder, folder)
    shutil.rmtree(folder / "splits" / "00001")
    (folder / "summary.json").unlink()
    kept = (folder / "splits" / "00000" / "scores.npz").stat().st_mtime_ns
    again = small_run.again(folder)
    pd.testing.assert_frame_equal(again.summary, small_run.result.summary)
    assert (folder / "splits" / "00000" / "scores.npz").stat().st_mtime_ns == kept
    assert json.loads((folder / "summary.json").read_text()) == json.loads(
        (small_run.folder / "summary.json").read_text()
    )


def test_other_settings_in_the_same_folder_are_refused(small_run):
    from interp.main_job import evaluate_store

    store = small_run.result.store
    protocol = make_protocol(
        store, "by-hand", train=["simulated-nearest"], select=["simulated-smooth"], test=["simulated-palette"]
    )
    with pytest.raises(InputError, match="made with other settings; .*protocol"):
        evaluate_store(store, protocol, small_run.folder, nulls=3, jobs=1)


def test_protocols_by_name(small_run):
    store = small_run.result.store
    assert len(make_protocol(store, "pairs", min_train=40, seeds=1)) == 30
    assert len(make_protocol(store, "leave-one-out", min_train=40, seeds=1)) == 6
    dates = ["simulated-nearest=2019", "simulated-smooth=2021-05", "simulated-palette=2023-01-31"]
    found = make_protocol(store, "chronological", min_train=40, seeds=1, released=dates)
    assert [split.name for split in found] == ["simulated-nearest>simulated-smooth"]
    with pytest.raises(InputError, match="needs to know when generators were released"):
        make_protocol(store, "chronological", min_train=40, seeds=1)
    with pytest.raises(InputError, match="give --select and --test"):
        make_protocol(store, train=["simulated-nearest"])
    with pytest.raises(InputError, match="did you mean 'pairs'"):
        make_protocol(store, "pears")


def test_describe_knows_stores_runs_detectors_and_images(small_run):
    assert f"{len(small_run.images)} images, random-clip" in describe(small_run.folder / "store")
    assert "KB an image" in describe(small_run.folder / "store")
    assert "mean_ood_auc" in describe(small_run.folder)
    assert "detector embedding on embedding" in describe(small_run.folder / "detectors" / "embedding")
    assert "simulated-palette" in describe(small_run.images.root)


def test_a_run_erases_generators_where_enough_of_them_train(small_run, tmp_path):
    store = small_run.result.store
    options = {"nulls": 2, "resamples": 20, "jobs": 1, "progress": False, "generator_erasure": True}
    with pytest.raises(InputError, match="needs three generators that train and select; split .* has 2"):
        evaluate_store(store, small_run.result.protocol, tmp_path / "few", **options)
    protocol = make_protocol(store, "leave-one-out", seeds=1, min_train=40)
    result = evaluate_store(store, protocol, tmp_path / "run", **options)
    assert set(result.nulls.query("arm == 'generator_erasure'")["null"]) == {"shuffled concept"}
    page = (tmp_path / "run" / "index.html").read_text()
    assert "generators erased" in page and "shuffled names of generators" in page
    assert (tmp_path / "run" / "detectors" / "generator_erasure").is_dir()
