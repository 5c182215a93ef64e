"""Detection systems as arms of a comparison: fitted as their `fit` asks, and asked placebos like any other arm."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from interp.detectors.detector import responses
from interp.detectors.systems import features_of

if TYPE_CHECKING:
    from interp.protocol.roles import Split


class Unfit(Exception):
    """A system that could not be fitted to these rows, and why."""


def fit_system(system: Any, X: np.ndarray, y: np.ndarray, part: np.ndarray, generator: np.ndarray) -> Any:
    """A fitted copy: of train and select rows where `fit` takes part=, of train rows alone where it does not.

    Args:
        system: an estimator, as `interp.detectors.systems.make_system` gives one.
        X: (n, ...) what it reads.
        y: (n,) 1 fake, 0 photograph.
        part: (n,) "train" or "select".
        generator: (n,) names.

    Raises:
        Unfit: `fit` refused the rows.
    """
    model = clone(system) if hasattr(system, "get_params") else type(system)()
    asked = inspect.signature(model.fit).parameters
    try:
        if "part" not in asked:
            model.fit(X[part == "train"], y[part == "train"])
        else:
            model.fit(X, y, part=part, **({"generator": generator} if "generator" in asked else {}))
    except ValueError as error:
        raise Unfit(str(error)) from error
    return model


@dataclass(frozen=True)
class SystemArm:
    """A system in the place of an `Arm`, for `interp.evaluation.placebos.placebo_panel`.

    Attributes:
        name: in tables.
        system: unfitted; it reads what a store holds.

    >>> from interp.detectors.linear import LinearDetector
    >>> SystemArm("plain", LinearDetector()).features
    'embedding'
    """

    name: str
    system: Any

    @property
    def features(self) -> str:
        """Which of `FeatureStore.features` it reads."""
        return features_of(self.system)

    def fit(self, X: np.ndarray, y: np.ndarray, split: Split, generator: np.ndarray) -> FittedSystem:
        """Fit on a split's train and select rows; see `Arm.fit`."""
        rows = np.union1d(split.train, split.select)
        return FittedSystem(fit_system(self.system, X[rows], y[rows], split.part[rows], generator[rows]))


@dataclass(frozen=True)
class FittedSystem:
    """A system fitted on one split."""

    model: Any

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Scores (n,) of what it reads (n, ...)."""
        return responses(self.model, X)
