"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from interp.images.image_set import ImageSet
    from interp.report.results import RunResult

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and weights; tests that need it are skipped where it is absent."""
    folder = (ROOT / os.environ.get("INTERP_SHARED", "../shared")).resolve()
    if not (folder / "corpus" / "manifest.csv").exists():
        pytest.skip(
            f"no real images and weights at {folder}; set INTERP_SHARED to the folder that holds them"
        )
    return folder


@dataclass(frozen=True)
class SmallRun:
    """A whole run on drawn images with a tiny encoder: where it lies, what it found, and how to do it again."""

    folder: Path
    images: ImageSet
    result: RunResult
    again: Callable[[Path], RunResult]


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """The main job once, by hand on two seeds, for every test that reads what it leaves."""
    from random_clip import random_clip

    from interp.images.simulated import draw_simulated_set
    from interp.main_job import run

    names = ("nearest", "bilinear", "checkerboard", "smooth", "spectral", "palette")
    images = draw_simulated_set(
        tmp_path_factory.mktemp("drawn") / "images",
        n_per_class=45,
        generators=[f"simulated-{name}" for name in names],
    )
    generators = {"train": ["simulated-nearest"], "select": ["simulated-smooth"]}
    generators["test"] = ["simulated-palette", "simulated-spectral"]

    def again(folder: Path) -> RunResult:
        options = {"seeds": 2, "nulls": 3, "resamples": 60, "jobs": 1, "workers": 0, "progress": False}
        return run(images, random_clip(), folder, protocol="by-hand", **generators, **options)

    folder = tmp_path_factory.mktemp("run")
    return SmallRun(folder, images, again(folder), again)
