"""Scores of many detectors on the same rows at once: linear ones share one product for each kind of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from interp.evaluation.arms import FittedArm


class JointScores:
    """Scores rows by m fitted arms as `FittedArm.decision_function` does, to rounding, but reads the features once.

    Args:
        models: the arms; those that are not linear in their features are asked one by one.
    """

    def __init__(self, models: Sequence[FittedArm]) -> None:
        self.models = tuple(models)
        linear = [model.linear() for model in models]
        self._others = [at for at, one in enumerate(linear) if one is None]
        self._together: dict[str, tuple[list[int], np.ndarray, np.ndarray]] = {}
        for kind in dict.fromkeys(model.arm.features for model in models):
            chosen = [
                (at, one)
                for at, one in enumerate(linear)
                if one is not None and models[at].arm.features == kind
            ]
            if chosen:
                weights = np.stack([one.coef for _, one in chosen], axis=1)
                self._together[kind] = (
                    [at for at, _ in chosen],
                    weights,
                    np.array([o.intercept for _, o in chosen]),
                )

    def __call__(self, features: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
        """(k, m) float64.

        Args:
            features: (n, p) of each kind that the arms read.
            rows: (k,) positions.
        """
        scores = np.empty((len(rows), len(self.models)))
        for kind, (columns, weights, intercepts) in self._together.items():
            scores[:, columns] = features[kind][rows].astype(np.float64) @ weights + intercepts
        for at in self._others:
            scores[:, at] = self.models[at].decision_function(features[self.models[at].arm.features][rows])
        return scores
