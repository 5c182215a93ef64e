"""Where an arm gains and where it loses: its difference to the plain embedding on every test generator."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interp.evaluation.cells import IN_DISTRIBUTION, Cells
from interp.evaluation.summary import BASELINE
from interp.protocol.intervals import holm, two_sided_p


def gains_by_generator(cells: Cells) -> pd.DataFrame:
    """The gain of every arm on every unseen generator, train and select generators and seeds averaged.

    Args:
        cells: with the plain embedding among the arms.

    Returns:
        A row for each arm but the plain embedding and each test generator: arm, test, gain (AUC), low, high (95 %
        over images, one joint resample, detectors fixed), p (two-sided, of the resamples), p_holm (over all rows of
        this table), n_fake.
    """
    base = cells.arms.index(BASELINE)
    test = cells.table["test"].to_numpy()
    rows = []
    for name in sorted(set(test) - {IN_DISTRIBUTION}):
        chosen = test == name
        gain, low, high = cells.gain(chosen, base)
        drawn = cells.resampled[:, chosen].mean(1)
        gains = drawn - drawn[:, [base]]
        p, n_fake = two_sided_p(gains), cells.table.loc[chosen, "n_fake"].mean()
        for column, arm in enumerate(cells.arms):
            if column != base:
                rows.append([arm, name, gain[column], low[column], high[column], p[column], n_fake])
    found = pd.DataFrame(rows, columns=["arm", "test", "gain", "low", "high", "p", "n_fake"])
    found.insert(6, "p_holm", holm(found["p"]) if len(found) else np.empty(0))
    order = {arm: place for place, arm in enumerate(cells.arms)}
    return found.sort_values(
        ["arm", "test"], key=lambda c: c.map(order) if c.name == "arm" else c, ignore_index=True
    )
