"""A small store for the tests of words and extremes."""

from __future__ import annotations

import pytest
from random_clip import random_clip

from interp.features.extract import extract
from interp.images.simulated import draw_simulated_set


@pytest.fixture(scope="session")
def small_store(tmp_path_factory):
    """Twenty-four drawn images, one of them unreadable, seen by a tiny encoder."""
    folder = tmp_path_factory.mktemp("small")
    images = draw_simulated_set(folder / "images", n_per_class=12, generators=["simulated-nearest"])
    next((folder / "images").rglob("*.png")).write_bytes(b"no image")
    return extract(images, random_clip(), folder / "store", workers=0, progress=False)
