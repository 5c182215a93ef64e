"""What each head is worth to a detector that is not linear: estimates by captum, and how far each is from adding up.

A linear detector has exact parts (`interp.explain.parts`); there all methods agree with them, up to the baseline. For
any other one, integrated gradients (Sundararajan et al. 2017), Shapley values with whole heads as players (Castro et
al. 2009), and occlusion by heads answer different questions; none is the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from interp.detectors.detector import responses
from interp.encoders.layout import HeadLayout
from interp.errors import InputError, unknown_name
from interp.explain.parts import linear_score

Method = Literal["exact", "integrated_gradients", "shapley", "occlusion"]
METHODS = ("exact", "integrated_gradients", "shapley", "occlusion")


@dataclass(frozen=True)
class HeadAttribution:
    """What each head adds to a score, against a baseline, by one method.

    Attributes:
        method: exact, integrated_gradients, shapley or occlusion.
        heads: (n, l·h) float64, in the unit of the score.
        score, baseline_score: (n,) and float: the model at the images and at the baseline.
    """

    method: str
    heads: np.ndarray
    score: np.ndarray
    baseline_score: float

    @property
    def completeness(self) -> np.ndarray:
        """(n,): |sum over heads - (score - baseline score)| / |score - baseline score|.

        Small by theorem for all methods but occlusion, whose sum is another number where heads act together. captum
        adds Shapley values up in float32, which leaves some 1e-6.
        """
        gap = self.score - self.baseline_score
        return np.abs(self.heads.sum(1) - gap) / np.maximum(np.abs(gap), 1e-12)


def attribute(
    model: Any,
    X: np.ndarray,
    layout: HeadLayout,
    *,
    method: Method = "shapley",
    baseline: np.ndarray | None = None,
    samples: int = 25,
    steps: int = 64,
    random_state: int = 0,
) -> HeadAttribution:
    """Attribute a detector's score of head features to whole heads.

    Args:
        model: a fitted scikit-learn model or a `LinearScore`, or a torch module from (n, p) to (n,) or (n, 1) scores.
        X: (n, l·h·d) head features, `store.head_features()`.
        layout: which columns are which head's.
        method: "exact" (linear models alone), "integrated_gradients" (torch modules and linear models), "shapley",
            or "occlusion" (score - score with the head at its baseline).
        baseline: (l·h·d,): what a head that tells nothing would hold, such as the mean of train photographs; by
            default zero, a head that writes nothing.
        samples: orders of heads that Shapley values are sampled over.
        steps: of the Gauss-Legendre integral of the gradients.
        random_state: seed of the orders.

    Raises:
        InputError: another method, shapes that do not fit, or a method that the model does not admit.

    >>> from interp.detectors.detector import LinearScore
    >>> model = LinearScore(np.array([1.0, 2, 3]), 0.5)
    >>> found = attribute(model, np.array([[1.0, 1, 1]]), HeadLayout(1, 3, 1), method="shapley")
    >>> found.heads.round(4).tolist(), bool(found.completeness.max() < 1e-5)
    ([[1.0, 2.0, 3.0]], True)
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    X, at = _checked(X, layout, baseline)
    score = score_function(model, layout)
    whole, floor = score(X), float(score(at[None])[0])
    if method == "exact":
        parts = (X - at) * linear_score(model, layout.columns).coef
        heads = parts.reshape(len(X), layout.n_heads, -1).sum(-1)
    elif method == "integrated_gradients":
        heads = _integrated_gradients(model, X, at, layout, steps)
    else:
        heads = _by_removal(method, score, X, at, layout, samples, random_state)
    return HeadAttribution(method, heads, whole, floor)


