"""Principal scaling: turn each head's principal components up or down under a detector that stays as it is.

Basile, Maiorca, Bortolussi, Rodolà and Locatello, "ResiDual Transformer Alignment with Spectral Decomposition", TMLR
2025, arXiv 2411.00246, which learns one factor for each principal component of each head for zero-shot classes. Here
the frozen classifier is a linear detector, so the problem is convex.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit

from interp.analysis.logistic import balanced_weights
from interp.detectors.linear import LinearDetector
from interp.detectors.parted import PartedDetector, Rows
from interp.errors import InputError

if TYPE_CHECKING:
    from interp.features.store import FeatureStore

STRENGTHS = (0.0, 0.001, 0.01, 0.1, 1.0)


class PrincipalScaling(PartedDetector):
    """A plain detector's log-odds with each head component's share times its own factor, 1 by default.

    The embedding is x = Σ_h c_h + rest, c_h a head's embedding. With w the plain detector's weights, u_hi the principal
    directions of c_h over train rows and a_hi = ((c_h - mean) · u_hi)(u_hi · w) what each adds to the log-odds,

        score = w · x + b + Σ (λ_hi - 1) a_hi,

    λ by logistic regression of the train rows on a with the plain score as offset and penalty ‖λ - 1‖² / (2C), C by
    select AUC (ties: the smaller; C = 0 is the plain detector). Verified: one factor per principal component of each
    head with the classifier frozen, 8,300 to 14,000 factors for large towers. Chosen here: the penalty towards 1, and
    that components are kept until they explain `explained` of a head's variance.

    Args:
        fold: (l, h, d, P), `store.readout.folded`; X holds the embedding's P columns and then the heads' l·h·d
            (`embedding_and_heads`).
        explained: share of each head's variance that its components explain.
        C: strengths to choose from, or one.
        select_generators, random_state: see `PartedDetector`.

    Attributes:
        factors_: one (r,) array of λ for each head, largest component first.
        plain_: the plain `LinearDetector`.
        coef_, intercept_: (P + l·h·d,) and float, the whole score on the columns as given.
        C_: the strength chosen.
        classes_, threshold_: see `PartedDetector`.

    >>> rng = np.random.default_rng(0)
    >>> y, part = np.arange(400) % 2, np.repeat(["train", "select"], 200)
    >>> Z = rng.normal(size=(400, 2, 1))                                  # two heads of width 1
    >>> Z[:, 0, 0] += 2 * y
    >>> Z[:, 1, 0] += 2 * y * (part == "train")                           # does not transfer
    >>> X = np.concatenate([Z[:, 0] + Z[:, 1], Z.reshape(400, 2)], axis=1)    # both write along the same axis
    >>> scaling = PrincipalScaling(np.ones((1, 2, 1, 1)), C=1.0).fit(X, y, part=part)
    >>> [len(factor) for factor in scaling.factors_], scaling.coef_.shape
    ([1, 1], (3,))
    """

    features = "embedding_and_heads"

    def __init__(
        self,
        fold: ArrayLike | None = None,
        explained: float = 0.9,
        C: Sequence[float] | float = STRENGTHS,
        select_generators: Sequence[str] | str | None = None,
        random_state: int = 0,
    ):
        self.fold, self.explained, self.C = fold, explained, C
        self.select_generators, self.random_state = select_generators, random_state

    @classmethod
    def for_store(cls, store: FeatureStore, **options: Any) -> PrincipalScaling:
        """For the heads of the encoder that made a store."""
        return cls(fold=store.readout.folded.numpy(), **options)

    def _fit(self, train: Rows, select: Rows | None) -> None:
        strengths = np.sort(np.atleast_1d(np.asarray(self.C, dtype=float)))
        if not len(strengths) or strengths[0] < 0 or not 0 < self.explained <= 1:
            raise InputError(
                f"C must be 0 or more and explained between 0 and 1; given {self.C} and {self.explained}"
            )
        fold = self._fold(train.X.shape[1])
        P = fold.shape[2]
        parts: dict[str, Any] = {"generator": train.generator}
        rows, labels = train.X, train.y
        if select is not None:
            rows, labels = np.concatenate([rows, select.X]), np.concatenate([labels, select.y])
            parts = {"part": np.repeat(["train", "select"], [len(train.y), len(select.y)])}
            if train.generator is not None and select.generator is not None:
                parts["generator"] = np.concatenate([train.generator, select.generator])
        self.plain_ = LinearDetector(random_state=self.random_state).fit(rows[:, :P], labels, **parts)
        heads = train.X[:, P:].reshape(len(train.X), len(fold), -1)
        pulls = [self._pulls(heads[:, h], fold[h]) for h in range(len(fold))]
        shares = np.concatenate(
            [(heads[:, h] - heads[:, h].mean(0)) @ pull for h, pull in enumerate(pulls)], axis=1
        )
        offset = self.plain_.decision_function(train.X[:, :P])
        found = [self._weights(_deltas(shares, train.y, offset, C), pulls, heads, P) for C in strengths]
        best = 0
        if select is not None:
            best = int(np.argmax(select.auc(np.stack([select.X @ w + b for w, b, _ in found], axis=1))))
        self.C_, (self.coef_, self.intercept_, self.factors_) = float(strengths[best]), found[best]

    def _score(self, X: np.ndarray) -> np.ndarray:
        return X @ self.coef_ + self.intercept_

    def _trainable(self) -> int:
        return sum(len(factor) for factor in self.factors_)

    def _fold(self, columns: int) -> np.ndarray:
        fold = np.empty((0, 0, 0, 0)) if self.fold is None else np.asarray(self.fold, dtype=np.float64)
        if fold.ndim != 4 or columns != fold.shape[3] + fold.shape[0] * fold.shape[1] * fold.shape[2]:
            raise InputError(
                "fold must be store.readout.folded, (l, h, d, P), for X of P + l·h·d columns (embedding_and_heads); "
                f"given {fold.shape} for {columns} columns"
            )
        return fold.reshape(-1, *fold.shape[2:])

    def _pulls(self, values: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """(d, r): what each principal component of one head adds to the plain log-odds, by head value."""
        centred = (values - values.mean(0)) @ fold
        _, sizes, right = np.linalg.svd(centred, full_matrices=False)
        energy = np.cumsum(sizes**2)
        kept = int(np.searchsorted(energy, self.explained * energy[-1] * (1 - 1e-12))) + 1
        directions = right[: min(kept, len(sizes))]
        return fold @ directions.T * (directions @ self.plain_.coef_)

    def _weights(
        self, found: tuple[np.ndarray, float], pulls: list[np.ndarray], heads: np.ndarray, P: int
    ) -> tuple[np.ndarray, float, list[np.ndarray]]:
        delta, moved = found
        each = np.split(delta, np.cumsum([pull.shape[1] for pull in pulls])[:-1])
        coef = np.concatenate([pull @ one for pull, one in zip(pulls, each, strict=True)])
        centre = float(heads.mean(0).ravel() @ coef)
        whole = np.concatenate([self.plain_.coef_, coef])
        return whole, self.plain_.intercept_ + moved - centre, [1 + one for one in each]


def _deltas(shares: np.ndarray, y: np.ndarray, offset: np.ndarray, C: float) -> tuple[np.ndarray, float]:
    """λ - 1 (r,) and the move of the intercept: logistic regression with an offset and a penalty towards 0."""
    if C == 0:
        return np.zeros(shares.shape[1]), 0.0
    columns, sign, weight = np.column_stack([shares, np.ones(len(y))]), 2 * y - 1, balanced_weights(y)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (offset + columns @ theta)
        slope = -weight * sign * expit(-margin)
        penalty = np.append(theta[:-1], 0.0) / C
        value = weight @ np.logaddexp(0, -margin) + 0.5 * float(theta[:-1] @ theta[:-1]) / C
        return float(value), columns.T @ slope + penalty

    found = minimize(loss, np.zeros(columns.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return found.x[:-1], float(found.x[-1])
