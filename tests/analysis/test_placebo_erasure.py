"""After erasure no linear detector answers a placebo, on the rows fitted on; what fakes alone show is kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from interp.analysis.placebo_erasure import PlaceboErasure
from interp.encoders.layout import HeadLayout
from interp.errors import InputError

N, P = 600, 8


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray, pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    y, part = np.arange(N) % 2, np.repeat(["train", "select", "test"], N // 3)
    X = rng.normal(size=(N, P)) @ rng.normal(size=(P, P)) / 2
    X[:, 5] += 2 * y
    side = (rng.random(N) < 0.4).astype(float)
    X[:, 2] += 1.5 * side
    moved = rng.normal(size=(N, P)) * 0.3 + np.eye(P)[1] * 1.5 + np.eye(P)[2]
    columns = [("blur", "moved", j) for j in range(P)] + [("animals", "side", 0)]
    said = pd.DataFrame(np.column_stack([moved, side]), columns=pd.MultiIndex.from_tuples(columns))
    said.loc[y == 1] = np.nan
    return X, y, said, part


def test_no_linear_detector_answers_any_of_them(planted: tuple) -> None:
    X, y, said, part = planted
    erasure = PlaceboErasure(shrinkage=False).fit(X, y, part=part, statistics=said)
    assert erasure.erased_ == ["blur", "animals"] and erasure.n_rows_ == 200
    fitted = (y == 0) & (part != "test")
    moved, side = said["blur"].to_numpy()[fitted], said["animals"].to_numpy()[fitted, 0]
    plain, altered = erasure.transform(X[fitted]), erasure.transform(X[fitted] + moved)
    assert np.abs(altered.mean(0) - plain.mean(0)).max() < 1e-8
    assert np.abs(np.cov(plain.T, side)[-1, :-1]).max() < 1e-8
    both, told = np.concatenate([plain, altered]), np.repeat([0, 1], len(plain))
    learnt = LogisticRegression(C=1e3, max_iter=2000).fit(both, told)
    assert np.abs(learnt.predict_proba(both)[:, 1] - 0.5).max() < 1e-3
    detector = LogisticRegression().fit(erasure.transform(X[part == "train"]), y[part == "train"])
    test = part == "test"
    assert roc_auc_score(y[test], detector.decision_function(erasure.transform(X[test]))) > 0.85
    fresh = test & (y == 0)
    scores = [
        detector.decision_function(erasure.transform(X[fresh] + d))
        for d in (0, said["blur"].to_numpy()[fresh])
    ]
    auc = roc_auc_score(np.repeat([0, 1], fresh.sum()), np.concatenate(scores))
    assert abs(auc - 0.5) < 0.1


def test_rows_of_the_test_part_and_fakes_are_not_read(planted: tuple) -> None:
    X, y, said, part = planted
    one = PlaceboErasure().fit(X, y, part=part, statistics=said)
    other, strange = X.copy(), said.copy()
    other[(part == "test") | (y == 1)] += 50
    strange.loc[part == "test"] = 9.0
    again = PlaceboErasure().fit(other, y, part=part, statistics=strange)
    assert np.allclose(one.transform(X), again.transform(X))


def test_weights_are_pulled_back_and_heads_are_erased_one_by_one(planted: tuple) -> None:
    X, y, said, part = planted
    layout = HeadLayout(1, 2, 4)
    erasure = PlaceboErasure(layout).fit(X, y, part=part, statistics=said)
    coef, intercept = np.arange(P) - 2.0, 0.7
    pulled, constant = erasure.pull_back(coef, intercept)
    assert np.allclose(X @ pulled + constant, erasure.transform(X) @ coef + intercept)
    changed = X.copy()
    changed[:, :4] += 3
    assert np.allclose(erasure.transform(changed)[:, 4:], erasure.transform(X)[:, 4:])


def test_what_is_missing_is_said(planted: tuple) -> None:
    X, y, said, part = planted
    with pytest.raises(InputError, match="placebo_statistics"):
        PlaceboErasure().fit(X, y, part=part)
    alike = said.copy()
    alike.loc[:, [("animals", "side", 0)]] = 1.0
    with pytest.raises(InputError, match="'animals' has no photographs on both sides"):
        PlaceboErasure().fit(X, y, part=part, statistics=alike)
