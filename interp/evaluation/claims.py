"""What may be said: a gain is claimed only above its nulls and with intervals that leave out zero."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from interp.evaluation.summary import BASELINE

LEVEL = 0.05


def claims(
    summary: pd.DataFrame,
    nulls: pd.DataFrame,
    *,
    warned: bool = False,
    doubts: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """One sentence for each arm but the baseline.

    Args:
        summary: what `summarise` gave.
        nulls: what `null_table` gave: arm, null, high.
        warned: files or resampling history could explain the result; then nothing is claimed.
        doubts: by arm, the placebos that could explain its gain; see `interp.evaluation.placebos.placebo_doubts`.
    """
    doubts, said = doubts or {}, {}
    for arm in summary.index.drop(BASELINE, errors="ignore"):
        own = nulls[nulls["arm"] == arm]
        said[arm] = _sentence(arm, summary.loc[arm], own, warned, doubts.get(arm, ""))
    return said


def may_be_claimed(row: pd.Series, nulls: pd.DataFrame, *, warned: bool = False, doubt: str = "") -> bool:
    """True for a gain whose interval over images is above 0 after Holm, and that exceeds 95 % of every null.

    Never where files, resampling history or a placebo (`doubt`) could explain it.
    """
    above_nulls = (row["delta_to_embedding"] > nulls["high"]).all()
    return bool(not warned and not doubt and row["delta_low"] > 0 and row["p_holm"] < LEVEL and above_nulls)


def _sentence(arm: str, row: pd.Series, nulls: pd.DataFrame, warned: bool, doubt: str) -> str:
    gain = (
        f"{arm}: {row['delta_to_embedding']:+.3f} AUC to the plain embedding "
        f"[{row['delta_low']:+.3f}, {row['delta_high']:+.3f}]"
    )
    if row["delta_high"] < 0 and row["p_holm"] < LEVEL:
        return f"{gain}: worse on these generators."
    if row["delta_low"] <= 0 or row["p_holm"] >= LEVEL:
        p = f"Holm p {row['p_holm']:.2f}"
        return f"{gain}: no difference that other images of these generators would be sure to show ({p})."
    gain = f"{gain}, {row['delta_without_it']:+.3f} without {row['carried_by']}"
    as_good = nulls[nulls["high"] >= row["delta_to_embedding"]]
    if len(as_good):
        named = ", ".join(
            f"{null} {high:+.3f}" for null, high in zip(as_good["null"], as_good["high"], strict=True)
        )
        return (
            f"{gain}: a gain, but its nulls gain as much (95th percentile: {named}); "
            "not to be claimed for the choice made."
        )
    if warned:
        return f"{gain}: a gain that the warning above could explain; not to be claimed."
    if doubt:
        return f"{gain}: a gain that a placebo could explain, {doubt}; not to be claimed."
    what = "a gain above all its nulls" if len(nulls) else "a gain; nothing was chosen, so it has no null"
    return f"{gain}: {what}; {_elsewhere(row)}."


def _elsewhere(row: pd.Series) -> str:
    """What a gain says of generators that were not measured."""
    low, high = row["delta_generators_low"], row["delta_generators_high"]
    if not np.isfinite(low):
        return "there are too few families to say what other generators would show"
    claim = "for generators like these too" if low > 0 else "for these generators only"
    return f"over other generators [{low:+.3f}, {high:+.3f}], so it may be claimed {claim}"
