"""What the facts of files say about a set: copies, copies on both sides of a line, and giveaways of the label."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interp.images.manifest import held_against

LINES = ("label", "generator", "split", "role")
"""Columns that copies of one image must not be on both sides of."""

CATEGORIES = ("format", "mode", "subsampling", "size", "jpeg_quality")
NUMBERS = ("bytes", "bytes_per_pixel")
GIVES_AWAY, TELLS_MUCH = 0.95, 0.75
_FEWEST = 10


def find_duplicates(files: pd.DataFrame) -> pd.DataFrame:
    """Every file that has a copy in the set.

    Returns:
        One row a file: `copies` (number of the set of copies, from 0), `kind` ("file" where all are the same
        byte for byte, "pixels" where the same pixels stand in different files), `key`, and the columns of
        `LINES` that there are.
    """
    good = files[files["error"] == ""]
    twice = good[good.duplicated("pixel_hash", keep=False)]
    grouped = twice.groupby("pixel_hash", sort=False)
    found = pd.DataFrame(
        {
            "copies": grouped.ngroup(),
            "kind": np.where(grouped["content_hash"].transform("nunique") > 1, "pixels", "file"),
            "key": twice.index.to_numpy(),
            **{name: twice[name] for name in LINES if name in twice.columns},
        }
    )
    return found.reset_index(drop=True).sort_values(["copies", "key"], ignore_index=True)


def find_crossings(duplicates: pd.DataFrame) -> pd.DataFrame:
    """Copies that stand on both sides of a line that a fair measurement must not cross.

    Returns:
        One row for each set of copies and line: `across` (a column of `LINES`), `values` ("fake | real"),
        `copies`, `kind`, `images` and `keys`.
    """
    rows = []
    for across in [name for name in LINES if name in duplicates.columns]:
        values = duplicates[across].fillna("").astype(str)
        known = duplicates.assign(value=values)[values != ""]
        for copies, part in known.groupby("copies"):
            sides = sorted(set(part["value"]))
            if len(sides) > 1:
                kind, keys = part["kind"].iloc[0], " | ".join(part["key"])
                rows.append((across, " | ".join(sides), copies, kind, len(part), keys))
    return pd.DataFrame(rows, columns=["across", "values", "copies", "kind", "images", "keys"])


def with_features(files: pd.DataFrame) -> pd.DataFrame:
    """Readable files with the features that `find_giveaways` looks at; what a file has none of is "none"."""
    good = files[files["error"] == ""].copy()
    good["size"] = good["width"].astype(int).astype(str) + "x" + good["height"].astype(int).astype(str)
    good["bytes_per_pixel"] = good["bytes"] / (good["width"] * good["height"])
    quality = good["jpeg_quality"]
    good["jpeg_quality"] = (
        quality.astype(object).where(quality.notna(), "none").map(lambda q: q if q == "none" else f"{q:.0f}")
    )
    good["subsampling"] = good["subsampling"].replace("", "none")
    return good


def distribution(files: pd.DataFrame) -> pd.DataFrame:
    """How often each value of a feature occurs in each class and generator.

    Returns:
        One row for each `label`, `generator`, `feature` and `value`, with `images` and their `share`.
    """
    good = with_features(files)
    parts = []
    for feature in CATEGORIES:
        counts = good.groupby(["label", "generator", feature]).size().rename("images").reset_index()
        counts = counts.rename(columns={feature: "value"})
        parts.append(counts.assign(feature=feature))
    table = pd.concat(parts, ignore_index=True)
    table["share"] = table["images"] / table.groupby(["label", "generator", "feature"])["images"].transform(
        "sum"
    )
    columns = ["label", "generator", "feature", "value", "images", "share"]
    return table[columns].sort_values(
        ["feature", "label", "generator", "images"], ascending=[True, False, True, False], ignore_index=True
    )


def find_giveaways(files: pd.DataFrame) -> pd.DataFrame:
    """How well one fact of the file, alone and without a look at the picture, tells the label.

    Format, mode, subsampling, size and JPEG quality are scored by how often other images of the same value
    are generated (five folds), so that values that occur once tell nothing; bytes are scored by their order.

    Returns:
        One row for each feature and `generator`, or mechanism in a set of twins without fakes (against all
        photographs; "all" for all together): `auc`, and `verdict`, empty below 0.75. None where a side has fewer than
        10 images.
    """
    good = with_features(files)
    fake = good[good["label"] == held_against(good["label"])]
    real = good[good["label"] == "real"]
    rows = []
    for name, made in [("all", fake), *fake.groupby("generator")]:
        if min(len(made), len(real)) < _FEWEST:
            continue
        both = pd.concat([made, real])
        is_fake = (both["label"] != "real").to_numpy().astype(int)
        for feature in (*CATEGORIES, *NUMBERS):
            auc = _auc(both[feature], is_fake, feature in CATEGORIES)
            rows.append((feature, name, auc, _verdict(feature, auc)))
    table = pd.DataFrame(rows, columns=["feature", "generator", "auc", "verdict"])
    return table.sort_values("auc", ascending=False, ignore_index=True, kind="stable")


def _auc(values: pd.Series, is_fake: np.ndarray, categories: bool) -> float:
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.naive_bayes import BernoulliNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    if not categories:
        auc = float(roc_auc_score(is_fake, values.to_numpy(dtype=float)))
        return max(auc, 1 - auc)
    counting = make_pipeline(OneHotEncoder(handle_unknown="ignore"), BernoulliNB())
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    given = values.astype(str).to_numpy(dtype=object)[:, None]
    odds = cross_val_predict(counting, given, is_fake, cv=folds, method="predict_proba")
    return float(roc_auc_score(is_fake, np.asarray(odds)[:, 1]))


def _verdict(feature: str, auc: float) -> str:
    name = feature.replace("_", " ")
    if auc >= GIVES_AWAY:
        return f"{name} alone gives the label away: AUC {auc:.2f}"
    return f"{name} alone tells much of the label: AUC {auc:.2f}" if auc >= TELLS_MUCH else ""
