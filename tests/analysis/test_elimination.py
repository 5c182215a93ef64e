"""Down-dates are refits, every step takes the best candidate, and the surrogate removes what a refit would."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error, roc_auc_score

from interp.analysis.elimination import SCORES, greedy_elimination
from interp.analysis.logistic import balanced_weights, fit_logistic
from interp.analysis.strength import choose_strength
from interp.errors import InputError


def draw(seed: int, p: int, n: int = 90, m: int = 70, nuisance: float = 3.0):
    """Column 0 tells in both parts; column 1 in the train rows alone."""
    rng = np.random.default_rng(seed)
    train_y, select_y = rng.permutation(np.arange(n) % 3 == 0) * 1, rng.permutation(np.arange(m) % 2)
    train, select = rng.normal(size=(n, p)), rng.normal(size=(m, p))
    train[:, 0] += 2 * train_y
    select[:, 0] += 2 * select_y
    train[:, 1] += nuisance * train_y
    return train, train_y, select, select_y


def refit(train, y, select, keep, ridge):
    """Ridge score and LDA log-odds of the select rows from the columns kept, by scikit-learn."""
    weight = balanced_weights(y)
    model = Ridge(alpha=ridge).fit(train[:, keep], 2 * y - 1, weight)
    own, score = model.predict(train[:, keep]), model.predict(select[:, keep])
    center, means = np.average(own, weights=weight), [own[y == c].mean() for c in (0, 1)]
    variance = np.mean([own[y == c].var() for c in (0, 1)])
    return score, (means[1] - means[0]) / variance * (score - center)


def judged(score, logits, y, kind):
    weight = balanced_weights(y)
    if kind == "log_loss":
        return -np.average(np.logaddexp(0, (1 - 2 * y) * logits), weights=weight)
    if kind == "squared_error":
        return -mean_squared_error(2 * y - 1, score, sample_weight=weight)
    return roc_auc_score(y, logits)


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("n", [90, 15])
def test_every_step_is_the_best_refit(kind, n):
    train, y, select, select_y = draw(0, p=20, n=n)
    found = greedy_elimination(train, y, select, select_y, ridge=5.0, score=kind)
    left = list(range(20))
    for step in range(20):
        score, logits = refit(train, y, select, left, 5.0)
        np.testing.assert_allclose(found.logits[0, step], logits, rtol=1e-7, atol=1e-7)
        assert float(found.score[0, step]) == pytest.approx(judged(score, logits, select_y, kind), abs=1e-8)
        if len(left) > 1:
            options = [[j for j in left if j != out] for out in left]
            best = max(judged(*refit(train, y, select, keep, 5.0), select_y, kind) for keep in options)
            assert float(found.score[0, step + 1]) == pytest.approx(best, abs=1e-8)
        left.remove(int(found.order[0, step]))
    assert not left


@pytest.mark.parametrize("kind", SCORES)
def test_a_batch_is_its_problems_one_by_one(kind):
    drawn = [draw(seed, p=12) for seed in range(3)]
    batch = greedy_elimination(*map(np.stack, zip(*drawn, strict=True)), ridge=9.0, score=kind, n_steps=6)
    for i, arrays in enumerate(drawn):
        one = greedy_elimination(*arrays, ridge=9.0, score=kind, n_steps=6)
        np.testing.assert_allclose(batch.score[i], one.score[0], atol=1e-9)
        if kind != "auc":  # AUC has ties, and each problem its own draw among them
            assert batch.order[i].tolist() == one.order[0].tolist()


def test_what_misleads_goes_first_and_what_tells_goes_last():
    for seed in range(5):
        order = greedy_elimination(*draw(seed, p=30), ridge=30.0).order[0].tolist()
        assert order[0] == 1
        assert order.index(0) >= 27


@pytest.mark.parametrize("kind", SCORES)
def test_a_select_row_without_weight_has_no_say(kind):
    train, y, select, select_y = draw(1, p=10)
    weight = np.r_[np.ones(50), np.zeros(20)]
    some = greedy_elimination(train, y, select, select_y, ridge=9.0, score=kind, select_weight=weight)
    alone = greedy_elimination(
        train, y, select[:50], select_y[:50], ridge=9.0, score=kind, select_weight=weight[:50]
    )
    steps = slice(2) if kind == "auc" else slice(None)  # later, rounding decides among ties of the AUC
    np.testing.assert_allclose(some.score[:, steps], alone.score[:, steps], atol=1e-9)


def test_ties_are_drawn_and_the_draw_is_seeded():
    train, y, select, select_y = draw(2, p=12)
    train[:, 2:], select[:, 2:] = 0.0, 0.0  # ten coordinates that are all alike
    firsts = {
        seed: greedy_elimination(train, y, select, select_y, ridge=9.0, score="auc", random_state=seed).order[
            0
        ]
        for seed in range(8)
    }
    assert len({int(order[3]) for order in firsts.values()}) > 2
    again = greedy_elimination(train, y, select, select_y, ridge=9.0, score="auc", random_state=3).order[0]
    assert again.tolist() == firsts[3].tolist()


def exact_greedy(train, y, select, select_y, C):
    """The same elimination with a logistic regression fitted for every candidate of every step."""
    left, losses, order = list(range(train.shape[1])), [], []
    weight = balanced_weights(y)
    while len(left) > 1:
        kept = np.array([[j for j in left if j != out] for out in left])
        coef, intercept = fit_logistic(train[:, kept].transpose(1, 0, 2), y, C, weight, tol=1e-4)
        logits = np.einsum("mcp,cp->cm", select[:, kept], coef) + intercept[:, None]
        loss = np.logaddexp(0, -(2 * select_y - 1) * logits) @ balanced_weights(select_y)
        best = int(loss.argmin())
        losses.append(loss[best])
        order.append(left.pop(best))
    return order[: int(np.argmin(losses)) + 1]


def out_of_distribution(seed, removed):
    """Test AUC, where nothing misleads, of a detector refitted on 48 coordinates without those removed."""
    train, y, select, select_y = draw(seed, p=48, n=200, m=200, nuisance=2.0)
    test, test_y = draw(seed + 100, p=48, m=2000)[2:]
    keep = np.setdiff1d(np.arange(48), removed)
    detector = choose_strength(train[:, keep], y, select[:, keep], select_y)
    return roc_auc_score(test_y, test[:, keep] @ detector.coef)


@pytest.fixture(scope="module")
def exactly():
    """Out-of-distribution AUC after exact elimination, and with nothing removed, on six seeds."""
    exact = [exact_greedy(*draw(seed, p=48, n=200, m=200, nuisance=2.0), C=1.0) for seed in range(6)]
    return np.array([[out_of_distribution(seed, which) for which in (exact[seed], [])] for seed in range(6)])


@pytest.mark.parametrize("kind", SCORES)
def test_the_surrogate_removes_as_well_as_exact_refits(exactly, kind):
    """48 coordinates: out of distribution within half a point of a logistic regression for every candidate."""
    aucs = []
    for seed in range(6):
        found = greedy_elimination(*draw(seed, p=48, n=200, m=200, nuisance=2.0), ridge=20.0, score=kind)
        aucs.append(out_of_distribution(seed, found.order[0, : int(found.score[0].argmax())].tolist()))
    refitted, whole = exactly.mean(0)
    assert abs(np.mean(aucs) - refitted) <= 0.005
    assert np.mean(aucs) > whole + 0.05


def test_wrong_use_says_what_to_do():
    train, y, select, select_y = draw(0, p=5)
    for match, call in {
        "did you mean 'log_loss'": lambda: greedy_elimination(
            train, y, select, select_y, ridge=1.0, score="logloss"
        ),
        "ridge > 0": lambda: greedy_elimination(train, y, select, select_y, ridge=0.0),
        "same columns": lambda: greedy_elimination(train, y, select[:, :3], select_y, ridge=1.0),
        "equally many select fakes": lambda: greedy_elimination(
            train, y, select, np.stack([select_y, np.arange(70) % 3 == 0]), ridge=1.0
        ),
        "both present": lambda: greedy_elimination(train, np.zeros_like(y), select, select_y, ridge=1.0),
    }.items():
        with pytest.raises(InputError, match=match):
            call()
