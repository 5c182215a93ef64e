"""What the files alone give away: container and size features that tell the label without looking at a pixel."""

from __future__ import annotations

import pandas as pd

from interp.features.store import FeatureStore
from interp.images.equalize import Equalize
from interp.protocol.metrics import auc

ALARM = 0.6
"""AUC of a single file feature above which a run warns."""
ALARM_ALONE, FEWEST = 0.8, 20
"""The same for one generator against photographs, and how many images it must have."""
TOLERATED = 0.02
"""Share of a generator's images that may have another resampling history than the rest."""


def header_aucs(rows: pd.DataFrame) -> pd.Series:
    """How well one feature of the file tells fakes from photographs, no pixel looked at; sorted, AUC from 0.5 to 1.

    Args:
        rows: label, and of the file format, mode, width, height.

    A category scores by the share of fakes among the images that have it.

    >>> rows = pd.DataFrame({"label": ["real", "real", "fake", "fake"], "format": ["JPEG", "JPEG", "PNG", "PNG"],
    ...                      "mode": "RGB", "width": [9, 8, 9, 8], "height": 9})
    >>> header_aucs(rows).round(2).to_dict()["format"]
    1.0
    """
    y = (rows["label"] != "real").to_numpy().astype(int)
    features = {name: rows[name].to_numpy(float) for name in ("width", "height")}
    features["aspect"] = features["width"] / features["height"]
    for name in ("format", "mode"):
        group = rows[name].fillna("?").to_numpy().astype(str)
        features[name] = pd.Series(y).groupby(group).transform("mean").to_numpy()
    found = {name: auc(y, values) for name, values in features.items()}
    return pd.Series({name: max(a, 1 - a) for name, a in found.items()}).sort_values(ascending=False)


def file_warnings(store: FeatureStore) -> list[str]:
    """Say what the images' files or their resampling history may have told every detector of a store."""
    rows = store.rows[store.usable]
    equalize = Equalize.parse(store.key["equalize"])
    if rows["label"].nunique() < 2:
        return []
    if equalize is None:
        found = header_aucs(rows)
        found = found[found > ALARM]
        shown = ", ".join(f"{name} {value:.2f}" for name, value in found.head(3).items())
        alone = _one_generator(rows)
        if not shown and not alone:
            return []
        told = f"the files alone tell the label (AUC {shown})" if shown else f"the files alone tell {alone}"
        return [
            f"{told} and images were not equalised; compression and size can explain any result below. Use --equalize "
            "common:SIDE:75 with SIDE the smallest native side"
        ]
    short = rows[["width", "height"]].min(axis=1)
    side = equalize.common or equalize.side
    upscaled = (short < side).groupby(rows["generator"]).mean()
    named = upscaled[upscaled > TOLERATED].sort_values(ascending=False)
    if not len(named):
        return []
    shown = ", ".join(f"{share:.0%} of {name}" for name, share in named.head(4).items())
    same_for_all = int(short.groupby(rows["generator"]).median().min())
    return [
        f"{shown} are smaller than {side} px and were scaled up, the others down; a detector can read that history "
        f"alone. Compare with --equalize common:{same_for_all}:{equalize.quality}, one history for all"
    ]


def _one_generator(rows: pd.DataFrame) -> str:
    """The generators whose files give them away though those of all fakes together do not."""
    counts = rows["generator"][rows["label"] != "real"].value_counts()
    found = []
    for name in counts.index[counts >= FEWEST]:
        aucs = header_aucs(rows[(rows["label"] == "real") | (rows["generator"] == name)])
        if aucs.iloc[0] > ALARM_ALONE:
            found.append(f"{name} from photographs ({aucs.index[0]} AUC {aucs.iloc[0]:.2f})")
    return ", ".join(found[:4])
