"""The weighted AUC of candidates is scikit-learn's, by counts and by sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from interp.analysis import weighted_auc as module
from interp.analysis.weighted_auc import weighted_auc


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 20), st.booleans(), st.booleans())
def test_it_is_scikit_learns(seed, real, fakes, tied, grouped):
    rng = np.random.default_rng(seed)
    b, c, m = 2, 3, real + fakes
    fake = np.stack([rng.permutation(np.arange(m) < fakes) for _ in range(b)])
    scores = rng.normal(size=(b, c, m))
    scores = np.round(scores, 1) if tied else scores
    weight = rng.choice([0.0, 0.3, 2.0], size=(b, m)) if grouped else rng.uniform(size=(b, m))
    for row in range(b):  # a class without weight has no AUC
        weight[row, np.flatnonzero(fake[row])[0]] = weight[row, np.flatnonzero(~fake[row])[0]] = 1.0
    given_arrays = [torch.from_numpy(part) for part in (scores, fake, weight)]
    found = weighted_auc(*given_arrays).numpy()
    for i in range(b):
        expected = [roc_auc_score(fake[i], one, sample_weight=weight[i]) for one in scores[i]]
        np.testing.assert_allclose(found[i], expected, atol=1e-12)
    sums = [((weight * part).sum(1)) for part in (fake, ~fake)]
    other = module._by_sums(*given_arrays).numpy() / (2 * sums[0] * sums[1])[:, None]
    np.testing.assert_allclose(found, other, atol=1e-12)


def test_rows_without_weight_have_no_say():
    scores = torch.tensor([[[0.0, 1.0, 2.0, 9.0]]]).double()
    fake = torch.tensor([[False, True, True, False]])
    weight = torch.tensor([[1.0, 1.0, 1.0, 0.0]]).double()
    assert weighted_auc(scores, fake, weight).item() == pytest.approx(1.0)
