"""Plant a known nuisance in the train fakes of a real store: is it named, and does removing it give the AUC back?

    python experiments/planted_nuisance.py runs/first/store --out runs/planted

Two plants, each at five doses (in standard deviations), on several train > select pairs: a shift of one coordinate of
the embedding, to be named by `harmful_components`; and a direction that one head writes into the embedding, to be named
as the head whose margin on train rows is kept least on select rows.
Then nothing is planted: one generator's images are dealt at random to pseudo-generators that differ in nothing, and
`harmful_components` should find nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import seaborn as sns
import tyro
from joblib import Parallel, delayed
from matplotlib.figure import Figure
from tqdm import tqdm

from interp import FeatureStore, LinearDetector, Protocol
from interp.analysis.direct_effect import margin_by_head
from interp.analysis.harmful import harmful_components
from interp.analysis.strength import mean_auc
from interp.protocol.resampling import derive_seed
from interp.protocol.roles import Split

DOSES = {"coordinate": (1.0, 1.5, 2.0, 3.0, 4.0), "head": (2.0, 4.0, 8.0, 16.0, 32.0)}


@dataclass(frozen=True)
class Settings:
    """What to plant, and how often."""

    store: Annotated[Path, tyro.conf.Positional]
    """A feature store with labels, generators and groups."""
    out: Path = Path("runs/planted")
    """Folder of the tables and the figure."""
    pairs: int = 20
    """Splits to plant in, drawn from all ordered pairs of generators."""
    runs: int = 100
    """Draws with nothing planted."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    jobs: int = 2
    """Processes."""
    random_state: int = 0
    """Seed of every draw."""


@dataclass(frozen=True)
class Data:
    """The usable rows of a store."""

    rows: pd.DataFrame
    y: np.ndarray
    generator: np.ndarray
    embedding: np.ndarray
    heads: np.ndarray
    store: FeatureStore


def main(settings: Settings) -> None:
    """Plant, then plant nothing; write planted.csv, nothing.csv and planted.png, and print what was found."""
    data = load(settings.store)
    settings.out.mkdir(parents=True, exist_ok=True)
    protocol = Protocol.pairs(
        data.rows, min_train=settings.min_train, seeds=1, random_state=settings.random_state
    )
    rng = np.random.default_rng(settings.random_state)
    splits = [list(protocol)[i] for i in rng.permutation(len(protocol))[: settings.pairs]]
    jobs = [(split, where, dose) for where, doses in DOSES.items() for split in splits for dose in doses]
    run = Parallel(n_jobs=settings.jobs, return_as="generator")
    planted = list(tqdm(run(delayed(plant)(data, *job) for job in jobs), total=len(jobs), desc="planted"))
    table = pd.DataFrame(planted)
    table.to_csv(settings.out / "planted.csv", index=False)
    nothing = run(delayed(plant_nothing)(data, number, settings.min_train) for number in range(settings.runs))
    empty = pd.DataFrame(list(tqdm(nothing, total=settings.runs, desc="nothing planted")))
    empty.to_csv(settings.out / "nothing.csv", index=False)
    print(summarise(table).to_string(float_format="%.3f"))
    print(f"nothing planted: no harmful component found in {(~empty['found']).sum()} of {len(empty)} runs")
    figure(table).savefig(settings.out / "planted.png", dpi=150)


def load(folder: Path) -> Data:
    """Read a store's usable rows and features."""
    store = FeatureStore(folder)
    rows = store.rows[store.usable]
    y = (rows["label"] == "fake").to_numpy().astype(int)
    generator = rows["generator"].to_numpy().astype(str)
    embedding, heads = (store.features(kind)[store.usable].astype(float) for kind in ("embedding", "heads"))
    return Data(rows, y, generator, embedding, heads, store)


def plant(data: Data, split: Split, where: str, dose: float) -> dict[str, Any]:
    """One plant at one dose in one split: whether it was named, what it cost, what came back."""
    rng = np.random.default_rng(derive_seed("plant", where, split.name, split.seed))
    fakes = np.isin(data.generator, split.train_generators)
    return (plant_head if where == "head" else plant_coordinate)(data, split, dose, fakes, rng)


