"""Plant a colour cast in the train generators' images: is it found, called by its name, and removed?

    python experiments/planted_shortcut.py embedded --out runs/shortcut

Draws the simulated benchmark anew for each seed and dose: fakes of two train generators carry a warm cast, those of the
select and test generators do not. A detector that leans on warmth is then lost on the test generators. The generators
are those whose traces the small embedded encoder sees alike, so that without a cast there is something to transfer.
With dose 0 nothing is planted, and nothing should be found. Everything is measured on test generators, each
against the same test photographs; intervals are Student's over seeds. A seed at a dose that is done is
kept and not computed again. "share back" is how much of the AUC that the plain detector lost to the cast came back.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro
from joblib import Parallel, delayed
from matplotlib.figure import Figure
from scipy.stats import t as student
from tqdm import tqdm

from interp import Arm, CoordinateRemoval, FeatureStore, Protocol, draw_simulated_set, extract, load_encoder
from interp.analysis.shortcut_removal import ShortcutRemoval
from interp.analysis.strength import mean_auc
from interp.evaluation.arms import FittedArm, shortcut_removal_arm
from interp.evaluation.nulls import null_scores
from interp.features.provenance import open_results
from interp.features.shards import whole_or_absent
from interp.features.statistics import measure_statistics
from interp.protocol.resampling import derive_seed
from interp.protocol.roles import Split

TRAIN = ("simulated-bilinear", "simulated-smooth")
SELECT = ("simulated-nearest", "simulated-diffusion")
TEST = ("simulated-bicubic", "simulated-checkerboard", "simulated-no-sensor")
PLANTED = "colour cast"
WORDS = {
    "embedding": "plain",
    "shortcut_removal": "shortcut removed",
    "coordinate_removal": "coordinates removed",
}


@dataclass(frozen=True)
class Settings:
    """What to plant, and how often."""

    encoder: Annotated[str, tyro.conf.Positional] = "embedded"
    """A name or folder that `load_encoder` takes."""
    out: Path = Path("runs/shortcut")
    """Folder of the tables and the figure."""
    doses: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.3)
    """Strengths of the cast; 0 is the control."""
    seeds: int = 5
    """Benchmarks drawn, each with its own scenes and splits."""
    splits: int = 3
    """Ways to deal one benchmark's images to train, select and test; their mean is what a seed says."""
    n_per_class: int = 200
    """Photographs, and images of each generator."""
    nulls: int = 10
    """Draws of each null on each split."""
    jobs: int = 1
    """Processes."""


def main(settings: Settings) -> None:
    """Measure what is not there yet; write rows.csv, summary.csv and shortcut.png, and print what was found."""
    fixed = {"encoder": settings.encoder, "n_per_class": settings.n_per_class, "splits": settings.splits}
    open_results(settings.out, {**fixed, "nulls": settings.nulls})
    cells = [(seed, dose) for seed in range(settings.seeds) for dose in settings.doses]
    run = Parallel(n_jobs=settings.jobs, return_as="generator")(
        delayed(kept)(settings, *cell) for cell in cells
    )
    rows = pd.concat(list(tqdm(run, total=len(cells), desc="seeds and doses")), ignore_index=True)
    rows.to_csv(settings.out / "rows.csv", index=False)
    table = summarise(rows)
    table.to_csv(settings.out / "summary.csv", index=False)
    figure(rows).savefig(settings.out / "shortcut.png", dpi=150)
    print(shown(table).to_string(index=False))
    for dose, part in rows[rows["arm"] == "shortcut_removal"].groupby("dose"):
        names = Counter(part["named"].replace("", "nothing"))
        print(
            f"dose {dose:g}: found "
            + ", ".join(f"{name} ({n} of {len(part)})" for name, n in names.most_common())
        )


