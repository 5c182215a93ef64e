"""A small shift under large differences of content: hardly an AUC, and yet seen in every pair."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from interp.errors import InputError
from interp.evaluation.within_pairs import within_pairs


def scored(n: int = 80, shift: float = 0.2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """twin-a is shifted by the same amount over its photograph on every split, twin-b by noise alone."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        [
            (f"{kind}{i}", "real" if kind == "real" else "twin", kind, f"p{i}")
            for kind in ("real", "twin-a", "twin-b")
            for i in range(n)
        ],
        columns=["key", "label", "generator", "group"],
    ).set_index("key")
    content = np.tile(rng.normal(size=n), 3)
    frames = []
    for seed in range(2):
        noise = np.where(rows["generator"] == "twin-b", rng.normal(size=len(rows)), 0)
        score = content + shift * (rows["generator"] == "twin-a").to_numpy() + 0.1 * noise
        about = {"arm": "embedding", "train": "x", "select": "y", "seed": seed, "in_distribution": False}
        frames.append(pd.DataFrame({"key": rows.index, "score": score}).assign(**about))
    return pd.concat(frames, ignore_index=True), rows


def test_pairs_see_what_content_hides() -> None:
    scores, rows = scored()
    table = within_pairs(scores, rows, n_resamples=200).set_index("test")
    first = scores[scores["seed"] == 0].set_index("key")["score"]
    of_a = rows["generator"] != "twin-b"
    assert roc_auc_score(rows.loc[of_a, "label"] == "twin", first[of_a]) < 0.65
    assert table.loc["twin-a", ["share", "low", "high"]].tolist() == [1, 1, 1]
    row = table.loc["twin-b"]
    assert (
        row["low"] < 0.5 < row["high"]
        and row["low"] <= row["share"] <= row["high"]
        and row["photographs"] == 80
    )


def test_equal_scores_count_half() -> None:
    scores, rows = scored(shift=0)
    assert within_pairs(scores, rows, n_resamples=10).set_index("test").at["twin-a", "share"] == 0.5


def test_categories_as_transfer_gives_them_are_taken() -> None:
    scores, rows = scored(n=6)
    as_given = scores.astype({name: "category" for name in ("key", "arm", "train", "select")})
    pd.testing.assert_frame_equal(within_pairs(as_given, rows), within_pairs(scores, rows))


def test_twins_without_one_photograph_are_refused() -> None:
    scores, rows = scored(n=6)
    with pytest.raises(InputError, match="group 'p0' holds several photographs"):
        within_pairs(scores, rows.replace({"group": {"p1": "p0"}}))
    with pytest.raises(InputError, match="hold no twin"):
        within_pairs(scores, rows.replace({"label": {"twin": "fake"}}))
