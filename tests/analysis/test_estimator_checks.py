"""Every check that scikit-learn makes of an estimator, and what it cannot ask of those that choose on select rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.head_removal import HeadRemoval
from interp.analysis.head_selection import HeadSelection
from interp.detectors.linear import LinearDetector
from interp.errors import InputError

# scikit-learn calls fit(X, y) with X of any width: the transformers are told by `select_share` who selects, and
# HeadSelection by layout=1 that every column is a head, and HeadRemoval that every one behind the first is.
CHECKED = [
    LinearDetector(),
    LinearDetector(C=1.0),
    HeadSelection(layout=1, select_share=0.4),
    HeadSelection(layout=1, k=1, aggregate="vote", select_share=0.4),
    CoordinateRemoval(select_share=0.4),
    CoordinateRemoval(criterion="auc", max_removed=2, select_share=0.4),
    HeadRemoval(layout=1, select_share=0.4),
    HeadRemoval(layout=1, replace="mean", criterion="auc", refit=True, select_share=0.4),
    HeadRemoval(layout=1, replace="resample", select_share=0.4),
]


@parametrize_with_checks(CHECKED)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize("transformer", [HeadSelection(1), CoordinateRemoval(), HeadRemoval(1)], ids=str)
def test_by_default_a_transformer_refuses_to_choose_on_rows_it_fits(transformer):
    with pytest.raises(InputError, match=r"fit needs part="):
        transformer.fit(np.zeros((4, 2)), [0, 1, 0, 1])
