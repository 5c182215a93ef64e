"""Whether parts of a data set share what they must not: a generator, an image, a group, a copied file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from interp.errors import InputError

REAL = "real"
TWIN = "twin"  # a photograph through one mechanism; `generator` then names the mechanism
BOUND = ("group", "content_hash", "pixel_hash")  # rows that are equal in one of these belong together

_REMEDY = {
    "generator": "name every generator in one of train, select and test only",
    "row": "give every image to one part only",
    "group": "rows of one group (same prompt, same source photograph) belong in one part: move them "
    "together, or let Protocol.by_hand, pairs or leave_one_out deal them",
    "content_hash": "these are copies of one file: keep one of them, or move them into one part",
    "pixel_hash": "these files decode to the same pixels: keep one of them, or move them into one part",
}


class LeakError(InputError):
    """Two parts of a split share something that would flatter the result."""


def check_rows(rows: pd.DataFrame) -> None:
    """Refuse a table of images that a protocol cannot be built on.

    Args:
        rows: One row an image: a unique index, ``label`` ("real", "fake" or "twin"), ``generator`` ("real" for
            photographs and for nothing else) and ``group``; ``content_hash`` and ``pixel_hash`` where they
            are known.

    Raises:
        InputError: When a column is absent, the index has duplicates, or label and generator contradict each
            other.

    >>> check_rows(pd.DataFrame({"label": ["real"], "generator": ["glide"], "group": ["a"]}))
    Traceback (most recent call last):
    interp.errors.InputError: 1 of 1 rows contradict themselves: label 'real', generator 'glide' (row 0). ...
    """
    absent = [name for name in ("label", "generator", "group") if name not in rows.columns]
    if absent:
        raise InputError(
            f"the rows have no column {', '.join(absent)}; they need label, generator and group. "
            f"Given: {', '.join(map(str, rows.columns)) or '(none)'}"
        )
    if not rows.index.is_unique:
        twice = rows.index[rows.index.duplicated()]
        raise InputError(
            f"{len(twice)} row keys stand more than once, first {twice[0]!r}; "
            "drop the repeated rows or rename them"
        )
    photograph, fake = rows["label"].isin([REAL]), rows["label"].isin(["fake", TWIN])
    called_real, unnamed = (
        rows["generator"].isin([REAL]),
        rows["generator"].isna() | rows["generator"].isin([""]),
    )
    wrong = np.flatnonzero(~((photograph & called_real) | (fake & ~unnamed & ~called_real)))
    if len(wrong):
        row = rows.iloc[wrong[0]]
        raise InputError(
            f"{len(wrong)} of {len(rows)} rows contradict themselves: label {row['label']!r}, generator "
            f"{row['generator']!r} (row {rows.index[wrong[0]]}). A photograph has label 'real' and generator "
            "'real'; a generated image has label 'fake' and the name of its generator; a twin has label 'twin' and "
            "the name of its mechanism"
        )


def _codes(column: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Number equal values alike, (n,) int64; what is missing or empty is equal to nothing and gets -1."""
    values = pd.Series(column)
    return pd.factorize(values.where(values != ""))[0].astype(np.int64), values.to_numpy()


def units(rows: pd.DataFrame) -> np.ndarray:
    """Number the sets of rows that must stay together.

    Two rows are of one unit when a chain of equal groups, content hashes or pixel hashes connects them, so no
    way of dealing whole units to parts can leak. Missing and empty values and absent columns connect nothing.

    Returns:
        (n,) int64, 0 for the unit of the first row, numbered as they first appear.

    >>> units(pd.DataFrame({"group": ["a", "a", "b", ""], "pixel_hash": ["", "x", "x", None]}))
    array([0, 0, 0, 1])
    """
    n = len(rows)
    ends, starts, nodes = [], [], n
    for name in BOUND:
        if name in rows.columns:
            codes, _ = _codes(rows[name])
            known = np.flatnonzero(codes >= 0)
            starts.append(known)
            ends.append(codes[known] + nodes)
            nodes += int(codes.max(initial=-1)) + 1
    start = np.concatenate([*starts, np.empty(0, np.int64)])
    end = np.concatenate([*ends, np.empty(0, np.int64)])
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), shape=(nodes, nodes))
    labels = connected_components(graph, directed=False)[1][:n]
    return pd.factorize(labels)[0].astype(np.int64)


