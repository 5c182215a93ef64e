"""Residual-vector classification: a linear detector after the words it leans on are taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from interp.analysis.strength import STRENGTHS
from interp.detectors.linear import LinearDetector
from interp.errors import InputError, unknown_name
from interp.explain.directions import centred_pair
from interp.protocol.metrics import threshold_for_balanced_accuracy
from interp.protocol.select_rows import parts_of, rows_of_parts, two_classes

READINGS = ("direction", "features")


class ResidualVector(TransformerMixin, ClassifierMixin, BaseEstimator):
    """Tell fakes from photographs by what of a detector's direction no word accounts for.

    A `LinearDetector` is fitted; of the texts the k nearest to either end of its weights w are chosen; T (k, P) are
    their unit embeddings. What is left is orthogonal to all of them, and comes in two readings of the term:

    - "direction": classify with w - T⁺T w, the same detector without its part along the words, and choose the
      threshold anew.
    - "features": take the words out of the images, X(I - T⁺T), and fit again, so that the detector may win back from
      correlated directions what was removed.

    Weights come from train rows, strengths and thresholds from select rows, as in `LinearDetector`. As a transformer it
    gives the features without the words, in both readings.

    Args:
        texts: (m, P) text embeddings; a list of concepts, or a whole pool.
        k: how many of them to take away; None takes all.
        reading: "direction" or "features".
        center: take the mean of `texts` off each of them, so that words are taken away and not the modality gap. With
            few texts that are to go as they are, say False.
        C, select_generators, random_state: as in `LinearDetector`.

    Attributes:
        classes_: (2,), the labels, sorted.
        words_: (k,) int: rows of `texts` taken away.
        basis_: (r, P): orthonormal directions that span them.
        detector_: the detector before anything was taken away, whose weights chose the words.
        kept_: share of its weights' squared length that lies off the words.
        coef_, intercept_: (P,) and float, on the columns as given.
        threshold_: score above which a row is called classes_[1].

    >>> rng = np.random.default_rng(0)
    >>> y, part = np.arange(400) % 2, np.repeat(["train", "select"], 200)
    >>> X = rng.normal(size=(400, 6))
    >>> X[:, 0] += 3 * y                                       # a word's direction tells the classes apart …
    >>> X[:, 1] += 2 * y                                       # … and so does one that no word names
    >>> residual = ResidualVector(np.eye(6)[:1], k=1, center=False).fit(X, y, part=part)
    >>> residual.coef_[0].round(12) == 0, bool(residual.score(X, y) > 0.75)
    (np.True_, True)
    """

    def __init__(
        self,
        texts: ArrayLike | None = None,
        k: int | None = 10,
        reading: str = "direction",
        center: bool = True,
        C: Sequence[float] | float = STRENGTHS,
        select_generators: Sequence[str] | str | None = None,
        random_state: int = 0,
    ):
        self.texts, self.k, self.reading, self.center = texts, k, reading, center
        self.C = C
        self.select_generators = select_generators
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> ResidualVector:
        """Fit the detector, choose the words, and take them away.

        Args:
            X: (n, P), image embeddings of the model that the texts belong to.
            y: (n,), 1 fake, 0 photograph, or any two labels.
            part, generator, groups: as in `LinearDetector.fit`. Where nothing says who selects, the threshold is 0,
                and for "direction" the intercept is such that 0 is best on the rows fitted.

        Raises:
            InputError: an unknown reading, texts of another width, k out of range, or what the detector refuses.
        """
        if self.reading not in READINGS:
            raise unknown_name("reading", self.reading, READINGS)
        values, given = validate_data(self, X, y, dtype=np.float64)
        self.classes_, fake = two_classes("ResidualVector", given, generator)
        parts = parts_of(
            "ResidualVector",
            fake,
            part=part,
            generator=generator,
            groups=groups,
            select_generators=self.select_generators,
            random_state=self.random_state,
        )
        context = {"part": parts, "generator": generator, "groups": groups}
        self.detector_ = LinearDetector(self.C, random_state=self.random_state).fit(values, given, **context)
        weights = self.detector_.coef_
        self.words_, self.basis_ = self._words(weights)
        residual = self._without(weights)
        self.kept_ = float(residual @ residual / max(weights @ weights, np.finfo(float).tiny))
        if self.reading == "features":
            left = LinearDetector(self.C, random_state=self.random_state)
            left.fit(self._without(values), given, **context)
            self.coef_, self.intercept_ = self._without(left.coef_), left.intercept_
            self.threshold_ = left.threshold_
            return self
        self.coef_, self.intercept_, self.threshold_ = residual, self.detector_.intercept_, 0.0
        scores, high = values @ residual + self.intercept_, given == self.classes_[1]
        if parts is None:
            self.intercept_ -= threshold_for_balanced_accuracy(high, scores)
        else:
            _, select = rows_of_parts(parts, "ResidualVector", fake)
            self.threshold_ = threshold_for_balanced_accuracy(high[select], scores[select])
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """The features without the words, (n, P)."""
        check_is_fitted(self)
        return self._without(validate_data(self, X, dtype=np.float64, reset=False))

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Scores (n,); higher is more like classes_[1]."""
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_ + self.intercept_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """classes_[1] for a score above the threshold, else classes_[0]; (n,)."""
        above = self.decision_function(X) > self.threshold_
        return self.classes_[above.astype(int)]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The names of the columns given."""
        check_is_fitted(self)
        return np.asarray(_check_feature_names_in(self, input_features), dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _pool(self, width: int) -> np.ndarray:
        if self.texts is None:
            raise InputError(
                "ResidualVector needs texts=, (m, P) embeddings of the words that may be taken away"
            )
        return np.asarray(self.texts, dtype=np.float64)

    def _words(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pool = self._pool(len(weights))
        zero = None if self.center else np.zeros(len(weights))
        # A detector without any weight leans on no word; any direction will then do.
        vector = weights if weights.any() else np.ones(len(weights))
        vector, texts = centred_pair(vector, pool, text_mean=zero)
        many = len(texts) if self.k is None else self.k
        if not 1 <= many <= len(texts):
            raise InputError(
                f"k must be 1 to {len(texts)}, the number of texts, or None for all; given {self.k}"
            )
        words = np.argsort(-np.abs(texts @ vector), kind="stable")[:many]
        _, sizes, right = np.linalg.svd(texts[words], full_matrices=False)
        return words, right[sizes > 1e-9 * max(float(sizes[0]), np.finfo(float).tiny)]

    def _without(self, X: np.ndarray) -> np.ndarray:
        return X - (X @ self.basis_.T) @ self.basis_