def kept(settings: Settings, seed: int, dose: float) -> pd.DataFrame:
    """The rows of one seed at one dose, from its file if they are there."""
    path = settings.out / "cells" / f"seed{seed}-dose{dose:g}.csv"
    if not path.exists():
        found = measure(settings, seed, dose)
        with whole_or_absent(path) as temporary:
            found.to_csv(temporary, index=False)
    return pd.read_csv(path).fillna({"named": "", "sentence": ""})


def measure(settings: Settings, seed: int, dose: float) -> pd.DataFrame:
    """A row for each split and arm: AUC on test generators, gain over plain and over each null, and what was named."""
    with tempfile.TemporaryDirectory() as folder:
        images = draw_simulated_set(
            Path(folder) / "images",
            n_per_class=settings.n_per_class,
            random_state=seed,
            generators=[*TRAIN, *SELECT, *TEST],
            shortcut=dose,
            shortcut_generators=TRAIN if dose else (),
            n_jobs=1,
            progress=False,
        )
        store = extract(
            images, load_encoder(settings.encoder), Path(folder) / "store", workers=0, progress=False
        )
        measure_statistics(images, store, workers=0, progress=False)
        arms = [
            Arm("embedding", "embedding"),
            shortcut_removal_arm(store, n_nulls=settings.nulls),
            Arm("coordinate_removal", "embedding", CoordinateRemoval(), n_nulls=settings.nulls),
        ]
        protocol = Protocol.by_hand(
            store.rows, train=TRAIN, select=SELECT, test=TEST, seeds=settings.splits, random_state=seed
        )
        rows = [row for split in protocol for row in on_split(store, split, arms, seed)]
    return pd.DataFrame(rows).assign(seed=seed, dose=dose)


def on_split(store: FeatureStore, split: Split, arms: Sequence[Arm], seed: int) -> list[dict[str, Any]]:
    """A row for each arm, the plain embedding first."""
    X, generator = store.features("embedding"), store.rows["generator"].to_numpy().astype(str)
    y = (store.rows["label"] == "fake").to_numpy().astype(int)
    test, rows, plain = split.test, [], 0.0

    def test_auc(scores: np.ndarray) -> np.ndarray:
        return mean_auc(y[test], scores, generator[test])

    for arm in arms:
        fitted = arm.fit(X, y, split, generator)
        auc = float(test_auc(fitted.decision_function(X[test])[:, None])[0])
        plain = plain if rows else auc
        row: dict[str, Any] = {"split": split.seed, "arm": arm.name, "auc": auc, "gain": auc - plain}
        draws = np.random.SeedSequence(derive_seed(seed, split.name, split.seed, arm.name))
        for null, scores in null_scores(fitted, X, y, split, generator, test, draws).items():
            found = test_auc(scores.T) - plain
            row |= {
                f"over {null}": auc - plain - found.mean(),
                f"p {null}": float(np.mean(found >= auc - plain)),
            }
        rows.append(row | named(fitted))
    return rows


