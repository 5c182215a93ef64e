"""What the heads of a finished run can be coloured by, and how far each transfers; from its tables and its store."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from interp.detectors.detector import Detector, load_detector
from interp.explain.parts import LinearReading, head_differences
from interp.features.store import FeatureStore


class Measure(NamedTuple):
    """One number for each head.

    Attributes:
        name: of its column. title, meaning: in words.
        signed: whether 0 is the middle of its colours.
        higher_is_better: which end its ranks start from.
    """

    name: str
    title: str
    meaning: str
    signed: bool = False
    higher_is_better: bool = True


MEASURES = (
    Measure(
        "transfer_auc", "Transfer", "AUC of a probe on the head alone, on a generator it was not trained on"
    ),
    Measure("worst_auc", "Robustness", "the same on the unseen generator that serves the head worst, as AUC"),
    Measure("stability", "Stability", "share of splits that have the head among the best eighth"),
    Measure(
        "in_distribution_auc", "In distribution", "AUC of that probe on left-out images of its own generator"
    ),
    Measure(
        "gap",
        "Gap",
        "AUC in distribution minus AUC on unseen generators: what was an accident of one generator",
        higher_is_better=False,
    ),
    Measure(
        "direct_effect",
        "Direct effect",
        "log-odds that the head adds to the difference of fakes and photographs, by the run's detector on the plain "
        "embedding; taking its contribution out costs as much. Measured on images that the detector was fitted on",
        signed=True,
    ),
    Measure(
        "spread", "Spread", "share of the embedding's variance over images that the head's own writing has"
    ),
)
BASELINE_DETECTOR = Path("detectors") / "embedding"
N_RESAMPLES = 200


def spread(store: FeatureStore) -> np.ndarray:
    """(l·h,): variance over images of what each head writes into the embedding ÷ that of the embedding.

    Heads' parts may cancel each other, so that shares need not stay below 1 nor sum to it.
    """
    usable, layout = store.usable, store.layout
    features = store.head_features()[usable]
    folded = store.readout.folded.flatten(0, 1).double().numpy()
    total = store.array("embedding")[usable].astype(np.float64).var(0).sum()
    found = np.empty(layout.n_heads)
    for i, name in enumerate(layout.names):
        values = features[:, layout.slice(name)].astype(np.float64)
        covariance = np.cov(values, rowvar=False, bias=True).reshape(layout.width, -1)
        found[i] = np.einsum("dp,de,ep->", folded[i], covariance, folded[i])
    return found / total if total > 0 else found


def tables_of(run: Path, store: FeatureStore) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a run's folder says of every head; empty columns are left out.

    Returns:
        Indexed by head in the order of the layout: the columns of `MEASURES` that are known, with
        `direct_effect_low` and `direct_effect_high`; and transfer AUC with a column for each select generator.
    """
    heads = pd.Index(store.layout.names, name="head")
    table, transfer = pd.DataFrame({"spread": spread(store)}, index=heads), pd.DataFrame(index=heads)
    ranking, per_split = (run / "tables" / f"{name}.csv" for name in ("ranking", "ranking_per_split"))
    if ranking.exists():
        ranked = pd.read_csv(ranking).set_index("head")
        names = ["transfer_auc", "stability", "in_distribution_auc", "gap"]
        table = table.join(ranked[names])
    if per_split.exists():
        splits = pd.read_csv(per_split)
        transfer = splits.pivot_table(index="head", columns="select", values="transfer_auc").reindex(heads)
        table["worst_auc"] = transfer.min(axis=1)
    detector = baseline(run)
    if detector is not None and store.rows["label"].isin(["real", "fake"]).all():
        parts = head_differences(store, detector, n_resamples=N_RESAMPLES)
        effect = parts[parts["generator"] == "all"].set_index("part").reindex(heads)
        table["direct_effect"] = effect["difference"]
        table["direct_effect_low"], table["direct_effect_high"] = effect["low"], effect["high"]
    return table, transfer


def baseline(run: Path) -> Detector | None:
    """The run's linear detector on the plain embedding, where it left one."""
    return load_detector(run / BASELINE_DETECTOR) if (run / BASELINE_DETECTOR).is_dir() else None


def head_scores(run: Path, store: FeatureStore) -> tuple[np.ndarray, str]:
    """One number for each image and head, (n, l·h), to find the images at a head's ends; and what it is.

    It is what the head adds to the logit of the run's plain detector, or, in a store without one, the first principal
    component of the head's values.
    """
    layout, usable = store.layout, store.usable
    features = store.head_features()
    detector = baseline(run)
    if detector is not None:
        weights = LinearReading.of(detector, store.readout).heads.reshape(layout.n_heads, layout.width)
        split = features.reshape(len(features), layout.n_heads, layout.width)
        scores = np.einsum("nhd,hd->nh", split, weights.astype(np.float32)).astype(np.float64)
        return scores - np.nanmean(scores, axis=0), "log-odds added for fake, against its mean"
    scores = np.full((len(features), layout.n_heads), np.nan)
    for i, name in enumerate(layout.names):
        values = features[usable, layout.slice(name)].astype(np.float64)
        centred = values - values.mean(0)
        axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        axis *= np.sign(axis[np.abs(axis).argmax()])
        scores[usable, i] = centred @ axis
    return scores, "first principal component of the head's values"


def removal_curve(run: Path) -> pd.DataFrame:
    """AUC along the removal of coordinates, means over splits; empty where nothing was removed.

    Returns:
        A row for each step that every split was measured at: removed, select, test, test_sd (over splits), chosen
        (share of splits that kept this step or an earlier one).
    """
    path = run / "tables" / "removal_curves.csv"
    if not path.exists():
        return pd.DataFrame(columns=pd.Index(["removed", "select", "test", "test_sd", "chosen"]))
    curves = pd.read_csv(path)
    steps = curves.groupby("removed").agg(
        select=("select_auc", "mean"),
        test=("test_auc", "mean"),
        test_sd=("test_auc", "std"),
        size=("test_auc", "size"),
    )
    kept = curves.loc[curves["chosen"].astype(bool), "removed"].to_numpy()
    steps = steps[steps["size"] == steps["size"].max()].drop(columns="size").reset_index()
    steps["chosen"] = [float((kept <= step).mean()) if len(kept) else np.nan for step in steps["removed"]]
    return steps
