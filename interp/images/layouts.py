"""Folder layouts: the table of those that are known, and which of them a folder follows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interp.errors import InputError, unknown_name
from interp.images import benchmarks
from interp.images.benchmarks import FAMILY, ImagePath
from interp.images.folders import labels_from_layout
from interp.images.image_folder import read_image_folder

ENOUGH = 0.9
"""A layout is recognised where at least this share of the images has a place in it; the rest is unlabelled."""

GENERAL = "general"
"""The rule for every other folder: the first folder names the generator; see `labels_from_layout`."""

_ABOVE = 3  # folders of the root's own path that a layout may look at
_SAMPLE = 2000


@dataclass(frozen=True)
class Layout:
    """How a data set lies in folders.

    Attributes:
        name: what `ImageSet.open(…, layout=NAME)` takes.
        tree: one path, as an example for people.
        read: from keys (posix paths below the root) and the root to one row for each key: a dict with any of
            `label`, `generator`, `family`, `group`, `split` and further columns, or None for an image that
            has no place in the layout.
        named: False where many folders lie so by chance; those layouts are tried after all others.

    Your own layout is one function from a path to a row:

    >>> def mine(image):
    ...     maker, _, photograph = image.stem.partition("-")
    ...     return {"label": "fake", "generator": maker, "group": photograph}
    >>> rows = Layout("mine", "GENERATOR-PHOTOGRAPH.png", each(mine)).read(["glide-0042.png"], Path("."))
    >>> rows[0]["group"]
    '0042'
    """

    name: str
    tree: str
    read: Callable[[Sequence[str], Path], Sequence[Mapping[str, Any] | None]]
    named: bool = True


def each(
    place: Callable[[ImagePath], Mapping[str, str] | None],
) -> Callable[[Sequence[str], Path], list[Mapping[str, str] | None]]:
    """Turn a function of one image's path into the `read` of a `Layout`."""

    def read(keys: Sequence[str], root: Path) -> list[Mapping[str, str] | None]:
        above = tuple(part for part in Path(os.path.abspath(root)).parts[1:])[-_ABOVE:]
        rows = []
        for key in keys:
            *folders, name = key.split("/")
            rows.append(place(ImagePath(above, tuple(folders), name.rpartition(".")[0] or name)))
        return rows

    return read


def _general(keys: Sequence[str], root: Path) -> list[Mapping[str, Any] | None]:
    rows = labels_from_layout(list(keys)).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


_LAYOUTS = (
    Layout(
        "genimage", "Midjourney/imagenet_midjourney/val/ai/208_midjourney_76.png", each(benchmarks.genimage)
    ),
    Layout("universalfakedetect", "ldm_200_cfg/1_fake/abc.png", each(benchmarks.universalfakedetect)),
    Layout("cnndetection", "test/progan/cat/0_real/00001.png", each(benchmarks.cnndetection)),
    Layout("synthbuster", "dalle2/r000da54ft.png", each(benchmarks.synthbuster)),
    Layout("drct-2m", "sdxl-turbo/val2017/000000000025.png", each(benchmarks.drct)),
    Layout("imagefolder", "train/real/a.png, or metadata.csv with file_name", read_image_folder, named=False),
    Layout("community-forensics", "DeepFloyd/fake/a.png", each(benchmarks.community_forensics), named=False),
    Layout(GENERAL, "GENERATOR/…/a.png", _general, named=False),
)
LAYOUTS = {layout.name: layout for layout in _LAYOUTS}
"""The layouts that are known by name, in the order in which they are tried."""


def find_layout(name: str) -> Layout:
    """The layout of a name.

    Raises:
        InputError: there is none of this name.

    >>> find_layout("genimages")
    Traceback (most recent call last):
    interp.errors.InputError: unknown layout 'genimages'; did you mean 'genimage'? ...
    """
    if name not in LAYOUTS:
        raise unknown_name("layout", name, LAYOUTS)
    return LAYOUTS[name]


def read_layout(keys: Sequence[str], root: Path, layout: Layout | str | None) -> tuple[str, pd.DataFrame]:
    """The layout's name, and what it says of each key; images that have no place in it have the label "".

    Without a layout, every known one is tried. The one that has a place for most of the images, and for nine
    in ten at least, is taken; where none does, or where two do equally well and say different things, the
    general rule is.

    Raises:
        InputError: an unknown name, or a layout that has a place for none of the images.
    """
    if layout is None:
        return _recognise(keys, root)
    chosen = find_layout(layout) if isinstance(layout, str) else layout
    rows = chosen.read(keys, root)
    if not _placed(rows):
        raise InputError(
            f"no image in {root} lies as in the layout {chosen.name!r} ({chosen.tree}); the first is {keys[0]}. "
            f"Without layout=, this folder is read as {_recognise(keys, root)[0]!r}"
        )
    return chosen.name, _table(chosen, rows)


def _recognise(keys: Sequence[str], root: Path) -> tuple[str, pd.DataFrame]:
    some = keys[:: max(1, len(keys) // _SAMPLE)]  # a look at some images spares reading millions many times
    for named in (True, False):
        best: list[tuple[Layout, Sequence[Mapping[str, Any] | None]]] = []
        share = 0.0
        for layout in LAYOUTS.values():
            tried = layout.named == named and layout.name != GENERAL
            if not tried or _placed(layout.read(some, root)) < ENOUGH / 2:
                continue
            rows = layout.read(keys, root)
            placed = _placed(rows)
            if placed >= max(ENOUGH, share):
                best, share = [*best, (layout, rows)] if placed == share else [(layout, rows)], placed
        if best and all(_said(rows) == _said(best[0][1]) for _, rows in best[1:]):
            return best[0][0].name, _table(*best[0])
        if best:
            break
    return GENERAL, _table(LAYOUTS[GENERAL], LAYOUTS[GENERAL].read(keys, root))


def _placed(rows: Sequence[Mapping[str, Any] | None]) -> float:
    return sum(row is not None for row in rows) / len(rows)


def _said(rows: Sequence[Mapping[str, Any] | None]) -> list[tuple[Any, ...]]:
    return [
        tuple((row or {}).get(name, "") for name in ("label", "generator", "split", "group")) for row in rows
    ]


def _table(layout: Layout, rows: Sequence[Mapping[str, Any] | None]) -> pd.DataFrame:
    table = pd.DataFrame([dict(row or {"label": ""}) for row in rows])
    texts = ("label", "generator", "family", "group", "split", "source", "object_class")
    for name in texts:
        if name in table.columns:
            table[name] = table[name].astype(object).where(table[name].notna(), "").map(str).astype(str)
    if "generator" in table.columns and layout.name != GENERAL:
        family = table["family"] if "family" in table.columns else pd.Series("", index=table.index, dtype=str)
        table["family"] = family.where(family != "", table["generator"].map(FAMILY).fillna(""))
    return table
