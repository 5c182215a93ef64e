"""The oblique projection of least-squares concept erasure in closed form, from moments."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from interp.analysis.streamed_moments import StreamedMoments

METHODS = ("leace", "orth")
NEGLIGIBLE = 1e-10
"""Correlations below this are rounding; directions of a concept with less variance than this share are none."""


def concept_scale(moments: StreamedMoments, keep: bool) -> tuple[np.ndarray, np.ndarray]:
    """What makes the concept's columns uncorrelated with variance 1 (k, r), and the label's (m, s)."""
    concept, label = names_of(moments, "concept"), names_of(moments, "label")
    within = moments.beside(concept, concept)
    scale = np.sqrt(np.diag(within))
    of_label = np.zeros((0, 0))
    if keep:
        among = moments.beside(label, label)
        of_label = _whitening(among, np.sqrt(np.diag(among)))
        shared = moments.beside(concept, label) @ of_label
        within = within - shared @ shared.T
    return _whitening(within, scale), of_label


def names_of(moments: StreamedMoments, role: str) -> list[Hashable]:
    """Columns beside the features that are of the "concept" or of the "label": (role, name)."""
    return [name for name in moments.names if isinstance(name, tuple) and name[0] == role]


def leace_factors(
    moments: StreamedMoments, method: str = "leace", shrinkage: bool = False, keep: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """L (b, w, r) and R (b, r, w) of x - L R (x - mean), from moments with columns ("concept", …), ("label", …).

    With z uncorrelated of variance 1, the singular values of W Cov(x, z) are canonical correlations. L is taken from
    Cov(x, z) itself, so that L R Cov(x, z) = Cov(x, z) to rounding even where Cov(x) is singular.
    """
    concept, label = names_of(moments, "concept"), names_of(moments, "label")
    of_concept, of_label = concept_scale(moments, keep)
    features, across = moments.features(), moments.across(concept) @ of_concept
    if keep:
        with_label = moments.across(label) @ of_label
        features = features - with_label @ with_label.transpose(0, 2, 1)
        shared = of_concept.T @ moments.beside(concept, label) @ of_label
        across = across - with_label @ shared.T
    if method == "orth":
        left, size, _ = np.linalg.svd(across, full_matrices=False)
        counts = size > NEGLIGIBLE * size[:, :1]
        left = left * counts[:, None]
        return left, left.transpose(0, 2, 1)
    spread = np.sqrt(np.diagonal(features, axis1=1, axis2=2))
    spread = np.where(spread > 0, spread, 1.0)[:, :, None]
    correlation = features / spread / spread.transpose(0, 2, 1)
    if shrinkage:
        correlation = shrunk(correlation, moments.n)
    whitening = _inverse_root(correlation)
    left, size, right = np.linalg.svd(whitening @ (across / spread), full_matrices=False)
    counts = size > NEGLIGIBLE
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=counts)
    read = (left * counts[:, None]).transpose(0, 2, 1) @ whitening / spread.transpose(0, 2, 1)
    return across @ right.transpose(0, 2, 1) * inverse[:, None], read


def shrunk(covariance: np.ndarray, n: int) -> np.ndarray:
    """Covariances (b, w, w) of n rows, shrunk to multiples of 1 by the share of Bodnar et al. 2014."""
    width = covariance.shape[-1]
    trace = np.trace(covariance, axis1=1, axis2=2)
    apart = (covariance**2).sum((1, 2)) - trace**2 / width
    share = np.clip(np.divide(trace**2 / n, apart, out=np.ones_like(trace), where=apart > 0), 0, 1)
    towards = (share * trace / width)[:, None, None] * np.eye(width)
    return (1 - share)[:, None, None] * covariance + towards


def _whitening(covariance: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(k, r): makes k columns into r uncorrelated ones of variance 1, r being their rank."""
    by = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / by[:, None] / by)
    counts = values > NEGLIGIBLE
    return vectors[:, counts] / np.sqrt(values[counts]) / by[:, None]


def _inverse_root(covariance: np.ndarray) -> np.ndarray:
    """(b, w, w), symmetric; 0 on the null space."""
    values, vectors = np.linalg.eigh(covariance)
    least = values[:, -1:] * covariance.shape[-1] * np.finfo(float).eps
    roots = np.where(values > least, values, np.inf) ** -0.5
    return vectors * roots[:, None] @ vectors.transpose(0, 2, 1)
