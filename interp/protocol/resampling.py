"""One joint bootstrap of photographs and groups for all cells of a table, and AUC under every resample."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from interp.errors import InputError
from interp.images.seeds import derive_seed as derive_seed
from interp.protocol.leaks import check_rows, units
from interp.protocol.metrics import check_scores

_CHUNK = 4_000_000  # numbers held at once


class JointResample:
    """Draws whole units (rows of one group, copies of one image) again, the same draw for all cells.

    All differences between cells of a table, or between methods, are then paired. Units are drawn with
    replacement within strata: generators that share a unit are one stratum, and so are the photographs. A
    generator with 7 groups of its own is always drawn as 7 of 7, never resampled away.

    Args:
        rows: n rows as a `Protocol` wants them: what binds them are ``group``, ``content_hash``,
            ``pixel_hash``.
        n_resamples: B, the number of resamples.
        random_state: Seed of all draws.

    Attributes:
        unit, stratum: (n,) int64: the unit of each row; (units,) int64: the stratum of each unit.
        unit_counts: (B, units) uint8: how often each resample holds each unit.

    >>> rows = pd.DataFrame({"generator": ["real", "real", "glide"], "group": ["a", "b", "c"]})
    >>> rows["label"] = ["real", "real", "fake"]
    >>> drawn = JointResample(rows, n_resamples=4).counts([0, 1, 2])
    >>> drawn.shape, drawn[:, :2].sum(axis=1), drawn[:, 2]
    ((4, 3), array([2., 2., 2., 2.], dtype=float32), array([1., 1., 1., 1.], dtype=float32))
    """

    def __init__(self, rows: pd.DataFrame, n_resamples: int = 2000, random_state: int = 0) -> None:
        if n_resamples < 1:
            raise InputError(f"n_resamples must be at least 1; given {n_resamples}")
        check_rows(rows)
        self.n_resamples = n_resamples
        self.unit = units(rows)
        self.stratum = _strata(self.unit, rows["generator"].to_numpy().astype(str))
        # A unit of a stratum of any size is drawn more than 255 times with a chance below 1e-400.
        self.unit_counts = np.empty((n_resamples, len(self.stratum)), np.uint8)
        for stratum in range(int(self.stratum.max(initial=-1)) + 1):
            members = np.flatnonzero(self.stratum == stratum)
            seed = np.random.SeedSequence(random_state, spawn_key=(stratum,))
            self._draw(members, np.random.default_rng(seed))

    def _draw(self, members: np.ndarray, rng: np.random.Generator) -> None:
        size = len(members)
        step = max(1, _CHUNK // size)
        for start in range(0, self.n_resamples, step):
            many = min(step, self.n_resamples - start)
            drawn = rng.integers(size, size=(many, size)) + size * np.arange(many)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=many * size).reshape(many, size)
            self.unit_counts[start : start + many, members] = counts

    def counts(self, positions: ArrayLike) -> np.ndarray:
        """How often each resample holds the rows at `positions` (m,): (B, m) float32, for weights."""
        return self.unit_counts[:, self.unit[np.asarray(positions, dtype=np.int64)]].astype(np.float32)


def _strata(unit: np.ndarray, generator: np.ndarray) -> np.ndarray:
    """Number the sets of units whose generators are connected by shared units; (units,) int64."""
    code = pd.factorize(generator)[0]
    n_units = int(unit.max(initial=-1)) + 1
    nodes = n_units + int(code.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(unit), np.int8), (unit, n_units + code)), shape=(nodes, nodes))
    return pd.factorize(connected_components(graph, directed=False)[1][:n_units])[0].astype(np.int64)


def resampled_auc(
    y: ArrayLike, scores: ArrayLike, counts: ArrayLike, unit: ArrayLike | None = None
) -> np.ndarray:
    """AUC under every resample: each image counts as often as it was drawn, ties count half.

    A photograph and a fake of one unit (a twin and its photograph) are drawn together, c times, and would be compared
    c² times, on average twice as often as in the images themselves; the mean over resamples would then lie about
    (AUC within units - AUC) / units beside the AUC. Where `unit` is given they are compared c times, and the resamples
    lie about the AUC.

    Args:
        y: (n,) 1 for a fake, 0 for a photograph.
        scores: (n,) or (n, m) float, higher for fakes.
        counts: (B, n) non-negative weights, such as `JointResample.counts`.
        unit: (n,) the unit of each row, the same count within one; such as `JointResample.unit`.

    Returns:
        (B,) or (B, m) float64; NaN for a resample that holds no photograph or no fake.

    >>> resampled_auc([0, 0, 1], [0.1, 0.9, 0.5], [[1, 1, 1], [2, 0, 1], [0, 0, 3]])
    array([0.5, 1. , nan])
    """
    fake, values = check_scores(y, scores)
    weights = np.asarray(counts)
    if weights.ndim != 2 or weights.shape[1] != len(fake):
        raise InputError(f"counts must be (B, {len(fake)}), a column for each row; given {weights.shape}")
    columns = values.reshape(len(fake), -1)
    pairs = np.empty((2, 0), np.int64) if unit is None else _pairs_within(np.asarray(unit), fake)
    real, fakes = columns[pairs[0]], columns[pairs[1]]
    won = (fakes > real) + 0.5 * (fakes == real)
    found = np.empty((len(weights), columns.shape[1]))
    step = max(1, _CHUNK // max(len(fake), 1))
    for start in range(0, len(weights), step):
        of_real = weights[start : start + step, ~fake].astype(np.float64)
        of_fakes = weights[start : start + step, fake].astype(np.float64)
        within = weights[start : start + step, pairs[0]].astype(np.float64)
        within = within**2 - within
        total = of_real.sum(axis=1) * of_fakes.sum(axis=1) - within.sum(axis=1)
        total[total == 0] = np.nan
        below = np.zeros((len(of_real), of_real.shape[1] + 1))  # weight of the photographs below a rank
        for column, score in enumerate(columns.T):
            order = np.argsort(score[~fake])
            ranked = score[~fake][order]
            np.cumsum(of_real[:, order], axis=1, out=below[:, 1:])
            left, right = (np.searchsorted(ranked, score[fake], side=side) for side in ("left", "right"))
            beaten = below[:, left] if np.array_equal(left, right) else (below[:, left] + below[:, right]) / 2
            wins = np.einsum("bf,bf->b", beaten, of_fakes) - within @ won[:, column]
            found[start : start + step, column] = wins / total
    return found[:, 0] if values.ndim == 1 else found


def _pairs_within(unit: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """(2, p) int64: rows of the photograph and of the fake of every such pair of one unit."""
    at = pd.DataFrame({"unit": unit, "row": np.arange(len(unit))})
    joined = at[~fake].merge(at[fake], on="unit")
    return joined[["row_x", "row_y"]].to_numpy(np.int64).T
