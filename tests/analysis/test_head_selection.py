"""Selection finds the head that transfers, drops the one that does not, and is a scikit-learn transformer."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from planted_heads import ACCIDENT, GOOD, plant
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from interp.analysis.head_nulls import permuted_selection, random_rotation, random_subsets, rotated_heads
from interp.analysis.head_search import HeadSearch
from interp.analysis.head_selection import HeadSelection
from interp.analysis.strength import STRENGTHS
from interp.detectors.linear import LinearDetector
from interp.errors import InputError


def rows_of(planted, number: int = 0):
    split = list(planted.protocol)[number]
    rows = np.union1d(split.train, split.select)
    return split, rows, {"part": split.part[rows], "generator": planted.generator[rows]}


@pytest.mark.parametrize("aggregate", ["concat", "sum", "vote"])
def test_the_head_that_transfers_is_kept_and_the_accident_is_not(planted, aggregate):
    split, rows, context = rows_of(planted)
    fold = np.random.default_rng(0).normal(size=(3, 4, 8, 6))
    selection = HeadSelection(planted.layout, k=(1, 2), aggregate=aggregate, fold=fold)
    selection.fit(planted.X[rows], planted.y[rows], **context)
    assert selection.heads_[0] == GOOD
    assert ACCIDENT not in selection.heads_
    detector = LinearDetector().fit(selection.transform(planted.X[rows]), planted.y[rows], **context)
    selected = roc_auc_score(
        planted.y[split.test], detector.decision_function(selection.transform(planted.X[split.test]))
    )
    plain = LinearDetector().fit(planted.X[rows], planted.y[rows], **context)
    assert (
        selected > roc_auc_score(planted.y[split.test], plain.decision_function(planted.X[split.test])) + 0.1
    )


@pytest.mark.parametrize(("aggregate", "columns"), [("concat", 16), ("sum", 6), ("vote", 1)])
def test_pulled_back_weights_score_as_the_pipeline_does(planted, aggregate, columns):
    split, rows, context = rows_of(planted)
    fold = np.random.default_rng(0).normal(size=(3, 4, 8, 6))
    selection = HeadSelection(planted.layout, k=2, aggregate=aggregate, fold=fold)
    kept = selection.fit_transform(planted.X[rows], planted.y[rows], **context)
    assert kept.shape == (len(rows), columns)
    assert len(selection.get_feature_names_out()) == columns
    detector = LinearDetector().fit(kept, planted.y[rows], **context)
    coef, intercept = selection.pull_back(detector.coef_, detector.intercept_)
    expected = detector.decision_function(selection.transform(planted.X[split.test]))
    np.testing.assert_allclose(planted.X[split.test] @ coef + intercept, expected, rtol=1e-8, atol=1e-8)


def test_the_vote_is_the_mean_of_calibrated_probes(planted):
    split, rows, context = rows_of(planted)
    selection = HeadSelection(planted.layout, k=3, aggregate="vote").fit(
        planted.X[rows], planted.y[rows], **context
    )
    search = HeadSearch(
        planted.X,
        planted.y,
        planted.layout,
        split.train,
        split.select,
        rows=split.test,
        aggregate="vote",
        generator=planted.generator,
    )
    expected = search.evaluate([planted.layout.index(head) for head in selection.heads_]).scores
    np.testing.assert_allclose(
        selection.transform(planted.X[split.test])[:, 0], expected, rtol=1e-6, atol=1e-8
    )


def test_it_stands_in_a_pipeline_with_routed_metadata(planted):
    split, rows, context = rows_of(planted)
    with sklearn.config_context(enable_metadata_routing=True):
        selection = HeadSelection(planted.layout, k=1).set_fit_request(part=True, generator=True)
        pipeline = make_pipeline(selection, LogisticRegression().set_fit_request(sample_weight=True))
        weight = (context["part"] == "train").astype(float)
        pipeline.fit(planted.X[rows], planted.y[rows], **context, sample_weight=weight)
        scores = pipeline.decision_function(planted.X[split.test])
    alone = LogisticRegression().fit(
        planted.X[split.train][:, planted.layout.slice(GOOD)], planted.y[split.train]
    )
    expected = alone.decision_function(planted.X[split.test][:, planted.layout.slice(GOOD)])
    np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_it_clones_and_names_its_columns_in_pandas(planted):
    _, rows, context = rows_of(planted)
    selection = clone(HeadSelection(planted.layout, k=1)).set_output(transform="pandas")
    kept = selection.fit(planted.X[rows], planted.y[rows], **context).transform(planted.X[rows])
    assert list(kept.columns) == [f"{GOOD}.{i}" for i in range(8)]


def test_wrong_use_says_what_to_do(planted):
    _, rows, context = rows_of(planted)
    X, y = planted.X[rows], planted.y[rows]
    with pytest.raises(InputError, match="needs part="):
        HeadSelection(planted.layout).fit(X, y)
    with pytest.raises(InputError, match="did you mean 'concat'"):
        HeadSelection(planted.layout, aggregate="concatenate").fit(X, y, **context)
    with pytest.raises(InputError, match="pass fold="):
        HeadSelection(planted.layout, aggregate="sum").fit(X, y, **context)
    with pytest.raises(InputError, match="photographs and fakes among its train rows"):
        HeadSelection(planted.layout).fit(X, y, part=np.where(y == 1, "select", "train"))


def nulls(planted, draws: int = 20):
    split, _, _ = rows_of(planted)
    options = {"rows": split.test, "generator": planted.generator, "strengths": STRENGTHS}
    search = HeadSearch(planted.X, planted.y, planted.layout, split.train, split.select, **options)
    seed = np.random.SeedSequence(1)
    found = search.search((1, 2, 4))
    return found, {
        "random": random_subsets(search, len(found.heads), draws, seed),
        "permuted": permuted_selection(search, draws, seed, (1, 2, 4)),
        "rotated": rotated_heads(
            planted.X,
            planted.y,
            planted.layout,
            split.train,
            split.select,
            draws,
            seed,
            numbers=(1, 2, 4),
            **options,
        ),
    }


def test_a_real_selection_beats_its_nulls_and_the_nulls_are_replayed(planted):
    split, _, _ = rows_of(planted)
    found, drawn = nulls(planted)
    y = planted.y[split.test]
    ours = roc_auc_score(y, found.scores)
    for scores in drawn.values():
        aucs = np.array([roc_auc_score(y, one) for one in scores])
        assert (aucs <= ours).mean() >= 0.9  # a random subset may be the very one chosen
    again = nulls(planted)[1]
    assert all(np.array_equal(drawn[name], again[name]) for name in drawn)


def test_where_heads_carry_nothing_the_selection_is_one_of_its_nulls():
    """No head sees anything: over draws the selection is as often below its random subsets as above them."""
    ranks = []
    for seed in range(8):
        planted = plant(seed, n=60, shared=0.0, own=0.0)
        split, _, _ = rows_of(planted)
        found, drawn = nulls(planted, draws=9)
        aucs = [roc_auc_score(planted.y[split.test], one) for one in drawn["random"]]
        ranks.append(np.mean(np.array(aucs) >= roc_auc_score(planted.y[split.test], found.scores)))
    assert 0.15 < np.mean(ranks) < 0.85


def test_a_random_rotation_keeps_every_inner_product():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(7, 33))
    rotated = random_rotation(33, rng)(X)
    np.testing.assert_allclose(rotated @ rotated.T, X @ X.T, atol=1e-10)
    assert np.abs(rotated - X).max() > 0.1
