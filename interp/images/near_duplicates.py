"""Images that look the same though their pixels differ: scaled, compressed or retouched copies of one picture."""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image
from scipy.fft import dctn

from interp.images.check_findings import LINES

DISTANCE = 4
"""Bits of 64 in which the hashes of near duplicates differ at most."""

ACROSS = (*LINES, "group")
"""Columns that near duplicates must not be on both sides of: a group is what is dealt to one part."""

_SIDE, _KEPT = 32, 8
_ROWS = 512


def perceptual_hash(image: Image.Image) -> int:
    """64 bits of what an image looks like from afar: signs of its lowest frequencies.

    The pHash of Zauner 2010 (Implementation and Benchmarking of Perceptual Image Hash Functions): grey, 32 × 32,
    discrete cosine transform, the 8 × 8 lowest coefficients, each a 1 where it is above their median. Rescaling,
    compression and mild retouching change a few bits; different pictures differ in about 32. Images that are flat or
    mirrored get hashes that say nothing of each other.

    Args:
        image: in mode RGB.

    >>> ramp = Image.linear_gradient("L").convert("RGB")
    >>> bin(perceptual_hash(ramp) ^ perceptual_hash(ramp.resize((99, 99)))).count("1") <= DISTANCE
    True
    """
    grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    low = dctn(np.asarray(grey, dtype=np.float64), norm="ortho")[:_KEPT, :_KEPT].ravel()
    bits = np.round(low, 6) > np.median(np.round(low[1:], 6))  # the mean grey level has no say
    return int(np.packbits(bits).view(">u8")[0])


def near_duplicates(files: pd.DataFrame, *, distance: int = DISTANCE) -> pd.DataFrame:
    """Every pair of images whose hashes differ in a few bits.

    Args:
        files: indexed by key: `perceptual_hash` (missing where an image cannot be read), `pixel_hash` where known,
            and the columns of `ACROSS` that there are.
        distance: bits of 64.

    Returns:
        A row a pair, nearest first: `key`, `other`, `distance`, `same_pixels`, and `across`, the columns that say
        that the two are on different sides ("label group"). A twin and an image of its own group are no row.
    """
    known = files[files["perceptual_hash"].notna()]
    hashes = known["perceptual_hash"].to_numpy().astype(np.uint64)
    pairs = [np.empty((0, 3), np.int64)]
    for start in range(0, len(hashes), _ROWS):
        differ = np.bitwise_count(hashes[start : start + _ROWS, None] ^ hashes[None, :])
        first, second = np.nonzero(differ <= distance)
        later = second > first + start
        found = (first[later] + start, second[later], differ[first[later], second[later]])
        pairs.append(np.stack(found, axis=1).astype(np.int64))
    first, second, bits = _unexpected(known, np.concatenate(pairs)).T
    keys = known.index.to_numpy()
    table = pd.DataFrame({"key": keys[first], "other": keys[second], "distance": bits})
    same = _equal(known, "pixel_hash", first, second) if "pixel_hash" in known else False
    table["same_pixels"] = same
    columns = [name for name in ACROSS if name in known.columns]
    apart = {name: ~_equal(known, name, first, second) for name in columns}
    across = [" ".join(name for name in columns if apart[name][row]) for row in range(len(table))]
    table["across"] = pd.Series(across, dtype=str)
    return table.sort_values(["distance", "key", "other"], ignore_index=True)


def _unexpected(files: pd.DataFrame, pairs: np.ndarray) -> np.ndarray:
    """The pairs (p, 3) without those of a twin and an image of its own group, which look the same by design."""
    if "label" not in files or "group" not in files:
        return pairs
    twin = (files["label"] == "twin").to_numpy()
    first, second, _ = pairs.T
    by_design = (twin[first] | twin[second]) & _equal(files, "group", first, second)
    return pairs[~by_design]


def merged_groups(files: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Groups that near duplicates share, so that no part of a protocol holds one and another part the other.

    Args:
        files: indexed by key: `group`.
        pairs: what `near_duplicates` gave.

    Returns:
        By key, the name of the group; a chain of near duplicates joins groups, which take the name that comes first.

    >>> files = pd.DataFrame({"group": ["b", "a", "c"]}, index=["x", "y", "z"])
    >>> merged_groups(files, pd.DataFrame({"key": ["x"], "other": ["y"]})).to_list()
    ['a', 'a', 'c']
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    code, names = pd.factorize(files["group"].astype(str), sort=True)
    group_of = pd.Series(code, index=files.index)
    ends = [group_of.loc[pairs[name]].to_numpy() for name in ("key", "other")]
    shape = (len(names), len(names))
    graph = coo_array((np.ones(len(pairs), np.int8), (ends[0], ends[1])), shape=shape)
    joined = connected_components(graph, directed=False)[1]
    first = pd.Series(np.asarray(names)).groupby(joined).first()
    return pd.Series(first.loc[joined[code]].to_numpy(), index=files.index, name="group")


def _equal(known: pd.DataFrame, name: str, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    values = known[name].fillna("").astype(str).to_numpy()
    return values[first] == values[second]
