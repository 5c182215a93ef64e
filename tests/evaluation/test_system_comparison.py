"""One protocol for all systems: the same numbers as by hand, reasons in place of blanks, resumed cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from interp.detectors.linear import LinearDetector
from interp.detectors.semantic_removal import SemanticRemoval
from interp.detectors.systems import make_system
from interp.errors import InputError
from interp.evaluation.placebos import Placebo, placebo_panel
from interp.evaluation.system_arms import SystemArm
from interp.evaluation.system_comparison import compare_systems
from interp.features.store import FeatureStore
from interp.main_job import make_protocol
from interp.protocol.metrics import auc


class MeanDifference:
    """The smallest system that there is."""

    def fit(self, X, y):
        self.coef_ = X[y == 1].mean(0) - X[y == 0].mean(0)
        return self

    def decision_function(self, X):
        return X @ self.coef_


@pytest.fixture(scope="module")
def compared(small_run, tmp_path_factory):
    store = FeatureStore(small_run.folder / "store")
    names = {"train": ["simulated-nearest"], "select": ["simulated-smooth"]}
    names["test"] = ["simulated-palette", "simulated-spectral"]
    protocol = make_protocol(store, protocol="by-hand", seeds=2, **names)
    systems = {
        "embedding": LinearDetector(),
        "mean": MeanDifference(),
        "rine": make_system("rine", store).set_params(hidden=8, steps=5),
        "too many": SemanticRemoval(np.eye(3)),
        "no text": InputError("needs texts="),
    }
    options = {"n_resamples": 50, "progress": False, "laundered": {"same": store}}
    folder = tmp_path_factory.mktemp("compared")
    return (
        store,
        protocol,
        systems,
        options,
        folder,
        compare_systems(store, protocol, systems, folder=folder, **options),
    )


def test_cells_are_what_fitting_by_hand_gives(compared):
    store, protocol, _, _, _, found = compared
    X, y = store.features("embedding"), (store.rows["label"] == "fake").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy()
    by_hand = []
    for split in protocol:
        rows = split.test[(y[split.test] == 0) | (generator[split.test] == "simulated-palette")]
        model = MeanDifference().fit(X[split.train], y[split.train])
        by_hand.append(auc(y[rows], model.decision_function(X[rows])))
    cell = (found.cells.table["test"] == "simulated-palette").to_numpy()
    assert found.cells.auc[cell, found.cells.arms.index("mean")][0] == pytest.approx(np.mean(by_hand))


def test_the_table_has_gains_costs_and_a_reason_for_each_blank(compared):
    *_, found = compared
    table = found.table()
    assert list(table.index) == ["embedding", "mean", "rine", "too many", "no text"]
    assert (
        table.loc["no text", "reason"] == "needs texts="
        and "texts must be" in table.loc["too many", "reason"]
    )
    measured = table[table["reason"] == ""]
    assert measured["mean_ood_auc"].notna().all() and (measured["trainable"] > 0).all()
    assert (measured[["fit_seconds", "score_seconds"]] > 0).all().all()
    assert table.loc["rine", "trainable"] > 500
    gain = table.loc["mean", "mean_ood_auc"] - table.loc["embedding", "mean_ood_auc"]
    assert table.loc["mean", "delta_to_embedding"] == pytest.approx(gain)
    np.testing.assert_allclose(measured["laundered_auc"], measured["mean_ood_auc"])  # "laundered" by nothing


def test_a_second_run_fits_nothing_again_and_takes_more_systems(compared, monkeypatch):
    store, protocol, systems, options, folder, first = compared
    monkeypatch.setattr(MeanDifference, "fit", lambda *_: pytest.fail("was fitted again"))
    more = {**systems, "other": LinearDetector(C=0.01)}
    again = compare_systems(store, protocol, more, folder=folder, **options)
    np.testing.assert_array_equal(again.cells.auc[:, :3], first.cells.auc)
    assert again.cells.arms[-1] == "other"


def test_other_settings_are_refused_and_what_is_finished_stays(compared):
    store, protocol, systems, options, folder, _ = compared
    kept = sorted(folder.rglob("*.npz"))
    with pytest.raises(InputError, match="made with other settings"):
        compare_systems(
            store, protocol, {**systems, "embedding": LinearDetector(C=1)}, folder=folder, **options
        )
    with pytest.raises(InputError, match="made with other settings; laundered"):
        compare_systems(store, protocol, systems, folder=folder, **{**options, "laundered": None})
    assert sorted(folder.rglob("*.npz")) == kept
    with pytest.raises(InputError, match="name it 'embedding'"):
        compare_systems(store, protocol, {"mean": MeanDifference()})


def test_copies_are_fitted_on_and_never_scored(compared):
    store, protocol, *_ = compared
    seen = []

    class Counting(MeanDifference):
        def fit(self, X, y):
            seen.append(len(X))
            return super().fit(X, y)

    options = {"n_resamples": 10, "progress": False}
    systems = {"embedding": LinearDetector(C=0.01), "counting": Counting()}
    for copies in ((), (store, store)):
        found = compare_systems(store, protocol, systems, copies=copies, **options)
        assert len(found.cells.table) >= 2
    plain, doubled = np.reshape(seen, (2, -1))
    np.testing.assert_array_equal(doubled, 3 * plain)


def test_systems_are_asked_about_photographs_alone(compared, small_run):
    store, protocol, systems = compared[:3]
    altered = FeatureStore(small_run.folder / "altered" / "through-128")
    arms = [SystemArm(name, systems[name]) for name in ("embedding", "mean", "rine")]
    panel = placebo_panel(
        store, protocol, arms, [Placebo("small", altered)], n_resamples=20, n_jobs=1, progress=False
    )
    assert panel["arm"].tolist() == ["embedding", "mean", "rine"]
    X, y = store.features("embedding"), (store.rows["label"] == "fake").to_numpy().astype(int)
    by_hand = []
    for split in protocol:
        rows = split.test[y[split.test] == 0]
        model = MeanDifference().fit(X[split.train], y[split.train])
        after = altered.features("embedding")[altered.rows.index.get_indexer(store.rows.index[rows])]
        scores = np.concatenate([model.decision_function(X[rows]), model.decision_function(after)])
        by_hand.append(auc(np.repeat([0, 1], len(rows)), scores))
    assert panel["auc"].iloc[1] == pytest.approx(np.mean(by_hand), abs=1e-9)
