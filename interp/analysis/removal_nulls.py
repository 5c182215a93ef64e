"""What a removal of coordinates gains by chance: random ones, permuted select labels, a rotated space.

Each null removes by its own rule; the detector is then fitted anew and its strength chosen on the true select labels,
as for the removal itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interp.analysis.coordinate_removal import RIDGES, choose_ridge, generator_weights, one_standard_error
from interp.analysis.elimination import greedy_elimination
from interp.analysis.head_nulls import random_rotation
from interp.analysis.ranking import standardised
from interp.analysis.strength import STRENGTHS, choose_strength

CHUNK = 2**29
"""Bytes that the searches of a null may take together."""


@dataclass(frozen=True)
class RemovalNulls:
    """The columns of one split, standardised by its train rows.

    Attributes:
        train, select, rows: (n, p), (m, p), (k, p).
        train_y, select_y: (n,), (m,), 1 fake, 0 photograph.
        generator: (m,) names of the select rows, or None.
        score: what the removal was judged by.
    """

    train: np.ndarray
    select: np.ndarray
    rows: np.ndarray
    train_y: np.ndarray
    select_y: np.ndarray
    generator: np.ndarray | None = None
    score: str = "log_loss"

    @classmethod
    def of(
        cls,
        X: np.ndarray,
        y: np.ndarray,
        train: np.ndarray,
        select: np.ndarray,
        rows: np.ndarray,
        generator: np.ndarray | None = None,
        score: str = "log_loss",
    ) -> RemovalNulls:
        """From features (n, p), labels and positions."""
        columns = standardised(X[train], X[select], X[rows])
        names = None if generator is None else generator[select]
        return cls(*columns, y[train], y[select], names, score)  # type: ignore[misc]

    def random_coordinates(self, removed: int, draws: int, seed: np.random.SeedSequence) -> np.ndarray:
        """Scores (draws, k) after removing random coordinates, as many as the removal did."""
        rng = np.random.default_rng(seed)
        p = self.train.shape[1]
        return np.stack([self._scores(np.sort(rng.permutation(p)[removed:])) for _ in range(draws)])

    def permuted_removal(self, draws: int, seed: np.random.SeedSequence) -> np.ndarray:
        """Scores (draws, k) after the same search with select labels (and generators) permuted."""
        rng = np.random.default_rng(seed)
        orders = [rng.permutation(len(self.select_y)) for _ in range(draws)]
        weight = generator_weights(self.select_y, self.generator)
        labels, weights = (np.stack([part[order] for order in orders]) for part in (self.select_y, weight))
        ridge = choose_ridge(self.train, self.train_y, self.select, labels[0], weights[0], RIDGES)
        kept = self._kept(self.train, self.select, labels, weights, np.full(draws, ridge))
        return np.stack([self._scores(one) for one in kept])

    def rotated_removal(self, draws: int, seed: np.random.SeedSequence) -> np.ndarray:
        """Scores (draws, k) after the same search in a randomly rotated space.

        If rotated coordinates gain as much, removal is regularisation and no coordinate is to blame.
        """
        seeds, at_once, found = seed.spawn(draws), self._at_once(), []
        y, weight = self.select_y, generator_weights(self.select_y, self.generator)
        for start in range(0, draws, at_once):
            turned = [self._rotated(child) for child in seeds[start : start + at_once]]
            ridges = [choose_ridge(one.train, one.train_y, one.select, y, weight, RIDGES) for one in turned]
            train, select = (np.stack([getattr(one, part) for one in turned]) for part in ("train", "select"))
            labels, weights = (np.tile(part, (len(turned), 1)) for part in (y, weight))
            kept = self._kept(train, select, labels, weights, np.array(ridges))
            found += [one._scores(left) for one, left in zip(turned, kept, strict=True)]
        return np.stack(found)

    def _rotated(self, seed: np.random.SeedSequence) -> RemovalNulls:
        rotate = random_rotation(self.train.shape[1], np.random.default_rng(seed))
        columns = standardised(*(rotate(part) for part in (self.train, self.select, self.rows)))
        return RemovalNulls(*columns, self.train_y, self.select_y, self.generator, self.score)  # type: ignore[misc]

    def _at_once(self) -> int:
        """How many searches fit into the memory that they may take together."""
        p = self.train.shape[1]
        return max(1, int(CHUNK // (8 * p * (len(self.train) + 2 * len(self.select) + 3 * p))))

    def _kept(
        self,
        train: np.ndarray,
        select: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
        ridges: np.ndarray,
    ) -> list[np.ndarray]:
        """Coordinates kept by the search for each row of select labels (b, m)."""
        steps, at_once = train.shape[-1] - 1, self._at_once()
        kept = []
        for start in range(0, len(labels), at_once):
            part = slice(start, start + at_once)
            found = greedy_elimination(
                train[part] if train.ndim == 3 else train,
                self.train_y,
                select[part] if select.ndim == 3 else select,
                labels[part],
                ridge=ridges[part],
                score=self.score,
                select_weight=weights[part],
                n_steps=steps,
            )
            for order, scores, logits, y, weight in zip(
                found.order, found.score, found.logits, labels[part], weights[part], strict=True
            ):
                chosen = one_standard_error(scores.numpy(), logits.numpy(), y, weight, self.score)
                kept.append(np.setdiff1d(np.arange(train.shape[-1]), order[:chosen].numpy()))
        return kept

    def _scores(self, kept: np.ndarray) -> np.ndarray:
        choice = choose_strength(
            self.train[:, kept],
            self.train_y,
            self.select[:, kept],
            self.select_y,
            generator=self.generator,
            strengths=STRENGTHS,
        )
        return self.rows[:, kept] @ choice.coef + choice.intercept
