"""Does it help on unseen generators to erase which generator made a fake, or whether an image is art or a photograph?

    interp extract manifest.csv --where role=test --encoder E --equalize common:128:75 --out STORE
    python experiments/erasure_corpus.py STORE --out runs/erasure

Leave one out: every generator tests in turn, one selects, the others that have enough images train. Erasers are fitted
on train and select rows alone, and the detector anew on what is left. Art or photograph is what a fake's prompt asks
for; photographs are photographs. Writes arms.csv (gain of each over its own baseline), generators.csv (the same for
each test generator), nulls.csv, isotropy.csv, regained.csv, gains.png, regained.png.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro
from matplotlib.figure import Figure

from interp import Arm, FeatureStore, Protocol, evaluate_transfer
from interp.analysis.isotropy import isotropy_before_and_after
from interp.analysis.leace import Leace
from interp.analysis.regained import regained_auc
from interp.analysis.subspace_removal import MeanDifferenceRemoval, PcaRemoval
from interp.evaluation.arms import concept_erasure_arm, generator_erasure_arm
from interp.evaluation.cells import Cells
from interp.evaluation.transfer import Transfer
from interp.report.figures import save_figure

ART = re.compile(
    r"(anime|abstract|baroque) style|paint|draw(ing|n)|sticker|illustrat|sketch|cartoon|watercolo|render|chibi|"
    r"anime|comic|poster|logo"
)
PHOTOGRAPH = re.compile(r"realistic style|photo|bokeh")
BASELINE = {"heads_generators": "all_heads"}
"""What an arm is set against, where it is not the plain embedding."""


@dataclass(frozen=True)
class Settings:
    """What to erase from, and how often."""

    store: Annotated[Path, tyro.conf.Positional]
    """A feature store with labels, generators, groups and prompts."""
    out: Path = Path("runs/erasure")
    """Folder of tables and figures; the same command goes on where it was cut off."""
    seeds: int = 5
    """Dealings of photographs and prompts into three parts."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    nulls: int = 20
    """Draws of the null of each eraser that has one."""
    resamples: int = 1000
    """Joint resamples of photographs and prompts."""
    jobs: int = 1
    """Processes."""
    random_state: int = 0
    """Seed of every draw."""


def style(prompt: object, label: str) -> str | None:
    """ "art" or "photograph", where a prompt says which; a photograph is one.

    >>> style("cute fox, anime style", "fake"), style("a bokeh photo", "fake"), style("a fox", "fake")
    ('art', 'photograph', None)
    """
    if label == "real":
        return "photograph"
    text = str(prompt).lower()
    art, photograph = bool(ART.search(text)), bool(PHOTOGRAPH.search(text))
    return None if art == photograph else "art" if art else "photograph"


def arms_of(store: FeatureStore, nulls: int) -> list[Arm]:
    """The plain detectors and every eraser."""
    asked = pd.Series(map(style, store.rows["prompt"], store.rows["label"]), store.rows.index, dtype=object)
    counts = asked[store.rows["label"] == "fake"].value_counts()
    print(f"fakes whose prompt says art or photograph: {counts.to_dict()}")
    heads = generator_erasure_arm(features="heads", n_nulls=0, layout=store.layout)
    return [
        Arm("embedding", "embedding"),
        Arm("all_heads", "heads"),
        generator_erasure_arm(n_nulls=nulls),
        Arm("mean_differences", "embedding", MeanDifferenceRemoval()),
        Arm("pca_of_fakes", "embedding", PcaRemoval(k=4)),
        Arm("heads_generators", "heads", heads.transformer),
        concept_erasure_arm(store, asked, name="art_among_fakes", of="fakes", n_nulls=nulls),
        concept_erasure_arm(store, asked, name="art_given_label", keep="label", n_nulls=nulls),
        concept_erasure_arm(store, asked, name="art_plain", n_nulls=0),
        Arm("label_as_control", "embedding", Leace(erase="label")),
    ]


def gains(cells: Cells, chosen: np.ndarray) -> pd.DataFrame:
    """A row for each arm, over cells (c,) bool: auc, low, high, and over its baseline gain, gain_low, gain_high."""
    table = cells.mean(chosen).rename_axis("arm")
    for number, arm in enumerate(cells.arms):
        against = cells.arms.index(BASELINE.get(arm, "embedding"))
        found = [one[number] for one in cells.gain(chosen, against)]
        table.loc[arm, ["gain", "gain_low", "gain_high"]] = found
    return table


