"""The scatter of direct against total effect: every head a point, names only where they may be given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interp.analysis.head_effects import MEASURES
from interp.errors import InputError
from interp.evaluation.effect_table import EffectTable
from interp.report.head_effects import effect_scatter


def table(noise: float) -> EffectTable:
    rng = np.random.default_rng(0)
    own, frames = rng.normal(size=(6, len(MEASURES))), []
    for train, select in ("ab", "ac", "ba", "bc", "ca", "cb"):
        for seed in range(2):
            frame = pd.DataFrame(own + noise * rng.normal(size=own.shape), columns=list(MEASURES))
            heads = [f"L{layer}.H{head}" for layer in range(2) for head in range(3)]
            frames.append(frame.assign(head=heads, train=train, select=select, seed=seed))
    return EffectTable(pd.concat(frames, ignore_index=True))


@pytest.mark.parametrize("unit", ["auc", "margin"])
def test_every_head_is_a_point_at_its_two_effects_and_axes_have_units(unit):
    one = table(0.01)
    axis = effect_scatter(one, unit).axes[0]
    points = np.asarray(axis.collections[0].get_offsets())
    np.testing.assert_allclose(points, one.summary[[f"direct_{unit}", f"total_{unit}"]])
    written = "AUC" if unit == "auc" else "log-odds"
    assert written in axis.get_xlabel() and written in axis.get_ylabel()


def test_names_stand_only_where_rankings_are_reliable():
    clear, noisy = table(0.01), table(50.0)
    shown = {text.get_text() for text in effect_scatter(clear).axes[0].texts}
    assert shown == {*clear.named("direct_auc"), *clear.named("total_auc")}
    assert not effect_scatter(noisy).axes[0].texts
    with pytest.raises(InputError, match="unknown unit"):
        effect_scatter(clear, "logit")
