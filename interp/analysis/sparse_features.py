"""Sparse features of heads' values, ranked like heads: does one feature transfer better than one head?

A dictionary is learnt on train rows of a few heads' values (`MiniBatchDictionaryLearning`; Mairal et al. 2009), and
each image is coded by its few best atoms (orthogonal matching pursuit). An atom's code is then one number for each
image, as in the sparse dictionaries of language models (Bricken et al. 2023), and needs no probe: only its sign is
fitted. Most images have none of it, so that its AUC has a low ceiling; the values along an atom, coded or not, are
tried too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import ortho_group
from sklearn.decomposition import MiniBatchDictionaryLearning, SparseCoder
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

from interp.analysis.ranking import probe_scores, standardised
from interp.analysis.strength import mean_auc
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.protocol.metrics import auc_columns

if TYPE_CHECKING:
    from interp.protocol.roles import Split

PENALTY = 3.0
"""Of the codes while learning, for standardised columns; coding then takes as many atoms as asked."""
EPOCHS = 60
KINDS = {
    "head": "a head, read by its probe",
    "sparse code": "how much of an atom is in an image's code; 0 for most images",
    "sparse direction": "the image's values along an atom, coded or not",
    "column": "one of a head's values as it is",
    "principal component": "the values along a direction of largest variance",
    "rotated code": "null: codes by the same dictionary, turned at random",
    "random direction": "null: the values along as many random directions",
}
"""What one thing may be."""


def sparse_dictionary(
    X: np.ndarray, n_features: int = 128, nonzero: int = 8, *, random_state: int = 0
) -> np.ndarray:
    """Learn atoms of which a few together make each row.

    Args:
        X: (n, p), standardised by the rows it is fitted on.
        n_features: atoms; more than p for an overcomplete dictionary.
        nonzero: atoms that code one row.
        random_state: seed.

    Returns:
        (n_features, p) float64, each of length 1.

    Raises:
        InputError: fewer rows than atoms that code one, or no atom.

    >>> rng = np.random.default_rng(0)
    >>> codes = np.where(rng.random((400, 4)) < 0.2, rng.normal(size=(400, 4)) * 9, 0)
    >>> atoms = sparse_dictionary(codes, n_features=4, nonzero=2)       # rows are made of the axes
    >>> bool((np.abs(atoms).max(0) > 0.95).all())
    True
    """
    if not 1 <= nonzero <= min(n_features, len(X)):
        raise InputError(
            f"nonzero must be from 1 to the number of features and of rows; given {nonzero}, {n_features} features and "
            f"{len(X)} rows"
        )
    learner = MiniBatchDictionaryLearning(
        n_components=n_features,
        alpha=PENALTY,
        max_iter=EPOCHS,
        batch_size=min(256, len(X)),
        fit_algorithm="cd",
        max_no_improvement=None,
        tol=0.0,
        transform_n_nonzero_coefs=nonzero,
        random_state=random_state,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # codes within a step need not be exact
        atoms = learner.fit(X).components_
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    return atoms / np.where(norms > 0, norms, 1)


def sparse_codes(X: np.ndarray, atoms: np.ndarray, nonzero: int = 8) -> np.ndarray:
    """How much of each atom is in each row, (n, n_features) float64, `nonzero` of them not 0 (at most).

    Args:
        X: (n, p). atoms: (n_features, p), of length 1.
        nonzero: atoms that code one row.
    """
    coder = SparseCoder(atoms, transform_algorithm="omp", transform_n_nonzero_coefs=nonzero)
    return coder.transform(X)


def single_transfer(
    X: np.ndarray,
    y: np.ndarray,
    layout: HeadLayout,
    splits: Iterable[Split],
    *,
    generator: np.ndarray,
    heads: int = 4,
    n_features: int = 128,
    nonzero: int = 8,
    draws: int = 5,
    random_state: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Of each kind of single thing, the one that select rows choose, and its AUC on test generators.

    Every kind looks at the same few heads, those whose probes rank first on select rows. Dictionary, directions, probes
    and signs come from train rows, the choice from select rows, and the AUC reported from test rows.

    Args:
        X: (n, l·h·d) head features, columns as in `layout`.
        y: (n,), 1 fake, 0 photograph.
        layout: which columns are which head's.
        splits: usually a `Protocol`.
        generator: (n,) names.
        heads: heads whose values are looked at.
        n_features, nonzero: of the dictionary; see `sparse_dictionary`.
        draws: of each null in each split.
        random_state: seed.
        progress: show a bar.

    Returns:
        A row for each split, kind (`KINDS`), draw (0 but for nulls) and test generator: train, select, seed, kind,
        draw, chosen (name, such as `L3.H5`, or number), candidates (how many there were to choose from), select_auc,
        test, auc; and explained, the share of select rows' variance that codes give back (NaN for other kinds).

    Raises:
        InputError: X does not fit the layout, or no split, or too few heads.
    """
    if X.ndim != 2 or X.shape[1] != layout.size:
        raise InputError(f"X must be (n, {layout.size}) for {layout}; given {X.shape}")
    if not 1 <= heads <= layout.n_heads:
        raise InputError(f"heads must be from 1 to {layout.n_heads}, the heads of {layout}; given {heads}")
    splits = list(splits)
    if not splits:
        raise InputError("there is no split to measure on")
    found = []
    seeds = np.random.SeedSequence(random_state).spawn(len(splits))
    for split, seed in zip(
        tqdm(splits, desc="single features", unit="split", disable=not progress), seeds, strict=True
    ):
        rows = np.concatenate([split.select, split.test])
        n_select = len(split.select)
        probes = probe_scores(X, y, layout, split.train, rows)
        best = np.argsort(
            -mean_auc(y[split.select], probes[:n_select], generator[split.select]), kind="stable"
        )
        kept = best[:heads]
        columns = np.concatenate([np.arange(layout.size)[layout.slice(int(h))] for h in kept])
        train, others = standardised(X[np.ix_(split.train, columns)], X[np.ix_(rows, columns)])
        kinds = [("head", 0, probes[:, kept], [layout.names[h] for h in kept], np.nan)]
        options = {"n_features": n_features, "nonzero": nonzero, "draws": draws}
        for kind, draw, codes, explained in _codes(train, others, n_select, seed, **options):
            signed = codes[len(train) :] * _signs(y[split.train], codes[: len(train)])
            kinds.append((kind, draw, signed, list(range(codes.shape[1])), explained))
        who = {
            "train": "+".join(split.train_generators),
            "select": "+".join(split.select_generators),
            "seed": split.seed,
        }
        for kind, draw, scores, names, explained in kinds:
            chosen = _chosen(scores, y, split, generator, n_select)
            about = {
                "kind": kind,
                "draw": draw,
                "chosen": str(names[chosen.pop("at")]),
                "candidates": len(names),
            }
            for test, auc in chosen.pop("auc").items():
                found.append({**who, **about, **chosen, "test": test, "auc": auc, "explained": explained})
    return pd.DataFrame(found)


