"""What published detectors share as scikit-learn classifiers: who trains, who selects, labels, threshold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from interp.analysis.strength import mean_auc
from interp.errors import unknown_name
from interp.protocol.metrics import threshold_for_balanced_accuracy
from interp.protocol.select_rows import parts_of, rows_of_parts, two_classes

READINGS = ("code", "paper")
"""Values of `as_published`, where a paper and its code differ."""


@dataclass(frozen=True)
class Rows:
    """Rows of one part.

    Attributes:
        X: (n, p) float64.
        y: (n,) int, 1 fake, 0 photograph.
        generator: (n,) names, or None.
    """

    X: np.ndarray
    y: np.ndarray
    generator: np.ndarray | None

    def auc(self, scores: np.ndarray) -> np.ndarray:
        """AUC of each score column (n, m), mean over the generators of the fakes; (m,)."""
        return mean_auc(self.y, scores, self.generator)


class PartedDetector(ClassifierMixin, BaseEstimator, ABC):
    """A detector that fits on train rows, chooses on select rows, and gives one score, high for fakes.

    A subclass says what it reads from a store (`features`), and writes `_fit` and `_score`. Its parameters hold
    `select_generators` and `random_state`, as those of `interp.detectors.linear.LinearDetector` do.

    Attributes:
        features: which of `FeatureStore.features` X is.
        classes_: (2,), the labels, sorted. A high score speaks for classes_[1].
        threshold_: score above which a row is called classes_[1]: of the best balanced accuracy on select rows, or 0
            where nothing says who selects.
    """

    features: str = "embedding"
    select_generators: Any
    random_state: int

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Any:
        """Fit on the rows whose part is "train", choose on those whose part is "select".

        Args:
            X: (n, p), an array or a frame.
            y: (n,), 1 fake, 0 photograph, or any two labels (`interp.protocol.select_rows.two_classes`).
            part: (n,), "train" or "select"; without it, and without `select_generators`, all rows train.
            generator: (n,) names; what is chosen is then judged by the mean over select generators.
            groups: (n,) names of rows that stay together where they are divided here.

        Raises:
            InputError: a part without both classes, other than two classes, or a parameter out of range.
        """
        values, given = self._read(X, y)
        who = type(self).__name__
        self.classes_, fake = two_classes(who, given, generator)
        names = None if generator is None else np.asarray(generator).astype(str)
        parts = parts_of(
            who,
            fake,
            part=part,
            generator=names,
            groups=groups,
            select_generators=self.select_generators,
            random_state=self.random_state,
        )
        train, select = np.arange(len(fake)), None
        if parts is not None:
            train, select = rows_of_parts(parts, who, fake)

        def rows(at: np.ndarray) -> Rows:
            return Rows(values[at], fake[at], None if names is None else names[at])

        chooses = None if select is None else rows(select)
        self.reversed_ = bool(np.array_equal(given == self.classes_[1], fake == 0))
        self._fit(rows(train), chooses)
        self.threshold_ = 0.0
        if chooses is not None and select is not None:
            scores = self.decision_function(chooses.X)
            self.threshold_ = threshold_for_balanced_accuracy(given[select] == self.classes_[1], scores)
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Scores (n,); higher is more like classes_[1]."""
        check_is_fitted(self)
        scores = self._score(self._read(X)[0])
        return -scores if self.reversed_ else scores

    def predict(self, X: ArrayLike) -> np.ndarray:
        """classes_[1] for a score above the threshold, else classes_[0]; (n,)."""
        above = self.decision_function(X) > self.threshold_
        return self.classes_[above.astype(int)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    @property
    def n_trainable_(self) -> int:
        """How many numbers were fitted."""
        check_is_fitted(self)
        return self._trainable()

    def _read(self, X: ArrayLike, y: ArrayLike | None = None) -> tuple[Any, np.ndarray]:
        """X as this detector reads it, and the labels; columns that differ from those of the fit are refused."""
        if y is None:
            return validate_data(self, X, dtype=np.float64, reset=False), np.empty(0)
        return validate_data(self, X, y, dtype=np.float64)

    @abstractmethod
    def _fit(self, train: Rows, select: Rows | None) -> None:
        """Learn from train rows; choose on select rows, where there are any."""

    @abstractmethod
    def _score(self, X: np.ndarray) -> np.ndarray:
        """(n,) float64, high for fakes."""

    def _trainable(self) -> int:
        return self.n_features_in_ + 1


def refuse_unknown(kind: str, given: object, known: Sequence[str]) -> None:
    """Raise where a parameter is none of its known values.

    Raises:
        InputError: with the nearest value.
    """
    if given not in known:
        raise unknown_name(kind, given, known)
