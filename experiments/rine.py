"""RINE on stored tokens: its two readings, its parts taken away, and the constants that were chosen on test sets.

    python -m experiments.rine STORE --encoder E --out runs/rine

With --encoder the code's reading uses that CLIP's own LayerNorms; without it tokens are only standardised. Protocol and
tables are those of `experiments.compare_systems`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.compare_systems import TITLE, opened, rotated, shown, write
from interp import FeatureStore, LinearDetector, load_encoder
from interp.detectors.mixture_of_layers import MixtureOfLayers
from interp.detectors.rine import Rine, second_norm_weights
from interp.evaluation.system_comparison import compare_systems


@dataclass(frozen=True)
class Settings:
    """On what, and how often."""

    store: Annotated[Path, tyro.conf.Positional]
    """A feature store with labels, generators and groups."""
    out: Path = Path("runs/rine")
    """Folder of tables and finished cells."""
    encoder: str | None = None
    """The CLIP that made the store, for its LayerNorms."""
    launderings: Path | None = None
    """What `interp launder` wrote of the same images: fit on its copies too, score its laundered stores too."""
    seeds: int = 3
    """Dealings of photographs and prompts into three parts."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    random_state: int = 0
    """Seed of everything drawn."""


def variants(store: FeatureStore, encoder: str | None, random_state: int = 0) -> dict[str, Any]:
    """What is compared, by name."""
    norms = None if encoder is None else second_norm_weights(load_encoder(encoder, device="cpu"))

    def rine(**options: Any) -> Rine:
        return Rine.for_store(store, random_state=random_state, **options)

    return {
        "embedding": LinearDetector(),
        "rine": rine(),
        **({} if norms is None else {"rine, its norms": rine(norms=norms)}),
        "rine, paper": rine(as_published="paper"),
        "without contrast": rine(contrast=0.0),
        "contrast 0.8": rine(contrast=0.8),
        "depth 1": rine(depth=1),
        "depth 4": rine(depth=4),
        "width 32": rine(hidden=32),
        "width 512": rine(hidden=512),
        "28 steps": rine(steps=28),
        "1,125 steps": rine(steps=1125),
        "mixture of layers": MixtureOfLayers.for_store(store),
    }


def main(settings: Settings) -> None:
    """Fit what is missing, write the tables, print one."""
    store = FeatureStore(settings.store)
    protocol = rotated(store, settings.seeds, settings.min_train, settings.random_state)
    laundered, copies = opened(settings.launderings)
    systems = variants(store, settings.encoder, settings.random_state)
    more = {"laundered": laundered, "copies": copies, "folder": settings.out / "cells"}
    found = compare_systems(store, protocol, systems, **more)
    title = TITLE.format(encoder=store.key["encoder"]["name"], images=len(store))
    write(found, settings.out, title)
    print(title, shown(found.table()).to_string(), sep="\n\n")


if __name__ == "__main__":
    main(tyro.cli(Settings))
