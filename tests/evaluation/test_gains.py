"""Gains on single generators add up to the summary's, and a planted one is the only one that Holm lets stand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interp.evaluation.cells import IN_DISTRIBUTION, Cells
from interp.evaluation.gains import gains_by_generator


def test_gains_on_generators_with_as_many_cells_average_to_the_summary_s(small_run):
    transfer = small_run.result.transfer
    found = gains_by_generator(transfer.cells).groupby("arm")["gain"].mean()
    expected = transfer.summary["delta_to_embedding"].drop("embedding")
    assert found[expected.index].to_numpy() == pytest.approx(expected.to_numpy())


def test_the_only_planted_gain_is_the_only_one_that_stands():
    rng, names = np.random.default_rng(0), [f"g{i}" for i in range(20)]
    table = pd.DataFrame({"train": "a", "select": "b", "test": [*names, IN_DISTRIBUTION], "n_fake": 100.0})
    auc = np.full((21, 2), 0.7)
    auc[3, 1] += 0.1
    noise = rng.normal(scale=0.02, size=(2000, 21, 2))
    found = gains_by_generator(Cells(table, ("embedding", "other"), auc + noise[0], auc + noise))
    assert found.loc[found["p_holm"] < 0.05, "test"].tolist() == ["g3"]
    assert IN_DISTRIBUTION not in set(found["test"]) and set(found["arm"]) == {"other"}
    planted = found[found["test"] == "g3"].iloc[0]
    assert planted["low"] < 0.1 < planted["high"]
