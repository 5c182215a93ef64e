"""Measures of heads: planted effects come out, and unreliable rankings name nobody."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from interp.analysis.head_effects import MEASURES
from interp.errors import InputError
from interp.evaluation.effect_table import EffectTable

HEADS = [f"L{layer}.H{head}" for layer in range(5) for head in range(4)]


def per_split(
    seed: int = 0, noise: float = 0.1, of_layer: float = 0.0, generators: str = "abc"
) -> pd.DataFrame:
    """Effects of 20 heads on every ordered pair of generators and two seeds: a head's own, a layer's, and noise."""
    rng = np.random.default_rng(seed)
    own = (1 - of_layer) * rng.normal(size=(20, len(MEASURES))) + of_layer * np.repeat(np.arange(5), 4)[
        :, None
    ]
    frames = []
    for train in generators:
        for select in generators.replace(train, ""):
            for number in range(2):
                frame = pd.DataFrame(own + noise * rng.normal(size=own.shape), columns=list(MEASURES))
                frames.append(frame.assign(head=HEADS, train=train, select=select, seed=number))
    return pd.concat(frames, ignore_index=True)


def test_the_summary_is_the_mean_over_choices_with_an_interval_around_it():
    table = EffectTable(per_split())
    summary = table.summary.set_index("head")
    assert list(summary.index) == HEADS
    expected = table.per_split.groupby("head")["direct_auc"].mean()
    np.testing.assert_allclose(summary["direct_auc"], expected[HEADS])
    assert (summary["direct_auc_low"] <= summary["direct_auc"]).all()
    assert (summary["direct_auc"] <= summary["direct_auc_high"]).all()
    assert summary["direct_auc_rank"].idxmin() == summary["direct_auc"].idxmax()
    assert sorted(summary["total_auc_rank"]) == list(range(1, 21))


def test_reliability_is_the_mean_rank_correlation_between_seeds_and_between_select_generators():
    table = EffectTable(per_split(noise=2.0))
    by_seed = table.per_split.pivot_table(index="head", columns="seed", values="total_margin")
    by_select = table.per_split.pivot_table(index="head", columns="select", values="total_margin")
    found = table.reliability.loc["total_margin"]
    assert found["over_seeds"] == pytest.approx(spearmanr(by_seed[0], by_seed[1]).statistic)
    pairs = [spearmanr(by_select[a], by_select[b]).statistic for a, b in ("ab", "ac", "bc")]
    assert found["over_generators"] == pytest.approx(np.mean(pairs))


def test_reliable_rankings_name_heads_noise_names_nobody_and_what_only_layers_share_names_layers():
    clear = EffectTable(per_split(noise=0.05))
    assert clear.named("direct_auc") == tuple(clear.summary.nlargest(3, "direct_auc")["head"])
    for seed in range(5):
        assert EffectTable(per_split(seed, noise=50.0)).named("direct_auc") == ()
    layers = EffectTable(per_split(noise=2.5, of_layer=1.0, generators="abcd"))
    heads = layers.reliability[["over_seeds", "over_generators"]].min(axis=1)
    assert (heads < 0.7).any()
    measure = heads.idxmin()
    assert layers.named(measure, 2) == ("L4", "L3")
    with pytest.raises(InputError, match="unknown measure"):
        clear.named("auc")


def test_one_seed_or_one_select_generator_names_nobody():
    whole = per_split(noise=0.01)
    for part in (whole[whole["seed"] == 0], whole[(whole["select"] == "b") & (whole["train"] == "a")]):
        table = EffectTable(part.reset_index(drop=True))
        assert table.named("total_auc") == ()
        assert any("no head and no layer is named" in sentence for sentence in table.sentences())


def test_what_is_said_names_no_head_where_no_head_may_be_named():
    noisy = " ".join(EffectTable(per_split(noise=50.0)).sentences())
    assert not any(head in noisy for head in HEADS)
    clear = EffectTable(per_split(noise=0.05))
    assert all(head in " ".join(clear.sentences()) for head in clear.named("total_auc"))


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
def test_agreement_is_a_rank_correlation_inside_its_interval(seed, scale):
    frame = per_split(seed, noise=0.5)
    frame["total_auc"] = scale * frame["direct_auc"] ** 3
    same = frame.assign(total_auc=frame["direct_auc"])
    exact = EffectTable(same).agreement("auc")
    assert (exact.spearman, exact.low, exact.high, exact.median_difference) == pytest.approx((1, 1, 1, 0))
    pair = EffectTable(frame).agreement("auc")
    means = (
        frame.groupby(["train", "select", "head"])[["direct_auc", "total_auc"]].mean().groupby("head").mean()
    )
    assert pair.spearman == pytest.approx(spearmanr(means["direct_auc"], means["total_auc"]).statistic)
    assert pair.low <= pair.high and pair.splits == 6
    gap = (means["direct_auc"] - means["total_auc"]).abs()
    assert pair.median_difference == pytest.approx(gap.median())
    assert pair.worst.iloc[0] == pytest.approx(gap.max()) and pair.worst.index[0] == gap.idxmax()


def test_other_tables_and_units_are_refused():
    with pytest.raises(InputError, match="lacks direct_auc"):
        EffectTable(per_split().drop(columns="direct_auc"))
    with pytest.raises(InputError, match="unknown unit"):
        EffectTable(per_split()).agreement("logit")
