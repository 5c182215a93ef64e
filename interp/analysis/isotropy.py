"""How evenly features use their dimensions, before something is taken out of them and after."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import entr

from interp.errors import InputError


@dataclass(frozen=True)
class Isotropy:
    """How evenly rows fill the space they lie in.

    Attributes:
        mean_cosine: mean cosine between two different rows, as they are, not centred; 0 for rows in all directions, 1
            for rows in one. A mean that is far from the origin raises it.
        iso_score: Rudman et al. 2022 (arXiv 2108.07344), from the covariance alone: 1 where the variance is the same in
            all directions, 0 where all of it lies in one. Neither the mean nor the scale counts.
        effective_rank: Roy and Vetterli 2007: exp of the entropy of the singular values of the centred rows, each
            as a share of their sum; from 1 to the number of columns.
    """

    mean_cosine: float
    iso_score: float
    effective_rank: float


def isotropy(X: ArrayLike) -> Isotropy:
    """Mean cosine, IsoScore and effective rank of features.

    Args:
        X: (n, p), n and p at least 2.

    Raises:
        InputError: fewer rows or columns, or rows that are all the same.

    >>> found = isotropy([[1, 0], [-1, 0], [0, 1], [0, -1]])
    >>> round(found.mean_cosine, 3), round(found.iso_score, 3), round(found.effective_rank, 3)
    (-0.333, 1.0, 2.0)
    """
    values = np.asarray(X, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise InputError(f"X must be (n, p) with two rows and two columns at least; given {values.shape}")
    n, p = values.shape
    singular = np.linalg.svd(values - values.mean(0), compute_uv=False)
    if not singular[0] > n * np.finfo(float).eps * np.abs(values).max():
        raise InputError("all rows of X are the same; isotropy is a property of how rows differ")
    norms = np.linalg.norm(values, axis=1)
    directions = values[norms > 0] / norms[norms > 0, None]
    many = len(directions)
    cosine = ((directions.sum(0) ** 2).sum() - many) / (many * (many - 1))
    variances = np.zeros(p)
    variances[: len(singular)] = singular**2
    variances *= np.sqrt(p) / np.linalg.norm(variances)
    defect = np.linalg.norm(variances - 1) / np.sqrt(2 * (p - np.sqrt(p)))
    used = (p - defect**2 * (p - np.sqrt(p))) ** 2 / p**2
    rank = np.exp(entr(singular / singular.sum()).sum())
    return Isotropy(float(cosine), float((p * used - 1) / (p - 1)), float(rank))


def isotropy_before_and_after(eraser: Any, X: ArrayLike) -> pd.DataFrame:
    """The same measures of features as they are and as a fitted transformer leaves them.

    Args:
        eraser: fitted, with `transform`.
        X: (n, p).

    Returns:
        Rows "before" and "after"; columns mean_cosine, iso_score, effective_rank.

    >>> from interp.analysis.subspace_removal import PcaRemoval
    >>> X = np.random.default_rng(0).normal(size=(200, 6)) * [5, 1, 1, 1, 1, 1]
    >>> isotropy_before_and_after(PcaRemoval(of="all").fit(X), X)["iso_score"].round(2).to_dict()
    {'before': 0.09, 'after': 0.78}
    """
    found = {"before": isotropy(X), "after": isotropy(eraser.transform(X))}
    return pd.DataFrame({name: asdict(one) for name, one in found.items()}).T
