"""How much does choosing on the test generators flatter component removal? Both ways, on several encoders' stores.

    python -m experiments.component_removal STORE [STORE …] --text embedded --out runs/component_removal

Baseline without bias; coordinate removal in one direction and with the intersection of both; best heads, summed, side
by side and voting; the residual vector in both readings; and the closed-form successors. "leak-free" chooses on a
generator of its own and reports on others; "leaky" chooses on the very rows that are reported, one test generator after
the other, as results are often made. All else is the same, so the difference is what the leak is worth. Cells are kept;
the same command goes on where it was cut off. Writes flattery.csv and, for each store, its cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro
from scipy.stats import ttest_1samp
from sklearn.base import clone
from tqdm import tqdm

from experiments.compare_systems import TITLE, contents, made, rotated
from interp import FeatureStore
from interp.detectors.detector import responses
from interp.detectors.systems import features_of
from interp.evaluation.system_comparison import compare_systems
from interp.explain.residual_vector import ResidualVector
from interp.features.provenance import open_results, refuse_other_settings
from interp.protocol.metrics import auc
from interp.protocol.roles import Split
from interp.protocol.splits import Protocol

NAMES = (
    "no_bias",
    "coordinate_removal",
    "coordinate_intersection",
    "best_heads_sum",
    "best_heads_concat",
    "best_heads_vote",
    "text_null_space",
    "semantic_svd",
    "principal_scaling",
    "mixture_of_layers",
)


@dataclass(frozen=True)
class Settings:
    """Which encoders, and how often."""

    stores: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Feature stores of the same images by several encoders."""
    text: str | None = None
    """Text tower of the first store's encoder; the other stores then go without the systems that need texts."""
    out: Path = Path("runs/component_removal")
    """Folder of the results."""
    systems: tuple[str, ...] = NAMES
    """Names of systems; the residual vector is added where there are texts."""
    seeds: int = 3
    """Dealings of photographs and prompts into three parts."""
    min_train: int = 200
    """Images that a generator must have to train or select; leaky choices are made on such generators too."""
    random_state: int = 0
    """Seed of everything drawn."""


def main(settings: Settings) -> None:
    """Fit both ways, store after store, and print one table."""
    tables = []
    for number, path in enumerate(settings.stores):
        store = FeatureStore(path)
        texts = contents(settings.text) if number == 0 else None
        systems = {**made(settings.systems, store, texts, settings.random_state)}
        if texts is not None:
            systems["residual_vector"] = ResidualVector(texts, reading="direction")
            systems["residual_features"] = ResidualVector(texts, reading="features")
        protocol = rotated(store, settings.seeds, settings.min_train, settings.random_state)
        folder = settings.out / f"{number}-{store.key['encoder']['name'].replace('/', '_')}"
        found = compare_systems(store, protocol, systems, folder=folder / "cells")
        honest = found.cells.table.join(pd.DataFrame(found.cells.auc, columns=list(found.cells.arms)))
        fitted = {name: systems[name] for name in found.cells.arms}
        leaky = chosen_on_test(store, protocol, fitted, settings.min_train, folder / "leaky")
        tables.append(flattery(honest, leaky).assign(encoder=store.key["encoder"]["name"]))
        print(TITLE.format(encoder=store.key["encoder"]["name"], images=len(store)))
        print(tables[-1].to_string(float_format="%+.3f"), end="\n\n")
    pd.concat(tables).to_csv(settings.out / "flattery.csv")


def chosen_on_test(
    store: FeatureStore, protocol: Protocol, systems: Mapping[str, Any], min_train: int, folder: Path
) -> pd.DataFrame:
    """AUC of each system on each test generator when it chooses on those rows: train, select, test, seed, system."""
    described = {name: " ".join(repr(one).split()) for name, one in systems.items()}
    open_results(folder, {"store": store.key, "protocol": protocol.describe(), "min_train": min_train})
    y = (store.rows["label"] == "fake").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)
    counts = pd.Series(generator).value_counts()
    tables = []
    for name, system in systems.items():
        X = store.features(features_of(system))
        for number, split in enumerate(tqdm(protocol, desc=f"leaky {name}")):
            done = folder / name / f"{number:05d}.csv"
            if not done.exists():
                judged = [one for one in split.test_generators if counts[one] >= min_train]
                rows = [_one_leaky(system, X, y, generator, split, one) for one in judged]
                done.parent.mkdir(parents=True, exist_ok=True)
                pd.DataFrame(rows).assign(system=name, described=described[name]).to_csv(done, index=False)
            found = pd.read_csv(done)
            refuse_other_settings(done, {"system": found["described"][0]}, {"system": described[name]})
            tables.append(found)
    return pd.concat(tables, ignore_index=True)


def _one_leaky(
    system: Any, X: np.ndarray, y: np.ndarray, generator: np.ndarray, split: Split, test: str
) -> dict[str, Any]:
    judged = split.test[(y[split.test] == 0) | (generator[split.test] == test)]
    rows = np.concatenate([split.train, judged])
    part = np.repeat(["train", "select"], [len(split.train), len(judged)])
    model = clone(system).fit(X[rows], y[rows], part=part, generator=generator[rows])
    names = {"train": split.train_generators[0], "select": split.select_generators[0], "test": test}
    return {**names, "seed": split.seed, "auc": auc(y[judged], responses(model, X[judged]))}


def flattery(honest: pd.DataFrame, leaky: pd.DataFrame) -> pd.DataFrame:
    """A row for each system: mean AUC both ways over the same cells, and each way's gain over the plain detector.

    Args:
        honest: a row for each cell: train, select, test and a column for each system.
        leaky: train, select, test, seed, system, auc.

    Returns:
        leak_free, leaky, flattery (leaky less leak-free) with low, high (Student's 95 % over train generators; they
        share test images, so a rough guide), gain_leak_free and gain_leaky over "embedding" each way.
    """
    cell = ["train", "select", "test"]
    other = leaky.groupby([*cell, "system"])["auc"].mean().unstack("system")
    same = honest.set_index(cell).loc[other.index, other.columns]
    rows = []
    for name in [one for one in honest.columns if one in other.columns]:
        by_train = (other[name] - same[name]).groupby("train").mean()
        low, high = ttest_1samp(by_train, 0).confidence_interval() if len(by_train) > 1 else (np.nan, np.nan)
        rows.append(
            {
                "system": name,
                "leak_free": same[name].mean(),
                "leaky": other[name].mean(),
                "flattery": by_train.mean(),
                "low": low,
                "high": high,
                "gain_leak_free": (same[name] - same["embedding"]).mean(),
                "gain_leaky": (other[name] - other["embedding"]).mean(),
            }
        )
    return pd.DataFrame(rows).set_index("system")


if __name__ == "__main__":
    main(tyro.cli(Settings))
