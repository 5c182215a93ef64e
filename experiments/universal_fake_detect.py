"""The linear probe and the nearest neighbours on the joint embedding: published constants, and what each changes.

    python -m experiments.universal_fake_detect STORE --out runs/universal_fake_detect

The published augmentation (blur and JPEG, each with chance one half) on a frozen encoder is copies in stores of their
own: `interp launder … --copies "blur:0-3@0.5+jpeg:30-100@0.5" --out LAUNDERED`, then `--launderings LAUNDERED`.
Protocol and tables are those of `experiments.compare_systems`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.compare_systems import TITLE, opened, rotated, shown, write
from interp import FeatureStore, LinearDetector
from interp.detectors.universal_fake_detect import NearestNeighbour, UniversalFakeDetect
from interp.evaluation.system_comparison import compare_systems


@dataclass(frozen=True)
class Settings:
    """On what, and how often."""

    store: Annotated[Path, tyro.conf.Positional]
    """A feature store with labels, generators and groups."""
    out: Path = Path("runs/universal_fake_detect")
    """Folder of tables and finished cells."""
    launderings: Path | None = None
    """What `interp launder` wrote of the same images: fit on its copies too, score its laundered stores too."""
    seeds: int = 3
    """Dealings of photographs and prompts into three parts."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    random_state: int = 0
    """Seed of everything drawn."""


def variants(random_state: int = 0) -> dict[str, Any]:
    """What is compared, by name."""
    options: dict[str, Any] = {"random_state": random_state}
    probes = {
        "probe": UniversalFakeDetect(**options),
        "probe, code": UniversalFakeDetect("code", **options),
        "probe, 1 step an epoch": UniversalFakeDetect(steps=1, **options),
        "probe, 10 steps": UniversalFakeDetect(steps=10, **options),
        "probe, 500 steps": UniversalFakeDetect(steps=500, **options),
        "probe, rate 1e-3": UniversalFakeDetect(rate=1e-3, **options),
        "probe, rate 1e-2": UniversalFakeDetect(rate=1e-2, **options),
    }
    near = {f"nearest, k = {k}": NearestNeighbour(k) for k in (1, 3, 5, 9)}
    votes = {f"vote of {k}": NearestNeighbour(k, vote=True) for k in (3, 9)}
    return {"embedding": LinearDetector(), **probes, **near, **votes}


def main(settings: Settings) -> None:
    """Fit what is missing, write the tables, print one."""
    store = FeatureStore(settings.store)
    protocol = rotated(store, settings.seeds, settings.min_train, settings.random_state)
    laundered, copies = opened(settings.launderings)
    systems = variants(settings.random_state)
    more = {"laundered": laundered, "copies": copies, "folder": settings.out / "cells"}
    found = compare_systems(store, protocol, systems, **more)
    title = TITLE.format(encoder=store.key["encoder"]["name"], images=len(store))
    write(found, settings.out, title)
    print(title, shown(found.table()).to_string(), sep="\n\n")


if __name__ == "__main__":
    main(tyro.cli(Settings))
