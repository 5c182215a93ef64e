"""The detection head: standardised logistic regression whose strength and threshold come from select rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from interp.analysis.strength import STRENGTHS, choose_strength
from interp.errors import InputError
from interp.protocol.metrics import threshold_for_balanced_accuracy


class LinearDetector(ClassifierMixin, BaseEstimator):
    """Tell fakes from photographs with one direction, as a scikit-learn classifier.

    Columns are standardised by the train rows, both classes have the same say, and the inverse strength `C` of
    the L2 penalty is the one with the highest AUC on select rows (ties: the stronger penalty): one fixed C over
    192 and 2,304 columns moves results as much as any method does. The decision threshold is the one with the
    best balanced accuracy on select rows; test rows choose nothing.

    Args:
        C: the strengths to choose from, ascending.

    Attributes:
        coef_: (p,), weights of the columns as given, not standardised.
        intercept_: float.
        C_: the strength chosen.
        select_auc_: AUC on the select rows, mean over their generators.
        threshold_: score above which an image is called fake.
        classes_: [0, 1]; 1 is fake.

    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(80) % 2
    >>> X = rng.normal(size=(80, 3)) + y[:, None]
    >>> detector = LinearDetector().fit(X, y, part=np.repeat(["train", "select"], 40))
    >>> detector.coef_.shape, detector.score(X, y) > 0.8
    ((3,), True)
    """

    def __init__(self, C: Sequence[float] = STRENGTHS):
        self.C = C

    def fit(
        self, X: ArrayLike, y: ArrayLike, part: ArrayLike | None = None, generator: ArrayLike | None = None
    ) -> LinearDetector:
        """Fit on the rows whose part is "train", choose strength and threshold on those whose part is "select".

        Args:
            X: (n, p).
            y: (n,), 1 fake, 0 photograph.
            part: (n,), "train" or "select".
            generator: (n,) names; the select AUC is then the mean over select generators.

        Raises:
            InputError: no parts given, or a part without both classes.
        """
        values, labels = validate_data(self, X, y, dtype=np.float64)
        if part is None:
            raise InputError(
                "LinearDetector.fit needs part=, 'train' or 'select' for each row, so that strength and threshold are "
                "chosen on rows that were not fitted; a Protocol's split has it as split.part"
            )
        parts = np.asarray(part)
        train, select = parts == "train", parts == "select"
        names = None if generator is None else np.asarray(generator)[select]
        self.classes_ = np.array([0, 1])
        center, scale = values[train].mean(0), values[train].std(0)
        scale[scale == 0] = np.inf  # a constant column says nothing
        choice = choose_strength(
            (values[train] - center) / scale,
            labels[train],
            (values[select] - center) / scale,
            labels[select],
            generator=names,
            strengths=self.C,
        )
        self.C_, self.select_auc_ = choice.C, choice.select_auc
        self.coef_ = choice.coef / scale
        self.intercept_ = float(choice.intercept - center @ self.coef_)
        self.threshold_ = threshold_for_balanced_accuracy(
            labels[select], self.decision_function(values[select])
        )
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Scores (n,), in log-odds under equal classes; higher is more like a fake."""
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_ + self.intercept_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """1 for a score above the threshold, else 0; (n,) int."""
        return (self.decision_function(X) > self.threshold_).astype(int)
