"""Shards of a store on disk: written under a temporary name, renamed when whole, never half there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InputError

ROWS = "rows.parquet"
KEY = "store.json"
READOUT = "readout.safetensors"


def shard_name(number: int) -> str:
    """Folder name of a shard.

    >>> shard_name(3)
    '00003'
    """
    return f"{number:05d}"


def write_shard(folder: Path, number: int, arrays: Mapping[str, np.ndarray], rows: pd.DataFrame) -> None:
    """Write one shard so that it is either whole or absent.

    Args:
        folder: the store's `shards` folder.
        arrays: named arrays, each of shape (rows in the shard, …).
        rows: one row for each image of the shard.
    """
    temporary = folder / f".{shard_name(number)}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(temporary / f"{name}.npy", array)
    rows.to_parquet(temporary / ROWS)
    os.rename(temporary, folder / shard_name(number))


def finished_shards(folder: Path) -> set[int]:
    """Numbers of the shards that are whole; what a killed run left half-written is cleared away."""
    if not folder.exists():
        return set()
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            shutil.rmtree(entry)
    return {int(entry.name) for entry in folder.iterdir()}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON under a temporary name and rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    os.replace(temporary, path)


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text())


def read_shards(folder: Path, numbers: Sequence[int], name: str) -> np.ndarray:
    """One named array of all shards, (n, …), in the dtype it was stored in."""
    parts = [np.load(folder / shard_name(number) / f"{name}.npy", mmap_mode="r") for number in numbers]
    return np.concatenate(parts)


def to_storage(values: np.ndarray, dtype: str, name: str) -> np.ndarray:
    """Cast to the stored precision.

    Raises:
        InputError: a value does not fit; nothing is clipped.

    >>> to_storage(np.array([[1.0, 2.0]]), "float16", "mlp_values").dtype
    dtype('float16')
    """
    with np.errstate(over="ignore"):
        stored = values.astype(dtype)
    bad = np.isinf(stored) & np.isfinite(values)
    if bad.any() or not np.isfinite(values).all():
        where = np.argwhere(bad if bad.any() else ~np.isfinite(values))[0]
        layer = f" of layer {where[1]}" if values.ndim > 2 else ""
        largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
        raise InputError(
            f"{name}{layer} reach {largest:.3g}, beyond what {dtype} holds; extract with --store-dtype float32 "
            "and, if the encoder runs in half precision, with --dtype float32"
        )
    return stored
