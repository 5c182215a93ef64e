"""The theorems of least-squares concept erasure: nothing linear is left, and nothing moves that need not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from interp.analysis.leace import Leace
from interp.analysis.logistic import fit_logistic


def draw(n=400, d=12, classes=4, seed=0):
    """Correlated features with a mean far from 0, whose means and scales depend on the class."""
    rng = np.random.default_rng(seed)
    z = rng.permutation(np.arange(n) % classes)
    mixing = rng.normal(size=(d, d)) * np.exp(rng.normal(size=d))
    X = rng.normal(size=(n, d)) @ mixing + 3 * rng.normal(size=(classes, d))[z] + 10
    return X, z


def cross_covariance(X, Z):
    Z = np.asarray(Z, float).reshape(len(X), -1)
    return np.abs((X - X.mean(0)).T @ (Z - Z.mean(0)) / len(X)).max()


SHAPES = [(400, 12, 4), (60, 12, 20), (15, 40, 3), (400, 12, 2)]


@pytest.mark.parametrize("options", [{}, {"method": "orth"}, {"shrinkage": True}], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_covariance_is_left_on_the_fitting_rows(shape, options):
    X, z = draw(*shape)
    eraser = Leace(**options).fit(X, concept=z)
    erased = eraser.transform(X)
    assert cross_covariance(X, np.eye(shape[2])[z]) > 0.1
    assert cross_covariance(erased, np.eye(shape[2])[z]) <= 1e-8
    assert eraser.rank_[0] == min(shape[2] - 1, shape[1])
    np.testing.assert_allclose(erased.mean(0), X.mean(0), atol=1e-9)
    np.testing.assert_allclose(eraser.transform(erased), erased, atol=1e-8)


@settings(max_examples=30)
@given(
    arrays(float, (30, 3), elements=st.floats(-5, 5)),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["leace", "orth"]),
    st.floats(1e-3, 1e3),
)
def test_real_valued_concepts_of_any_scale_and_rank_are_erased(concept, seed, method, scale):
    if np.ptp(concept, axis=0).max() < 1e-3:
        return
    rng = np.random.default_rng(seed)
    X = scale * (rng.normal(size=(30, 6)) + concept @ rng.normal(size=(3, 6)))
    X[:, 5] = X[:, 0] - X[:, 1]  # features that are not independent
    erased = Leace(method=method).fit(X, concept=concept).transform(X)
    assert cross_covariance(erased, concept) <= 1e-9 * scale


@pytest.mark.parametrize("method", ["leace", "orth"])
def test_no_linear_probe_does_better_than_a_constant_on_the_fitting_rows(method):
    X, z = draw(classes=3)
    erased = Leace(method=method).fit(X, concept=z).transform(X)
    for probed, better in ((erased, False), (X, True)):
        scaled = (probed - probed.mean(0)) / probed.std()
        logistic = LogisticRegression(C=1e6, max_iter=2000, tol=1e-10).fit(scaled, z)
        constant = log_loss(z, np.full((len(z), 3), np.bincount(z) / len(z)))
        assert (log_loss(z, logistic.predict_proba(scaled)) < constant - 1e-8) == better
        share = LinearRegression().fit(scaled, np.eye(3)[z]).score(scaled, np.eye(3)[z])
        assert (share > 1e-8) == better


def test_a_probe_of_the_erasers_rows_reads_nothing_on_fresh_rows():
    """50 seeds, a penalised and a nearly unpenalised logistic regression; before erasing both read the concept.

    The best probe of erased rows is the constant, so the fitted one gives all fresh rows one score but for rounding:
    ties, an AUC of one half. (The AUC of the rounding itself says nothing, and strays from one half like any draw.)
    """
    for seed in range(50):
        X, z = draw(n=800, classes=2, seed=seed)
        X = (X - X.mean(0)) / X.std(0)
        fitted, fresh = slice(0, 400), slice(400, 800)
        erased = Leace().fit(X[fitted], concept=z[fitted]).transform(X)
        scores = []
        for features in (X, erased):
            coef, intercept = fit_logistic(features[None, fitted].repeat(2, 0), z[fitted], [1e-2, 1e4])
            scores.append(features[fresh] @ coef.T + intercept)
        before, after = scores
        assert min(roc_auc_score(z[fresh], one) for one in before.T) > 0.7
        assert np.ptp(after, axis=0).max() < 1e-6


def test_leace_moves_less_than_any_other_eraser_under_every_inner_product():
    """100 oblique projections with the same kernel's image: half of them anywhere, half close by."""
    X, z = draw(n=300, d=8, classes=3)
    leace = Leace().fit(X, concept=z)
    left, right = leace.left_[0], leace.right_[0]
    covariance = np.cov(X.T, bias=True)
    rng = np.random.default_rng(0)
    inner = [np.eye(8), np.linalg.inv(covariance), np.diag([1.0] + [1e-3] * 7)]
    inner += [(lambda a: a @ a.T)(rng.normal(size=(8, 8))) for _ in range(5)]

    def moved(read, M):
        return np.trace(M @ left @ read @ covariance @ (left @ read).T)

    np.testing.assert_allclose(leace.moved_, moved(right, np.eye(8)) / np.trace(covariance))
    for i in range(100):
        other = rng.normal(size=right.shape)
        if i % 2:
            other = right + 1e-2 * np.abs(right).mean() * other
        other = np.linalg.inv(other @ left) @ other
        erased = X - (X - X.mean(0)) @ (left @ other).T
        assert cross_covariance(erased, np.eye(3)[z]) < 1e-8
        for M in inner:
            assert moved(right, M) < moved(other, M)
    orthogonal = Leace(method="orth").fit(X, concept=z)
    assert leace.moved_ < orthogonal.moved_