def gain_tables(transfer: Transfer) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Over all unseen generators, and for each of them."""
    cells, summary = transfer.cells, transfer.summary
    columns = ["mean_id_auc", "delta_generators_low", "delta_generators_high", "null_delta", "null_p"]
    every = gains(cells, cells.unseen).join(summary[columns])
    each = []
    for name in sorted(set(cells.table.loc[cells.unseen, "test"])):
        chosen = (cells.table["test"] == name).to_numpy()
        fakes = cells.table.loc[chosen, "n_fake"].mean()
        each.append(gains(cells, chosen).reset_index().assign(test=name, n_fake=fakes))
    return every, pd.concat(each, ignore_index=True)


def isotropy_table(store: FeatureStore, protocol: Protocol, arms: list[Arm]) -> pd.DataFrame:
    """The embedding before and after each eraser, on rows it was not fitted on; mean over the splits of seed 0."""
    y = (store.rows["label"] == "fake").to_numpy().astype(int)
    generator, X = store.rows["generator"].to_numpy().astype(str), store.features("embedding")
    found = []
    for split in protocol:
        for arm in arms:
            if split.seed or arm.transformer is None or arm.features != "embedding":
                continue
            fitted = arm.fit(X, y, split, generator).transformer
            fresh = np.setdiff1d(np.flatnonzero(store.usable), np.union1d(split.train, split.select))
            table = isotropy_before_and_after(fitted, X[fresh]).rename_axis("when").reset_index()
            found.append(table.assign(arm=arm.name, rank=fitted.rank_.sum(), moved=fitted.moved_.mean()))
    return pd.concat(found).groupby(["arm", "when"], sort=False).mean().reset_index()


def regained_table(store: FeatureStore, concept: pd.Series, random_state: int) -> pd.DataFrame:
    """What a probe that is trained anew regains on fresh erased rows: art among fakes, fake among all."""
    X, fake = store.features("embedding"), (store.rows["label"] == "fake").to_numpy()
    known = fake & concept.notna().to_numpy()
    tables = []
    for name, rows, given in (
        ("art or photograph, fakes alone", known, concept),
        ("fake or photograph", store.usable, store.rows["label"]),
    ):
        chosen = np.flatnonzero(rows)
        ratios = [r for r in (0.25, 0.5, 1.0, 2.0, 4.0) if r * X.shape[1] <= len(chosen) // 3]
        entries = given.to_numpy()[chosen]
        curve = regained_auc(X[chosen], entries.astype(str), ratios=ratios, random_state=random_state)
        tables.append(curve.assign(concept=name))
    return pd.concat(tables, ignore_index=True)


def draw_gains(every: pd.DataFrame, each: pd.DataFrame) -> Figure:
    """A panel for each eraser: gain on every test generator, and over all, with 95 % over images."""
    arms = [arm for arm in every.index if arm not in ("embedding", "all_heads", "label_as_control")]
    tests = sorted(each["test"].unique(), reverse=True)
    across = -(-len(arms) // 2)
    figure = Figure(figsize=(2.3 * across + 1.6, 7.0), layout="constrained")
    axes = figure.subplots(2, across, sharey=True, sharex=True).ravel()
    for unused in axes[len(arms) :]:
        unused.axis("off")
    places = np.r_[0, np.arange(len(tests)) + 1.5]
    for axis, arm in zip(axes, arms, strict=False):
        of_arm = each[each["arm"] == arm].set_index("test").loc[tests]
        rows = pd.concat([every.loc[[arm], of_arm.columns.intersection(every.columns)], of_arm])
        for place, row in zip(places, rows.itertuples(), strict=True):
            sure = row.gain_low > 0 or row.gain_high < 0
            axis.plot([row.gain_low, row.gain_high], [place, place], color="0.2", linewidth=1.2)
            filled = "0.2" if sure else "white"
            axis.plot(row.gain, place, "o", color="0.2", markerfacecolor=filled, markersize=5)
        axis.axvline(0, color="0.5", linewidth=0.8)
        axis.set_title(arm.replace("_", " "), fontsize=9)
        axis.tick_params(labelbottom=True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(places, ["all (mean)", *tests])
    figure.supxlabel(
        "gain in AUC on that generator, 95 % over images; filled: the interval leaves out 0", fontsize=9
    )
    return figure


def draw_regained(table: pd.DataFrame) -> Figure:
    """AUC that a probe trained anew regains, against rows of the eraser for each dimension."""
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    groups = list(table.groupby("concept", sort=False))
    for axis, (name, curve) in zip(figure.subplots(1, len(groups), sharey=True), groups, strict=True):
        axis.plot(curve["n_over_d"], curve["before"], "s--", color="0.6", label="before erasing")
        ends = 2 * curve["regained_se"]
        axis.errorbar(
            curve["n_over_d"], curve["regained"], ends, fmt="o-", color="0.1", label="trained anew (± 2 SE)"
        )
        axis.plot(
            curve["n_over_d"], curve["own_rows"], "x:", color="0.4", label="trained on the eraser's rows"
        )
        axis.axhline(0.5, color="0.8", linewidth=0.8)
        axis.set_xscale("log", base=2)
        axis.set_xticks(curve["n_over_d"], [f"{x:g}" for x in curve["n_over_d"]])
        axis.set(title=name, xlabel="rows of the eraser ÷ dimensions", ylabel="AUC on fresh rows")
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def main(settings: Settings) -> None:
    """Erase, measure, write."""
    store = FeatureStore(settings.store)
    protocol = Protocol.leave_one_out(
        store.rows,
        min_train=settings.min_train,
        seeds=settings.seeds,
        random_state=settings.random_state,
        usable=store.usable,
    )
    arms = arms_of(store, settings.nulls)
    transfer = evaluate_transfer(
        store,
        protocol,
        arms,
        n_resamples=settings.resamples,
        n_jobs=settings.jobs,
        random_state=settings.random_state,
        folder=settings.out / "splits",
    )
    every, each = gain_tables(transfer)
    concept = next(arm.concept for arm in arms if arm.concept is not None)
    tables = {"arms": every.reset_index(), "generators": each, "nulls": transfer.nulls}
    tables |= {"isotropy": isotropy_table(store, protocol, arms)}
    tables |= {"regained": regained_table(store, concept, settings.random_state)}
    for name, table in tables.items():
        table.to_csv(settings.out / f"{name}.csv", index=False)
    save_figure(draw_gains(every, each), settings.out / "gains.png")
    save_figure(draw_regained(tables["regained"]), settings.out / "regained.png")
    for name in ("arms", "isotropy", "regained"):
        print(f"\n{name}\n{tables[name].to_string(index=False, float_format='%.3f')}")
    print(f"\n{protocol.describe()}")


if __name__ == "__main__":
    main(tyro.cli(Settings))
