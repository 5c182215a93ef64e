"""Nothing is claimed that its interval, its Holm-adjusted p or one of its nulls does not support."""

from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from interp.evaluation.claims import claims, may_be_claimed

number = st.floats(-0.2, 0.2, allow_nan=False)


def tables(delta: float, half: float, p: float, highs: list[float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    row = {"delta_to_embedding": delta, "delta_low": delta - half, "delta_high": delta + half, "p_holm": p}
    row |= {"delta_without_it": 0.5 * delta, "carried_by": "one"}
    row |= {"delta_generators_low": delta - 3 * half, "delta_generators_high": delta + 3 * half}
    nulls = pd.DataFrame({"arm": "heads", "null": [f"null {i}" for i in range(len(highs))], "high": highs})
    return pd.DataFrame([row], index=["heads"]), nulls


@given(number, st.floats(0.001, 0.1), st.floats(0, 1), st.lists(number, min_size=1, max_size=4))
def test_a_claim_needs_interval_holm_and_every_null(delta, half, p, highs):
    summary, nulls = tables(delta, half, p, highs)
    sentence = claims(summary, nulls)["heads"]
    supported = delta - half > 0 and p < 0.05 and delta > max(highs)
    assert may_be_claimed(summary.loc["heads"], nulls) == supported
    assert ("above all its nulls" in sentence) == supported
    if delta - half > 0 and p < 0.05 and not supported:
        assert "nulls gain as much" in sentence
    if supported and delta - 3 * half <= 0:
        assert "for these generators only" in sentence


@given(number, st.floats(0.001, 0.1), st.floats(0, 1), st.lists(number, max_size=3))
def test_under_a_warning_nothing_is_claimed(delta, half, p, highs):
    summary, nulls = tables(delta, half, p, highs)
    assert not may_be_claimed(summary.loc["heads"], nulls, warned=True)
    assert "it may be claimed" not in claims(summary, nulls, warned=True)["heads"]


@given(number, st.floats(0.001, 0.1), st.floats(0, 1), st.lists(number, max_size=3))
def test_what_a_placebo_could_explain_is_not_claimed(delta, half, p, highs):
    summary, nulls = tables(delta, half, p, highs)
    doubt = "through 128 px (AUC 0.70, plain 0.55)"
    assert not may_be_claimed(summary.loc["heads"], nulls, doubt=doubt)
    sentence = claims(summary, nulls, doubts={"heads": doubt})["heads"]
    assert "it may be claimed" not in sentence
    assert (doubt in sentence) == may_be_claimed(summary.loc["heads"], nulls)
    assert claims(summary, nulls, doubts={"another": doubt}) == claims(summary, nulls)


def test_a_loss_is_called_one():
    summary, nulls = tables(-0.1, 0.02, 0.001, [0.0])
    assert "worse on these generators" in claims(summary, nulls)["heads"]
