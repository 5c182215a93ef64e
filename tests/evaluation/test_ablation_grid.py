"""A grid computes every combination once, and what it says of them is what the numbers say."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.evaluation.ablation_grid import BASELINE, FACTORS, NAMED, Combination, make_grid
from interp.evaluation.ablation_summary import Ablation
from interp.protocol.intervals import two_way_interval

LAYOUT, WIDTH = HeadLayout(12, 12, 64), 512
ALL = {
    "heads": ("embedding", "all", 12, 24),
    "removal": ("none", "coordinates", "heads"),
    "C": ("select", 0.01),
}
ALL |= {"aggregate": ("concat", "sum", "vote"), "normalise": ("none", "standard", "l2")}


def some(*values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=3)


@settings(max_examples=40)
@given(
    heads=some("embedding", "all", "best", 1, 12, "12", 200),
    removal=some("none", "coordinates", "heads"),
    C=some("select", 0.01, 1, "1.0"),
    aggregate=some("concat", "sum", "vote"),
    normalise=some("none", "standard", "l2"),
)
def test_every_combination_is_computed_once_or_left_out_with_a_reason(**asked):
    try:
        grid = make_grid(LAYOUT, WIDTH, asked)
    except InputError as error:
        assert "fits none" in str(error)
        return
    assert grid.combinations[0] == BASELINE
    assert len(set(grid.combinations)) == len(grid.combinations)
    assert (grid.asked["reason"] == "").equals(grid.asked["number"] >= 0)
    assert {0, *grid.asked["number"]} - {-1} == set(range(len(grid.combinations)))
    for _, row in grid.asked[grid.asked["number"] >= 0].iterrows():
        computed = grid.combinations[row["number"]]
        assert all(getattr(computed, factor) in (row[factor], "-") for factor in FACTORS)
    turned = make_grid(LAYOUT, WIDTH, {factor: values[::-1] for factor, values in asked.items()})
    assert turned.combinations == grid.combinations


def test_what_is_impossible_or_the_same_is_counted():
    grid = make_grid(LAYOUT, WIDTH, {**ALL, "heads": (*ALL["heads"], 144)})
    assert len(grid.asked) == 4 * 3 * 2 * 3 * 3
    by_hand = 3 * 2 * 3  # the embedding: removal × C × normalise; no aggregate
    by_hand += 3 * (2 * 3 + 1)  # all, 12, 24: sum without removal, and one vote each
    by_hand += 3 * 2 * 3  # concat without removal
    by_hand += 3 * 2 * 3  # coordinates removed from sums
    by_hand += 2 * 3  # and from the 768 columns of 12 heads; 24 and all have more than 1,024
    assert len(grid.combinations) == by_hand
    words = grid.describe()
    assert "harmful heads are removed from the plain embedding only" in words
    assert "at most 1,024 columns" in words
    assert "heads=144 is every head" in words


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": "al"}, "did you mean 'all'"),
        ({"heads": 1.5}, "a number such as 12"),
        ({"heads": 0}, "above 0"),
        ({"heads": ()}, "names no value"),
        ({"removal": "coordinate"}, "did you mean 'coordinates'"),
        ({"C": "selected"}, "did you mean 'select'"),
        ({"C": (1.0, -1.0)}, "above 0"),
        ({"C": True}, "unknown C"),
        ({"aggregate": "votes"}, "did you mean 'vote'"),
        ({"normalise": "standart"}, "did you mean 'standard'"),
        ({"heads": (12, 24), "removal": ("none", "heads")}, "removal='heads' fits none"),
        ({"heads": 24, "aggregate": "concat", "removal": ("none", "coordinates")}, "fits none"),
    ],
)
def test_bad_values_are_refused_with_the_nearest(change, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        make_grid(LAYOUT, WIDTH, {**ALL, "removal": "none", **change})


def invented(auc, select_auc=lambda one: 0.5, **asked) -> Ablation:
    """An ablation whose AUC is a function of the combination and the cell, over pairs of four generators."""
    values = {"heads": ("all", 4), "removal": "none", "C": (0.1, 1.0), "aggregate": ("concat", "sum")}
    grid = make_grid(LAYOUT, WIDTH, {**values, "normalise": ("standard", "l2"), **asked})
    rows = []
    for one in grid.combinations:
        for seed, (train, select, test) in itertools.product((0, 1), itertools.permutations("abcd", 3)):
            cell = [seed, train, select, test, auc(one, seed, train, test)]
            chosen = dict(vars(one)) | dict(
                zip(["seed", "train", "select", "test", "auc"], cell, strict=True)
            )
            rows.append({**chosen, "select_auc": select_auc(one)})
    table = pd.DataFrame(rows).assign(average_precision=0.5, balanced_accuracy=0.5, n_features=1)
    return Ablation(table, grid, dict(zip("abcd", "xxyz", strict=True)), {})


WORTH = {
    "all": 0.02,
    "4": -0.03,
    "0.1": 0.0,
    "1.0": 0.01,
    "sum": 0.05,
    "concat": 0.0,
    "l2": 0.04,
    "select": 0.1,
}


def additive(one: Combination, seed: int, train: str, test: str) -> float:
    return 0.5 + sum(WORTH.get(value, 0.0) for value in vars(one).values()) + 0.01 * (ord(test) - ord("a"))


def test_effects_of_an_additive_table_are_its_terms():
    effects = invented(additive).effects().set_index(["factor", "value"])
    assert effects.loc[("heads", "4"), "change"] == pytest.approx(-0.05)
    assert effects.loc[("C", "1.0"), "change"] == pytest.approx(0.01)
    assert effects.loc[("aggregate", "sum"), "change"] == pytest.approx(0.05)
    assert effects.loc[("normalise", "l2"), "change"] == pytest.approx(0.04)
    assert effects.loc[("normalise", "l2"), "settings"] == 8
    assert effects.loc[("heads", "all"), "delta"] == pytest.approx(0.02 + 0.005 + 0.025 + 0.02 - 0.1)
    # the same for every cell, so that the interval of a paired change has no width
    np.testing.assert_allclose(effects["change_low"], effects["change"], atol=1e-9)


def test_effects_pair_only_what_all_values_share():
    effects = invented(additive, heads=("embedding", 4), removal=("none", "heads")).effects()
    removal = effects[effects["factor"] == "removal"]
    assert removal["settings"].tolist() == [4, 4]  # the embedding at two C and two normalisations
    np.testing.assert_allclose(removal["change"], 0, atol=1e-12)


def noisy(one: Combination, seed: int, train: str, test: str) -> float:
    rng = np.random.default_rng([*str(one).encode(), seed, *train.encode(), *test.encode()])
    return 0.6 + 0.05 * rng.normal()


def test_the_summary_pairs_cells_and_has_the_interval_of_the_protocol():
    found = invented(noisy, select_auc=lambda one: 0.9 if one.heads == "4" and one.C == "1.0" else 0.4)
    summary = found.summary()
    assert summary["select_auc"].is_monotonic_decreasing
    best = found.best()
    assert (best["heads"], best["C"]) == ("4", "1.0")
    cell, seeds = ["train", "select", "test"], found.table.groupby([*FACTORS, "train", "select", "test"])
    auc = seeds["auc"].mean().unstack(cell)
    gains = auc.loc[tuple(best[list(FACTORS)])] - auc.loc[tuple(vars(BASELINE).values())]
    pairs = gains.rename("value").groupby(["train", "test"]).mean().reset_index()
    pairs["train_cluster"], pairs["test_cluster"] = (pairs[side].map(found.families) for side in cell[::2])
    interval = two_way_interval(pairs)
    assert best["delta"] == pytest.approx(gains.mean())
    assert [best["delta_low"], best["delta_high"]] == pytest.approx([interval.low, interval.high])


def test_optimism_is_the_lead_of_the_best_by_test_over_the_choice_of_select_rows():
    found = invented(additive, select_auc=lambda one: 0.9 if one.heads == "4" else 0.4)
    optimism = found.optimism()
    auc = found.table.groupby(list(FACTORS))["auc"].mean()
    assert optimism.auc_by_test == pytest.approx(auc.max())
    assert optimism.difference == pytest.approx(auc.max() - auc[tuple(found.best()[list(FACTORS)])])
    assert optimism.difference > 0
    assert optimism.combinations == len(found.grid.combinations)
    assert optimism.lead > optimism.lead_by_luck  # every cell agrees on who is best
    assert f"{optimism.difference:+.3f}" in found.words


def test_among_equals_the_best_leads_by_luck_only():
    optimism = invented(noisy, C=(0.01, 0.1, 1.0)).optimism()
    assert 0 < optimism.lead < optimism.lead_by_luck


def test_choosing_on_every_split_takes_each_splits_own_best():
    found = invented(additive)
    table = found.table.copy()
    right = (table["select"] == "a") == (table["heads"] == "4")
    table["select_auc"] = np.where(right, 0.9, 0.1) + 0.01 * (table["C"] == "1.0")
    by_split = Ablation(table, found.grid, found.families, {}).optimism().auc_by_split
    chosen = table[
        table["select_auc"] == table.groupby(["train", "select", "seed"])["select_auc"].transform("max")
    ]
    first = chosen.drop_duplicates(["train", "select", "test", "seed"])
    assert by_split == pytest.approx(first["auc"].mean())


def test_known_names_are_all_accepted():
    grid = make_grid(HeadLayout(2, 2, 4), 16, {factor: names for factor, names in NAMED.items()})
    assert {c.heads for c in grid.combinations} == set(NAMED["heads"])
