"""From scores to probabilities: a map fitted on select rows, kept as a few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit, logit

from interp.errors import InputError, unknown_name
from interp.protocol.metrics import check_scores, check_weights


@dataclass(frozen=True)
class Sigmoid:
    """Probability of a fake as a logistic function of the score.

    Attributes:
        slope: 0 or more, per unit of the score.
        intercept: log odds at score 0.
        method: "sigmoid", or "temperature" where it was fitted without smoothing.

    >>> Sigmoid(2.0, 0.0).probability([-10.0, 0.0, 10.0]).round(3)
    array([0. , 0.5, 1. ])
    """

    slope: float
    intercept: float
    method: str = "sigmoid"

    def probability(self, scores: ArrayLike) -> np.ndarray:
        """Probability of a fake for scores of any shape, float64."""
        return expit(self.slope * np.asarray(scores, dtype=np.float64) + self.intercept)

    def numbers(self) -> dict[str, Any]:
        """What `read_calibration` makes it of again: a dict that JSON holds."""
        return asdict(self)


@dataclass(frozen=True)
class Isotonic:
    """Probability of a fake as the best step function that never falls, straight between its corners.

    Attributes:
        scores: (k,) rising scores of the corners.
        probabilities: (k,) not falling, 0 to 1. Beyond the ends the first and the last hold.

    >>> Isotonic((0.0, 1.0), (0.2, 0.6)).probability([-5.0, 0.5, 5.0])
    array([0.2, 0.4, 0.6])
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    method: ClassVar[str] = "isotonic"

    def probability(self, scores: ArrayLike) -> np.ndarray:
        """Probability of a fake for scores of any shape, float64."""
        return np.interp(np.asarray(scores, dtype=np.float64), self.scores, self.probabilities)

    def numbers(self) -> dict[str, Any]:
        """What `read_calibration` makes it of again: a dict that JSON holds."""
        return {"method": self.method, "scores": list(self.scores), "probabilities": list(self.probabilities)}


Calibration = Sigmoid | Isotonic
METHODS = ("sigmoid", "isotonic", "temperature", "temperature+bias")


def calibrate(
    y: ArrayLike, scores: ArrayLike, method: str = "sigmoid", weights: ArrayLike | None = None
) -> Calibration:
    """Fit a map from scores to the probability of a fake: on select rows, never train or test rows.

    The probability holds where fakes are as frequent as they were here (see docs/statistics.md); give `weights` to
    say otherwise. No map turns the order of scores round: where fakes score lower, it is flat.

    Args:
        y: (n,) 1 for a fake, 0 for a photograph.
        scores: (n,) float, finite, higher for fakes.
        method: "sigmoid", a logistic function fitted to targets that are smoothed (Platt 1999); "isotonic", a step
            function (Zadrozny and Elkan 2002), for 1,000 rows or more; "temperature", one scale for scores that are
            log odds (Guo et al. 2017); "temperature+bias", with an intercept.
        weights: (n,) >= 0: how often each row counts.

    Raises:
        InputError: a class is missing, a score is infinite, the method is unknown, or no finite temperature exists
            because the classes do not overlap.

    >>> found = calibrate([0, 0, 1, 0, 1, 1], [-2.0, -1.0, -0.5, 0.5, 1.0, 2.0])
    >>> found.probability([-2.0, 0.0, 2.0]).round(2)
    array([0.22, 0.5 , 0.78])
    >>> calibrate([0, 1], [-1.0, 1.0], method="temperature")
    Traceback (most recent call last):
    interp.errors.InputError: fakes and photographs do not overlap, so the best temperature is 0; ...
    """
    if method not in METHODS:
        raise unknown_name("calibration method", method, METHODS)
    if np.ndim(scores) != 1 or np.ndim(weights) > 1:  # type: ignore[arg-type]
        raise InputError(f"scores and weights must be (n,); given {np.shape(scores)}")
    fake, values = check_scores(y, scores)
    count = check_weights(weights, len(fake))[0]
    fake, values, count = fake[count > 0], values[count > 0], count[count > 0]
    if fake.all() or not fake.any():
        raise InputError(
            f"a calibration needs both classes; given {fake.sum()} fakes and {(~fake).sum()} photographs"
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"{(~np.isfinite(values)).sum()} of {len(values)} scores are infinite; a calibration needs finite ones"
        )
    if method == "isotonic":
        return _isotonic(fake, values, count)
    if method == "sigmoid":
        n_fake, n_real = count[fake].sum(), count[~fake].sum()
        target = np.where(fake, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))
        return Sigmoid(*_logistic(target, values, count, bias=True))
    margin = np.where(fake, values, -values) if method == "temperature" else values
    apart = margin.min() >= 0 if method == "temperature" else values[fake].min() >= values[~fake].max()
    if apart and margin.any():
        raise InputError(
            "fakes and photographs do not overlap, so the best temperature is 0; method='sigmoid', "
            "which smooths its targets, has an answer"
        )
    return Sigmoid(*_logistic(fake.astype(float), values, count, bias="bias" in method), method=method)


def read_calibration(numbers: Mapping[str, Any]) -> Calibration:
    """Make a calibration of the `numbers` it gave.

    >>> read_calibration(Isotonic((0.0, 1.0), (0.2, 0.6)).numbers())
    Isotonic(scores=(0.0, 1.0), probabilities=(0.2, 0.6))
    """
    given = dict(numbers)
    if given.get("method") == "isotonic":
        return Isotonic(tuple(given["scores"]), tuple(given["probabilities"]))
    if given.get("method") not in METHODS:
        raise unknown_name("calibration method", given.get("method"), METHODS)
    return Sigmoid(**given)


def _isotonic(fake: np.ndarray, values: np.ndarray, count: np.ndarray) -> Isotonic:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1).fit(values, fake.astype(float), sample_weight=count)
    return Isotonic(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))


def _logistic(target: np.ndarray, values: np.ndarray, count: np.ndarray, bias: bool) -> tuple[float, float]:
    """Slope and intercept of the least cross-entropy to targets from 0 to 1; a slope below 0 is 0."""
    centre = np.average(values, weights=count) if bias else 0.0
    scale = np.sqrt(np.average((values - centre) ** 2, weights=count))
    flat = float(logit(np.average(target, weights=count))) if bias else 0.0
    if scale <= 1e-12 * max(1.0, abs(centre)):
        return 0.0, flat
    columns = np.column_stack([(values - centre) / scale, np.full(len(values), float(bias))])
    share = count / count.sum()

    def loss_and_gradient(beta: np.ndarray) -> tuple[float, np.ndarray]:
        z = columns @ beta
        return float(share @ (np.logaddexp(0, z) - target * z)), columns.T @ (share * (expit(z) - target))

    start = np.array([0.0, flat])
    fitted = minimize(
        loss_and_gradient, start, jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-10}
    )
    slope, intercept = float(fitted.x[0] / scale), float(fitted.x[1])
    return (slope, intercept - slope * float(centre)) if slope > 0 else (0.0, flat)
