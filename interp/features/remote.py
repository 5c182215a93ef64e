"""A finished store behind an address such as s3://bucket/store: its files come here as they are asked for.

They lie below `INTERP_CACHE`, by default ~/.cache/interp, in a folder named by the address and by what the store
says of itself, so that a store that was replaced is never mixed with what is here. Who may read is for `fsspec` to
know: from its own configuration, or from where the tools of the object store look.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from interp.errors import InputError, unknown_name
from interp.features.shards import KEY, ORIGIN, READOUT, ROWS, shard_name, whole_or_absent

AT_ONCE = 16
"""Files that are fetched at the same time."""
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""What `fsspec` needs beside itself."""
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")
_ABSOLUTE = {"file", "local", "memory"}
"""Protocols without a host or bucket: what follows is a path from the root."""


def as_address(place: str | Path) -> str | None:
    """The address that a text or a `Path` means, or None where it means a folder here.

    A `Path` has lost one slash of the address that it was made from. A folder that exists is a folder.

    >>> as_address(Path("s3://bucket/store")), as_address("file:///data/store"), as_address("runs/store")
    ('s3://bucket/store', 'file:///data/store', None)
    """
    found = _ADDRESS.fullmatch(os.fspath(place))
    if found is None or Path(place).exists():
        return None
    protocol, rest = found.groups()
    return f"{protocol}://{'/' if protocol in _ABSOLUTE else ''}{rest.rstrip('/')}"


def local_copy(address: str) -> Path:
    """The local folder of a remote store, with its key, rows, weights and tables; arrays follow when they are read.

    Raises:
        InputError: no finished store is there, it cannot be reached, or the package for its protocol is missing.
    """
    files, base = _reach(address)
    key, rows = (_content(files, f"{base}/{name}", missing_ok=True) for name in (KEY, ROWS))
    if key is None:
        raise InputError(f"{address} holds no feature store (no {KEY})")
    if rows is None:
        raise InputError(f"the store {address} is not finished; only finished stores are read from there")
    digest = hashlib.sha256(b"\n".join([address.encode(), key, rows])).hexdigest()[:16]
    folder = cache() / f"{base.rsplit('/', 1)[-1]}-{digest}"
    if not (folder / ORIGIN).exists():
        header = json.loads(key)
        for number in range(-(-header["images"] // header["shard_size"])):
            (folder / "shards" / shard_name(number)).mkdir(parents=True, exist_ok=True)
        for name, content in ((KEY, key), (ROWS, rows), (ORIGIN, address.encode())):
            _keep(folder / name, content)
    fetch(folder, [READOUT, *_tables(files, base)])
    return folder


def fetch(folder: Path, names: Sequence[str]) -> None:
    """Bring those files of a local copy that are not there yet; in a folder that is none, do nothing.

    Raises:
        InputError: a file is missing, or cannot be read.
    """
    missing = [name for name in names if not (folder / name).exists()]
    if not missing or not (folder / ORIGIN).exists():
        return
    files, base = _reach((folder / ORIGIN).read_text())

    def bring(name: str) -> None:
        _keep(folder / name, _content(files, f"{base}/{name}") or b"")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(bring, missing))


def size(address: str) -> tuple[int, int]:
    """Bytes of a remote store's shards, and of the weights that all images share.

    Raises:
        InputError: it cannot be reached.
    """
    files, base = _reach(address)
    try:
        return int(files.du(f"{base}/shards")), int(files.size(f"{base}/{READOUT}"))
    except Exception as error:  # every protocol has errors of its own
        raise InputError(f"cannot read {address}: {error}") from error


def cache() -> Path:
    """Where local copies lie."""
    return Path(os.environ.get("INTERP_CACHE") or Path.home() / ".cache" / "interp") / "stores"


def _reach(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    protocol = address.split(":", 1)[0]
    package = PACKAGES.get(protocol, "fsspec")
    try:
        from fsspec.core import url_to_fs
        from fsspec.registry import known_implementations

        if protocol not in {*known_implementations, *_ABSOLUTE}:
            raise unknown_name("protocol", protocol, known_implementations)
        files, base = url_to_fs(address)
    except ImportError as error:
        raise InputError(f"{address} cannot be reached ({error}); run `pip install {package}`") from error
    return files, base.rstrip("/")


def _content(files: Any, path: str, *, missing_ok: bool = False) -> bytes | None:
    try:
        return files.cat_file(path)
    except FileNotFoundError:
        if missing_ok:
            return None
        raise InputError(f"{path} is missing: the store there is not whole; copy it there again") from None
    except Exception as error:  # every protocol has errors of its own
        raise InputError(f"cannot read {path}: {error}") from error


def _tables(files: Any, base: str) -> list[str]:
    """Names of the tables that lie beside the rows, such as the statistics of pixels."""
    try:
        paths = files.ls(base, detail=False)
    except Exception as error:  # every protocol has errors of its own
        raise InputError(f"cannot list {base}: {error}") from error
    return [path.rsplit("/", 1)[-1] for path in paths if path.endswith(".parquet")]


def _keep(path: Path, content: bytes) -> None:
    with whole_or_absent(path) as temporary:
        temporary.write_bytes(content)
