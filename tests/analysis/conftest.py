"""Planted head features, drawn once."""

from __future__ import annotations

import pytest
from planted_heads import Planted, plant


@pytest.fixture(scope="session")
def planted() -> Planted:
    """One draw, for tests that only read it."""
    return plant()