def _codes(
    train: np.ndarray,
    others: np.ndarray,
    n_select: int,
    seed: np.random.SeedSequence,
    *,
    n_features: int,
    nonzero: int,
    draws: int,
) -> Iterable[tuple[str, int, np.ndarray, float]]:
    """Of each kind but heads: its name, draw, candidates as columns for train and other rows, and share explained."""
    every, select = np.concatenate([train, others]), slice(len(train), len(train) + n_select)
    atoms = sparse_dictionary(train, n_features, nonzero, random_state=int(seed.generate_state(1)[0]))
    rng = np.random.default_rng(seed)
    turned = [atoms @ ortho_group.rvs(train.shape[1], random_state=rng) for _ in range(draws)]
    for draw, dictionary in enumerate([atoms, *turned]):
        codes = sparse_codes(every, dictionary, nonzero)
        left = ((every - codes @ dictionary)[select] ** 2).sum() / (every[select] ** 2).sum()
        code, direction = (
            ("rotated code", "random direction") if draw else ("sparse code", "sparse direction")
        )
        yield code, max(draw - 1, 0), codes, 1 - float(left)
        yield direction, max(draw - 1, 0), every @ dictionary.T, np.nan
    yield "column", 0, every, np.nan
    axes = np.linalg.svd(train, full_matrices=False)[2]
    yield "principal component", 0, every @ axes.T, np.nan


def _signs(y: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(m,): 1, or -1 where a candidate is higher for photographs among the train rows."""
    return np.where(auc_columns(y, codes) < 0.5, -1.0, 1.0)


def _chosen(
    scores: np.ndarray, y: np.ndarray, split: Split, generator: np.ndarray, n_select: int
) -> dict[str, Any]:
    """The candidate that select rows put first, its select AUC, and its AUC on each test generator."""
    aucs = mean_auc(y[split.select], scores[:n_select], generator[split.select])
    at = int(np.argmax(aucs))
    test, names, fake = scores[n_select:, at], generator[split.test], y[split.test] == 1
    each = {
        name: float(auc_columns(y[split.test][keep], test[keep]))
        for name in np.unique(names[fake])
        if (keep := ~fake | (names == name)).any()
    }
    return {"at": at, "select_auc": float(aucs[at]), "auc": each}
