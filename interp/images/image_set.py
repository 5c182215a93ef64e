"""The set of images that a run works on: one row for each image, named by its key."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interp.errors import InputError, unknown_name
from interp.images.conditions import rows_where
from interp.images.folders import images_below
from interp.images.grip_list import from_grip_list, is_grip_list
from interp.images.keys import as_name, as_text, row_keys
from interp.images.layouts import LAYOUTS, Layout, read_layout
from interp.images.manifest import COLUMNS, read_manifest, standardise, text_column
from interp.images.views import VIEW_OF

_MANIFESTS = ("manifest.csv", "manifest.parquet")
_TABLES = ("manifest", "grip-list")


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Images with what is known of them. Files are looked at when they are decoded, not here.

    Attributes:
        table: indexed by `key`, the image's posix path relative to `root`. Columns `label` ("real", "fake" or
            ""), `generator` ("real" for photographs), `family`, `group` (rows that must not be split), then
            those of the manifest. In a set of views `view_of` names the whole image.
        root: the folder that the keys start from.
        layout: how labels were found: the name of a folder layout, "general" for the first folder as the
            generator, "manifest" or "grip-list"; "" for images that were listed one by one.

    Raises:
        InputError: a column is missing, or a key is not unique.

    >>> table = pd.DataFrame({"label": ["real", "fake"]}, index=["a.png", "b.png"])
    >>> images = ImageSet(standardise(table, list(table.index)), Path("photos"))
    >>> len(images), images.path("b.png").as_posix()
    (2, 'photos/b.png')
    """

    table: pd.DataFrame
    root: Path
    layout: str = ""

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.table.columns]
        if missing or self.table.index.name != "key" or not self.table.index.is_unique:
            raise InputError(
                f"a table of images has the columns {', '.join(COLUMNS)} and a unique index named key; "
                f"got the columns {', '.join(map(str, self.table.columns))} "
                f"and the index {self.table.index.name!r}"
            )

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        layout: Layout | str | None = None,
        where: str | Iterable[str] = (),
        allow_outside: bool = False,
    ) -> ImageSet:
        """Open a folder or a manifest.

        Args:
            path: a CSV or Parquet manifest; a folder with a `manifest.csv` or `manifest.parquet` in it, which
                is then read; or any other folder of images.
            layout: how the folder is laid out, such as `genimage`; by default it is recognised, and a
                manifest in the folder comes first. See `interp.images.layouts.LAYOUTS`.
            where: conditions such as `role=test`; see `where`.
            allow_outside: accept images that lie outside the folder.

        Raises:
            InputError: nothing can be opened there; see `from_folder`, `from_manifest` and `where`.
        """
        path = Path(path)
        found = [path / name for name in _MANIFESTS if (path / name).is_file()]
        if isinstance(layout, str) and layout not in (*LAYOUTS, *_TABLES):
            raise unknown_name("layout", layout, (*LAYOUTS, *_TABLES))
        as_table = layout is None or (isinstance(layout, str) and layout in _TABLES)
        if path.is_dir() and not (found and as_table):
            images = cls.from_folder(path, layout=layout, allow_outside=allow_outside)
        else:
            images = cls.from_manifest(found[0] if found else path, allow_outside=allow_outside)
            if layout is not None and layout != images.layout:
                raise InputError(
                    f"{path} is read as a {images.layout}, not in the layout {layout!r}; leave layout= out"
                )
        return images.where(*([where] if isinstance(where, str) else where))

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, layout: Layout | str | None = None, allow_outside: bool = False
    ) -> ImageSet:
        """Label the images of a folder by its layout, which is recognised if it is not given.

        A folder that follows none of the known layouts is read by the general rule
        `folder/GENERATOR/…/image`: images below a folder named real, reals, 0_real or nature, at any depth,
        are photographs; images directly in `folder` are unlabelled. So is an image that has no place in its
        layout. The choice is said in `layout`.

        Raises:
            InputError: no such folder, no image in it, links that leave it without `allow_outside`, or a
                given layout that has a place for none of the images.
        """
        root = Path(folder)
        keys = [as_text(k) for k in row_keys(images_below(root), root, allow_outside=allow_outside)]
        name, table = read_layout(keys, root, layout)
        return cls(standardise(table, keys), root, name)

    @classmethod
    def from_manifest(cls, path: str | Path, *, allow_outside: bool = False) -> ImageSet:
        """Read a manifest: the column `path`, relative to the manifest's folder, and whatever is known.

        What becomes of label, generator, family and group says `interp.images.manifest.standardise`.
        Further columns are kept. A list of the GRIP group, with `filename` and `typ`, is read too.

        Raises:
            InputError: it cannot be read; a label is unknown; a path is empty, given twice, or leaves the
                manifest's folder without `allow_outside`. A file that does not exist is no error here.
        """
        path = Path(path)
        table = read_manifest(path)
        layout = "grip-list" if is_grip_list(table) else "manifest"
        if layout == "grip-list":
            table = from_grip_list(table)
        paths = text_column(table, "path")
        empty = [row for row, given in enumerate(paths) if not given]
        if empty:
            raise InputError(
                f"{len(empty)} rows of {path} have no path; the first is row {empty[0]}, counted from 0"
            )
        keys = row_keys(list(paths), path.parent, allow_outside=allow_outside)
        return cls(standardise(table, keys), path.parent, layout)

    @classmethod
    def from_hugging_face(
        cls,
        dataset: str | Path | Iterable[Mapping[str, Any]],
        *,
        folder: str | Path,
        image: str = "image",
        label: str | None = "label",
        generator: str | None = None,
        limit: int | None = None,
        **options: Any,
    ) -> ImageSet:
        """Write the images of a Hugging Face data set into a folder, byte for byte, and open it.

        Args:
            dataset: a `datasets.Dataset`, streaming or not; any iterable of dicts; Parquet files with images
                in them; or a name on the hub.
            folder: where the files and their manifest go; a run that was cut off goes on there.
            image: the column of images.
            label: the column of labels, or None.
            generator: the column that names the generator.
            limit: stop after so many rows.
            options: `family`, `group`, `split` and `progress`; `interp.images.hugging_face.write_images` says
                what they are, and what becomes of each image.

        Raises:
            InputError: a column or label that does not exist, or the package `datasets` is needed and absent.
        """
        from interp.images.hugging_face import write_images

        columns = {"image": image, "label": label, "generator": generator}
        return cls.from_manifest(write_images(dataset, Path(folder), limit=limit, **columns, **options))

    @classmethod
    def from_paths(cls, paths: str | Path | Iterable[str | Path]) -> ImageSet:
        """Unlabelled images to score: image files, folders that are searched for images, or both.

        Keys start from the folder that holds all that was given. An image that was given twice is one row.

        Raises:
            InputError: nothing was given, or a folder has no image.
        """
        given = [Path(os.path.abspath(p)) for p in ([paths] if isinstance(paths, str | Path) else paths)]
        if not given:
            raise InputError("no image was given; name image files or folders")
        root = Path(os.path.commonpath([p if p.is_dir() else p.parent for p in given]))
        files = [p / name for p in given if p.is_dir() for name in images_below(p)] + [
            p for p in given if not p.is_dir()
        ]
        keys = list(dict.fromkeys(as_text(file.relative_to(root).as_posix()) for file in files))
        return cls(standardise(pd.DataFrame(index=range(len(keys))), keys), root)

    def where(self, *conditions: str) -> ImageSet:
        """The images that meet every condition `column OP value`, OP one of = != >= <= > <.

        Raises:
            InputError: a malformed condition, an unknown column, or no image left.

        >>> images = ImageSet(standardise(pd.DataFrame({"label": ["0", "1"]}), ["a.png", "b.png"]), Path("."))
        >>> images.where("label=fake").keys.tolist()
        ['b.png']
        """
        return ImageSet(rows_where(self.table, conditions), self.root, self.layout)

    @property
    def keys(self) -> pd.Index:
        """The row keys, in order, shape (n,)."""
        return self.table.index

    def __len__(self) -> int:
        return len(self.table)

    def path(self, key: str) -> Path:
        """Where the image of a row lies; of a view, the whole image."""
        path = self.root / (self.table.at[key, VIEW_OF] if VIEW_OF in self.table.columns else key)
        return path if "\\x" not in str(path) or path.exists() else Path(as_name(str(path)))

    def summary(self) -> pd.DataFrame:
        """Counts `images` and `groups` for each `label`, `generator` and `family`."""
        rows = self.table.groupby(["label", "generator", "family"], observed=True)["group"]
        return rows.agg(images="size", groups="nunique").reset_index()

    def __repr__(self) -> str:
        return f"{self._title()}\n{self.summary().to_string(index=False)}"

    def _repr_html_(self) -> str:
        return f"<p>{self._title()}</p>{self.summary().to_html(index=False)}"

    def _title(self) -> str:
        counts = self.table["label"].replace("", "unlabelled").value_counts()
        parts = ", ".join(f"{count:,} {label}" for label, count in counts.items())
        layout = f", layout {self.layout}" if self.layout else ""
        recoded = int((self.table["recoded"] == True).sum()) if "recoded" in self.table else 0  # noqa: E712
        lost = f"; {recoded:,} without their original file (recoded)" if recoded else ""
        return f"{len(self):,} images in {self.root} ({parts}){layout}{lost}"
