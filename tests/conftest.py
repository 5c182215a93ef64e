"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and weights; tests that need it are skipped where it is absent."""
    folder = (ROOT / os.environ.get("INTERP_SHARED", "../shared")).resolve()
    if not (folder / "corpus" / "manifest.csv").exists():
        pytest.skip(f"no real images and weights at {folder}; set INTERP_SHARED to the folder that holds them")
    return folder