def named(fitted: FittedArm) -> dict[str, Any]:
    """What an arm removed, in words, and the evidence for the planted property."""
    removal = fitted.transformer
    if not isinstance(removal, ShortcutRemoval):
        return {"named": " ".join(str(j) for j in getattr(removal, "removed_", []))}
    row = removal.table_.set_index("candidate").loc[PLANTED]
    evidence = {name: float(row[name]) for name in ("train_auc", "select_auc", "share", "kept", "p_value")}
    return {
        "named": ", ".join(removal.removed_),
        **evidence,
        "select_gain": float(row["gain"]),
        "sentence": removal.sentence,
    }


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each dose and arm: means over seeds with Student's 95 % intervals, and how often the cast was found."""
    clean = rows[(rows["arm"] == "embedding") & (rows["dose"] == 0)].groupby("seed")["auc"].mean()
    numbers = [name for name in rows if name in ("auc", "gain") or str(name).startswith("over ")]
    found = []
    for (dose, arm), part in rows.groupby(["dose", "arm"], sort=False):
        by_seed = part.groupby("seed")[numbers].mean()
        one: dict[str, Any] = {"dose": dose, "arm": arm, "seeds": len(by_seed)}
        for name in numbers:
            if name == "auc" or (arm != "embedding" and by_seed[name].notna().all()):
                one[name] = by_seed[name].mean()
                one[f"{name} low"], one[f"{name} high"] = interval(by_seed[name])
        plain = by_seed["auc"] - by_seed["gain"]
        lost = float((clean.reindex(plain.index) - plain).mean())
        if arm != "embedding" and dose > 0 and lost > 0:
            one["share back"] = by_seed["gain"].mean() / lost
        if arm == "shortcut_removal":
            one["found"] = part["named"].str.contains(PLANTED).mean()
            one["others found"] = part["named"].str.replace(PLANTED, "").str.strip(", ").ne("").mean()
        found.append(one)
    return pd.DataFrame(found)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The summary for a screen, numbers with their intervals in one cell; "over null" is over the strongest of them."""
    rows = []
    for _, row in table.iterrows():
        one = {
            "dose": f"{row['dose']:g}",
            "arm": WORDS[row["arm"]],
            "AUC": cell(row, "auc"),
            "gain": cell(row, "gain"),
        }
        nulls = [
            str(n) for n in table if str(n).startswith("over ") and not str(n).endswith((" low", " high"))
        ]
        there = [name for name in nulls if np.isfinite(row[name])]
        one["over null"] = cell(row, min(there, key=lambda name: row[name])) if there else ""
        for name in ("found", "others found", "share back"):
            one[name] = f"{row[name]:.0%}" if name in table and np.isfinite(row[name]) else ""
        rows.append(one)
    return pd.DataFrame(rows)


def cell(row: pd.Series, name: str) -> str:
    """A number with its interval, or nothing."""
    if not np.isfinite(row.get(name, np.nan)):
        return ""
    return f"{row[name]:+.3f} [{row[name + ' low']:+.3f}, {row[name + ' high']:+.3f}]"


def interval(values: pd.Series) -> tuple[float, float]:
    """Student's 95 % interval of the mean."""
    if len(values) < 2:
        return float("nan"), float("nan")
    reach = student.isf(0.025, len(values) - 1) * values.sem()
    return float(values.mean() - reach), float(values.mean() + reach)


def figure(rows: pd.DataFrame) -> Figure:
    """AUC on test generators against the dose, and the gain of each removal; readable in grey."""
    drawn = Figure(figsize=(8.6, 3.6), layout="constrained")
    left, right = drawn.subplots(1, 2)
    styles = {"embedding": ("black", "-", "o"), "shortcut_removal": ("0.35", "--", "s")}
    styles["coordinate_removal"] = ("0.6", ":", "^")
    by_seed = rows.groupby(["arm", "dose", "seed"])[["auc", "gain"]].mean()
    for number, (arm, (colour, line, marker)) in enumerate(styles.items()):
        for axis, name in ((left, "auc"), (right, "gain")):
            if name == "gain" and arm == "embedding":
                continue
            values = by_seed.loc[arm][name].groupby("dose")
            mean, ends = values.mean(), np.array([interval(one) for _, one in values])
            at = mean.index.to_numpy() + 0.002 * (number - 1)  # beside each other, so that all bars are seen
            reach = np.nan_to_num(np.abs(ends - mean.to_numpy()[:, None])).T
            style = {"color": colour, "linestyle": line, "marker": marker, "capsize": 3, "label": WORDS[arm]}
            axis.errorbar(at, mean, yerr=reach, **style)
    right.axhline(0, color="black", linewidth=0.8)
    left.set(xlabel="strength of the cast", ylabel="mean AUC on unseen generators")
    right.set(xlabel="strength of the cast", ylabel="gain over the plain detector, AUC")
    left.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    main(tyro.cli(Settings))
