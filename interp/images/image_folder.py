"""The `imagefolder` layout of Hugging Face `datasets`: folders for splits and classes, and metadata files."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from interp.errors import InputError
from interp.images.manifest import LABELS

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""Folders that name a split, in lower case, and the split they name."""

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Files that say more of the images in and below their folder: one row each, named by `file_name`."""

_CLASSES = {**LABELS, "0_real": "real", "reals": "real", "1_fake": "fake", "fakes": "fake"}


def read_image_folder(keys: Sequence[str], root: Path) -> list[dict[str, Any] | None]:
    """Rows from `[data/]SPLIT/CLASS/…/file` and from metadata files, which have the last word.

    A class folder is read as a label is; where a class real stands beside others, such as `midjourney`, those
    name generators. An image that has neither a label there nor a row in a metadata file has no place, and
    without any metadata file every image needs a split folder. Rows of a metadata file without an image are
    passed over.

    Raises:
        InputError: a metadata file cannot be read or has no column `file_name`.
    """
    known = _metadata(keys, root)
    classes = {name.lower() for _, name in map(_split_and_class, keys) if name}
    with_real = any(_CLASSES.get(name) == "real" for name in classes)
    rows: list[dict[str, Any] | None] = []
    for key in keys:
        split, folder = _split_and_class(key)
        label = _CLASSES.get(folder.lower(), "fake" if folder and with_real else "")
        generator = folder if label == "fake" and folder.lower() not in _CLASSES else ""
        row = {"split": split, "label": label, "generator": generator}
        if key in known:
            rows.append(row | known[key])
        else:
            rows.append(row if label and (split or known) else None)
    return rows


def _split_and_class(key: str) -> tuple[str, str]:
    folders = key.split("/")[:-1]
    if folders and folders[0].lower() == "data":
        del folders[0]
    split = SPLITS.get(folders[0].lower(), "") if folders else ""
    inside = folders[1:] if split else folders
    return split, inside[0] if inside else ""


def _metadata(keys: Sequence[str], root: Path) -> dict[str, dict[str, Any]]:
    """What metadata files say of each key; the file nearest to an image wins."""
    folders = {""}
    for folder in {posixpath.dirname(key) for key in keys}:
        while folder:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    found: dict[str, dict[str, Any]] = {}
    for folder in sorted(folders):
        for name in METADATA:
            path = root / folder / name
            if path.is_file():
                for row in _records(path):
                    key = posixpath.normpath(posixpath.join(folder, str(row.pop("file_name"))))
                    found[key] = found.get(key, {}) | row
    return found


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        elif path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            table = pd.DataFrame([json.loads(line) for line in lines if line.strip()])
        else:
            table = pd.read_csv(path, keep_default_na=False, na_values=[""], encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if "file_name" not in table.columns:
        raise InputError(
            f"{path} needs the column 'file_name', relative to its own folder; it has: {', '.join(table.columns)}"
        )
    return [
        {str(name): value for name, value in row.items() if value is not None and value == value}
        for row in table.to_dict("records")
    ]
