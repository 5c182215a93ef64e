"""What each coordinate of a detector promises in the rows it was trained on, and what it keeps in others.

The detector is the ridge solution of `interp.analysis.elimination`: G = Xᵀ S X + λ I on centred columns with
class-balanced weights S that sum to n, and β = G⁻¹ Xᵀ S t with t = ±1. To remove a set J of coordinates and refit
takes c = X G⁻¹[:, J] (G⁻¹[J, J])⁻¹ β[J] from the scores of any rows X. The margin of scores is the mean of t · score,
with the same weight for both classes. J promises by how much the margin of the train rows falls without it,
β[J]ᵀ (G⁻¹[J, J])⁻¹ β[J] / n, and keeps the margin that c has in the other rows.
"""

from __future__ import annotations

import numpy as np

from interp.analysis.logistic import balanced_weights


class Promises:
    """A ridge detector, and other rows that it is held to.

    Args:
        train: (n, p) columns and train_y: (n,) labels, 1 fake and 0 photograph.
        others: (m, p) and others_y: (m,).
        weight: (m,) weights of the other rows.
        fold: (m,) number from 0 of the fold of each of them.
        ridge: λ, in units of scikit-learn's `Ridge(alpha)` with weights that sum to n.

    Attributes:
        inverse, beta: (p, p) and (p,), G⁻¹ and β.
        influence: (m, p), rows times G⁻¹; scores: (m,).
        moments: (p, 2 folds + 1), margin of each column: outside each fold, inside each fold, in all other rows.
    """

    def __init__(
        self,
        train: np.ndarray,
        train_y: np.ndarray,
        others: np.ndarray,
        others_y: np.ndarray,
        weight: np.ndarray,
        fold: np.ndarray,
        ridge: float,
    ):
        self.n, self.p = train.shape
        self.balance, self.target = balanced_weights(train_y) / self.n, 2.0 * train_y - 1
        center = self.balance @ train
        self._train = train - center
        gram = self.n * (self._train.T * self.balance) @ self._train + ridge * np.eye(self.p)
        self.inverse = np.linalg.inv(gram)
        self.beta = self.inverse @ (self._train.T @ (self.n * self.balance * self.target))
        self.influence = (others - center) @ self.inverse
        self.scores = (others - center) @ self.beta
        folds = range(fold.max() + 1)
        inside = [fold == k for k in folds]
        sets = [*(~rows for rows in inside), *inside, np.ones(len(fold), bool)]
        self.signed = np.stack([signed_share(others_y, weight * rows) for rows in sets], 1)
        self.moments = (others - center).T @ self.signed

    def excess(self) -> np.ndarray:
        """(p, 2 folds + 1): promised minus kept margin of each coordinate, for each set of other rows."""
        return excess(self.inverse, self.beta, self.moments, self.n)

    def greedy(self, column: int, steps: int, threshold: float = -np.inf) -> list[int]:
        """Coordinates with the largest excess in one set of rows, each weighed after the removal of those before."""
        inverse, beta = self.inverse.copy(), self.beta.copy()
        order: list[int] = []
        left = np.ones(self.p, bool)
        for _ in range(min(steps, self.p - 1)):
            rest = np.flatnonzero(left)
            part = excess(
                inverse[np.ix_(rest, rest)], beta[rest], self.moments[rest, column : column + 1], self.n
            )[:, 0]
            if part.max() <= threshold:
                break
            worst = rest[part.argmax()]
            order.append(int(worst))
            left[worst] = False
            row = inverse[worst] / inverse[worst, worst]
            beta -= row * beta[worst]
            inverse -= np.outer(inverse[:, worst], row)
        return order

    def contribution(self, removed: list[int]) -> tuple[np.ndarray, float]:
        """What the coordinates add to the scores of the other rows (m,), and the margin they promise."""
        weights = np.linalg.solve(self.inverse[np.ix_(removed, removed)], self.beta[removed])
        return self.influence[:, removed] @ weights, float(weights @ self.beta[removed]) / self.n

    def honest_margin(self, removed: list[int]) -> float:
        """Margin in the train rows of the detector without some coordinates, each row scored by a fit without it."""
        block = np.linalg.inv(self.inverse[np.ix_(removed, removed)])
        inverse = self.inverse - self.inverse[:, removed] @ block @ self.inverse[removed]
        image = self._train @ inverse
        scores = image @ (self._train.T @ (self.n * self.balance * self.target))
        leverage = self.n * self.balance * (1 / self.n + (image * self._train).sum(1))
        left_out = self.target - (self.target - scores) / np.maximum(1 - leverage, 1e-12)
        return float((self.balance * self.target) @ left_out)


def excess(inverse: np.ndarray, beta: np.ndarray, moments: np.ndarray, n: int) -> np.ndarray:
    """Promised minus kept margin of each coordinate (p, k), from G⁻¹, β and the margins of the columns (p, k)."""
    ratio = (beta / inverse.diagonal())[:, None]
    return ratio * (beta[:, None] / n - inverse @ moments)


def signed_share(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weights whose product with scores is their margin: ±, half of the mass in each class."""
    fake = y == 1
    return np.where(fake, 0.5, -0.5) * weight / np.where(fake, weight[fake].sum(), weight[~fake].sum())
