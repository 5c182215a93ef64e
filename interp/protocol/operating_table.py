"""One row of numbers for one detector on one test set: how it ranks, how it decides, what it promises."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from interp.protocol.metrics import auc, check_scores
from interp.protocol.operating_points import average_precision, equal_error_rate, rates_at, tpr_at_fpr
from interp.protocol.reliability import brier_score, calibration_error, debiased_calibration_error, log_loss

NEEDED_PHOTOGRAPHS = {0.01: 1000, 0.05: 200}
"""So many photographs a TPR at an FPR needs: the threshold then rests on ten of them."""


def operating_table(
    y: ArrayLike, scores: ArrayLike, threshold: float, probability: ArrayLike | None = None
) -> dict[str, float]:
    """Every number of one detector on one test set, ready to be a row of a table.

    Args:
        y: (n,) 1 for a fake, 0 for a photograph.
        scores: (n,) float, higher for fakes.
        threshold: chosen on select rows; a score equal to it counts as a photograph.
        probability: (n,) of a fake, from a `calibrate` on select rows; without it the last five numbers are NaN.

    Returns:
        n_real, n_fake; auc, average_precision, equal_error_rate, tpr_at_1pct_fpr and tpr_at_5pct_fpr (NaN below
        1,000 and 200 photographs), which look at the order of the test scores alone; threshold, balanced_accuracy,
        accuracy_fakes, accuracy_photographs; brier, log_loss, ece (15 bins of equal width), ece_mass (of equal
        mass), debiased_ce. What needs both classes is NaN where one is missing. docs/statistics.md defines each.

    >>> found = operating_table([0, 0, 1, 1], [-2.0, 0.5, 1.0, 3.0], threshold=0.0)
    >>> found["auc"], found["balanced_accuracy"], found["accuracy_fakes"], found["tpr_at_5pct_fpr"]
    (1.0, 0.75, 1.0, nan)
    """
    fake, values = check_scores(y, scores)
    n_real = int((~fake).sum())
    found = {
        "n_real": n_real,
        "n_fake": int(fake.sum()),
        "auc": auc(fake, values),
        "average_precision": float(average_precision(fake, values)),
        "equal_error_rate": float(equal_error_rate(fake, values)),
    }
    for level, needed in NEEDED_PHOTOGRAPHS.items():
        enough = n_real >= needed
        found[f"tpr_at_{level * 100:.0f}pct_fpr"] = (
            float(tpr_at_fpr(fake, values, level)) if enough else np.nan
        )
    called = values > threshold
    rates = rates_at(fake, values, threshold)
    found |= {
        "threshold": float(threshold),
        "balanced_accuracy": float(rates.balanced_accuracy),
        "accuracy_fakes": float(called[fake].mean()) if fake.any() else np.nan,
        "accuracy_photographs": float((~called[~fake]).mean()) if n_real else np.nan,
    }
    if probability is None:
        return found | dict.fromkeys(("brier", "log_loss", "ece", "ece_mass", "debiased_ce"), np.nan)
    return found | {
        "brier": float(brier_score(fake, probability)),
        "log_loss": float(log_loss(fake, probability)),
        "ece": float(calibration_error(fake, probability)),
        "ece_mass": float(calibration_error(fake, probability, binning="mass")),
        "debiased_ce": debiased_calibration_error(fake, probability),
    }
