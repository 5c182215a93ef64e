"""Which heads are worth keeping: what each one alone tells of unseen generators, clean and laundered."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from tqdm import tqdm

from interp.analysis.ranking import PROBE_C, probe_scores
from interp.analysis.strength import mean_auc
from interp.errors import InputError
from interp.features.store import FeatureStore
from interp.protocol.splits import Protocol


def head_robustness(
    clean: FeatureStore,
    laundered: Mapping[str, FeatureStore],
    protocol: Protocol,
    *,
    C: float = PROBE_C,
    progress: bool = True,
) -> pd.DataFrame:
    """Fit a probe on each head alone, on clean train rows; score it on select rows, clean and laundered.

    Test rows are not read, so that heads may be chosen or dropped by this table. An AUC here is the mean over select
    generators of laundered photographs against their laundered fakes.

    Args:
        clean: features of all images.
        laundered: stores of the same images by name.
        protocol: who trains and selects.
        C: strength of the probes.
        progress: show a bar.

    Returns:
        A row for each head and split: head, train, select, seed, transfer_auc (clean), laundered_auc (mean over
        launderings), change (the second less the first), and worst (the laundering with the least AUC).

    Raises:
        InputError: no laundered store.
    """
    if not laundered:
        raise InputError("head_robustness needs one laundered store at least; launder_stores makes them")
    y = (clean.rows["label"] != "real").to_numpy().astype(int)
    generator = clean.rows["generator"].to_numpy().astype(str)
    features = [store.features("heads") for store in (clean, *laundered.values())]
    usable = np.logical_and.reduce([store.usable for store in (clean, *laundered.values())])
    frames = []
    for split in tqdm(protocol, desc="heads", unit="split", disable=not progress):
        select = split.select[usable[split.select]]
        X = np.concatenate([features[0][split.train], *(one[select] for one in features)])
        labels = np.concatenate([y[split.train], np.tile(y[select], len(features))])
        train, scored = np.arange(len(split.train)), np.arange(len(split.train), len(X))
        scores = probe_scores(X, labels, clean.layout, train, scored, C=C)
        aucs = np.stack(
            [
                mean_auc(y[select], one, generator[select])
                for one in scores.reshape(len(features), len(select), -1)
            ]
        )
        frame = {"head": clean.layout.names, "train": "+".join(split.train_generators)}
        frame |= {"select": "+".join(split.select_generators), "seed": split.seed}
        frame |= {"transfer_auc": aucs[0], "laundered_auc": aucs[1:].mean(axis=0)}
        worst = np.array(list(laundered))[aucs[1:].argmin(axis=0)]
        frames.append(pd.DataFrame(frame).assign(worst=worst))
    table = pd.concat(frames, ignore_index=True)
    return table.assign(change=table["laundered_auc"] - table["transfer_auc"])


def head_means(per_split: pd.DataFrame) -> pd.DataFrame:
    """A row for each head, the most robust first: means over splits, and what may be named.

    Args:
        per_split: of `head_robustness`.

    Returns:
        head, transfer_auc, laundered_auc, change, change_sd (over choices of generators), worst (most often). `attrs`
        has `reliability`, the mean Spearman correlation of `laundered_auc` between seeds; NaN with one seed. Below
        0.7 no single head should be named.
    """
    by_head = per_split.groupby("head", sort=False)
    table = by_head[["transfer_auc", "laundered_auc", "change"]].mean()
    by_choice = per_split.groupby(["head", "train", "select"], sort=False)["change"].mean()
    table["change_sd"] = by_choice.groupby("head").std()
    table["worst"] = by_head["worst"].agg(lambda names: names.mode().iloc[0])
    seeds = per_split.pivot_table(index="head", columns="seed", values="laundered_auc")
    pairs = np.asarray(spearmanr(seeds.to_numpy()).statistic) if seeds.shape[1] > 1 else np.nan
    off = np.atleast_2d(pairs)[~np.eye(len(np.atleast_2d(pairs)), dtype=bool)] if np.ndim(pairs) else pairs
    table = table.sort_values("laundered_auc", ascending=False, kind="stable").reset_index()
    table.attrs["reliability"] = float(np.mean(off))
    return table
