"""The table of one detector: scikit-learn's numbers under their names, and none where images do not support it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from interp.errors import InputError
from interp.protocol.calibration import calibrate
from interp.protocol.operating_table import operating_table


def drawn(n_real: int, n_fake: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    y = np.repeat([0, 1], [n_real, n_fake])
    return y, np.random.default_rng(seed).normal(size=len(y)) + 1.3 * y


def test_every_number_is_the_reference_implementations():
    y, scores = drawn(1000, 300)
    p = calibrate(*drawn(200, 200, seed=1)).probability(scores)
    found = operating_table(y, scores, 0.6, p)
    fpr, tpr, _ = metrics.roc_curve(y, scores, drop_intermediate=False)
    expected = {
        "n_real": 1000,
        "n_fake": 300,
        "auc": metrics.roc_auc_score(y, scores),
        "average_precision": metrics.average_precision_score(y, scores),
        "tpr_at_1pct_fpr": tpr[fpr <= 0.01].max(),
        "tpr_at_5pct_fpr": tpr[fpr <= 0.05].max(),
        "threshold": 0.6,
        "balanced_accuracy": metrics.balanced_accuracy_score(y, scores > 0.6),
        "accuracy_fakes": metrics.recall_score(y, scores > 0.6),
        "accuracy_photographs": metrics.recall_score(1 - y, scores <= 0.6),
        "brier": metrics.brier_score_loss(y, p),
        "log_loss": metrics.log_loss(y, p),
    }
    for name, value in expected.items():
        assert np.isclose(found[name], value, atol=1e-12), name
    nearest = np.argmin(np.abs(1 - tpr - fpr))
    assert np.isclose(found["equal_error_rate"], fpr[nearest], atol=1 / 300)
    assert 0.02 < found["debiased_ce"] < 0.35 and 0.05 < found["ece"] < 0.35  # fakes are rarer than they were


def test_few_photographs_have_no_tpr_at_a_low_fpr():
    for n_real, at_1, at_5 in (
        (199, True, True),
        (200, True, False),
        (999, True, False),
        (1000, False, False),
    ):
        found = operating_table(*drawn(n_real, 50), threshold=0)
        assert (np.isnan(found["tpr_at_1pct_fpr"]), np.isnan(found["tpr_at_5pct_fpr"])) == (at_1, at_5)


def test_one_class_has_its_own_accuracy_and_nothing_else():
    found = operating_table([1, 1, 1, 1], [0.1, 0.2, 0.3, 0.9], threshold=0.25)
    assert found["accuracy_fakes"] == 0.5
    for name in ("auc", "average_precision", "equal_error_rate", "balanced_accuracy", "accuracy_photographs"):
        assert np.isnan(found[name])


def test_the_same_columns_with_and_without_probabilities():
    y, scores = drawn(30, 30)
    without = operating_table(y, scores, 0)
    assert list(without) == list(operating_table(y, scores, 0, 1 / (1 + np.exp(-scores))))
    assert np.isnan([without[name] for name in ("brier", "log_loss", "ece", "ece_mass", "debiased_ce")]).all()
    with pytest.raises(InputError, match="Scores become probabilities with calibrate"):
        operating_table(y, scores, 0, scores)
