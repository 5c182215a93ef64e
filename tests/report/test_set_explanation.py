"""A store's real-fake difference, part by part, as one call gives and draws it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interp.detectors.detector import load_detector
from interp.errors import InputError
from interp.explain.parts import head_differences
from interp.report.set_explanation import explain_set


@pytest.fixture(scope="module")
def told(small_run):
    store = small_run.result.store
    detector = load_detector(small_run.folder / "detectors" / "embedding")
    return store, detector, explain_set(store, detector, n_resamples=50)


def test_parts_sum_to_the_difference_of_the_scores(told):
    store, detector, why = told
    scores, generator = detector.score(store)["score"].to_numpy(), store.rows["generator"].to_numpy()
    real = scores[generator == "real"].mean()
    for name in why.generators[1:]:
        parts = why.parts(name)
        assert parts["difference"].drop("logit").sum() == pytest.approx(
            parts.loc["logit", "difference"], abs=1e-9
        )
        assert parts.loc["logit", "difference"] == pytest.approx(
            scores[generator == name].mean() - real, abs=0.02
        )
    assert why.heads().shape == (store.layout.layers, store.layout.heads)
    np.testing.assert_allclose(
        why.heads(), np.mean([why.heads(name) for name in why.generators[1:]], axis=0), atol=1e-12
    )


def test_it_is_written_drawn_and_shown(told, tmp_path):
    store, detector, why = told
    saved = pd.read_csv(why.save(tmp_path) / "differences.csv")
    pd.testing.assert_frame_equal(saved, head_differences(store, detector, n_resamples=50))
    assert (tmp_path / "differences.png").stat().st_size > 10_000
    whole = why.parts().loc["logit", "difference"]
    assert f"{whole:+.2f}" in repr(why) and "data:image/png" in why._repr_html_()
    assert [axis.get_title() for axis in why.figure("simulated-palette").axes][:2] == [
        "Largest parts",
        "Heads",
    ]


def test_other_stores_and_generators_are_refused(told):
    store, detector, why = told
    with pytest.raises(InputError, match="did you mean 'simulated-palette'"):
        why.parts("simulated-palete")
    other = type(detector)(**{**vars(detector), "key": {**detector.key, "equalize": "64:75"}})
    with pytest.raises(InputError, match="equalize"):
        explain_set(store, other)