def compare(
    model: Any, X: np.ndarray, layout: HeadLayout, methods: tuple[Method, ...] = METHODS, **options: Any
) -> pd.DataFrame:
    """Attribute by several methods and say how far each is from adding up, and from the first one.

    Args:
        model, X, layout: as in `attribute`.
        methods: the first is the one that the others are compared with.
        options: further arguments of `attribute`.

    Returns:
        A row for each method: method, completeness (median over images), worst (largest), correlation (of all heads
        and images with the first method), distance (‖difference‖ / ‖first‖).
    """
    found = [attribute(model, X, layout, method=method, **options) for method in methods]
    first = found[0].heads
    rows = [
        {
            "method": one.method,
            "completeness": float(np.median(one.completeness)),
            "worst": float(one.completeness.max()),
            "correlation": float(np.corrcoef(one.heads.ravel(), first.ravel())[0, 1]),
            "distance": float(np.linalg.norm(one.heads - first) / np.linalg.norm(first)),
        }
        for one in found
    ]
    return pd.DataFrame(rows)


def score_function(model: Any, layout: HeadLayout) -> Callable[[np.ndarray], np.ndarray]:
    """Scores (n,) float64 of rows (n, l·h·d), high for fakes, of a scikit-learn model or a torch module."""
    if isinstance(model, nn.Module):
        like = next(model.parameters(), torch.empty(0))

        @torch.no_grad()
        def score(X: np.ndarray) -> np.ndarray:
            found = model(torch.as_tensor(X).to(like))
            if found.ndim > 2 or (found.ndim == 2 and found.shape[1] != 1):
                raise InputError(
                    f"the module must give one score a row, (n,) or (n, 1); it gives {tuple(found.shape)}"
                )
            return found.reshape(len(X)).double().cpu().numpy()

        return score
    named = hasattr(model, "feature_names_in_")
    return lambda X: np.asarray(
        responses(model, pd.DataFrame(X, columns=layout.columns) if named else X), float
    )


def _checked(X: np.ndarray, layout: HeadLayout, baseline: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    X = np.asarray(X, dtype=np.float64)
    at = np.zeros(layout.size) if baseline is None else np.asarray(baseline, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != layout.size or at.shape != (layout.size,):
        raise InputError(
            f"X must be (n, {layout.size}) and baseline ({layout.size},), for {layout}; given {X.shape} and {at.shape}"
        )
    return X, at


def _integrated_gradients(
    model: Any, X: np.ndarray, at: np.ndarray, layout: HeadLayout, steps: int
) -> np.ndarray:
    from captum.attr import IntegratedGradients

    if isinstance(model, nn.Module):
        like = next(model.parameters(), torch.empty(0))

        def forward(inputs: torch.Tensor) -> torch.Tensor:
            return model(inputs).reshape(len(inputs))

    else:
        try:
            linear = linear_score(model, layout.columns)
        except InputError as error:
            raise InputError(
                f"{type(model).__name__} has no gradient to integrate; use method='shapley' or 'occlusion', or a torch "
                "module"
            ) from error
        like, weights = torch.empty(0, dtype=torch.float64), torch.from_numpy(linear.coef)

        def forward(inputs: torch.Tensor) -> torch.Tensor:
            return inputs @ weights + linear.intercept

    inputs, floor = torch.as_tensor(X).to(like), torch.as_tensor(at).to(like)[None]
    found = IntegratedGradients(forward).attribute(inputs, floor, n_steps=steps, internal_batch_size=4096)
    return found.detach().double().cpu().numpy().reshape(len(X), layout.n_heads, -1).sum(-1)


def _by_removal(
    method: str,
    score: Callable[[np.ndarray], np.ndarray],
    X: np.ndarray,
    at: np.ndarray,
    layout: HeadLayout,
    samples: int,
    random_state: int,
) -> np.ndarray:
    """Shapley values or occlusion; all columns of a head are one feature."""
    from captum.attr import FeatureAblation, ShapleyValueSampling

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(score(inputs.numpy()))

    inputs, floor = torch.from_numpy(X), torch.from_numpy(at)[None]
    mask = torch.arange(layout.n_heads).repeat_interleave(layout.width)[None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        if method == "shapley":
            found = ShapleyValueSampling(forward).attribute(
                inputs, floor, feature_mask=mask, n_samples=samples
            )
        else:
            found = FeatureAblation(forward).attribute(inputs, floor, feature_mask=mask)
    return found.double().numpy()[:, :: layout.width]  # every column of a head holds the head's value
