"""Name a component by what can be measured in pixels: the statistic that it follows among images of one kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from interp.analysis.nuisances import group_of, shuffled_within
from interp.errors import InputError


def name_components(
    values: ArrayLike,
    statistics: pd.DataFrame | ArrayLike,
    within: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    n_null: int = 199,
    level: float = 0.05,
    random_state: int = 0,
) -> pd.DataFrame:
    """Say of each component which statistic it follows best, where it follows one beyond chance.

    Values and statistics are ranked within each class, so that nothing is named for telling fakes from photographs:
    a component follows colour cast if, among photographs and among the fakes of each generator, the warmer images
    have the higher values. The correlation is Spearman's within classes, their mean weighted by images. Chance is
    the strongest correlation of any component with any statistic after the images' statistics were shuffled within
    classes, so that the error `level` is that of the whole table.

    Args:
        values: (n, c) one column for each component: coordinates of the embedding, a head's share of the score. The
            columns of a frame give names.
        statistics: (n, k), such as `interp.features.statistics.measure_statistics` gives. Rows with NaN are left out.
        within: (n,) classes: names of generators, "real" for photographs.
        names: of the components, where `values` is no frame.
        n_null: shuffles.
        level: chance that anything is named where nothing is followed.
        random_state: seed of the shuffles.

    Returns:
        A row for each component: component; group and statistic it follows best; rho with a 95 % interval, rho_low
        and rho_high (Bonett and Wright 2000; of the best of k, so somewhat narrow); null_high and p_value; and words,
        empty where the correlation is not beyond chance.

    Raises:
        InputError: numbers of rows or names that do not agree, or too few shuffles for the level.

    >>> rng = np.random.default_rng(0)
    >>> statistics = pd.DataFrame(rng.normal(size=(200, 2)), columns=["red_over_blue", "noise"])
    >>> values = np.stack([statistics["noise"] + rng.normal(size=200), rng.normal(size=200)], axis=1)
    >>> name_components(values, statistics, ["real"] * 200, names=["P.0", "P.1"])["words"].tolist()
    ['P.0 follows noise (rho +.72)', '']
    """
    if (n_null + 1) * level < 1:
        raise InputError(
            f"{n_null} shuffles cannot reach level {level}; give at least {int(np.ceil(1 / level)) - 1}"
        )
    table, known = pd.DataFrame(values), pd.DataFrame(statistics)
    called = list(table.columns) if names is None else list(names)
    kinds = np.asarray(within).astype(str)
    if not len(table) == len(known) == len(kinds) or len(called) != table.shape[1]:
        raise InputError(
            f"values {table.shape}, statistics {known.shape} and within {kinds.shape} need the same rows, "
            f"and names one entry for each column of values; given {len(called)}"
        )
    numbers, measured = table.to_numpy(np.float64), known.to_numpy(np.float64)
    kept = np.isfinite(numbers).all(1) & np.isfinite(measured).all(1)
    kind = np.unique(kinds[kept], return_inverse=True)[1]
    ours, theirs = _ranks(numbers[kept], kind), _ranks(measured[kept], kind)
    n = len(kind)
    rho = ours.T @ theirs / max(n, 1)
    rng = np.random.default_rng(random_state)
    strongest = np.array(
        [np.abs(ours.T @ theirs[shuffled_within(kind, rng)]).max() / n for _ in range(n_null)]
    )
    high = float(np.quantile(strongest, 1 - level, method="higher"))
    rows = []
    for component, one in zip(called, rho, strict=True):
        best = int(np.abs(one).argmax())
        p_value = float((1 + (strongest >= abs(one[best])).sum()) / (1 + n_null))
        low_high = _interval(one[best], n - len(np.unique(kind)) + 1)
        statistic = known.columns[best]
        group = group_of(statistic)
        words = f"{component} follows {group} (rho {_short(one[best])})" if p_value <= level else ""
        rows.append((component, group, statistic, one[best], *low_high, high, p_value, words))
    columns = [
        "component",
        "group",
        "statistic",
        "rho",
        "rho_low",
        "rho_high",
        "null_high",
        "p_value",
        "words",
    ]
    return pd.DataFrame(rows, columns=columns)


def _ranks(columns: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Ranks within classes, mean 0 and variance 1 in each; 0 where a column does not vary there."""
    ranks = pd.DataFrame(columns).groupby(kind).rank().to_numpy()
    grouped = pd.DataFrame(ranks).groupby(kind)
    centred = ranks - grouped.transform("mean").to_numpy()
    spread = grouped.transform("std", ddof=0).to_numpy()
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)


def _interval(rho: float, n: int) -> tuple[float, float]:
    """95 %, by Fisher's transformation with the variance (1 + rho² / 2) / (n − 3)."""
    reach = norm.isf(0.025) * np.sqrt((1 + rho**2 / 2) / max(n - 3, 1))
    middle = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))
    return float(np.tanh(middle - reach)), float(np.tanh(middle + reach))


def _short(rho: float) -> str:
    return f"{rho:+.2f}".replace("0.", ".", 1).replace("-", "−")