def test_shrinkage_moves_more_on_its_own_rows_and_less_noise_on_fresh_ones():
    X, z = draw(n=60, d=40, classes=2)
    fresh, _ = draw(n=2000, d=40, classes=2)
    plain, shrunken = Leace().fit(X, concept=z), Leace(shrinkage=True).fit(X, concept=z)
    assert plain.moved_ < shrunken.moved_
    assert ((plain.transform(fresh) - fresh) ** 2).sum() > ((shrunken.transform(fresh) - fresh) ** 2).sum()


def test_leace_does_not_depend_on_how_features_or_concept_are_scaled():
    X, z = draw()
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(12, 12))
    once = Leace().fit(X, concept=z).transform(X) @ mixing
    np.testing.assert_allclose(
        Leace().fit(X @ mixing, concept=z).transform(X @ mixing), once, rtol=1e-6, atol=1e-6
    )
    columns = np.eye(4)[z] @ rng.normal(size=(4, 3)) * [1e-6, 1, 1e6] + 5
    np.testing.assert_allclose(
        Leace().fit(X, concept=columns).transform(X) @ mixing, once, rtol=1e-6, atol=1e-6
    )


def test_it_agrees_with_the_reference():
    """https://github.com/EleutherAI/concept-erasure, where it is installed, without what breaks its guarantee."""
    package = pytest.importorskip("concept_erasure", reason="compared by hand: pip install concept-erasure")
    torch = pytest.importorskip("torch")
    for shape in SHAPES:
        X, z = draw(*shape)
        X = (X - X.mean(0)) / X.std(0)  # the package shrinks covariances, we shrink correlations
        for options in ({}, {"shrinkage": True}, {"method": "orth"}):
            told = {"shrinkage": False, "svd_tol": 1e-9, "constrain_cov_trace": False} | options
            reference = package.LeaceEraser.fit(torch.tensor(X), torch.tensor(np.eye(shape[2])[z]), **told)
            ours = Leace(**options).fit(X, concept=z).transform(X)
            np.testing.assert_allclose(ours, reference(torch.tensor(X)).numpy(), atol=1e-7)


def confounded(n=4000, seed=0):
    """x = a·label + B·concept + noise, the concept going with the label."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    concept = rng.normal(size=(n, 2)) + 1.5 * y[:, None]
    signal, nuisance = rng.normal(size=8), rng.normal(size=(2, 8))
    X = np.outer(y, signal) + concept @ nuisance + 0.3 * rng.normal(size=(n, 8))
    return X, y, concept, signal, nuisance


def test_keeping_the_label_removes_the_concepts_directions_and_nothing_else():
    X, y, concept, signal, nuisance = confounded()
    kept = Leace(keep="label").fit(X, y, concept=concept)
    mixed = Leace().fit(X, concept=concept)
    erased = kept.transform(X)
    within = concept - np.stack([concept[y == one].mean(0) for one in (0, 1)])[y]
    assert cross_covariance(erased, within) <= 1e-8
    span, theirs = np.linalg.qr(nuisance.T)[0], np.linalg.qr(kept.left_[0])[0]
    assert np.linalg.svd(span.T @ theirs)[1].min() > 0.999  # the same plane
    assert np.linalg.svd(span.T @ np.linalg.qr(mixed.left_[0])[0])[1].min() < 0.98

    def separation(features):
        """Mahalanobis distance of the class means."""
        difference = features[y == 1].mean(0) - features[y == 0].mean(0)
        pooled = sum(np.cov(features[y == one].T, bias=True) for one in (0, 1)) / 2
        return difference @ np.linalg.pinv(pooled, rcond=1e-10) @ difference

    alone = (np.eye(8) - span @ span.T) @ signal
    assert separation(erased) == pytest.approx(alone @ alone / 0.09, rel=0.1)
    assert separation(mixed.transform(X)) < 0.5 * separation(erased)


def test_a_concept_that_is_the_label_is_refused_or_erased_as_asked():
    X, z = draw(classes=2)
    names = np.array(["real", "fake"])[z]
    with pytest.raises(ValueError, match="does not vary beyond what the label tells"):
        Leace(keep="label").fit(X, z, concept=names)
    erased = Leace(erase="label").fit(X, names).transform(X)
    np.testing.assert_allclose(erased, Leace().fit(X, concept=z).transform(X), atol=1e-9)
