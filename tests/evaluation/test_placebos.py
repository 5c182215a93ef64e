"""Placebos: a detector that sees one is told so with the AUC of scikit-learn, one that does not is left alone."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import interp
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.evaluation.arms import Arm
from interp.evaluation.placebo_kinds import (
    altered_photographs,
    by_score,
    class_entropy,
    divided,
    nearness,
    rival,
)
from interp.evaluation.placebos import (
    TOLERATED,
    Placebo,
    head_placebos,
    placebo_doubts,
    placebo_marks,
    placebo_panel,
)
from interp.explain.text_encoder import load_text_encoder
from interp.images.simulated import draw_simulated_set
from interp.protocol.splits import Protocol

N, LAYOUT = 90, HeadLayout(1, 3, 4)
KEY = {"encoder": "tiny", "equalize": "none", "preprocessing": "none"}


def store_of(X: np.ndarray, rows: pd.DataFrame) -> Any:
    usable = np.isfinite(X).all(1)
    return types.SimpleNamespace(
        rows=rows, usable=usable, key=KEY, views=1, folder="here", layout=LAYOUT, features=lambda kind: X
    )


@pytest.fixture(scope="module")
def planted() -> tuple:
    """Photographs and fakes of three generators; head L0.H0 sees fakes, L0.H1 sees an alteration and fakes."""
    rng = np.random.default_rng(0)
    generator = np.repeat(["real", "glide", "dalle2", "sdxl"], N)
    rows = pd.DataFrame({"generator": generator, "label": np.where(generator == "real", "real", "fake")})
    rows.index = pd.Index([f"{i}.png" for i in range(4 * N)], name="key")
    rows["group"], rows["source"] = rows.index, np.arange(4 * N) % 3
    X = rng.normal(size=(4 * N, LAYOUT.size)).astype(np.float32)
    X[:, 0] += 1.5 * (generator != "real")
    X[:, 4] += 1.5 * (generator != "real")
    altered = X[:N].copy()
    altered[:, 4] += 1.0
    altered[3] = np.nan
    protocol = Protocol.by_hand(rows, train="glide", select="dalle2", test="sdxl", seeds=3)
    return store_of(X, rows), protocol, Placebo("altered", altered=store_of(altered, rows[:N]))


def panel_of(planted: tuple, *placebos: Placebo, **options: int) -> pd.DataFrame:
    store, protocol, _ = planted
    arm = Arm("plain", "heads", classifier=LogisticRegression(C=0.1))
    return placebo_panel(store, protocol, [arm], placebos, n_jobs=1, progress=False, **options)


def test_the_auc_is_scikit_learns_over_test_photographs(planted: tuple) -> None:
    store, protocol, placebo = planted
    found = panel_of(planted, placebo, n_resamples=300).iloc[0]
    X, y = store.features("heads"), (store.rows["label"] == "fake").to_numpy()
    expected = []
    for split in protocol:
        model = LogisticRegression(C=0.1).fit(X[split.train], y[split.train])
        test = split.test[~y[split.test] & (split.test != 3)]
        scores = [model.decision_function(part[test]) for part in (placebo.altered.features("heads"), X)]
        expected.append(roc_auc_score(np.repeat([1, 0], len(test)), np.concatenate(scores)))
    assert found["auc"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert found["low"] < found["auc"] < found["high"] and found["explained"] and found["auc"] > 0.55
    assert found["gap"] == pytest.approx(found["auc"] - 0.5) and found["splits"] == 3
    assert found["n_one"] == found["n_other"]


def test_an_alteration_that_changes_nothing_is_exactly_one_half(planted: tuple) -> None:
    store, _, _ = planted
    same = Placebo("same", altered=store_of(store.features("heads")[:N], store.rows[:N]))
    found = panel_of(planted, same).iloc[0]
    assert found[["auc", "low", "high"]].tolist() == [0.5, 0.5, 0.5] and not found["explained"]
    assert placebo_marks(panel_of(planted, same)) == {"plain": ""}


def test_heads_that_see_it_are_told_from_heads_that_do_not(planted: tuple) -> None:
    store, protocol, placebo = planted
    found = head_placebos(store, protocol, [placebo], n_resamples=100, progress=False).set_index("head")
    assert found.loc["L0.H1", "explained"] and found.loc["L0.H1", "sure"]
    assert found.loc["L0.H1", "auc"] > 0.7 > found["auc"].drop("L0.H1").max()
    assert abs(found.loc["L0.H0", "auc"] - 0.5) < 1e-9  # nothing of it changed
    assert "L0.H1" in placebo_marks(found.reset_index(), "head")


def test_divisions_ask_of_photographs_alone(planted: tuple) -> None:
    store, _, _ = planted
    placebo = divided(store, "source 0", "source=0")
    assert placebo.side is not None and placebo.side.sum() == 30 and len(placebo.side) == N
    two = divided(store, "0 or 1", "source=0", "source=1").side
    assert two is not None and two.isna().sum() == 30 and (two == False).sum() == 30  # noqa: E712
    score = pd.Series(store.features("heads")[:, 0], index=store.rows.index)
    found = panel_of(planted, by_score("first value", store, score), placebo).set_index("placebo")
    assert found.loc["first value", "explained"] and found.loc["first value", "auc"] > 0.7
    assert found.loc["source 0", "low"] < 0.5 < found.loc["source 0", "high"]


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_a_doubt_is_a_placebo_that_stirs_a_detector_more_than_the_plain_one(aucs: list[float]) -> None:
    arms, names = ["embedding", "a", "b"], ["one", "two"]
    panel = pd.DataFrame([(arm, name) for name in names for arm in arms], columns=["arm", "placebo"])
    panel["auc"], panel["gap"] = aucs, np.abs(np.array(aucs) - 0.5)
    panel["explained"] = panel["gap"] > TOLERATED
    found = placebo_doubts(panel)
    gap = panel.pivot(index="arm", columns="placebo", values="gap")
    for arm in ("a", "b"):
        for name in names:
            doubted = gap.loc[arm, name] > max(TOLERATED, gap.loc["embedding", name])
            assert (f"{name} (AUC" in found.get(arm, "")) == doubted
    assert "embedding" not in found


def test_wrong_placebos_are_refused(planted: tuple) -> None:
    store, _, placebo = planted
    with pytest.raises(InputError, match="altered= or side="):
        Placebo("nothing")
    with pytest.raises(InputError, match="at least one"):
        panel_of(planted)
    other: Any = types.SimpleNamespace(**{**vars(placebo.altered), "key": {**KEY, "equalize": "256:75"}})
    with pytest.raises(InputError, match="equalize"):
        panel_of(planted, Placebo("other", altered=other))
    side = pd.Series(True, index=store.rows.index, dtype="boolean")
    with pytest.raises(InputError, match="on one side and 0 on the other"):
        panel_of(planted, Placebo("all alike", side=side))


def test_class_entropy_is_scipys_and_a_rival_is_judged_as_detectors_are(planted: tuple) -> None:
    store, protocol, _ = planted
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(7, LAYOUT.size)), rng.normal(size=7)
    logits = store.features("embedding").astype(float) @ weight.T + bias
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(class_entropy(store, weight, bias), entropy(shares, axis=1))
    assert np.allclose(class_entropy(store, 0 * weight), np.log(7))
    score = pd.Series(store.features("heads")[:, 0], index=store.rows.index)
    found = rival(store, protocol, score, n_resamples=100)
    sets = [split.test for split in protocol]
    aucs = [roc_auc_score(store.rows["label"].iloc[rows] == "fake", score.iloc[rows]) for rows in sets]
    assert found["auc"] == pytest.approx(np.mean(aucs)) and found["low"] < found["auc"] < found["high"]


def test_photographs_are_laundered_looked_at_and_kept(tmp_path: Path) -> None:
    names = ["simulated-smooth", "simulated-nearest", "simulated-spectral"]
    images = draw_simulated_set(tmp_path / "set", n_per_class=12, generators=names, progress=False)
    encoder = interp.load_encoder("embedded")
    options = {"workers": 0, "progress": False}
    store = interp.extract(images, encoder, tmp_path / "store", equalize="64:75", **options)
    altered_photographs(images, encoder, store, tmp_path / "a", "blurred", "blur:3", **options)
    again = altered_photographs(images, encoder, store, tmp_path / "a", "blurred", "blur:3", **options)
    assert again.altered is not None
    real = store.rows.index[store.rows["label"] == "real"]
    assert set(again.altered.rows.index) == set(real)
    at = store.rows.index.get_indexer(real)
    moved = again.altered.features("embedding") - store.features("embedding")[at]
    assert (np.abs(moved).max(1) > 0.01).all()
    with pytest.raises(InputError, match="laundering"):
        altered_photographs(images, encoder, store, tmp_path / "a", "x", "jpeg:50", **options)
    nothing = altered_photographs(images, encoder, store, tmp_path / "b", "nothing", "none", **options)
    assert nothing.altered is not None
    at = store.rows.index.get_indexer(nothing.altered.rows.index)
    assert np.abs(nothing.altered.features("embedding") - store.features("embedding")[at]).max() < 1e-5
    cosine = nearness(store, load_text_encoder("embedded"), "blurry")
    assert cosine.between(-1, 1).all()
    with pytest.raises(InputError, match="not known to be reliable"):
        nearness(store, load_text_encoder("embedded"), "unheard of")
