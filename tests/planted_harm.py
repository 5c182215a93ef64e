"""A planted embedding: every head sees fakes a little and everywhere, and one may mislead."""

from __future__ import annotations

import numpy as np
import pandas as pd
from planted_heads import Planted

from interp.encoders.layout import HeadLayout
from interp.protocol.splits import Protocol

HARMFUL = "L1.H3"
FOLD = np.linalg.qr(np.random.default_rng(7).normal(size=(96, 96)))[0].reshape(3, 4, 8, 96)
"""(l, h, d, P): every head writes into directions of its own, which a random rotation mixes."""


def plant_harm(seed: int = 0, n: int = 150, own: float = 3.0, shared: float = 0.7) -> Planted:
    """HARMFUL sees generator `a` by a shift that turns round in all others; with own=0 it is a head like the rest.

    X holds the embedding, (n, 96), beside the head features, (n, 96), as `embedding_and_heads` does.
    """
    rng = np.random.default_rng(seed)
    layout = HeadLayout(layers=3, heads=4, width=8)
    generator = np.repeat(["real", "a", "b", "c"], [2 * n, n, n, n])
    y = (generator != "real").astype(int)
    heads = rng.normal(size=(len(y), layout.size))
    heads[:, :: layout.width] += shared * y[:, None]
    sign = np.where(generator == "a", 1.0, -0.3) * y
    heads[:, layout.index(HARMFUL) * layout.width + 1] += own * sign
    rows = pd.DataFrame({"generator": generator, "label": np.where(y, "fake", "real")})
    rows["group"] = [str(i) for i in range(len(y))]
    X = np.concatenate([heads @ FOLD.reshape(96, 96), heads], axis=1)
    protocol = Protocol.by_hand(rows, train="a", select="b", test="c", seeds=3, random_state=seed)
    return Planted(X, y, generator, layout, protocol)
