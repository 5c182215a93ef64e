"""Heads that see one mechanism alone are found where they were planted, and nowhere else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interp.analysis.mechanism_heads import heads_by_mechanism
from interp.analysis.ranking import rank_heads
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.protocol.splits import Protocol

MECHANISMS = ("twin-a", "twin-b", "twin-c")
LAYOUT = HeadLayout(layers=2, heads=2, width=4)


@pytest.fixture(scope="module")
def planted() -> tuple[pd.DataFrame, np.ndarray]:
    """L0.H0 sees twin-b alone, L0.H1 every mechanism, the others nothing; 200 photographs."""
    rows = pd.DataFrame(
        [("real", "real", i) for i in range(200)] + [("twin", m, i) for m in MECHANISMS for i in range(200)],
        columns=["label", "generator", "group"],
    ).astype({"group": str})
    rng = np.random.default_rng(0)
    content = rng.normal(size=(200, LAYOUT.size))[rows["group"].astype(int)]
    X = content + 0.5 * rng.normal(size=content.shape)
    X[:, 0] += 3 * (rows["generator"] == "twin-b")
    X[:, 4] += 3 * (rows["label"] == "twin")
    return rows, X


def test_planted_heads_are_told_apart(planted: tuple[pd.DataFrame, np.ndarray]) -> None:
    rows, X = planted
    y, generator = (rows["label"] == "twin").to_numpy().astype(int), rows["generator"].to_numpy()
    protocol = Protocol.twins(rows, "pairs", seeds=2)
    ranking = rank_heads(X, y, LAYOUT, protocol, generator=generator, probe="ridge", progress=False)
    table = heads_by_mechanism(ranking, protocol, y)
    assert len(table) == 4 * 3 and 0.5 < table["chance"].iloc[0] < 0.7
    assert table.loc[table["only"], ["head", "mechanism"]].to_numpy().tolist() == [["L0.H0", "twin-b"]]
    seen = table[table["sees"]].groupby("head")["mechanism"].apply(list).to_dict()
    assert seen == {"L0.H0": ["twin-b"], "L0.H1": list(MECHANISMS)}
    everywhere = table[table["head"] == "L0.H1"]
    assert (everywhere["elsewhere_auc"] > 0.9).all() and not everywhere["only"].any()
    with pytest.raises(InputError, match="has to train on one mechanism"):
        heads_by_mechanism(ranking, Protocol.twins(_with_a_fourth(rows)), y)


def _with_a_fourth(rows: pd.DataFrame) -> pd.DataFrame:
    more = rows[rows["generator"] == "twin-a"].assign(generator="twin-d")
    return pd.concat([rows, more], ignore_index=True)
