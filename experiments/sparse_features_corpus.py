"""Do single sparse features transfer better than single heads? A dictionary over the best heads of a store.

    python experiments/sparse_features_corpus.py runs/first/store --min-train 200 --seeds 2 --out runs/sparse

For every split, one thing of each kind is chosen on select rows (a head, an atom of the dictionary, a column, a
principal component, and as nulls atoms of turned dictionaries) and tested on generators that nobody has seen. Writes
single.csv (a row for each split, kind and test generator), kinds.csv and verdict.txt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro

from interp import FeatureStore, Protocol
from interp.analysis.sparse_features import KINDS, single_transfer
from interp.protocol.intervals import two_way_interval


@dataclass(frozen=True)
class Settings:
    """What to look at, and how large the dictionary is."""

    store: tyro.conf.Positional[Path]
    """Folder of a store."""
    out: Path = Path("runs/sparse")
    """Folder of the results."""
    heads: int = 4
    """Heads whose values are looked at, those that rank first on select rows of each split."""
    n_features: int = 128
    """Atoms of the dictionary."""
    nonzero: int = 8
    """Atoms that code one image."""
    draws: int = 5
    """Of each null in each split."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    seeds: int = 2
    """Dealings of photographs and groups into three parts."""
    random_state: int = 0
    """Seed of every draw."""


def main(settings: Settings) -> None:
    """Measure, write, and print the verdict."""
    store = FeatureStore(settings.store)
    protocol = Protocol.pairs(
        store.rows,
        min_train=settings.min_train,
        seeds=settings.seeds,
        random_state=settings.random_state,
        usable=store.usable,
    )
    y = (store.rows["label"] == "fake").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)
    options: dict[str, Any] = {
        "heads": settings.heads,
        "n_features": settings.n_features,
        "nonzero": settings.nonzero,
    }
    options |= {"draws": settings.draws, "random_state": settings.random_state}
    found = single_transfer(store.head_features(), y, store.layout, protocol, generator=generator, **options)
    kinds = pd.concat([compare(found, store.rows, over) for over in ("head", "random direction")])
    settings.out.mkdir(parents=True, exist_ok=True)
    found.to_csv(settings.out / "single.csv", index=False)
    kinds.to_csv(settings.out / "kinds.csv", index=False)
    verdict = f"{protocol.describe()}\n\n{kinds.to_string(index=False, float_format='%.3f', na_rep='')}\n"
    (settings.out / "verdict.txt").write_text(verdict)
    print(verdict)


def compare(found: pd.DataFrame, rows: pd.DataFrame, over: str = "head") -> pd.DataFrame:
    """A row for each kind: mean AUC on test generators, and its gain over one kind with 95 % over other generators.

    Args:
        found: from `single_transfer`.
        rows: of the store: generator and family.
        over: the kind that gains are counted from.
    """
    families = rows.drop_duplicates("generator").set_index("generator")["family"]
    cell = ["train", "test"]
    auc = found.groupby([*cell, "kind"])["auc"].mean().unstack("kind")
    table = []
    for kind in KINDS:
        gain = (auc[kind] - auc[over]).rename("value").reset_index()
        gain["train_cluster"] = gain["train"].map(families)
        gain["test_cluster"] = gain["test"].map(families)
        interval = two_way_interval(gain)
        of_kind = found[found["kind"] == kind]
        table.append(
            {
                "kind": kind,
                "over": over,
                "candidates": int(of_kind["candidates"].iloc[0]),
                "select_auc": of_kind["select_auc"].mean(),
                "auc": float(auc[kind].mean()),
                "gain": interval.mean,
                "low": interval.low if kind != over else np.nan,
                "high": interval.high if kind != over else np.nan,
                "explained": of_kind["explained"].mean(),
            }
        )
    return pd.DataFrame(table)


if __name__ == "__main__":
    main(tyro.cli(Settings))
