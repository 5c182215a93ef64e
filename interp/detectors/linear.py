"""The detection head: standardised logistic regression whose strength and threshold come from select rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from interp.analysis.logistic import coefficient_path
from interp.analysis.strength import CLOSE, STRENGTHS, mean_auc
from interp.errors import InputError
from interp.protocol.leaks import units
from interp.protocol.metrics import threshold_for_balanced_accuracy
from interp.protocol.select_rows import parts_of, rows_of_parts, two_classes

FOLDS = 5
"""Folds that choose the strength where no row is known to select."""


class LinearDetector(ClassifierMixin, BaseEstimator):
    """Tell fakes from photographs with one direction, as a scikit-learn classifier.

    Columns are standardised by the train rows, both classes have the same say, and the inverse strength `C` of
    the L2 penalty is the one with the highest AUC on select rows (ties: the stronger penalty): one fixed C over
    192 and 2,304 columns moves results as much as any method does. The decision threshold is the one with the
    best balanced accuracy on select rows; test rows choose nothing.

    `fit(X, y)` alone, as scikit-learn's own tools call it, fits on all rows and leaves the threshold at 0. A single
    `C` is then taken as it is, which makes it scikit-learn's `LogisticRegression(C, class_weight="balanced")` on
    standardised columns; of several, five folds of these rows choose (whole groups, where `fit` gets groups=).

    Args:
        C: the strengths to choose from, ascending, or the only one.
        select_generators: names of the generators that select, where `fit` gets generator= and no part=; the
            photographs are divided in the proportion of the fakes (`interp.protocol.select_rows.parts_of`).
        random_state: seed of that division and of the folds.

    Attributes:
        classes_: (2,), the labels, sorted. A high score speaks for classes_[1]: with 0 and 1 for fakes, with "fake"
            and "real" for photographs.
        coef_: (p,), weights of the columns as given, not standardised.
        intercept_: float.
        C_: the strength chosen.
        select_auc_: AUC on the select rows, mean over their generators; over folds where these chose; else NaN.
        threshold_: score above which a row is called classes_[1].

    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(80) % 2
    >>> X = rng.normal(size=(80, 3)) + y[:, None]
    >>> detector = LinearDetector().fit(X, y, part=np.repeat(["train", "select"], 40))
    >>> detector.coef_.shape, detector.score(X, y) > 0.8
    ((3,), True)
    """

    def __init__(
        self,
        C: Sequence[float] | float = STRENGTHS,
        select_generators: Sequence[str] | str | None = None,
        random_state: int = 0,
    ):
        self.C = C
        self.select_generators = select_generators
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> LinearDetector:
        """Fit on the rows whose part is "train", choose strength and threshold on those whose part is "select".

        Args:
            X: (n, p), an array or a frame.
            y: (n,), 1 fake, 0 photograph, or any two labels (`interp.protocol.select_rows.two_classes`).
            sample_weight: (n,) ≥ 0, weights in the fit, made to give both classes the same say; rows of weight 0 are
                left out altogether.
            part: (n,), "train" or "select".
            generator: (n,) names; the select AUC is then the mean over select generators.
            groups: (n,) names of rows that stay together where they are divided here.

        Raises:
            InputError: a part without both classes, other than two classes, or no positive C.
        """
        values, given = validate_data(self, X, y, dtype=np.float64)
        weight = _check_sample_weight(sample_weight, values, dtype=np.float64, ensure_non_negative=True)
        strengths = _ascending(self.C)
        kept = weight > 0
        context = [None if one is None else np.asarray(one)[kept] for one in (part, generator, groups)]
        values, given, weight = values[kept], given[kept], weight[kept]
        part, generator, groups = context
        self.classes_, fake = two_classes("LinearDetector", given, generator)
        parts = parts_of(
            "LinearDetector",
            fake,
            part=part,
            generator=generator,
            groups=groups,
            select_generators=self.select_generators,
            random_state=self.random_state,
        )
        train = select = np.arange(len(fake))
        if parts is not None:
            train, select = rows_of_parts(parts, "LinearDetector", fake)
        coef, intercept = _path(values[train], fake[train], weight[train], strengths)
        if parts is not None:
            names = None if generator is None else generator[select]
            aucs = mean_auc(fake[select], values[select] @ coef.T + intercept, names)
        elif len(strengths) > 1:
            aucs = self._fold_aucs(values, fake, weight, strengths, generator, groups)
        else:
            aucs = np.full(1, np.nan)
        best = int(np.argmax(aucs))
        self.C_, self.select_auc_ = float(strengths[best]), float(aucs[best])
        sign = 1 if np.array_equal(given == self.classes_[1], fake == 1) else -1
        self.coef_, self.intercept_ = sign * coef[best], sign * float(intercept[best])
        self.threshold_ = 0.0
        if parts is not None:
            scores = values[select] @ self.coef_ + self.intercept_
            self.threshold_ = threshold_for_balanced_accuracy(given[select] == self.classes_[1], scores)
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Scores (n,), in log-odds under equal classes; higher is more like classes_[1]."""
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_ + self.intercept_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """classes_[1] for a score above the threshold, else classes_[0]; (n,)."""
        above = self.decision_function(X) > self.threshold_
        return self.classes_[above.astype(int)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Probabilities (n, 2) of classes_ under equal classes; the threshold has no part in them."""
        scores = self.decision_function(X)
        return np.stack([expit(-scores), expit(scores)], axis=1)

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Their logarithms, (n, 2)."""
        scores = self.decision_function(X)
        return np.stack([log_expit(-scores), log_expit(scores)], axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _fold_aucs(
        self,
        X: np.ndarray,
        fake: np.ndarray,
        weight: np.ndarray,
        strengths: np.ndarray,
        generator: np.ndarray | None,
        groups: np.ndarray | None,
    ) -> np.ndarray:
        """Mean AUC of each strength over folds that hold both classes; 0 where there is none, so that C[0] is kept."""
        unit = units(pd.DataFrame({"group": np.arange(len(fake)) if groups is None else groups}))
        smallest = min(len(np.unique(unit[fake == label])) for label in (0, 1))
        found = [np.zeros(len(strengths))]
        if smallest > 1:
            folds = StratifiedGroupKFold(min(FOLDS, smallest), shuffle=True, random_state=self.random_state)
            for train, held in folds.split(X, fake, unit):
                if min(np.ptp(fake[train]), np.ptp(fake[held])) > 0:
                    coef, intercept = _path(X[train], fake[train], weight[train], strengths)
                    names = None if generator is None else generator[held]
                    found.append(mean_auc(fake[held], X[held] @ coef.T + intercept, names))
        return np.mean(found[1:] or found, axis=0)


def _ascending(C: Sequence[float] | float) -> np.ndarray:
    strengths = np.sort(np.atleast_1d(np.asarray(C, dtype=float)))
    if not len(strengths) or not strengths[0] > 0:
        raise InputError(f"C must be positive, a number or several to choose from; given {C}")
    return strengths


def _path(
    X: np.ndarray, fake: np.ndarray, weight: np.ndarray, strengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights on the columns as given (c, p) and intercepts (c,) of the detector at each of c strengths."""
    scaler = StandardScaler().fit(X, sample_weight=weight)
    class_weight = np.bincount(fake, weight, minlength=2)
    balanced = weight * (weight.sum() / (2 * class_weight))[fake]
    tol = CLOSE if len(strengths) > 1 else 1e-8
    coef, intercept = coefficient_path(scaler.transform(X), fake, strengths, balanced, tol=tol)
    coef = coef[:, 0] / scaler.scale_
    return coef, intercept[:, 0] - coef @ scaler.mean_
