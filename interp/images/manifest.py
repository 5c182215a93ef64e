"""Manifests: CSV or Parquet tables with one row for each image."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from interp.errors import InputError, unknown_name
from interp.images.grip_list import is_grip_list

COLUMNS = ("label", "generator", "family", "group")
"""The columns that every set has, in this order, after the key."""

LABELS = dict.fromkeys(("real", "0", "0.0", "false", "nature", "natural"), "real")
LABELS |= dict.fromkeys(("fake", "1", "1.0", "true", "ai", "generated", "synthetic"), "fake")
LABELS |= {"twin": "twin", "": ""}
"""How labels may be written, in lower case, and what they mean."""
_TEXT = ("path", *COLUMNS, "generator_family", "filename", "typ")


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest as it is: text columns as text, all others as pandas reads them, empty cells missing.

    Raises:
        InputError: it cannot be read, has no row, or has neither a column `path` nor `filename` and `typ`.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = pd.read_parquet(path).reset_index(drop=True)
        elif path.suffix.lower() == ".csv":
            table = pd.read_csv(
                path,
                dtype={name: "str" for name in _TEXT},
                keep_default_na=False,
                na_values=[""],
                encoding="utf-8-sig",
                low_memory=False,
            )
        else:
            raise InputError(
                f"cannot open {path}: give a folder, or a manifest that ends in .csv or .parquet"
            )
    except FileNotFoundError:
        raise InputError(f"there is no manifest {path}") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:  # pandas' and pyarrow's own errors are ValueErrors
        raise InputError(f"cannot read the manifest {path}: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise InputError(
            f"the rows of {path} have more fields than its header; quote the cells that hold commas"
        )
    table.columns = [str(name).strip() for name in table.columns]
    if "path" not in table.columns and not is_grip_list(table):
        raise InputError(
            f"the manifest {path} needs the column 'path': {unknown_name('column', 'path', table.columns)}"
        )
    if table.empty:
        raise InputError(f"the manifest {path} has no row")
    return table


def standardise(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Complete `label`, `generator`, `family` and `group`, indexed by key; other columns stay as given.

    - `label`: "real", "fake" or "" (unknown). Read in any case from real, 0, false, nature, natural; fake, 1,
      true, ai, generated, synthetic. Where it is empty, a generator decides: `real` is real, any other is
      fake.
    - `generator`: "real" for photographs, "fake" for generated images that name none.
    - `family`: from the column `family` or else `generator_family`; where empty, the generator; "real" for
      photographs.
    - `group`: rows that must not be split; where empty, the key: the row stands alone.

    A column named `key` is renamed to `manifest_key`, and `path` goes, because the key says it.

    Raises:
        InputError: an unknown label, or a generated image of the generator "real".

    >>> table = pd.DataFrame({"label": ["0", "1"], "generator": ["", "glide"], "width": [3, 4]})
    >>> standardise(table, ["a.png", "b.png"]).loc["a.png"].to_dict()
    {'label': 'real', 'generator': 'real', 'family': 'real', 'group': 'a.png', 'width': 3}
    """
    given = text_column(table, "label").str.lower()
    label = given.map(LABELS)
    _refuse(keys, label.isna(), "a label other than real, fake, 0, 1 or empty", given)
    generator = text_column(table, "generator")
    named_real = generator.str.lower() == "real"
    label = label.mask((label == "") & named_real, "real").mask(
        (label == "") & (generator != "") & ~named_real, "fake"
    )
    _refuse(keys, (label == "fake") & named_real, "the label fake and the generator real", generator)
    generator = generator.mask(label == "real", "real").mask((label == "fake") & (generator == ""), "fake")
    family = text_column(table, "family" if "family" in table.columns else "generator_family")
    family = family.where(family != "", generator).mask(label == "real", "real")
    group = text_column(table, "group")
    group = group.where(group != "", pd.Series(keys, index=table.index, dtype=str))
    done = pd.DataFrame(dict(zip(COLUMNS, (label, generator, family, group), strict=True)), dtype=str)
    rest = table.drop(columns=["path", *COLUMNS], errors="ignore").rename(columns={"key": "manifest_key"})
    return pd.concat([done, rest], axis=1).set_axis(pd.Index(keys, name="key", dtype=str), axis=0)


def text_column(table: pd.DataFrame, name: str) -> pd.Series:
    """A column as text without outer blanks; missing cells are empty, and so are all of a missing column."""
    if name not in table.columns:
        return pd.Series("", index=table.index, dtype=str)
    column = table[name]
    return column.astype(object).where(column.notna(), "").map(str).str.strip().astype(str)


def _refuse(keys: list[str], wrong: pd.Series, what: str, given: pd.Series) -> None:
    rows = [(key, value) for key, value, bad in zip(keys, given, wrong, strict=True) if bad]
    if rows:
        shown = "; ".join(f"{key}: {value!r}" for key, value in rows[:5]) + ("; …" if len(rows) > 5 else "")
        raise InputError(f"{len(rows)} rows have {what}: {shown}")


def held_against(labels: pd.Series) -> str:
    """The label that is held against photographs where a set is looked at as one: "fake", or "twin" without any fake.

    >>> held_against(pd.Series(["real", "twin", "fake"])), held_against(pd.Series(["real", "twin"]))
    ('fake', 'twin')
    """
    return "twin" if (labels == "twin").any() and not (labels == "fake").any() else "fake"
