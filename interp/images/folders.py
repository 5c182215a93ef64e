"""Images in folders: which files count, and what the folders' names say about them."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from interp.errors import InputError

EXTENSIONS = frozenset(
    ("jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff")
    + ("ppm", "pgm", "pbm", "pnm", "avif", "jp2", "j2k", "jpx", "heic", "heif")
)
"""File names that are taken for images; one that cannot be decoded later becomes a row with its error."""

REAL_FOLDERS = frozenset({"real", "reals", "0_real", "nature"})
"""A folder of this name, at any depth and in any case, holds photographs."""


def images_below(folder: Path) -> list[str]:
    """Paths of the images below a folder, relative to it, posix, sorted; no hidden ones; links are followed.

    Raises:
        InputError: no such folder, no image in it, or a folder below it that cannot be listed.

    >>> images_below(Path("no/such/folder"))
    Traceback (most recent call last):
    interp.errors.InputError: there is no folder no/such/folder
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    found, visited, others, tables = [], set(), 0, 0
    for parent, subfolders, names in os.walk(folder, followlinks=True, onerror=_refuse_unlisted):
        real = os.path.realpath(parent)
        if real in visited:  # a link back to a folder above it
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        relative = Path(os.path.relpath(parent, folder))
        for name in names:
            if name.startswith("."):
                continue
            if name.rpartition(".")[2].lower() in EXTENSIONS and "." in name:
                found.append((relative / name).as_posix())
            else:
                others += 1
                tables += name.lower().endswith(".parquet")
    if not found:
        raise InputError(
            f"no image in {folder} ({others} other files); "
            f"expected files that end in {', '.join(sorted(EXTENSIONS))}"
            + ("; Parquet files that hold images open with ImageSet.from_hugging_face" if tables else "")
        )
    return sorted(found)


def labels_from_layout(keys: list[str]) -> pd.DataFrame:
    """Label and generator of images from their paths: the first folder names the generator.

    Below a folder of `REAL_FOLDERS` are photographs; an image in no folder is unlabelled.

    >>> labels_from_layout(["glide/a.png", "glide/nature/b.png", "c.png"]).to_numpy().tolist()
    [['fake', 'glide'], ['real', 'real'], ['', '']]
    """
    rows = []
    for key in keys:
        folders = key.split("/")[:-1]
        if not folders:
            rows.append(("", ""))
        elif REAL_FOLDERS.isdisjoint(name.lower() for name in folders):
            rows.append(("fake", folders[0]))
        else:
            rows.append(("real", "real"))
    return pd.DataFrame(rows, columns=["label", "generator"], dtype=str)


def _refuse_unlisted(error: OSError) -> None:
    raise InputError(
        f"cannot list the folder {error.filename}: {error.strerror}; its images would be left out without a word. "
        "Allow reading it, or move it away"
    )
