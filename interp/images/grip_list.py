"""Lists of images as the GRIP group publishes them: a CSV with the columns `filename` and `typ`."""

from __future__ import annotations

import re

import pandas as pd

from interp.images.benchmarks import FAMILY, raise_photograph

_REAL = re.compile(r"real.*|raise.*|coco.*|imagenet.*|ffhq|lsun|laion.*", re.I)


def is_grip_list(table: pd.DataFrame) -> bool:
    """Whether a table is such a list, and not a manifest."""
    return "path" not in table.columns and {"filename", "typ"} <= set(table.columns)


def from_grip_list(table: pd.DataFrame) -> pd.DataFrame:
    """The manifest that a list stands for.

    Verified in grip-unina/ClipBased-SyntheticImageDetection: `filename` is relative to the list, `typ` is
    "real" or the generator (`data/commercial_tools.csv`, `data/synthwildx/list.csv`, where a column `url` is
    added), and its test set calls its photographs coco_valid, ffhq, imagenet_valid and lsun. A `typ` that
    begins like one of these, or with real, raise or laion, is a photograph, and stays in the column `source`.
    An image that carries the name of a RAISE photograph is of that photograph's group.

    >>> table = pd.DataFrame({"filename": ["synthbuster/dalle2/r000da54ft.png"], "typ": ["dalle2"]})
    >>> from_grip_list(table).loc[0, ["label", "generator", "group"]].tolist()
    ['fake', 'dalle2', 'r000da54ft']
    """
    typ = table["typ"].fillna("").astype(str).str.strip()
    real = typ.map(lambda name: bool(_REAL.fullmatch(name)))
    generator = typ.mask(real, "real")
    stems = table["filename"].fillna("").astype(str).str.rpartition("/")[2].str.rpartition(".")[0]
    said = {
        "path": table["filename"],
        "label": real.map({True: "real", False: "fake"}).where(typ != "", ""),
        "generator": generator,
        "family": generator.map(FAMILY).fillna(""),
        "group": stems.map(raise_photograph),
        "source": typ,
    }
    rest = table.drop(columns=["filename", "typ", *said], errors="ignore")
    return pd.concat([pd.DataFrame(said), rest], axis=1)
