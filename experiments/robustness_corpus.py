"""How do detectors bear laundering? Curves of plain and cleaned detectors, and which heads to drop.

    python experiments/robustness_corpus.py --images photos/manifest.csv --where role=test \
        --encoder openai/clip-vit-base-patch32 --equalize common:128:75 --out runs/robustness

Makes a store for every cell of the grid below and for four laundered copies to train on, each file decoded once for all
of them, and measures every arm on test generators. The stores go on where they were cut off. Writes curves.csv,
choices.csv, nulls.csv, heads.csv, robustness.md, robustness.png, heads.png, and dropped.csv: how often each head is
kept or dropped, by what the select rows were shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from interp import ImageSet, Protocol, launder_stores, load_encoder, robustness_curves
from interp.evaluation.arms import default_arms, head_removal_arm
from interp.evaluation.head_robustness import head_robustness
from interp.features.laundered import CLEAN
from interp.report.robustness_tables import write_robustness

GRID = (
    *(f"jpeg:{quality}" for quality in (100, 90, 70, 50, 30)),
    *(f"webp:{quality}" for quality in (75, 30)),
    *(f"resize:{factor}" for factor in (0.25, 0.5, 0.75, 1.5, 2)),
    *(f"blur:{sigma}" for sigma in (1, 2, 4)),
    *(f"noise:{deviation}" for deviation in (5, 10, 20)),
    *(f"crop:{share}" for share in (0.9, 0.75, 0.5)),
)
"""Conditions that every arm is tested under."""
COPIES = "blur:0-3@0.5+jpeg:30-100@0.5"
"""What the copies to train on and to choose on go through: the augmentation of Wang et al. 2020."""


@dataclass(frozen=True)
class Settings:
    """What to look at, with whom, and how often."""

    images: Path
    """A folder of images or a manifest, with labels and generators."""
    encoder: str
    """A hub id or a folder."""
    out: Path = Path("runs/robustness")
    """Folder of the stores and the results."""
    equalize: str | None = None
    """Bring every image through one path after it was laundered, such as common:128:75."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Conditions on the manifest, such as role=test; may be given several times."""
    vae: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Autoencoders whose round trips are added to the grid: a folder or a hub id."""
    also: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Other launderings that are added to the grid, such as crop:0.5+vae:FOLDER."""
    n_copies: int = 4
    """Laundered copies of every image to train on."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    seeds: int = 2
    """Dealings of photographs and groups into three parts."""
    fractions: tuple[float, float, float] = (0.3, 0.25, 0.45)
    """Shares of train, select and test; a large test part, so that there are 200 photographs for a TPR at 5 % FPR."""
    nulls: int = 5
    """Random choices of as many heads or coordinates beside each choice."""
    resamples: int = 500
    """Joint resamples of photographs and groups."""
    jobs: int | None = None
    """Processes. By default one for each core."""
    random_state: int = 0
    """Seed of every draw."""


def main(settings: Settings) -> None:
    """Extract, measure, write, and print what was found."""
    launderings = [*GRID, *(f"vae:{name}" for name in settings.vae), *settings.also]
    stores = launder_stores(
        ImageSet.open(settings.images, where=settings.where),
        load_encoder(settings.encoder),
        settings.out / "stores",
        launderings,
        copies=COPIES,
        n_copies=settings.n_copies,
        equalize=settings.equalize,
        random_state=settings.random_state,
        workers=settings.jobs,
    )
    clean, laundered = stores[CLEAN], {name: stores[name] for name in launderings}
    dealt = {"seeds": settings.seeds, "fractions": settings.fractions, "random_state": settings.random_state}
    protocol = Protocol.pairs(clean.rows, settings.min_train, **dealt, usable=clean.usable)
    arms = [arm for arm in default_arms(clean, n_nulls=settings.nulls) if "layer" not in arm.name]
    arms.append(head_removal_arm(clean, n_nulls=settings.nulls))
    found = robustness_curves(
        clean,
        laundered,
        protocol,
        arms,
        copies=[store for name, store in stores.items() if name.startswith("copy ")],
        n_resamples=settings.resamples,
        n_jobs=settings.jobs,
        random_state=settings.random_state,
    )
    write_robustness(found, settings.out, head_robustness(clean, laundered, protocol))
    dropped_heads(found.choices, clean.layout.names).to_csv(settings.out / "dropped.csv", index=False)
    print(found.words)


def dropped_heads(choices: pd.DataFrame, heads: Sequence[str]) -> pd.DataFrame:
    """The share of splits in which each head is named, by arm and by what was shown to the select rows.

    `selected_heads` names those it keeps, `head_removal` those it drops.
    """
    named = choices[choices["arm"].isin(["selected_heads", "head_removal"])]
    rows = []
    for (arm, fitted), group in named.groupby(["arm", "fitted"], sort=False):
        sets = [set(text.split()) for text in group["named"]]
        rows += [(arm, fitted, head, sum(head in one for one in sets) / len(sets)) for head in heads]
    return pd.DataFrame(rows, columns=["arm", "fitted", "head", "share"])


if __name__ == "__main__":
    main(tyro.cli(Settings))
