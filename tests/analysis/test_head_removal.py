"""Removal of heads: exact in what it takes away, finds what was planted, and is silent where nothing was."""

from __future__ import annotations

import numpy as np
import pytest
from planted_harm import FOLD, HARMFUL, plant_harm
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from interp.analysis.head_removal import HeadRemoval
from interp.analysis.head_removal_nulls import HeadRemovalNulls, random_head_sets
from interp.analysis.head_removal_search import HeadRemovalSearch, log_odds
from interp.analysis.strength import mean_auc
from interp.encoders.layout import HeadLayout
from interp.errors import InputError

P = 96


def fit(planted, split, **options) -> HeadRemoval:
    rows = np.union1d(split.train, split.select)
    context = {"part": split.part[rows], "generator": planted.generator[rows]}
    return HeadRemoval(planted.layout, FOLD, **options).fit(planted.X[rows], planted.y[rows], **context)


@pytest.fixture(scope="module")
def harmed():
    return plant_harm(0)


@pytest.fixture(scope="module")
def split(harmed):
    return next(iter(harmed.protocol))


@pytest.mark.parametrize("options", [{}, {"criterion": "auc"}, {"refit": True}, {"replace": "mean"}])
def test_the_harmful_head_is_removed_first_in_every_split_and_hardly_another(options):
    found = [
        fit(planted, one, **options).removed_
        for planted in map(plant_harm, range(2))
        for one in planted.protocol
    ]
    assert all(removed[0] == HARMFUL for removed in found)
    assert np.median([len(removed) for removed in found]) <= 2


@pytest.mark.parametrize("options", [{}, {"criterion": "auc"}, {"replace": "resample"}])
def test_where_nothing_is_planted_mostly_nothing_is_removed_and_never_that_head(options):
    found = [
        fit(planted, one, **options).removed_
        for planted in (plant_harm(seed, own=0) for seed in range(2))
        for one in planted.protocol
    ]
    assert not any(HARMFUL in removed for removed in found)
    assert sum(not removed for removed in found) >= len(found) / 2


def test_the_removal_beats_its_nulls_and_without_a_plant_does_not():
    gains = {}
    for own in (3.0, 0.0):
        planted = plant_harm(2, own=own)
        split = next(iter(planted.protocol))
        nulls = HeadRemovalNulls(
            fit(planted, split),
            planted.X,
            planted.y,
            split.train,
            split.select,
            split.test,
            planted.generator,
        )
        y = planted.y[split.test]
        ours = roc_auc_score(y, nulls.scores(nulls.removal.removed_))
        drawn = [*nulls.random_heads(8, np.random.SeedSequence(0))]
        drawn += [*nulls.permuted_removal(4, np.random.SeedSequence(1))]
        gains[own] = ours - np.quantile([roc_auc_score(y, one) for one in drawn], [0.5, 0.9])
    assert gains[3.0][0] > 0.1 and gains[3.0][1] > 0  # a random draw may hit the head
    assert gains[0.0][0] < 0.02


def test_transform_takes_away_the_heads_embeddings(harmed, split):
    removal = fit(harmed, split).without([HARMFUL, "L0.H0"])
    heads = harmed.X[:, P:].reshape(-1, 12, 8)
    expected = harmed.X[:, :P] - sum(heads[:, h] @ FOLD.reshape(12, 8, P)[h] for h in (7, 0))
    np.testing.assert_allclose(removal.transform(harmed.X), expected, atol=1e-10)
    assert removal.kept_ == [name for name in harmed.layout.names if name not in (HARMFUL, "L0.H0")]
    np.testing.assert_array_equal(removal.without([]).transform(harmed.X), harmed.X[:, :P])


def test_without_a_fold_the_columns_of_a_head_are_its_embedding(harmed, split):
    written = np.einsum("nhd,hdp->nhp", harmed.X[:, P:].reshape(-1, 12, 8), FOLD.reshape(12, 8, P))
    X = np.hstack([harmed.X[:, :P], written.reshape(-1, 12 * P)])
    context = {"part": split.part, "generator": harmed.generator}
    folded = HeadRemoval(harmed.layout, FOLD).fit(harmed.X, harmed.y, **context)
    plain = HeadRemoval(HeadLayout(3, 4, P)).fit(X, harmed.y, **context)
    assert plain.removed_ == folded.removed_ and HARMFUL in plain.removed_
    np.testing.assert_allclose(plain.transform(X), folded.transform(harmed.X), atol=1e-9)


def test_zero_and_mean_find_the_same_heads_and_differ_by_a_constant(harmed, split):
    zero, mean = (fit(harmed, split, replace=replace) for replace in ("zero", "mean"))
    assert zero.removed_ == mean.removed_
    difference = mean.transform(harmed.X) - zero.transform(harmed.X)
    np.testing.assert_allclose(difference, difference[:1].repeat(len(difference), 0), atol=1e-10)
    np.testing.assert_allclose(
        mean.transform(harmed.X[split.train]).mean(0), harmed.X[split.train, :P].mean(0), atol=1e-10
    )


