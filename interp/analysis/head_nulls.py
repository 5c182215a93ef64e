"""What a selection of heads gains by chance: random subsets, permuted select labels, randomly rotated heads.

Each null runs the search that the selection ran, and returns the test scores that its detectors give.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
from scipy.fft import dct

from interp.analysis.head_search import NUMBERS, HeadSearch
from interp.analysis.ranking import standardised
from interp.analysis.strength import STRENGTHS
from interp.encoders.layout import HeadLayout


def random_subsets(search: HeadSearch, k: int, draws: int, seed: np.random.SeedSequence) -> np.ndarray:
    """Detectors on random subsets of k heads, strength chosen on select rows as for the selection.

    Returns:
        (draws, rows) float64.
    """
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(search.layout.n_heads, size=k, replace=False) for _ in range(draws)]
    return np.stack([search.evaluate(heads).scores for heads in chosen])


def permuted_selection(
    search: HeadSearch, draws: int, seed: np.random.SeedSequence, numbers: Sequence[int | str] | int = NUMBERS
) -> np.ndarray:
    """Heads found by the same search with labels (and names of generators) permuted among the select rows.

    The strength of the detector on them is then chosen by the true labels, as for every other null: what is left
    to beat is what heads cost or gain when there was nothing to find them by.

    Returns:
        (draws, rows) float64.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        order = rng.permutation(search.n_select)
        shuffled = copy.copy(search)  # shares every fit
        shuffled.names = None if search.names is None else search.names[order]
        found.append(search.evaluate(shuffled.search(numbers, search.select_y[order]).heads).scores)
    return np.stack(found)


def rotated_heads(
    X: np.ndarray,
    y: np.ndarray,
    layout: HeadLayout,
    train: np.ndarray,
    select: np.ndarray,
    draws: int,
    seed: np.random.SeedSequence,
    *,
    rows: np.ndarray,
    generator: np.ndarray | None = None,
    numbers: Sequence[int | str] | int = NUMBERS,
    strengths: Sequence[float] = STRENGTHS,
    aggregate: str = "concat",
    fold: np.ndarray | None = None,
) -> np.ndarray:
    """The same search in a randomly rotated space, where a "head" is any `width` directions of it.

    If rotated heads gain as much, the gain is that of a subset of directions, not of heads.

    Returns:
        (draws, rows) float64.
    """
    used = np.concatenate([train, select, rows])
    columns = np.concatenate(standardised(X[train], X[np.concatenate([select, rows])]))
    names = None if generator is None else generator[used]
    at = np.split(np.arange(len(used)), [len(train), len(train) + len(select)])
    found = []
    for child in seed.spawn(draws):
        rotated = random_rotation(layout.size, np.random.default_rng(child))(columns)
        options = {"generator": names, "strengths": strengths, "aggregate": aggregate, "fold": fold}
        search = HeadSearch(rotated, y[used], layout, at[0], at[1], rows=at[2], **options)
        found.append(search.search(numbers).scores)
    return np.stack(found)


def random_rotation(p: int, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """A random orthogonal map of rows (n, p), in O(p log p) a row: signs, cosine transform and permutation, twice.

    The map of the fast Johnson–Lindenstrauss transform (Ailon and Chazelle 2009), here with a cosine transform.

    >>> X = np.eye(5)
    >>> rotate = random_rotation(5, np.random.default_rng(0))
    >>> bool(np.allclose(rotate(X) @ rotate(X).T, X))
    True
    """
    signs = rng.choice([-1.0, 1.0], size=(2, p))
    orders = [rng.permutation(p) for _ in range(2)]

    def rotate(X: np.ndarray) -> np.ndarray:
        for sign, order in zip(signs, orders, strict=True):
            X = dct(X * sign, norm="ortho", axis=1)[:, order]  # type: ignore[assignment]
        return X

    return rotate
