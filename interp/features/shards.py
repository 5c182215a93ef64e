"""Shards of a store on disk: written under a temporary name, renamed when whole, never half there."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError

from interp.errors import InputError

ROWS = "rows.parquet"
KEY = "store.json"
READOUT = "readout.safetensors"
ORIGIN = ".from"
"""Hidden file in the local copy of a remote store: its address."""
_TEMPORARY = re.compile(r"\..+\.\d+")


def shard_name(number: int) -> str:
    """Folder name of a shard.

    >>> shard_name(3)
    '00003'
    """
    return f"{number:05d}"


@contextmanager
def whole_or_absent(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, for a file or folder that takes its name when it is whole.

    The content is forced to the disk before the rename and the rename before the next step, so that after a kill
    or a loss of power `path` is either absent (or as before) or whole, and never there before what was
    written earlier. A disk that acknowledges what it has not stored can break this.

    Raises:
        InputError: the disk is full or refuses to be written; nothing is left there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        yield temporary
        for written in [*temporary.glob("*"), temporary]:
            _force_to_disk(written)
        os.replace(temporary, path)
        _force_to_disk(path.parent)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}{_free(path)}. What is whole stays; "
            "make room or mend what is named here, and run the same command again: it goes on from there"
        ) from error
    finally:
        _remove(temporary)


def write_shard(folder: Path, number: int, arrays: Mapping[str, np.ndarray], rows: pd.DataFrame) -> None:
    """Write one shard so that it is either whole or absent.

    Args:
        folder: the store's `shards` folder.
        number: of the shard.
        arrays: named arrays, each of shape (rows in the shard, …).
        rows: one row for each image of the shard.

    Raises:
        InputError: the disk is full or refuses to be written.
    """
    with whole_or_absent(folder / shard_name(number)) as temporary:
        temporary.mkdir()
        for name, array in arrays.items():
            buffer = io.BytesIO()  # np.save into a file would not say that the disk is full
            np.save(buffer, array)
            (temporary / f"{name}.npy").write_bytes(buffer.getbuffer())
        write_rows(temporary / ROWS, rows)


def write_rows(path: Path, rows: pd.DataFrame) -> None:
    """Write a table as Parquet, its errors being the system's."""
    buffer = io.BytesIO()
    rows.to_parquet(buffer)
    path.write_bytes(buffer.getbuffer())


def finished_shards(folder: Path) -> set[int]:
    """Numbers of the shards that are whole."""
    return {int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit()}


def clear_leftovers(folder: Path) -> None:
    """Remove what killed runs left half-written; only for the folder's one writer."""
    for path in [*folder.glob(".*"), *folder.glob("shards/.*")]:
        if _TEMPORARY.fullmatch(path.name):
            _remove(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that the file is either whole or as before.

    Raises:
        InputError: the disk is full or refuses to be written.
    """
    with whole_or_absent(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text())


def read_shards(folder: Path, numbers: Sequence[int], name: str) -> np.ndarray:
    """One named array of all shards, (n, …), in the dtype it was stored in; fetched if the store is a remote one.

    Raises:
        InputError: a shard is missing or damaged; the message says which, and what to do.
    """
    if (folder.parent / ORIGIN).exists():
        from interp.features.remote import fetch

        fetch(folder.parent, [f"{folder.name}/{shard_name(number)}/{name}.npy" for number in numbers])
    files = [folder / shard_name(number) / f"{name}.npy" for number in numbers]
    return np.concatenate([_read(file, lambda file: np.load(file, mmap_mode="r")) for file in files])


def read_rows(folder: Path, numbers: Sequence[int]) -> pd.DataFrame:
    """The rows of all shards, one after the other.

    Raises:
        InputError: as `read_shards`.
    """
    files = [folder / shard_name(number) / ROWS for number in numbers]
    return pd.concat([_read(file, pd.read_parquet) for file in files])


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


def _read(file: Path, how: Any) -> Any:
    try:
        return how(file)
    except Exception as error:  # a damaged file makes its reader stumble in every way
        shard = file.parent
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise InputError(
            f"shard {shard.name} of the store {shard.parent.parent} is damaged: {file.name} {reason}. Delete "
            f"the folder {shard} and run the same `interp extract` again, which makes this shard anew"
        ) from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free(path: Path) -> str:
    try:
        return f" ({shutil.disk_usage(path.parent).free / 1e6:.1f} MB free there)"
    except OSError:
        return ""