def test_resampled_heads_are_those_of_one_train_row_and_do_not_depend_on_the_rows_beside(harmed, split):
    removal = fit(harmed, split, replace="resample").without([HARMFUL, "L2.H1"])
    left = removal.transform(harmed.X)
    np.testing.assert_array_equal(removal.transform(harmed.X[5:9]), left[5:9])
    put = (left - fit(harmed, split).without([HARMFUL, "L2.H1"]).transform(harmed.X)) @ FOLD.reshape(P, P).T
    columns = np.r_[7 * 8 : 8 * 8, 9 * 8 : 10 * 8]
    given = harmed.X[np.ix_(split.train, P + columns)]
    nearest = np.abs(put[:40, None, columns] - given).max(2)
    np.testing.assert_allclose(nearest.min(1), 0, atol=1e-9)
    assert len(set(nearest.argmin(1))) > 20
    other = fit(harmed, split, replace="resample", random_state=1).without([HARMFUL, "L2.H1"])
    assert np.abs(other.transform(harmed.X) - left).max() > 0.1


@pytest.mark.parametrize("replace", ["zero", "mean"])
def test_pulled_back_weights_score_alike(harmed, split, replace):
    removal = fit(harmed, split, replace=replace)
    coef, intercept = np.random.default_rng(0).normal(size=P), 0.3
    weights, constant = removal.pull_back(coef, intercept)
    np.testing.assert_allclose(
        harmed.X @ weights + constant, removal.transform(harmed.X) @ coef + intercept, atol=1e-9
    )
    assert not hasattr(fit(harmed, split, replace="resample"), "pull_back")


def test_one_step_of_the_search_is_a_detector_without_that_head(harmed, split):
    search = HeadRemovalSearch(
        harmed.X[:, :P],
        harmed.X[:, P:],
        harmed.y,
        harmed.layout,
        FOLD,
        split.train,
        split.select,
        criterion="auc",
    )
    found = search.search(2)
    cut = HeadRemoval(harmed.layout, FOLD).fit(harmed.X, harmed.y, part=split.part).without
    y = harmed.y[split.select]
    for step in range(3):
        names = [harmed.layout.names[head] for head in found.order[:step]]
        scores = cut(names).transform(harmed.X[split.select]) @ search.coef
        assert found.aucs[step] == pytest.approx(roc_auc_score(y, scores))
    alone = [
        roc_auc_score(y, cut([n]).transform(harmed.X[split.select]) @ search.coef)
        for n in harmed.layout.names
    ]
    assert found.scores[1] == pytest.approx(max(alone))


def test_log_odds_do_not_change_with_the_scale_and_place_of_the_scores_and_calibrate_them():
    rng = np.random.default_rng(0)
    y = np.arange(4000) % 2
    scores = rng.normal(size=4000) + 1.2 * y
    weight = np.ones(4000)
    found = log_odds(scores[:, None], y, weight)[:, 0]
    np.testing.assert_allclose(log_odds(7 * scores[:, None] - 40, y, weight)[:, 0], found)
    fitted = LogisticRegression(C=1e6).fit(scores[:, None], y)
    ours = log_loss(y, 1 / (1 + np.exp(-found)))
    assert ours == pytest.approx(log_loss(y, fitted.predict_proba(scores[:, None])), abs=1e-3)
    assert not log_odds(-scores[:, None], y, weight).any()


def test_the_curve_begins_with_nothing_removed_and_is_the_mean_over_generators(harmed, split):
    removal = fit(harmed, split, max_removed=3)
    curve = removal.curve_
    assert curve["removed"].tolist() == [0, 1, 2, 3] and curve["head"].tolist()[:2] == ["", HARMFUL]
    assert len(removal.removed_) <= 3
    search = removal.search(harmed.X, harmed.y, split.train, split.select, harmed.generator)
    scores = harmed.X[split.select, :P] @ search.coef
    expected = mean_auc(harmed.y[split.select], scores[:, None], harmed.generator[split.select])
    assert curve["select_auc"][0] == pytest.approx(expected[0])


def test_it_is_a_scikit_learn_transformer(harmed, split):
    first = fit(harmed, split, replace="resample")
    second = clone(first)
    assert not hasattr(second, "removed_") and second.get_params()["replace"] == "resample"
    assert first.get_feature_names_out().tolist() == [f"P.{i}" for i in range(P)]
    assert first.removed_ == fit(harmed, split, replace="resample").removed_


def test_random_sets_are_sets_of_that_size_and_replayed():
    drawn = random_head_sets([f"L0.H{i}" for i in range(6)], 3, 40, 1)
    assert all(len(set(heads)) == 3 for heads in drawn)
    assert len({tuple(sorted(heads)) for heads in drawn}) > 10
    assert drawn == random_head_sets([f"L0.H{i}" for i in range(6)], 3, 40, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"replace": "zeros"}, "did you mean 'zero'"), ({"criterion": "accuracy"}, "criterion")],
)
def test_unknown_names_are_refused(harmed, split, options, message):
    with pytest.raises(InputError, match=message):
        fit(harmed, split, **options)


def test_x_that_does_not_fit_is_refused(harmed, split):
    def refused(message, X, *layout_and_fold):
        with pytest.raises(InputError, match=message):
            HeadRemoval(*layout_and_fold).fit(X, harmed.y, part=split.part)

    refused("embedding_and_heads", harmed.X[:, P:], harmed.layout, FOLD)
    refused("needs layout= where X is an array", harmed.X, None, FOLD)
    refused("behind the 96 of the embedding; given n_features = 192", harmed.X, 7, FOLD)
    refused(r"fold must be \(l, h, d, P\)", harmed.X, harmed.layout, FOLD[:2])
    with pytest.raises(InputError, match="unknown head"):
        fit(harmed, split).without(["L9.H9"])
