"""A search over a protocol's folds fits on train rows, scores on select rows, and never meets a test row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from interp.errors import InputError
from interp.protocol.splits import Protocol

GRID = {"logisticregression__C": [0.01, 1.0]}


@pytest.fixture
def rows() -> pd.DataFrame:
    generator = np.repeat(["real", "a", "b", "c"], 40)
    table = pd.DataFrame({"generator": generator, "label": np.where(generator == "real", "real", "fake")})
    table["group"] = [f"group {i}" for i in range(len(table))]
    return table.set_index(pd.Index([f"image {i}" for i in range(len(table))], name="key"))


@pytest.fixture
def y(rows) -> np.ndarray:
    return (rows["label"] == "fake").to_numpy(int)


@pytest.fixture
def X(rows, y) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(rows), 5)) + y[:, None]


def pipeline():
    return make_pipeline(StandardScaler(), LogisticRegression())


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_whole_search_runs_clean_with_nan_in_every_test_row(rows, X, y, jobs):
    protocol = Protocol.by_hand(rows, "a", "b", "c", seeds=1)
    (split,) = protocol
    chosen = np.union1d(split.train, split.select)
    X[np.setdiff1d(np.arange(len(X)), chosen)] = np.nan
    expected = {}
    for C in GRID["logisticregression__C"]:
        fitted = pipeline().set_params(logisticregression__C=C).fit(X[split.train], y[split.train])
        expected[C] = roc_auc_score(y[split.select], fitted.decision_function(X[split.select]))
    settings = {"scoring": "roc_auc", "error_score": "raise", "n_jobs": jobs}
    search = GridSearchCV(pipeline(), GRID, cv=protocol.cv(), refit=False, **settings).fit(X, y)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], list(expected.values()))
    whole = GridSearchCV(pipeline(), GRID, cv=protocol.cv(chosen), **settings).fit(X[chosen], y[chosen])
    np.testing.assert_allclose(whole.cv_results_["mean_test_score"], list(expected.values()))
    assert np.isfinite(whole.decision_function(X[chosen])).all()
    with pytest.raises(ValueError, match="NaN"):  # refit without rows= does meet them
        GridSearchCV(pipeline(), GRID, cv=protocol.cv(), **settings).fit(X, y)


def test_folds_are_train_and_select_rows_of_every_split(rows, X, y):
    protocol = Protocol.pairs(rows, min_train=20, seeds=2)
    folds = list(protocol.cv().split(X))
    assert len(folds) == protocol.cv().get_n_splits() == len(protocol)
    for split, (train, select) in zip(protocol, folds, strict=True):
        np.testing.assert_array_equal(train, split.train)
        np.testing.assert_array_equal(select, split.select)
    for split in protocol:
        order = np.random.default_rng(1).permutation(np.union1d(split.train, split.select))
        one = Protocol(rows, [split]).cv(order)
        ((train, select),) = one.split(X[order])
        np.testing.assert_array_equal(order[train], split.train)
        np.testing.assert_array_equal(order[select], split.select)


def test_it_works_under_metadata_routing(rows, X, y):
    protocol = Protocol.by_hand(rows, "a", "b", "c", seeds=2)
    weight = np.ones(len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        model = (
            LogisticRegression().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        )
        search = GridSearchCV(model, {"C": [0.1, 1.0]}, cv=protocol.cv()).fit(X, y, sample_weight=weight)
        routed = cross_validate(model, X, y, cv=protocol.cv(), params={"sample_weight": weight})
    plain = cross_val_score(LogisticRegression(), X, y, cv=protocol.cv())
    np.testing.assert_allclose(routed["test_score"], plain)
    assert search.cv_results_["mean_test_score"][1] == pytest.approx(plain.mean())


def test_other_rows_than_the_protocols_are_refused(rows, X, y):
    protocol = Protocol.by_hand(rows, "a", "b", "c", seeds=1)
    search = GridSearchCV(pipeline(), GRID, cv=protocol.cv())
    with pytest.raises(InputError, match=r"X has 100 rows, the protocol 160; .*cv\(rows="):
        search.fit(X[:100], y[:100])
    frame = pd.DataFrame(X, index=rows.index)
    for fine in (frame, frame.reset_index(drop=True), X, X.tolist()):
        assert len(list(protocol.cv().split(fine))) == 1
    with pytest.raises(InputError, match=r"row 0 of X is 'image 159', the protocol's is 'image 0'; .*X\.loc"):
        search.fit(frame.iloc[::-1], y[::-1])
    (split,) = protocol
    with pytest.raises(
        InputError, match="split a>b, seed 0, trains and selects on 1 rows that rows= leaves out"
    ):
        protocol.cv(np.union1d(split.train, split.select)[1:])
    chosen = np.union1d(split.train, split.select)
    with pytest.raises(InputError, match=f"X has 160 rows, the splitter {len(chosen)}"):
        next(protocol.cv(chosen).split(X))
    with pytest.raises(InputError, match="positions without repeats"):
        protocol.cv([0, 0, 1])
    with pytest.raises(InputError, match="positions from 0 to 159; given 0 to 160"):
        protocol.cv([0, 160])