class LeakCheck:
    """Checks many splits of the same rows: what the rows share is numbered once.

    >>> rows = pd.DataFrame({"generator": ["glide", "dalle2"], "group": ["a cat", "a cat"]})
    >>> LeakCheck(rows)({"train": [0], "test": [1]})
    Traceback (most recent call last):
    interp.protocol.leaks.LeakError: train and test share 1 group: 'a cat'. ...
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self._n = len(rows)
        generators = rows["generator"]
        self._kinds = {
            "generator": _codes(generators.where(generators != REAL)),
            "row": (np.arange(len(rows)), rows.index.to_numpy()),
        } | {name: _codes(rows[name]) for name in BOUND if name in rows.columns}

    def __call__(self, parts: Mapping[str, ArrayLike], generators: bool = True) -> None:
        """Refuse parts that share anything; `generators=False` allows them to share generators."""
        positions = {name: self._positions(name, given) for name, given in parts.items()}
        found, remedies = [], []
        for kind, (codes, values) in self._kinds.items():
            if kind == "generator" and not generators:
                continue
            holds = np.zeros((len(positions), int(codes.max(initial=-1)) + 2), bool)
            for part, at in enumerate(positions.values()):
                holds[part, codes[at]] = True  # a missing value, -1, falls in the last column
            holds[:, -1] = False
            if not (holds.sum(axis=0) > 1).any():
                continue
            for (i, first), (j, second) in itertools.combinations(enumerate(positions), 2):
                both = np.flatnonzero(holds[i] & holds[j])
                if len(both):
                    found.append(_sentence(first, second, kind, both, codes, values))
                    remedies.append(_REMEDY[kind])
        if found:
            what_to_do = "; ".join(dict.fromkeys(remedies))
            raise LeakError(f"{'; '.join(found)}. What to do: {what_to_do}")

    def _positions(self, name: str, given: ArrayLike) -> np.ndarray:
        at = np.asarray(given)
        if at.size == 0:
            return np.empty(0, np.int64)
        if at.ndim != 1 or at.dtype.kind not in "iu" or at.min() < 0 or at.max() >= self._n:
            raise InputError(
                f"part {name!r} must be a list of integer positions from 0 to {self._n - 1}; "
                f"given {at.dtype} of shape {at.shape}"
                + (f", {at.min()} to {at.max()}" if at.dtype.kind in "iu" else "")
            )
        return at.astype(np.int64)


def _sentence(
    first: str, second: str, kind: str, both: np.ndarray, codes: np.ndarray, values: np.ndarray
) -> str:
    examples = [repr(str(values[np.flatnonzero(codes == code)[0]])) for code in both[:3]]
    more = ", …" if len(both) > 3 else ""
    plural = "" if len(both) == 1 else ("es" if kind.endswith("hash") else "s")
    return f"{first} and {second} share {len(both)} {kind}{plural}: {', '.join(examples)}{more}"


def check_disjoint(rows: pd.DataFrame, parts: Mapping[str, ArrayLike], generators: bool = True) -> None:
    """Refuse parts that share a generator, a row, a group or a copy of an image.

    Args:
        rows: n rows as `check_rows` wants them. Photographs (generator "real") may stand in any part, each of
            them in one. Empty groups and hashes are equal to nothing.
        parts: From the name of a part to its rows: (m,) integer positions into `rows`.
        generators: False allows the parts to share generators, not images.

    Raises:
        LeakError: What is shared, between which parts, how many, up to three examples, and what to do.

    >>> rows = pd.DataFrame({"generator": ["glide", "real", "glide", "real"], "group": list("abcd")})
    >>> rows["label"] = ["fake", "real", "fake", "real"]
    >>> check_disjoint(rows, {"train": [0, 1], "test": [2, 3]})
    Traceback (most recent call last):
    interp.protocol.leaks.LeakError: train and test share 1 generator: 'glide'. ...
    >>> check_disjoint(rows, {"train": [0, 1], "test": [2, 3]}, generators=False)
    """
    check_rows(rows)
    LeakCheck(rows)(parts, generators)
