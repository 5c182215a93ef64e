"""What do single heads do? Information, direct effect and total effect of every head, and what removal is worth.

    python experiments/head_effects.py --images photos/manifest.csv --encoder openai/clip-vit-base-patch32 \
        --equalize common:128:75 --out runs/heads

Runs the encoder once untouched, once without each head, and once without each set of heads that is removed. Every pass
is kept in the folder by shard; the same command goes on where it was cut off. Writes effects.csv (a row for each head
and split), heads.csv, reliability.csv, arms.csv, contrasts.csv, removed.csv, direct_total_auc.png,
direct_total_margin.png and verdict.txt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro

from interp import FeatureStore, ImageSet, Protocol, extract, load_encoder
from interp.analysis.head_effects import head_effects
from interp.encoders.encoder import Encoder
from interp.evaluation.effect_table import EffectTable
from interp.evaluation.removal_comparison import RemovalComparison, compare_removals
from interp.features.pruned import prune_effects
from interp.report.figures import save_figure
from interp.report.head_effects import effect_scatter


@dataclass(frozen=True)
class Settings:
    """What to look at, with whom, and how often."""

    images: Path
    """A folder of images or a manifest, with labels and generators."""
    encoder: str
    """A hub id or a folder."""
    out: Path = Path("runs/head_effects")
    """Folder of the store, the prunings and the results."""
    equalize: str | None = None
    """Bring every image through one path first, such as common:128:75."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Conditions on the manifest, such as role=test; may be given several times."""
    rows: int | None = None
    """Images at most: half photographs, half fakes of all generators alike. By default all."""
    generators: int | None = None
    """Generators at most, those with the most images. By default all."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    seeds: int = 3
    """Dealings of photographs and groups into three parts."""
    random_removals: int = 20
    """Random removals of each split, with a detector fitted anew."""
    random_prunings: int = 3
    """Random sets of heads that are pruned in the forward pass on each pruned split."""
    pruned_splits: int = 12
    """Splits whose removed heads are pruned in the forward pass."""
    resamples: int = 1000
    """Joint resamples of photographs and groups."""
    batch_size: int = 32
    """Images in one pass."""
    jobs: int | None = None
    """Processes. By default one for each core."""
    random_state: int = 0
    """Seed of every draw."""


def main(settings: Settings) -> None:
    """Measure, compare, write, and print the verdict."""
    images = chosen_images(settings)
    encoder = load_encoder(settings.encoder)
    out = settings.out
    options = {"batch_size": settings.batch_size, "workers": settings.jobs}
    store = extract(images, encoder, out / "store", equalize=settings.equalize, **options)
    protocol = Protocol.pairs(
        store.rows,
        min_train=settings.min_train,
        seeds=settings.seeds,
        random_state=settings.random_state,
        usable=store.usable,
    )
    print(protocol.describe())
    table = effects(settings, encoder, images, store, protocol)

    def prune(sets, rows: np.ndarray, name: str) -> np.ndarray:
        folder = out / "pruned_sets" / name.replace(" ", "-").replace(">", "-")
        return prune_effects(encoder, images, store, folder=folder, heads=sets, rows=rows, **options)

    comparison = compare_removals(
        store,
        protocol,
        prune,
        n_random=settings.random_removals,
        n_pruned_random=settings.random_prunings,
        n_pruned_splits=settings.pruned_splits,
        n_resamples=settings.resamples,
        n_jobs=settings.jobs,
        random_state=settings.random_state,
    )
    write(out, table, comparison)
    verdict = "\n".join(verdict_lines(table, comparison))
    (out / "verdict.txt").write_text(verdict + "\n")
    print(verdict)


def chosen_images(settings: Settings) -> ImageSet:
    """The images asked for; a part of them is drawn with a seed."""
    images = ImageSet.open(settings.images, where=settings.where)
    table = images.table
    fakes = table[table["label"] == "fake"]
    names = fakes["generator"].value_counts().index[: settings.generators]
    kept = table[(table["label"] == "real") | table["generator"].isin(names)]
    if settings.rows is not None:
        share = {"real": settings.rows // 2}
        share |= {name: settings.rows // 2 // len(names) for name in names}
        drawn = [
            part.sample(min(share[str(name)], len(part)), random_state=settings.random_state)
            for name, part in kept.groupby("generator")
        ]
        kept = kept.loc[kept.index.isin(pd.concat(drawn).index)]
    return ImageSet(kept, images.root)


def effects(
    settings: Settings, encoder: Encoder, images: ImageSet, store: FeatureStore, protocol: Protocol
) -> EffectTable:
    """Every head pruned in every image that selects anywhere, and the three measures."""
    rows = np.unique(np.concatenate([split.select for split in protocol]))
    options = {"batch_size": settings.batch_size, "workers": settings.jobs}
    found = prune_effects(encoder, images, store, folder=settings.out / "pruned_heads", rows=rows, **options)
    pruned = np.full((len(store), *found.shape[1:]), np.nan, np.float32)
    pruned[rows] = found
    per_split = head_effects(
        store.features("embedding"),
        store.features("heads"),
        pruned,
        (store.rows["label"] == "fake").to_numpy().astype(int),
        store.layout,
        store.readout.folded.numpy(),
        protocol,
        generator=store.rows["generator"].to_numpy().astype(str),
    )
    return EffectTable(per_split)


def write(out: Path, table: EffectTable, comparison: RemovalComparison) -> None:
    """Tables as CSV, figures as PNG."""
    tables = {"effects": table.per_split, "heads": table.summary, "removed": comparison.removed}
    tables |= {"arms": comparison.arms, "contrasts": comparison.contrasts}
    tables |= {"reliability": table.reliability.reset_index()}
    for name, frame in tables.items():
        frame.to_csv(out / f"{name}.csv", index=False)
    for unit in ("auc", "margin"):
        save_figure(effect_scatter(table, unit), out / f"direct_total_{unit}.png")


def verdict_lines(table: EffectTable, comparison: RemovalComparison) -> list[str]:
    """What was found, in sentences; heads are named only where rankings are reliable."""
    lines = ["Measures of single heads, on select rows:", *table.sentences(), ""]
    count = comparison.removed["count"]
    lines.append(
        f"HeadRemoval took {count.mean():.1f} heads a split ({count.min()} to {count.max()}), "
        f"none on {(count == 0).sum()} of {len(count)} splits. On test generators, AUC [95 % over images]:"
    )
    for row in comparison.arms.itertuples():
        lines.append(
            f"  {row.detector} detector, {row.arm}: {row.auc:.3f} [{row.low:.3f}, {row.high:.3f}] ({row.splits} splits)"
        )
    for row in comparison.contrasts.itertuples():
        sure = (
            "" if row.low > 0 or row.high < 0 else ": no difference that other images would be sure to show"
        )
        lines.append(
            f"  {row.detector} detector, {row.arm} - {row.against}: {row.delta:+.4f} "
            f"[{row.low:+.4f}, {row.high:+.4f}]{sure}"
        )
    return lines


if __name__ == "__main__":
    main(tyro.cli(Settings))
