"""The tables of published systems say what rows of cells, draws and splits say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from experiments.clip_agiqa import LINEAR, RADIAL, SCALES, linear, radial, summarise
from experiments.compare_systems import interval, shown
from experiments.component_removal import flattery
from experiments.few_shot import curve

rng = np.random.default_rng(0)


def test_flattery_is_the_leaky_way_less_the_honest_one_on_the_same_cells():
    cells = [(a, b, c) for a, b in (("x", "y"), ("y", "z"), ("z", "x")) for c in ("v", "w")]
    honest = pd.DataFrame(cells, columns=["train", "select", "test"])
    honest["embedding"], honest["removal"] = 0.6, 0.65
    extra = pd.DataFrame(
        [["x", "y", "small", 0.1, 0.1]], columns=honest.columns
    )  # no leaky choice was made on it
    by_train = {"x": 0.1, "y": 0.2, "z": 0.3}
    rows = [
        {"train": a, "select": b, "test": c, "seed": seed, "system": system, "auc": auc}
        for a, b, c in cells
        for seed in (0, 1)
        for system, auc in (("embedding", 0.62), ("removal", 0.65 + by_train[a] + 0.01 * (2 * seed - 1)))
    ]
    table = flattery(pd.concat([honest, extra]), pd.DataFrame(rows))
    found = table.loc["removal"]
    assert found["leak_free"] == pytest.approx(0.65) and found["flattery"] == pytest.approx(0.2)
    expected = ttest_1samp(list(by_train.values()), 0).confidence_interval()
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert found["gain_leaky"] - found["gain_leak_free"] == pytest.approx(0.2 - 0.02)


def test_spread_of_draws_and_of_generators_stay_apart():
    rows = [
        {"N": 10, "split": split, "seed": 0, "draw": draw, "auc": base + 0.01 * draw}
        for split, base in (("a>b", 0.6), ("b>a", 0.8))
        for draw in (-1, 0, 1)
    ]
    found = curve(pd.DataFrame(rows)).loc[10]
    assert found["mean"] == pytest.approx(0.7) and found["count"] == 6
    assert found["sd_of_draws"] == pytest.approx(0.01)
    assert found["sd_of_generators"] == pytest.approx(np.std([0.6, 0.8], ddof=1))


def test_dual_ridge_is_ridge_and_one_strength_is_the_one_asked_for():
    from sklearn.linear_model import Ridge

    X, y = rng.normal(size=(40, 6)), rng.normal(size=40)
    fits, scores = X[:30] - X[:30].mean(0), X[30:] - X[:30].mean(0)
    for number, found in enumerate(linear(fits, y[:30], scores)):
        plain = Ridge(alpha=LINEAR[number] * 6).fit(fits, y[:30]).predict(scores)
        np.testing.assert_allclose(found, plain, atol=1e-8)
    every = radial(fits, y[:30], scores)
    assert len(every) == len(SCALES) * len(RADIAL)
    for number, expected in enumerate(every):
        (alone,) = radial(fits, y[:30], scores, number)
        np.testing.assert_allclose(alone, expected)


def test_gains_in_quality_are_paired_and_an_even_gain_is_certain():
    rows = []
    for split, base in enumerate((0.7, 0.8, 0.75)):
        for model, srcc in (("ridge, all heads", base), ("better", base + 0.02 + 0.001 * split)):
            rows.append({"model": model, "split": split, "validation": 0, "srcc": srcc, "plcc": 0, "krcc": 0})
    table = summarise(pd.DataFrame(rows).assign(plcc_fitted=0), n_test=0.2, n_train=0.8)
    assert table.loc["better", "gain"] == pytest.approx(0.021)
    assert 0 < table.loc["better", "low"] < 0.021 < table.loc["better", "high"]
    assert table.loc["ridge, all heads", "gain"] == 0


def test_a_system_without_numbers_shows_its_reason_and_no_cell_is_blank_without_one():
    table = pd.DataFrame({"mean_ood_auc": [0.7, np.nan], "low": [0.6, np.nan], "high": [0.8, np.nan]})
    table.index = ["embedding", "needs text"]
    assert interval(table, "mean_ood_auc", "low", "high", "{:.2f}").tolist() == ["0.70 [0.60, 0.80]", ""]
    others = ["mean_id_auc", "worst_auc", "delta_to_embedding", "delta_low", "delta_high", "p_holm"]
    table[[*others, "fit_seconds", "fit_mib", "trainable"]] = np.nan
    table["worst_generator"], table["reason"] = "", ["", "no text tower"]
    assert shown(table).loc["needs text", "transfer [95 %]"] == "none: no text tower"
    panel = pd.DataFrame({"arm": "embedding", "placebo": ["small", "JPEG"], "auc": [0.7, 0.5]})
    asked = shown(table, panel.assign(explained=[True, False]))
    assert asked[["small", "JPEG"]].to_numpy().tolist() == [["0.70 explained", "0.50"], ["", ""]]
