"""Heads' margins sum to the detector's, and the head that learned an accident is named at every dose."""

from __future__ import annotations

import numpy as np
import pytest
from planted_heads import ACCIDENT, GOOD
from sklearn.linear_model import LogisticRegression

from interp.analysis.direct_effect import margin_by_head
from interp.errors import InputError


@pytest.fixture(scope="module")
def fold() -> np.ndarray:
    """Every head writes into directions of its own, which a random rotation mixes."""
    return np.linalg.qr(np.random.default_rng(0).normal(size=(96, 96)))[0].reshape(3, 4, 8, 96)


def test_the_heads_margins_sum_to_the_detectors(planted, fold):
    split = next(iter(planted.protocol))
    embedding = planted.X @ fold.reshape(96, 96)
    detector = LogisticRegression().fit(embedding[split.train], planted.y[split.train])
    coef = detector.coef_[0]
    table = margin_by_head(
        planted.X, planted.y, planted.layout, fold, coef, train=split.train, select=split.select
    )
    scores, y = embedding @ coef, planted.y
    margins = [scores[r][y[r] == 1].mean() - scores[r][y[r] == 0].mean() for r in (split.train, split.select)]
    assert table["promised"].sum() == pytest.approx(1)
    assert table["kept"].sum() == pytest.approx(margins[1] / margins[0])


def test_the_accident_promises_and_does_not_keep_while_the_good_head_keeps(planted, fold):
    for split in planted.protocol:
        embedding = planted.X @ fold.reshape(96, 96)
        detector = LogisticRegression().fit(embedding[split.train], planted.y[split.train])
        table = margin_by_head(
            planted.X,
            planted.y,
            planted.layout,
            fold,
            detector.coef_[0],
            train=split.train,
            select=split.select,
        ).set_index("head")
        assert table["excess"].idxmax() == ACCIDENT
        assert table.loc[GOOD, "kept"] > 0.3 * table.loc[GOOD, "promised"]


def test_shapes_that_do_not_fit_are_refused(planted, fold):
    with pytest.raises(InputError, match="end with the 5 weights"):
        margin_by_head(planted.X, planted.y, planted.layout, fold, np.ones(5), train=[0], select=[1])