def plant_coordinate(
    data: Data, split: Split, dose: float, fakes: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """Shift one coordinate of the embedding in every fake of the train generator, and look for it."""
    X = data.embedding.copy()
    coordinate = int(rng.integers(X.shape[1]))
    clean = test_auc(X, data, split)
    X[fakes, coordinate] += dose * X[split.train, coordinate].std()
    groups = data.rows["group"].to_numpy()
    found = harmful_components(X, data.y, split.part, generator=data.generator, groups=groups)
    kept = np.setdiff1d(np.arange(X.shape[1]), found.coordinates)
    return {
        "plant": "coordinate",
        "pair": split.name,
        "dose": dose,
        "named": coordinate in found.coordinates,
        "others": len(set(found.coordinates) - {coordinate}),
        "clean": clean,
        "planted": test_auc(X, data, split),
        "after": test_auc(X[:, kept], data, split),
    }


def plant_head(
    data: Data, split: Split, dose: float, fakes: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """Shift one head's values along a random direction in every fake of the train generator; remove what is named.

    The dose counts standard deviations of the embedding along the direction that the head writes.
    """
    layout, fold = data.store.layout, data.store.readout.folded.flatten(0, 1).double().numpy()
    head = int(rng.integers(layout.n_heads))
    values = rng.normal(size=layout.width)
    written = values @ fold[head]
    size = dose * (data.embedding[split.train] @ written).std() / (written @ written)
    X, Z = data.embedding.copy(), data.heads.copy()
    X[fakes] += size * written
    Z[fakes, layout.slice(head)] += size * values
    coef = fitted(X, data, split).coef_
    table = margin_by_head(Z, data.y, layout, fold, coef, train=split.train, select=split.select)
    worst = layout.index(table["head"].iloc[0])
    return {
        "plant": "head",
        "pair": split.name,
        "dose": dose,
        "named": worst == head,
        "others": int(worst != head),
        "clean": test_auc(data.embedding, data, split),
        "planted": test_auc(X, data, split),
        "after": test_auc(X - Z[:, layout.slice(worst)] @ fold[worst], data, split),
    }


def plant_nothing(data: Data, number: int, min_train: int) -> dict[str, Any]:
    """Deal one generator's images and the photographs to three parts at random: the parts differ in nothing."""
    rng = np.random.default_rng(derive_seed("nothing planted", number))
    counts = data.rows.loc[data.y == 1, "generator"].value_counts()
    chosen = sorted(counts.index[counts >= min_train])[number % int((counts >= min_train).sum())]
    groups = data.rows["group"].to_numpy()
    part = rng.choice(["train", "select", ""], size=len(groups), p=[0.4, 0.3, 0.3])
    dealt = pd.Series(part).groupby(groups).transform("first").to_numpy()
    dealt = np.where(np.isin(data.generator, ["real", chosen]), dealt, "")
    found = harmful_components(data.embedding, data.y, dealt, groups=groups)
    return {"generator": chosen, "found": found.found, "p_value": found.p_value, "sentence": found.sentence}


def fitted(X: np.ndarray, data: Data, split: Split) -> LinearDetector:
    """A detector fitted on the split's train rows, its strength chosen on select rows."""
    used = split.part != ""
    return LinearDetector().fit(X[used], data.y[used], part=split.part[used], generator=data.generator[used])


def test_auc(X: np.ndarray, data: Data, split: Split) -> float:
    """Mean AUC over test generators of a detector fitted on the split's train rows."""
    scores = fitted(X, data, split).decision_function(X[split.test])[:, None]
    return float(mean_auc(data.y[split.test], scores, data.generator[split.test])[0])


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Means over splits: how often it was named, the AUC lost to the plant, and the share of it that came back."""
    lost, back = table["clean"] - table["planted"], table["after"] - table["planted"]
    grouped = table.assign(lost=lost, back=back).groupby(["plant", "dose"])
    found = grouped[["named", "others", "clean", "planted", "after", "lost", "back"]].mean()
    found["share back"] = found["back"] / found["lost"]
    found["lost se"], found["back se"] = grouped["lost"].sem(), grouped["back"].sem()
    return found.assign(n=grouped.size())


def figure(table: pd.DataFrame) -> Figure:
    """AUC before the plant, with it, and after the cleaning, against the dose."""
    drawn = Figure(figsize=(8.4, 3.8), layout="constrained")
    axes = drawn.subplots(1, 2, sharey=True)
    for axis, (name, part) in zip(axes, table.groupby("plant"), strict=True):
        long = part.melt(["dose"], ["clean", "planted", "after"], var_name="detector", value_name="auc")
        style = {"clean": "", "planted": (2, 2), "after": (6, 2)}
        sns.lineplot(
            long,
            x="dose",
            y="auc",
            hue="detector",
            style="detector",
            dashes=style,
            palette="Greys_d",
            ax=axis,
            markers=True,
        )
        axis.set(title=f"nuisance in one {name}", xlabel="dose (standard deviations)")
        axis.set_ylabel("mean AUC on unseen generators")
    return drawn


if __name__ == "__main__":
    main(tyro.cli(Settings))
