"""Operating points agree with scikit-learn on every test set, and small sets are judged together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, brier_score_loss

from interp.evaluation import operating
from interp.evaluation.operating import SMALL_SETS, UNSEEN, operating_points


@pytest.fixture
def transfer(small_run):
    return small_run.result.transfer


def test_every_number_is_scikit_learns_averaged_over_splits(transfer, monkeypatch):
    monkeypatch.setattr(operating, "SMALL", 1)
    table = operating_points(transfer, n_resamples=20).set_index(["arm", "test"])
    scores, rows = transfer.scores(), transfer.rows
    choices = transfer.choices.set_index(["arm", "seed"])
    for arm, test in (("embedding", "simulated-palette"), ("all_heads", "simulated-spectral")):
        found = []
        for seed in (0, 1):
            one = scores[(scores["arm"] == arm) & (scores["seed"] == seed) & ~scores["in_distribution"]]
            of = rows.loc[one["key"]]
            kept = of["generator"].isin(["real", test]).to_numpy()
            y, given = (of["label"] == "fake").to_numpy()[kept].astype(int), one["score"].to_numpy()[kept]
            chosen = choices.loc[(arm, seed)]
            probability = 1 / (1 + np.exp(-chosen["slope"] * given - chosen["intercept"]))
            found.append(
                {
                    "balanced_accuracy": balanced_accuracy_score(y, given > chosen["threshold"]),
                    "average_precision": average_precision_score(y, given),
                    "brier": brier_score_loss(y, probability),
                }
            )
        expected = pd.DataFrame(found).mean()
        assert table.loc[(arm, test), expected.index].to_numpy(float) == pytest.approx(expected.to_numpy())


def test_intervals_hold_what_was_measured(transfer):
    table = operating_points(transfer, n_resamples=200)
    for name in ("balanced_accuracy", "accuracy_fakes", "accuracy_photographs", "average_precision"):
        assert (table[f"{name}_low"] <= table[name] + 1e-9).mean() > 0.95
        assert (table[name] <= table[f"{name}_high"] + 1e-9).mean() > 0.95
        assert (table[f"{name}_low"] < table[f"{name}_high"]).any()


def test_generators_with_few_images_are_one_row_that_stands_apart(transfer):
    table = operating_points(transfer, n_resamples=2)
    assert {"simulated-palette", "simulated-spectral"}.isdisjoint(table["test"])
    small = table[(table["test"] == SMALL_SETS) & (table["arm"] == "embedding")].iloc[0]
    fakes = transfer.rows["generator"].isin(["simulated-palette", "simulated-spectral"]).sum()
    assert small["n_fake"] == fakes and UNSEEN not in set(table["test"])


def test_a_tpr_that_few_photographs_support_is_left_out(transfer):
    table = operating_points(transfer, n_resamples=2)
    assert (table["n_real"] < 200).all() and table["tpr_at_5pct_fpr"].isna().all()
    assert table["tpr_at_5pct_fpr_low"].isna().all()


def test_thresholds_come_from_select_rows(transfer):
    """Moving every test score changes what is decided, and no threshold."""
    moved = [replace(one, scores=one.scores + 100) for one in transfer.split_scores]
    table = operating_points(replace(transfer, split_scores=moved), n_resamples=2)
    assert (table["accuracy_fakes"] == 1).all() and (table["accuracy_photographs"] == 0).all()
