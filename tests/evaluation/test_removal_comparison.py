"""Removal against its nulls on test generators: a planted head is worth its removal, and without a plant nothing is."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from planted_harm import FOLD, HARMFUL, plant_harm

from interp.evaluation.arms import head_removal_arm
from interp.evaluation.cells import Cells
from interp.evaluation.nulls import null_scores
from interp.evaluation.removal_comparison import arm_table, compare_removals, contrast_table

P = 96


@dataclass
class PlantedStore:
    """What a comparison asks of a store."""

    X: np.ndarray
    rows: pd.DataFrame
    layout: object

    @property
    def readout(self):
        return SimpleNamespace(folded=torch.from_numpy(FOLD))

    def features(self, kind: str) -> np.ndarray:
        return {"embedding_and_heads": self.X, "heads": self.X[:, P:], "embedding": self.X[:, :P]}[kind]


def compare(own: float):
    """Prunings of a model in which no later layer reads a head: the stored removal itself."""
    planted = plant_harm(3, own=own)
    store = PlantedStore(planted.X, planted.protocol.rows, planted.layout)
    asked: list[str] = []

    def prune(sets, rows, name):
        asked.append(name)
        heads = planted.X[rows, P:].reshape(len(rows), 12, 8)
        written = np.einsum("nhd,hdp->nhp", heads, FOLD.reshape(12, 8, P))
        numbers = [[planted.layout.index(head) for head in one] for one in sets]
        return np.stack([planted.X[rows, :P] - written[:, one].sum(1) for one in numbers], axis=1)

    options = {"n_random": 4, "n_pruned_random": 2, "n_pruned_splits": 3, "n_resamples": 50}
    found = compare_removals(store, planted.protocol, prune, n_jobs=1, progress=False, **options)
    return found, asked


def contrast(found, arm: str, against: str) -> pd.Series:
    rows = found.contrasts
    return rows[(rows["arm"] == arm) & (rows["against"] == against)].iloc[0]


def test_a_planted_head_is_worth_its_removal_and_both_ways_of_removal_agree_where_they_must():
    found, asked = compare(3.0)
    assert found.removed["removed"].str.startswith(HARMFUL).all() and len(found.removed) == 3
    assert len(asked) == 3
    for arm, against in (("head_removal", "embedding"), ("true_pruning", "random_true_pruning")):
        assert contrast(found, arm, against)["low"] > 0
    same = contrast(found, "true_pruning", "stored_removal")
    np.testing.assert_allclose(same[["delta", "low", "high"]].astype(float), 0, atol=1e-12)
    arms = found.arms.set_index(["detector", "arm"])["auc"]
    against = contrast(found, "head_removal", "random_removal")["delta"]
    expected = arms["refitted", "head_removal"] - arms["refitted", "random_removal"]
    assert against == pytest.approx(expected) and expected > 0.02


def test_without_a_plant_removal_gains_nothing_that_would_be_claimed():
    found, asked = compare(0.0)
    assert len(asked) == (found.removed["count"] > 0).sum()  # an empty set takes no pass
    gain = contrast(found, "head_removal", "random_removal")
    assert gain["low"] < 0.01 and abs(gain["delta"]) < 0.03


def test_draws_of_one_arm_are_averaged_over_unseen_cells():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"test": ["c", "(in distribution)", "d"]})
    resampled = rng.uniform(size=(40, 3, 3))
    cells = Cells(table, ("plain", "drawn/0", "drawn/1"), resampled.mean(0), resampled)
    arms = arm_table(cells).set_index("arm")
    assert arms.loc["drawn", "auc"] == pytest.approx(cells.auc[[0, 2], 1:].mean())
    delta = contrast_table(cells, [("plain", "drawn")]).iloc[0]
    draws = resampled[:, [0, 2], 0].mean(1) - resampled[:, [0, 2], 1:].mean((1, 2))
    assert delta["low"] == pytest.approx(np.quantile(draws, 0.025))
    assert delta["delta"] == pytest.approx(arms.loc["plain", "auc"] - arms.loc["drawn", "auc"])


def test_the_arm_scores_linearly_on_its_own_columns_and_brings_its_nulls():
    planted = plant_harm(0)
    store = PlantedStore(planted.X, planted.protocol.rows, planted.layout)
    arm, split = head_removal_arm(store, n_nulls=3, replace="mean"), next(iter(planted.protocol))
    fitted = arm.fit(planted.X, planted.y, split, planted.generator)
    assert (arm.name, arm.features) == ("head_removal", "embedding_and_heads")
    linear = fitted.linear()
    assert linear is not None
    np.testing.assert_allclose(
        linear.decision_function(planted.X), fitted.decision_function(planted.X), atol=1e-8
    )
    seed = np.random.SeedSequence(0)
    nulls = null_scores(fitted, planted.X, planted.y, split, planted.generator, split.test, seed)
    assert {name: scores.shape for name, scores in nulls.items()} == {
        "random heads": (3, len(split.test)),
        "permuted labels": (3, len(split.test)),
    }
    again = head_removal_arm(store, replace="resample").fit(planted.X, planted.y, split, planted.generator)
    assert again.linear() is None
