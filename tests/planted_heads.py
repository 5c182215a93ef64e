"""Planted head features: who sees fakes everywhere, who sees one generator alone, who sees nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp.encoders.layout import HeadLayout
from interp.protocol.splits import Protocol

GOOD, ACCIDENT = "L1.H2", "L2.H0"


@dataclass(frozen=True)
class Planted:
    """Features with a known answer: GOOD sees every generator, ACCIDENT sees each by a direction of its own."""

    X: np.ndarray
    y: np.ndarray
    generator: np.ndarray
    layout: HeadLayout
    protocol: Protocol


def plant(seed: int = 0, n: int = 200, shared: float = 1.5, own: float = 4.0) -> Planted:
    rng = np.random.default_rng(seed)
    layout = HeadLayout(layers=3, heads=4, width=8)
    generator = np.repeat(["real", "a", "b", "c"], n)
    y = (generator != "real").astype(int)
    X = rng.normal(size=(len(y), layout.size))
    X[:, layout.slice(GOOD)] += shared * y[:, None] * np.eye(8)[0]
    for axis, name in enumerate("abc"):
        X[np.ix_(generator == name, np.arange(layout.size)[layout.slice(ACCIDENT)])] += (
            own * np.eye(8)[axis + 1]
        )
    rows = pd.DataFrame({"generator": generator, "label": np.where(y, "fake", "real")})
    rows["group"] = [str(i) for i in range(len(y))]
    return Planted(X, y, generator, layout, Protocol.pairs(rows, min_train=50, seeds=2))
