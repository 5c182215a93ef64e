"""A component is named by the statistic it follows within classes, and by nothing where it follows none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, spearmanr

from interp.analysis.component_names import name_components
from interp.errors import InputError
from interp.images.pixel_statistics import STATISTICS


def draw(seed: int = 0, n: int = 300):
    """Five components; the second follows the cast, the fourth falls with sharpness, and all tell the classes apart."""
    rng = np.random.default_rng(seed)
    within = rng.choice(["real", "a", "b"], n)
    statistics = pd.DataFrame(rng.normal(size=(n, len(STATISTICS))), columns=list(STATISTICS))
    values = rng.normal(size=(n, 5))
    values[:, 1] += statistics["red_over_blue"]
    values[:, 3] -= 2 * statistics["sharpness"]
    apart = 5.0 * (within != "real")
    return values + apart[:, None], statistics + apart[:, None], within


def test_followers_are_named_and_others_are_not():
    values, statistics, within = draw()
    table = name_components(values, statistics, within, names=[f"P.{i}" for i in range(5)])
    assert table["component"].tolist() == [f"P.{i}" for i in range(5)]
    cast, sharp = table.iloc[1], table.iloc[3]
    assert (cast["group"], cast["statistic"]) == ("colour cast", "red_over_blue") and cast["rho"] > 0.5
    assert (sharp["group"], sharp["statistic"]) == ("sharpness", "sharpness") and sharp["rho"] < -0.7
    assert cast["words"].startswith("P.1 follows colour cast (rho +.") and "−." in sharp["words"]
    assert (table["words"][[0, 2, 4]] == "").all()  # though all components and statistics tell fakes apart


def test_the_correlation_is_spearmans_within_classes():
    values, statistics, within = draw()
    found = name_components(values, statistics[["noise"]], within)["rho"]
    for component in range(5):
        each = [
            (
                np.sum(within == kind),
                spearmanr(values[within == kind, component], statistics["noise"][within == kind])[0],
            )
            for kind in np.unique(within)
        ]
        assert found[component] == pytest.approx(
            np.average([r for _, r in each], weights=[n for n, _ in each])
        )


def test_the_interval_covers_the_correlation_that_is_there():
    """Of a bivariate normal: Spearman's rho is 6/π·asin(r/2)."""
    rng, r, inside = np.random.default_rng(0), 0.6, 0
    true = 6 / np.pi * np.arcsin(r / 2)
    for _ in range(200):
        a = rng.normal(size=(120, 1))
        b = r * a + np.sqrt(1 - r**2) * rng.normal(size=(120, 1))
        row = name_components(a, b, ["real"] * 60 + ["a"] * 60, n_null=19).iloc[0]
        inside += row["rho_low"] <= true <= row["rho_high"]
    assert binom.ppf(1e-3, 200, 0.95) <= inside


def test_at_most_five_in_a_hundred_tables_name_anything_by_chance():
    named = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        values, statistics = rng.normal(size=(60, 4)), rng.normal(size=(60, 6))
        table = name_components(values, statistics, ["real"] * 30 + ["a"] * 30, n_null=39, random_state=seed)
        named += (table["words"] != "").any()
    assert binom.ppf(1e-3, 200, 0.05) <= named <= binom.ppf(0.999, 200, 0.05)


def test_rows_without_a_number_are_left_out_and_monotone_changes_change_nothing():
    values, statistics, within = draw()
    holed = statistics.copy()
    holed.iloc[::7] = np.nan
    kept = np.arange(len(within)) % 7 != 0
    pd.testing.assert_frame_equal(
        name_components(values, holed, within),
        name_components(values[kept], statistics[kept].reset_index(drop=True), within[kept]),
    )
    pd.testing.assert_frame_equal(
        name_components(np.exp(values), statistics, within), name_components(values, statistics, within)
    )


def test_a_component_that_never_changes_follows_nothing():
    table = name_components(np.ones((40, 1)), np.random.default_rng(0).normal(size=(40, 2)), ["real"] * 40)
    assert table["rho"].tolist() == [0] and table["words"].tolist() == [""]


def test_wrong_use_says_what_to_do():
    values, statistics, within = draw()
    with pytest.raises(InputError, match="need the same rows"):
        name_components(values, statistics[:5], within)
    with pytest.raises(InputError, match="names one entry for each column"):
        name_components(values, statistics, within, names=["one"])
    with pytest.raises(InputError, match="5 shuffles cannot reach level 0.05; give at least 19"):
        name_components(values, statistics, within, n_null=5)
