"""Component removal: keep the coordinates or heads of a frozen CLIP that transfer, and classify without a bias.

Gaintseva et al. 2024, "Improving Interpretability and Robustness for the Detection of AI-Generated Images", arXiv
2406.15035.
The image paper's code is not public. What is certain: logistic regression on the frozen embedding, without bias
according to one review, and three families of robust variants; the residual vector is
`interp.explain.residual_vector.ResidualVector`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from interp.analysis.coordinate_intersection import CoordinateIntersection
from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.head_selection import HeadSelection
from interp.detectors.parted import PartedDetector, Rows, refuse_unknown
from interp.encoders.layout import HeadLayout
from interp.errors import InputError

if TYPE_CHECKING:
    from interp.features.store import FeatureStore

METHODS = ("none", "coordinates", "intersection", "heads_sum", "heads_concat", "heads_vote")


class ComponentRemoval(PartedDetector):
    """Logistic regression without bias on what is left of an embedding, or on its best heads.

    Unknown in the paper, and so chosen here: whether rows are brought to unit length (`unit_length`, no), which search
    keeps heads (a probe on each alone, ranked by select AUC, their number chosen there too) and whether they are
    summed, put side by side or vote (all three are here).

    Args:
        method: "none", the baseline; "coordinates", removed from train to select; "intersection", removed in both
            directions (`CoordinateIntersection`); "heads_sum", "heads_concat", "heads_vote" (`HeadSelection`).
        layout: of the heads, for the last three.
        fold: (l, h, d, P), for "heads_sum".
        as_published: see `CoordinateIntersection`; "code" takes hours.
        unit_length: bring the rows given to length 1 first.
        C: inverse strength; 1 in the code of the text paper, whose features are not standardised either.
        bias: fit an intercept.
        select_generators, random_state: see `PartedDetector`.

    Attributes:
        transformer_: what removes or selects, fitted; None for "none".
        coef_, intercept_: of what is left.
        classes_, threshold_: see `PartedDetector`.

    >>> rng = np.random.default_rng(0)
    >>> y, part = np.arange(400) % 2, np.repeat(["train", "select"], 200)
    >>> X = rng.normal(size=(400, 5))
    >>> X[:, 1] += 2 * y - 1
    >>> X[:, 3] += 3 * (2 * y - 1) * np.where(part == "train", 1, -1)
    >>> removal = ComponentRemoval("intersection").fit(X, y, part=part)
    >>> removal.transformer_.removed_.tolist(), removal.coef_.shape, removal.intercept_
    ([3], (4,), 0.0)
    """

    def __init__(
        self,
        method: str = "intersection",
        layout: HeadLayout | int | None = None,
        fold: ArrayLike | None = None,
        as_published: str = "paper",
        unit_length: bool = False,
        C: float = 1.0,
        bias: bool = False,
        select_generators: Sequence[str] | str | None = None,
        random_state: int = 0,
    ):
        self.method, self.layout, self.fold, self.as_published = method, layout, fold, as_published
        self.unit_length, self.C, self.bias = unit_length, C, bias
        self.select_generators, self.random_state = select_generators, random_state

    @classmethod
    def for_store(cls, store: FeatureStore, method: str = "intersection", **options: Any) -> ComponentRemoval:
        """For the heads of the encoder that made a store; a frame of `store.frame("heads")` says its layout itself."""
        fold = store.readout.folded.numpy() if method == "heads_sum" else None
        layout = store.layout.width if method.startswith("heads") else None
        return cls(method, layout=layout, fold=fold, **options)

    @property
    def features(self) -> str:  # type: ignore[override]
        """Which of `FeatureStore.features` X is."""
        return "heads" if self.method.startswith("heads") else "embedding"

    def _fit(self, train: Rows, select: Rows | None) -> None:
        refuse_unknown("method", self.method, METHODS)
        if self.method != "none" and select is None:
            raise InputError(
                f"ComponentRemoval(method={self.method!r}) chooses on select rows; pass part=, or select_generators= "
                'and generator=. method="none" needs none'
            )
        self.transformer_ = self._transformer()
        X, y = self._lengths(train.X), train.y
        if self.transformer_ is not None and select is not None:
            rows = np.concatenate([X, self._lengths(select.X)])
            context: dict[str, Any] = {"part": np.repeat(["train", "select"], [len(y), len(select.y)])}
            if train.generator is not None and select.generator is not None:
                context["generator"] = np.concatenate([train.generator, select.generator])
            self.transformer_.fit(rows, np.concatenate([y, select.y]), **context)
            X = self.transformer_.transform(X)
        model = LogisticRegression(C=self.C, fit_intercept=self.bias, max_iter=1000).fit(X, y)
        self.coef_, self.intercept_ = model.coef_[0], float(np.ravel(model.intercept_)[0])

    def _score(self, X: np.ndarray) -> np.ndarray:
        kept = self._lengths(X)
        if self.transformer_ is not None:
            kept = self.transformer_.transform(kept)
        return kept @ self.coef_ + self.intercept_

    def _trainable(self) -> int:
        return len(self.coef_) + self.bias

    def _lengths(self, X: np.ndarray) -> np.ndarray:
        return normalize(X) if self.unit_length else X

    def _transformer(self) -> Any:
        if self.method == "none":
            return None
        if self.method == "coordinates":
            return CoordinateRemoval(random_state=self.random_state)
        if self.method == "intersection":
            return CoordinateIntersection(self.as_published, random_state=self.random_state)
        return HeadSelection(self.layout, aggregate=self.method.removeprefix("heads_"), fold=self.fold)
