"""The tables of the planted shortcut say what rows of seeds and splits say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from experiments.planted_shortcut import figure, interval, shown, summarise


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Plain detectors lose twice the dose; erasing gives half of that back, and names the cast in 2 of 3 seeds."""
    made = []
    rng = np.random.default_rng(0)
    for seed in range(3):
        for dose in (0.0, 0.1):
            for split in range(2):
                plain = 0.8 - 2 * dose + 0.01 * seed
                gain = dose + 0.001 * rng.normal() * (dose > 0)
                named = "colour cast" if dose and seed < 2 else ""
                one = {"seed": seed, "dose": dose, "split": split, "named": ""}
                made.append({**one, "arm": "embedding", "auc": plain, "gain": 0.0})
                erased = {"arm": "shortcut_removal", "auc": plain + gain, "gain": gain, "named": named}
                made.append(
                    {**one, **erased, "over random directions": gain + 0.02, "over shuffled statistics": gain}
                )
                made.append({**one, "arm": "coordinate_removal", "auc": plain - 0.01, "gain": -0.01})
    return pd.DataFrame(made)


def test_summary_counts_seeds_finds_and_what_came_back(rows):
    table = summarise(rows).set_index(["dose", "arm"])
    erased = table.loc[(0.1, "shortcut_removal")]
    assert erased["seeds"] == 3 and erased["found"] == pytest.approx(2 / 3) and erased["others found"] == 0
    assert erased["share back"] == pytest.approx(0.5, abs=0.02)
    assert erased["over random directions"] == pytest.approx(erased["gain"] + 0.02)
    assert table.loc[(0.0, "shortcut_removal"), "found"] == 0
    assert table.loc[(0.1, "coordinate_removal"), "gain"] == pytest.approx(-0.01)
    assert np.isnan(table.loc[(0.1, "embedding"), "gain"])


def test_intervals_are_students():
    values = pd.Series([0.1, 0.3, 0.2, 0.5])
    expected = ttest_1samp(values, 0).confidence_interval()
    assert interval(values) == pytest.approx((expected.low, expected.high))
    assert np.isnan(interval(values[:1])).all()


def test_the_screen_shows_the_strongest_null_and_the_figure_every_arm(rows):
    line = shown(summarise(rows)).set_index(["dose", "arm"]).loc[("0.1", "shortcut removed")]
    assert line["over null"] == line["gain"] and line["found"] == "67%"
    left, right = figure(rows).axes
    assert len(left.get_legend().get_texts()) == 3 and len(right.containers) == 2
