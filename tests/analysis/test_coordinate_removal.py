"""The transformer removes what misleads, stops by the one-standard-error rule, and is a scikit-learn transformer."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from interp.analysis.coordinate_removal import (
    RIDGES,
    CoordinateRemoval,
    choose_ridge,
    generator_weights,
    one_standard_error,
)
from interp.analysis.elimination import greedy_elimination
from interp.errors import InputError

P, MISLEADS, TELLS = 16, 5, 2


def draw(seed: int = 0, nuisance: float = 3.0, n: int = 200):
    """Rows of three parts; MISLEADS shifts the fakes of the train rows alone."""
    rng = np.random.default_rng(seed)
    y, part = np.arange(3 * n) % 2, np.repeat(["train", "select", "test"], n)
    X = rng.normal(size=(3 * n, P))
    X[:, TELLS] += 2 * y
    X[:, MISLEADS] += nuisance * (y * (part == "train"))
    generator = np.where(y == 1, np.where(part == "train", "a", rng.choice(["b", "c"], 3 * n)), "real")
    return X, y, part, generator


@pytest.mark.parametrize("score", ["log_loss", "squared_error", "auc"])
def test_what_misleads_is_removed_and_what_tells_is_kept(score):
    X, y, part, generator = draw()
    removal = CoordinateRemoval(criterion=score).fit(X, y, part=part, generator=generator)
    assert removal.removed_[0] == MISLEADS
    assert TELLS in removal.kept_
    assert sorted([*removal.removed_, *removal.kept_]) == list(range(P))
    train, test = part == "train", part == "test"
    before = LogisticRegression().fit(X[train], y[train]).decision_function(X[test])
    kept = removal.transform(X)
    after = LogisticRegression().fit(kept[train], y[train]).decision_function(kept[test])
    assert roc_auc_score(y[test], after) > roc_auc_score(y[test], before) + 0.1


def test_the_curve_shows_every_step():
    X, y, part, _ = draw()
    removal = CoordinateRemoval().fit(X, y, part=part)
    curve = removal.curve_
    assert curve["removed"].tolist() == list(range(P))
    assert curve["coordinate"].dropna().tolist()[: len(removal.removed_)] == removal.removed_.tolist()
    train, select = part == "train", part == "select"
    columns = (X - X[train].mean(0)) / X[train].std(0)
    found = greedy_elimination(columns[train], y[train], columns[select], y[select], ridge=removal.ridge_)
    logits = found.logits[0].numpy()
    for step in (0, 3, P - 1):
        assert curve["select_auc"][step] == pytest.approx(roc_auc_score(y[select], logits[step]))
    assert CoordinateRemoval(max_removed=1).fit(X, y, part=part).removed_.tolist() == [MISLEADS]


def test_one_standard_error_takes_the_shortest_prefix_that_is_not_worse():
    rng = np.random.default_rng(0)
    y, weight = np.arange(100) % 2, np.full(100, 0.01)
    good = (2 * y - 1) + rng.normal(size=100)
    bad, same = -good, good + rng.normal(size=100) * 1e-3
    logits = np.stack([bad, same, same, good])

    def scores(kind):
        if kind == "auc":
            return np.array([roc_auc_score(y, one) for one in logits])
        signed = (2 * y - 1) * logits
        return -np.mean(np.logaddexp(0, -signed) if kind == "log_loss" else (1 - signed) ** 2, axis=1)

    for kind in ("log_loss", "squared_error", "auc"):
        found = scores(kind)
        found[3] = found.max() + 1e-9  # best by a hair
        assert one_standard_error(found, logits, y, weight, kind) in (1, 3)
        assert one_standard_error(found[:1], logits[:1], y, weight, kind) == 0
    identical = np.stack([good, good])
    assert one_standard_error(np.array([0.0, 0.1]), identical, y, weight) == 0


def test_the_ridge_is_the_one_with_the_best_select_auc():
    X, y, part, generator = draw(nuisance=1.0)
    train, select = part == "train", part == "select"
    weight = generator_weights(y[select], generator[select])
    chosen = choose_ridge(X[train], y[train], X[select], y[select], weight)
    aucs = {}
    for ridge in RIDGES:
        found = greedy_elimination(
            X[train], y[train], X[select], y[select], ridge=ridge * train.sum(), n_steps=0, score="auc"
        )
        of_each = [
            roc_auc_score(y[select][rows], found.logits[0, 0][rows])
            for rows in ((y[select] == 0) | (generator[select] == name) for name in ("b", "c"))
        ]
        aucs[ridge * train.sum()] = np.mean(of_each)
    assert aucs[chosen] == pytest.approx(max(aucs.values()))


def test_every_generator_weighs_the_same():
    y = np.array([0, 0, 0, 1, 1, 1, 1])
    weight = generator_weights(y, np.array(["real"] * 3 + ["a"] * 3 + ["b"]))
    assert weight[y == 0].sum() == pytest.approx(0.5)
    assert weight[3:6].sum() == pytest.approx(0.25) and weight[6] == pytest.approx(0.25)


def test_it_stands_in_a_pipeline_with_routed_metadata():
    X, y, part, generator = draw()
    with sklearn.config_context(enable_metadata_routing=True):
        removal = CoordinateRemoval().set_fit_request(part=True, generator=True)
        pipeline = make_pipeline(removal, LogisticRegression().set_fit_request(sample_weight=True))
        weight = (part == "train").astype(float)
        pipeline.fit(X, y, part=part, generator=generator, sample_weight=weight)
        scores = pipeline.decision_function(X)
    kept = CoordinateRemoval().fit(X, y, part=part, generator=generator).kept_
    alone = LogisticRegression().fit(X[part == "train"][:, kept], y[part == "train"])
    np.testing.assert_allclose(scores, alone.decision_function(X[:, kept]), atol=1e-3)


def test_it_clones_keeps_names_and_pulls_weights_back():
    X, y, part, _ = draw()
    removal = clone(CoordinateRemoval(criterion="squared_error", max_removed=3))
    assert removal.get_params()["max_removed"] == 3
    removal.set_output(transform="pandas").fit(X, y, part=part)
    kept = removal.transform(X)
    assert list(kept.columns) == [f"x{i}" for i in removal.kept_]
    coef = np.random.default_rng(0).normal(size=len(removal.kept_))
    weights, intercept = removal.pull_back(coef, 0.5)
    np.testing.assert_allclose(X @ weights + intercept, kept.to_numpy() @ coef + 0.5)


def test_test_rows_have_no_say():
    X, y, part, generator = draw()
    changed = X.copy()
    changed[part == "test"] = 1e6
    found = [CoordinateRemoval().fit(values, y, part=part, generator=generator) for values in (X, changed)]
    assert found[0].curve_.equals(found[1].curve_)


def test_wrong_use_says_what_to_do():
    X, y, part, _ = draw()
    with pytest.raises(InputError, match="CoordinateRemoval.fit needs part="):
        CoordinateRemoval().fit(X, y)
    with pytest.raises(InputError, match="photographs and fakes among its select rows"):
        CoordinateRemoval().fit(X, y, part=np.where(part == "select", "other", part))
    with pytest.raises(InputError, match="did you mean 'log_loss'"):
        CoordinateRemoval(criterion="logloss").fit(X, y, part=part)
