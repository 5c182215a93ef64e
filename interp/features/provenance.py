"""Where a store comes from: its key, and what to say when another one is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.features.shards import read_json, write_json
from interp.images.equalize import Equalize
from interp.images.laundering import Laundering, codec_versions
from interp.images.views import Views

FORMAT = 1
"""Number of the store's own layout on disk; a store of another number has to be extracted again."""


def store_key(
    encoder: Encoder,
    keys: Iterable[str],
    equalize: Equalize | None,
    views: Views | None,
    dtype: str,
    launder: Laundering | None = None,
    random_state: int = 0,
) -> dict[str, Any]:
    """Everything that decides what a store's bytes are.

    Args:
        encoder: who looks.
        keys: row keys of all images, in order.
        equalize: the path that every image is brought through first, or None.
        views: the crops that are looked at instead of the whole image, or None.
        dtype: in which precision head and MLP values are stored.
        launder: what happens to every image before it is equalised, or None.
        random_state: seed of what laundering draws.
    """
    digest = hashlib.sha256("\n".join(keys).encode(errors="surrogateescape"))
    libraries = {name: version(name) for name in ("torch", "transformers", "pillow", "numpy")}
    laundering: dict[str, Any] = {"laundering": "none"}
    if launder is not None:
        laundering = {"laundering": str(launder), "laundering_seed": random_state}
        libraries |= {"scipy": version("scipy"), **codec_versions()}
    return {
        "format": FORMAT,
        **encoder.provenance,
        "equalize": str(equalize) if equalize else "none",
        "views": str(views) if views else "none",
        **laundering,
        "images": digest.hexdigest(),
        "dtype": dtype,
        "libraries": libraries,
    }


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name each setting in which two keys differ.

    >>> differences({"equalize": "none", "libraries": {"torch": "2.13"}},
    ...             {"equalize": "256:75", "libraries": {"torch": "2.13"}})
    ["equalize: the store has 'none', asked for '256:75'"]
    """
    found = []
    for name in sorted({*ours, *theirs}):
        a, b = ours.get(name), theirs.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: the store has {a!r}, asked for {b!r}")
    return found


def refuse_other_settings(where: object, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise an InputError that names every difference between a store's key and the settings asked for."""
    if found := differences(ours, theirs):
        raise InputError(
            f"{where} was made with other settings; "
            + "; ".join(found)
            + ". Use another --out folder, or the same settings"
        )


def open_results(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Make a folder for results that can be resumed, or refuse one that holds results of other settings."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    if path.exists():
        refuse_other_settings(folder, read_json(path), settings)
    write_json(path, settings)
    return folder
