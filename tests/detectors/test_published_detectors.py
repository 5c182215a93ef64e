"""What single published detectors promise: closed forms, identities, planted answers, published constants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from interp.analysis.coordinate_intersection import CoordinateIntersection, exhaustive_elimination
from interp.detectors.component_removal import ComponentRemoval
from interp.detectors.few_shot import FewShot, paired_draw
from interp.detectors.fusion import RULES, fuse
from interp.detectors.linear import LinearDetector
from interp.detectors.principal_scaling import PrincipalScaling
from interp.detectors.semantic_removal import SemanticRemoval
from interp.detectors.universal_fake_detect import NearestNeighbour, UniversalFakeDetect
from interp.errors import InputError

rng = np.random.default_rng(0)
Y = np.arange(240) % 2
X = rng.normal(size=(240, 6)) + np.outer(Y, [2, 1, 0, 0, 0, 0]) + 1
PART = np.random.default_rng(1).choice(["train", "select"], 240)


def test_the_probe_comes_to_the_optimum_of_its_loss():
    probe = UniversalFakeDetect(rate=0.02, epochs=40).fit(X, Y)
    exact = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(X, Y)
    np.testing.assert_allclose(probe.coef_, exact.coef_[0], atol=0.02)
    assert probe.intercept_ == pytest.approx(exact.intercept_[0], abs=0.03)


def test_the_published_stopping_lowers_the_rate_and_code_keeps_the_last_epoch():
    paper = UniversalFakeDetect(rate=0.01, steps=1, epochs=100).fit(X, Y, part=PART)
    code = UniversalFakeDetect("code", rate=0.01, steps=1, epochs=100).fit(X, Y, part=PART)
    assert (
        paper.epochs_ == code.epochs_ < 100
    )  # 1e-2 … 1e-6: five rates, each left after five epochs without gain
    assert paper.epochs_ >= 5 * 5
    select = PART == "select"
    accuracy = ((X @ paper.coef_ + paper.intercept_ > 0) == Y)[select].mean()
    assert accuracy == pytest.approx(paper.select_accuracy_)
    assert ((X @ code.coef_ + code.intercept_ > 0) == Y)[select].mean() <= paper.select_accuracy_
    with pytest.raises(InputError, match="did you mean 'paper'"):
        UniversalFakeDetect("papr").fit(X, Y)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_nearest_neighbours_vote_as_scikit_learns(k):
    ours = NearestNeighbour(k, vote=True).fit(X[:120], Y[:120]).decision_function(X[120:])
    theirs = KNeighborsClassifier(k, metric="cosine").fit(X[:120], Y[:120]).predict_proba(X[120:])[:, 1]
    np.testing.assert_allclose(ours, theirs - 0.5)
    if k == 1:
        signs = NearestNeighbour().fit(X[:120], Y[:120]).decision_function(X[120:])
        np.testing.assert_array_equal(signs > 0, theirs > 0.5)


def test_few_shot_scores_are_log_likelihood_ratios_on_select_rows():
    detector = FewShot().fit(X, Y, part=PART)
    select = PART == "select"
    scores = detector.decision_function(X)[select]
    refit = LogisticRegression(C=np.inf, class_weight="balanced").fit(scores[:, None], Y[select])
    assert refit.coef_[0, 0] == pytest.approx(1, abs=0.15) and refit.intercept_[0] == pytest.approx(
        0, abs=0.15
    )
    np.testing.assert_allclose(detector.decision_function(X * 5), detector.decision_function(X))


@given(st.integers(1, 60), st.integers(0, 5))
@settings(max_examples=20)
def test_paired_draws_hold_both_classes_alike_and_pairs_first(n, seed):
    y = np.repeat([0, 1], [70, 60])
    groups = np.concatenate([np.arange(70), np.arange(40, 100)])  # 30 groups hold a photograph and a fake
    drawn = paired_draw(y, n, groups=groups, random_state=seed)
    assert len(np.unique(drawn)) == 2 * n and (y[drawn] == 1).sum() == n
    shared = np.intersect1d(groups[drawn][y[drawn] == 0], groups[drawn][y[drawn] == 1])
    assert len(shared) >= min(n, 30)
    np.testing.assert_array_equal(drawn, paired_draw(y, n, groups=groups, random_state=seed))


def test_more_pairs_than_there_are_is_refused():
    with pytest.raises(InputError, match="61 pairs asked for; the rows hold 60"):
        paired_draw(np.repeat([0, 1], [70, 60]), 61)


@given(arrays(np.float64, (4, 3), elements=st.floats(-20, 20)))
def test_fusion_equals_its_formulas_where_these_do_not_saturate(x):
    s = expit(x)
    log = {"soft_or_prob": -np.expm1(np.log1p(-s).sum(1)), "mean_prob": s.mean(1)}
    for rule, probability in log.items():
        found = fuse(x, rule)
        well = np.abs(found) < 15
        np.testing.assert_allclose(found[well], logit(probability)[well], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fuse(x, "lse_logit"), np.log(np.exp(x).sum(1)))


@given(st.sampled_from(sorted(RULES)), st.floats(-700, 700))
def test_fusion_of_one_detector_is_that_detector_and_never_saturates(rule, x):
    assert fuse([[x]], rule)[0] == pytest.approx(x, rel=1e-9, abs=1e-9)
    assert np.isfinite(fuse([[x, -x, x]], rule)).all()


def planted(n: int = 600, p: int = 8, seed: int = 0):
    random = np.random.default_rng(seed)
    y, part = np.arange(n) % 2, np.repeat(["train", "select", "test"], n // 3)
    columns = random.normal(size=(n, p))
    columns[:, 1] += 1.5 * (2 * y - 1)
    sign = np.select([part == "train", part == "select"], [1, -1], 0)
    columns[:, 4] += 2.5 * sign * (2 * y - 1)
    return columns, y, part


@pytest.mark.parametrize("as_published", ["code", "paper"])
def test_only_what_both_directions_remove_is_removed(as_published):
    columns, y, part = planted(p=5)
    both = {
        rule: CoordinateIntersection(as_published, rule).fit(columns, y, part=part)
        for rule in ("intersection", "union", "forward")
    }
    found = {rule: set(one.removed_.tolist()) for rule, one in both.items()}
    assert 4 in found["intersection"] and 1 not in found["intersection"]
    assert found["intersection"] == set.intersection(*(set(d.tolist()) for d in both["union"].directions_))
    assert found["intersection"] <= found["forward"] <= found["union"]


def test_exhaustive_elimination_gives_ties_to_the_highest_index():
    y = np.arange(40) % 2
    columns = np.zeros((40, 4))
    columns[:, 1] = 2 * y - 1  # all others are equally useless
    assert exhaustive_elimination(columns, y, columns, y).tolist() == [3]
    assert exhaustive_elimination(columns[:, :1], y, columns[:, :1], y).tolist() == []


def test_without_removal_it_is_logistic_regression_without_bias():
    model = LogisticRegression(C=1.0, fit_intercept=False, max_iter=1000).fit(X, Y)
    ours = ComponentRemoval("none").fit(X, Y)
    np.testing.assert_array_equal(ours.decision_function(X), model.decision_function(X))
    columns, y, part = planted()
    test = part == "test"
    found = [
        ComponentRemoval(method).fit(columns, y, part=np.where(test, "", part))
        for method in ("none", "intersection")
    ]
    plain, removed = (((one.decision_function(columns) > 0) == y)[test].mean() for one in found)
    assert removed > plain + 0.1


def test_no_direction_of_the_texts_is_left_and_zero_is_the_plain_detector():
    texts = rng.normal(size=(3, 6))
    removal = SemanticRemoval(texts, numbers=3).fit(X, Y, part=PART)
    moved = X + rng.normal(size=(240, 3)) @ texts * 10
    np.testing.assert_allclose(removal.decision_function(moved), removal.decision_function(X), atol=1e-8)
    plain = SemanticRemoval(texts, numbers=0).fit(X, Y, part=PART)
    np.testing.assert_array_equal(
        plain.decision_function(X), LinearDetector().fit(X, Y, part=PART).decision_function(X)
    )
    chosen = SemanticRemoval(texts).fit(X, Y, part=PART)
    assert (
        chosen.tried_ == [0, 1, 2, 3] and len(chosen.basis_) == chosen.tried_[np.argmax(chosen.select_aucs_)]
    )
    with pytest.raises(InputError, match=r"texts must be \(m, 6\)"):
        SemanticRemoval(np.eye(5)).fit(X, Y, part=PART)


def test_without_texts_the_train_images_leading_directions_go():
    wide = X.copy()
    wide[:, 5] *= 50
    removal = SemanticRemoval(numbers=1).fit(wide, Y, part=PART)
    assert np.abs(removal.basis_[0]).argmax() == 5
    centred = wide[PART == "train"] - wide[PART == "train"].mean(0)
    np.testing.assert_allclose(np.abs(removal.basis_[0]), np.abs(np.linalg.svd(centred)[2][0]))


def test_factors_of_one_are_the_plain_detector_and_the_score_is_its_sum():
    fold = rng.normal(size=(2, 2, 3, 5))
    heads = rng.normal(size=(240, 12)) + 2 * np.outer(Y, np.eye(12)[4])
    both = np.concatenate([heads @ fold.reshape(12, 5) + 1, heads], axis=1)
    plain = PrincipalScaling(fold, C=0.0).fit(both, Y, part=PART)
    expected = LinearDetector().fit(both[:, :5], Y, part=PART).decision_function(both[:, :5])
    np.testing.assert_allclose(plain.decision_function(both), expected, atol=1e-9)
    assert all((factor == 1).all() for factor in plain.factors_)
    scaled = PrincipalScaling(fold, explained=1.0, C=0.5).fit(both, Y, part=PART)
    total = expected.copy()
    for h, factors in enumerate(scaled.factors_):
        z = both[:, 5:].reshape(240, 4, 3)[:, h]
        c = (z - z[PART == "train"].mean(0)) @ fold.reshape(4, 3, 5)[h]
        directions = np.linalg.svd(c[PART == "train"], full_matrices=False)[2][: len(factors)]
        total += (c @ directions.T) @ ((factors - 1) * (directions @ scaled.plain_.coef_))
    difference = scaled.decision_function(both) - total
    np.testing.assert_allclose(difference, difference[0], atol=1e-8)  # the intercept alone moves
    assert np.ptp(np.concatenate(scaled.factors_)) > 0.01 and scaled.n_trainable_ == 12
