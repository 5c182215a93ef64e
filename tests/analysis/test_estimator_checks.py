"""Every check that scikit-learn makes of an estimator, and what it cannot ask of those that choose on select rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.head_removal import HeadRemoval
from interp.analysis.head_selection import HeadSelection
from interp.detectors.linear import LinearDetector
from interp.encoders.layout import HeadLayout
from interp.errors import InputError

# scikit-learn calls fit(X, y) with X of any width: the transformers are told by `select_share` who selects, and
# HeadSelection by layout=1 that every column is a head.
CHECKED = [
    LinearDetector(),
    LinearDetector(C=1.0),
    HeadSelection(layout=1, select_share=0.4),
    HeadSelection(layout=1, k=1, aggregate="vote", select_share=0.4),
    CoordinateRemoval(select_share=0.4),
    CoordinateRemoval(criterion="auc", max_removed=2, select_share=0.4),
]


# HeadRemoval holds the encoder's fold, so that its X has one width alone, and reads from part= who selects.
NEEDS_MORE = "calls fit(X, y) with X of its own width; HeadRemoval needs X of its fold's width, and part="
NOT_APPLICABLE = dict.fromkeys(
    [
        "check_fit_score_takes_y",
        "check_estimators_overwrite_params",
        "check_dont_overwrite_parameters",
        "check_estimators_fit_returns_self",
        "check_readonly_memmap_input",
        "check_n_features_in_after_fitting",
        "check_positive_only_tag_during_fit",
        "check_estimators_dtypes",
        "check_dtype_object",
        "check_pipeline_consistency",
        "check_estimators_nan_inf",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_transformer_data_not_an_array",
        "check_transformer_general",
        "check_transformer_preserve_dtypes",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_fit2d_1sample",
        "check_fit2d_1feature",
        "check_dict_unchanged",
        "check_fit_idempotent",
        "check_fit_check_is_fitted",
        "check_n_features_in",
        "check_fit2d_predict1d",
    ],
    NEEDS_MORE,
)


def expected_failures(estimator) -> dict[str, str]:
    """Checks that an estimator cannot pass, each with its reason."""
    return NOT_APPLICABLE if isinstance(estimator, HeadRemoval) else {}


@parametrize_with_checks(
    [*CHECKED, HeadRemoval(HeadLayout(1, 2, 1), np.ones((1, 2, 1, 1)))],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize("transformer", [HeadSelection(layout=1), CoordinateRemoval()], ids=str)
def test_by_default_a_transformer_refuses_to_choose_on_rows_it_fits(transformer):
    with pytest.raises(InputError, match=r"fit needs part="):
        transformer.fit(np.zeros((4, 2)), [0, 1, 0, 1])
