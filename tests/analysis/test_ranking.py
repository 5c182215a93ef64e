"""A head that sees every generator is ranked first; one that sees each by an accident has the largest gap."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from planted_heads import ACCIDENT, GOOD
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from interp.analysis.ranking import PROBE_C, _summary, probe_scores, rank_heads
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.protocol.intervals import two_way_interval


@pytest.fixture(scope="module")
def ranking(planted):
    return rank_heads(
        planted.X, planted.y, planted.layout, planted.protocol, generator=planted.generator, progress=False
    )


def test_the_planted_heads_are_named(ranking):
    assert ranking.top(1) == [GOOD]
    assert ranking.table.loc[ranking.table["gap"].idxmax(), "head"] == ACCIDENT
    assert ranking.table.set_index("head").loc[GOOD, "stability"] == 1.0
    assert ranking.table.set_index("head").loc[ACCIDENT, "in_distribution_auc"] > 0.95
    assert len(ranking.per_split) == 12 * len(ranking.table)  # 6 ordered pairs × 2 seeds
    seeds = ranking.per_split.groupby(["head", "seed"])["transfer_auc"].mean().unstack()
    assert ranking.reliability == pytest.approx(seeds.corr("spearman").loc[0, 1])


def test_probes_equal_scikit_learn(planted):
    split = next(iter(planted.protocol))
    ours = probe_scores(planted.X, planted.y, planted.layout, split.train, split.select, chunk=5)
    for head in ("L0.H0", GOOD):
        columns = planted.X[:, planted.layout.slice(head)]
        probe = make_pipeline(
            StandardScaler(), LogisticRegression(C=PROBE_C, class_weight="balanced", tol=1e-10, max_iter=5000)
        ).fit(columns[split.train], planted.y[split.train])
        expected = probe.decision_function(columns[split.select])
        np.testing.assert_allclose(ours[:, planted.layout.index(head)], expected, atol=1e-5)


def test_the_table_is_the_mean_of_its_splits(ranking, planted):
    head = ranking.per_split[ranking.per_split["head"] == GOOD]
    assert ranking.table.set_index("head").loc[GOOD, "transfer_auc"] == pytest.approx(
        head["transfer_auc"].mean()
    )
    split = next(iter(planted.protocol))
    scores = probe_scores(planted.X, planted.y, planted.layout, split.train, split.select)
    expected = roc_auc_score(planted.y[split.select], scores[:, planted.layout.index(GOOD)])
    assert head["transfer_auc"].iloc[0] == pytest.approx(expected)


def test_a_head_stands_out_only_where_other_generators_would_show_it(ranking):
    """The planted head does; of heads that are all alike, at most one in 1 run of 20."""
    by_head = ranking.table.set_index("head")
    assert by_head.loc[GOOD, "p_holm"] == by_head["p_holm"].min()
    cells = ranking.per_split[ranking.per_split["head"] == GOOD]
    alone = cells.groupby(["train", "select"])["transfer_auc"].mean().reset_index()
    expected = two_way_interval(alone, "transfer_auc", "train", "select")
    assert (by_head.loc[GOOD, "transfer_low"], by_head.loc[GOOD, "transfer_high"]) == pytest.approx(
        (expected.low, expected.high)
    )
    rng, layout = np.random.default_rng(0), HeadLayout(1, 5, 2)
    names = [f"g{i}" for i in range(6)]
    pairs = [(a, b) for a in names for b in names if a != b]
    table = pd.DataFrame([(head, *pair, 0) for pair in pairs for head in layout.names])
    table.columns = ["head", "train", "select", "seed"]
    alarms = 0
    for _ in range(200):
        of_train, of_select = rng.normal(
            0, 0.05, (2, 5, 6)
        )  # what each head finds easy or hard, by generator
        values = [0.7 + of_train[:, names.index(a)] + of_select[:, names.index(b)] for a, b in pairs]
        drawn = table.assign(transfer_auc=np.concatenate(values), in_distribution_auc=0.8)
        alarms += (_summary(drawn, layout, 1)["p_holm"] < 0.05).any()
    assert alarms <= 200 * 0.05 + 2 * np.sqrt(200 * 0.05 * 0.95)


def test_test_rows_are_never_read(planted):
    """Rows that no split trains or selects on may hold anything."""
    split = next(iter(planted.protocol))
    poisoned = planted.X.copy()
    read = np.concatenate([split.train, split.select, split.held_out])
    poisoned[np.setdiff1d(np.arange(len(poisoned)), read)] = np.nan
    found = rank_heads(
        poisoned, planted.y, planted.layout, [split], generator=planted.generator, progress=False
    )
    clean = rank_heads(
        planted.X, planted.y, planted.layout, [split], generator=planted.generator, progress=False
    )
    np.testing.assert_array_equal(found.table["transfer_auc"], clean.table["transfer_auc"])
    assert np.isnan(found.reliability)


def test_a_layout_that_does_not_fit_is_refused(planted):
    with pytest.raises(InputError, match=r"X must be \(n, 64\)"):
        rank_heads(planted.X, planted.y, HeadLayout(2, 4, 8), planted.protocol, generator=planted.generator)


def test_a_constant_head_scores_one_half(planted):
    flat = dataclasses.replace(planted, X=planted.X.copy())
    flat.X[:, flat.layout.slice("L0.H1")] = 3.0
    split = next(iter(flat.protocol))
    scores = probe_scores(flat.X, flat.y, flat.layout, split.train, split.select)
    assert np.ptp(scores[:, flat.layout.index("L0.H1")]) < 1e-12


@pytest.mark.parametrize("probe", ["logistic", "ridge"])
def test_splits_ranked_together_are_ranked_as_alone(planted, probe):
    """Splits that train on the same rows share their fits; it changes no number."""
    options = {"generator": planted.generator, "probe": probe, "progress": False}
    together = rank_heads(planted.X, planted.y, planted.layout, planted.protocol, **options).per_split
    for number, split in enumerate(planted.protocol):
        alone = rank_heads(planted.X, planted.y, planted.layout, [split], **options).per_split
        part = together.iloc[number * len(alone) : (number + 1) * len(alone)].reset_index(drop=True)
        assert part[["head", "train", "select", "seed"]].equals(alone[["head", "train", "select", "seed"]])
        for name in ("transfer_auc", "in_distribution_auc"):
            np.testing.assert_allclose(part[name], alone[name], atol=1e-12)


def test_memory_for_ridge_probes_changes_no_number(planted, monkeypatch):
    options = {"generator": planted.generator, "probe": "ridge", "progress": False}
    whole = rank_heads(planted.X, planted.y, planted.layout, planted.protocol, **options).per_split
    monkeypatch.setattr("interp.analysis.ranking.CHUNK", 1)
    parts = rank_heads(planted.X, planted.y, planted.layout, planted.protocol, **options).per_split
    np.testing.assert_allclose(whole["transfer_auc"], parts["transfer_auc"], atol=1e-12)


def test_a_split_that_holds_nothing_out_has_no_auc_in_distribution(planted):
    split = dataclasses.replace(next(iter(planted.protocol)), held_out=np.empty(0, int))
    found = rank_heads(
        planted.X, planted.y, planted.layout, [split], generator=planted.generator, progress=False
    )
    assert found.per_split["in_distribution_auc"].isna().all()
    assert found.per_split["transfer_auc"].notna().all()


def test_an_unknown_probe_is_refused(planted):
    with pytest.raises(InputError, match="did you mean 'ridge'"):
        rank_heads(
            planted.X,
            planted.y,
            planted.layout,
            planted.protocol,
            generator=planted.generator,
            probe="rigde",
        )
