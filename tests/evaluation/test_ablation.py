"""Cells of an ablation equal the estimators fitted by hand, choose nothing by test, and are never computed twice."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from planted_heads import plant
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score
from sklearn.preprocessing import StandardScaler, normalize

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.generator_erasure import GeneratorErasure
from interp.analysis.head_removal import HeadRemoval
from interp.analysis.head_selection import HeadSelection
from interp.detectors.linear import LinearDetector
from interp.errors import InputError
from interp.evaluation import ablation
from interp.evaluation.ablation import ablate
from interp.evaluation.arms import Arm
from interp.protocol.splits import Protocol

WIDTH = 6
FEW = {"heads": ("embedding", 1), "removal": "none", "C": (0.1,), "aggregate": ("concat", "vote")}
FEW |= {"normalise": ("standard", "l2"), "n_jobs": 1, "progress": False}


def planted_store(n: int = 60, shared: float = 1.5) -> SimpleNamespace:
    """Planted heads as a store: what `ablate` reads of one."""
    planted = plant(n=n, shared=shared)
    rng = np.random.default_rng(1)
    fold = rng.normal(size=(3, 4, 8, WIDTH))
    embedding = planted.X @ fold.reshape(-1, WIDTH) + rng.normal(size=(len(planted.X), WIDTH))
    kinds = {"heads": planted.X.astype(np.float32), "embedding": embedding.astype(np.float32)}
    kinds["embedding_and_heads"] = np.hstack([kinds["embedding"], kinds["heads"]])
    rows = planted.protocol.rows.assign(family=planted.generator)
    return SimpleNamespace(
        rows=rows,
        layout=planted.layout,
        key={"encoder": "planted"},
        readout=SimpleNamespace(folded=torch.from_numpy(fold)),
        features=kinds.__getitem__,
        fold=fold,
        y=planted.y,
        generator=planted.generator,
    )


@pytest.fixture(scope="module")
def store() -> SimpleNamespace:
    return planted_store()


@pytest.fixture(scope="module")
def protocol(store) -> Protocol:
    return Protocol.by_hand(store.rows, train="a", select="b", test="c", seeds=2)


def one_cell(store, protocol, **values) -> pd.Series:
    """The row of one combination on the first split."""
    found = ablate(store, protocol, **values, n_jobs=1, seeds=1, progress=False)
    return found.table[found.table["C"] != "select"].iloc[0]


def expected(store, protocol, X, score, threshold_of) -> dict[str, float]:
    split = protocol.splits[0]
    y, scores = store.y[split.test], score(X[split.test])
    return {
        "auc": roc_auc_score(y, scores),
        "average_precision": average_precision_score(y, scores),
        "balanced_accuracy": balanced_accuracy_score(y, scores > threshold_of),
    }


@pytest.mark.parametrize(
    ("values", "features", "transformer"),
    [
        ({"heads": "all", "aggregate": "concat"}, "heads", None),
        ({"heads": "embedding"}, "embedding", None),
        ({"heads": 2, "aggregate": "concat"}, "heads", lambda s: HeadSelection(s.layout, k=2)),
        (
            {"heads": "all", "aggregate": "sum"},
            "heads",
            lambda s: HeadSelection(s.layout, k="all", aggregate="sum", fold=s.fold),
        ),
        (
            {"heads": "best", "aggregate": "sum"},
            "heads",
            lambda s: HeadSelection(s.layout, aggregate="sum", fold=s.fold),
        ),
        ({"heads": "embedding", "removal": "coordinates"}, "embedding", lambda s: CoordinateRemoval()),
        (
            {"heads": "embedding", "removal": "heads"},
            "embedding_and_heads",
            lambda s: HeadRemoval(s.layout, s.fold),
        ),
    ],
    ids=["all", "embedding", "2 heads", "sum", "best", "coordinates", "head removal"],
)
def test_a_standardised_cell_is_the_arm_fitted_by_hand(store, protocol, values, features, transformer):
    X, split = store.features(features), protocol.splits[0]
    transformer = transformer and transformer(store)
    arm = Arm("by hand", features, transformer, LinearDetector(C=0.1)).fit(X, store.y, split, store.generator)
    chosen = {"aggregate": "concat", "removal": "none", "C": 0.1, "normalise": "standard", **values}
    cell = one_cell(store, protocol, **chosen)
    numbers = expected(store, protocol, X, arm.decision_function, arm.classifier.threshold_)
    for name, value in numbers.items():
        assert cell[name] == pytest.approx(value, abs=1e-9), name
    assert cell["select_auc"] == pytest.approx(arm.classifier.select_auc_, abs=1e-9)
    assert cell["n_features"] == len(arm.classifier.coef_)


def test_generators_are_erased_as_by_hand_where_three_train_or_select(protocol):
    values = {
        "heads": "embedding",
        "removal": "generators",
        "aggregate": "concat",
        "C": 0.1,
        "normalise": "standard",
    }
    store = planted_store()
    with pytest.raises(InputError, match="needs 3 generators"):
        one_cell(store, protocol, **values)
    store.generator[np.flatnonzero(store.generator == "b")[::2]] = "d"
    store.rows["generator"] = store.rows["family"] = store.generator
    four = Protocol.by_hand(store.rows, train=["a", "b"], select="c", test="d", seeds=1)
    X, split = store.features("embedding"), four.splits[0]
    arm = Arm("by hand", "embedding", GeneratorErasure(), LinearDetector(C=0.1))
    fitted = arm.fit(X, store.y, split, store.generator)
    cell = one_cell(store, four, **values)
    numbers = expected(store, four, X, fitted.decision_function, fitted.classifier.threshold_)
    assert cell["auc"] == pytest.approx(numbers["auc"], abs=1e-9)


@pytest.mark.parametrize("heads", [3, "all", "best"])
def test_a_vote_is_scored_as_it_is(store, protocol, heads):
    X, split = store.features("heads"), protocol.splits[0]
    k = {"k": heads} if heads != "best" else {}
    vote = HeadSelection(store.layout, aggregate="vote", **k)
    fitted = Arm("vote", "heads", vote).fit(X, store.y, split, store.generator)
    found = ablate(store, protocol, heads=heads, removal="none", aggregate="vote", seeds=1, n_jobs=1)
    row = found.table[found.table["aggregate"] == "vote"]
    assert len(row) == 1
    scores = fitted.transformer.transform(X[split.test])[:, 0]
    assert row["auc"].item() == pytest.approx(roc_auc_score(store.y[split.test], scores), abs=1e-9)
    assert row["n_features"].item() == 1


@pytest.mark.parametrize("normalise", ["none", "standard", "l2"])
def test_normalisation_is_scikit_learns_with_the_penalty_in_one_unit(store, protocol, normalise):
    split, C = protocol.splits[0], 0.5
    X = store.features("heads").astype(float)
    X = normalize(X) if normalise == "l2" else X
    train = X[split.train]
    if normalise == "standard":
        X = StandardScaler().fit(train).transform(X)
    unit = 1.0 if normalise == "standard" else train.var(0).mean()
    model = LogisticRegression(C=C / unit, class_weight="balanced", tol=1e-10, max_iter=10_000)
    model.fit(X[split.train], store.y[split.train])
    cell = one_cell(
        store, protocol, heads="all", removal="none", C=C, aggregate="concat", normalise=normalise
    )
    scores = model.decision_function(X[split.test])
    assert cell["auc"] == pytest.approx(roc_auc_score(store.y[split.test], scores), abs=1e-9)


def test_views_of_an_image_are_scored_as_their_mean(store):
    n, rng = len(store.rows), np.random.default_rng(2)
    rows = pd.concat([store.rows.assign(view_of=store.rows["group"], view=view) for view in (0, 1)])
    rows = rows.reset_index(drop=True)
    X = np.vstack([store.features("embedding")] * 2) + rng.normal(size=(2 * n, WIDTH))
    y, generator = np.tile(store.y, 2), np.tile(store.generator, 2)
    doubled = SimpleNamespace(**{**vars(store), "rows": rows, "features": {"embedding": X}.__getitem__})
    protocol = Protocol.by_hand(rows, train="a", select="b", test="c", seeds=1)
    (split,) = protocol
    values = {
        "heads": "embedding",
        "removal": "none",
        "C": 0.1,
        "aggregate": "concat",
        "normalise": "standard",
    }
    cell = one_cell(doubled, protocol, **values)
    fitted = Arm("by hand", "embedding", None, LinearDetector(C=0.1)).fit(X, y, split, generator)
    of_image = pd.Series(fitted.decision_function(X[split.test])).groupby(split.test % n).mean()
    assert cell["auc"] == pytest.approx(roc_auc_score(store.y[of_image.index], of_image), abs=1e-9)


def test_the_three_normalisations_differ(store, protocol):
    found = ablate(
        store, protocol, heads="all", removal="none", C=1, aggregate="concat", n_jobs=1, progress=False
    )
    of_all = found.table[found.table["heads"] == "all"]
    assert of_all.groupby("normalise")["auc"].mean().nunique() == 3


def test_one_good_head_beats_the_embedding():
    store = planted_store(n=150, shared=3.0)
    protocol = Protocol.pairs(store.rows, min_train=50, seeds=1)
    found = ablate(store, protocol, **FEW)
    best = found.best()
    assert best["heads"] == "1"
    assert 0.1 < best["delta_low"] < best["delta"]
    assert found.interval_over == "other train and test families"
    assert found.optimism().difference >= 0


def test_a_run_that_was_cut_off_goes_on_and_gives_the_same_table(store, protocol, tmp_path, monkeypatch):
    whole = ablate(store, protocol, **FEW)
    calls, real = [], ablation.split_cells

    def dies_on_the_second(split, *rest):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(split.seed)
        return real(split, *rest)

    monkeypatch.setattr(ablation, "split_cells", dies_on_the_second)
    with pytest.raises(KeyboardInterrupt):
        ablate(store, protocol, **FEW, folder=tmp_path)
    again = []
    monkeypatch.setattr(ablation, "split_cells", lambda split, *rest: again.append(1) or real(split, *rest))
    resumed = ablate(store, protocol, **FEW, folder=tmp_path)
    assert len(again) == 1
    pd.testing.assert_frame_equal(resumed.table, whole.table)
    pd.testing.assert_frame_equal(ablate(store, protocol, **FEW, folder=tmp_path).table, whole.table)
    assert len(again) == 1


def test_a_folder_of_other_settings_is_refused(store, protocol, tmp_path):
    ablate(store, protocol, **FEW, folder=tmp_path)
    with pytest.raises(InputError, match=r"combinations.*Use another"):
        ablate(store, protocol, **{**FEW, "C": 2.0}, folder=tmp_path)
    other = Protocol.by_hand(store.rows, train="a", select="b", test="c", seeds=2, random_state=7)
    with pytest.raises(InputError, match="rows"):
        ablate(store, other, **FEW, folder=tmp_path)


def test_neither_processes_nor_order_change_the_table(store, protocol):
    table = ablate(store, protocol, **FEW).table
    turned = {name: values[::-1] for name, values in FEW.items() if isinstance(values, tuple)}
    assert turned["heads"] == (1, "embedding")
    pd.testing.assert_frame_equal(ablate(store, protocol, **{**FEW, **turned}).table, table)
    pd.testing.assert_frame_equal(
        ablate(store, protocol, **{**FEW, "n_jobs": 2}).table, table, rtol=1e-9, check_exact=False
    )


def test_test_labels_choose_nothing(store):
    protocol = Protocol.by_hand(store.rows, train="a", select="b", test="c", seeds=1)
    values = {"heads": ("embedding", 2, "best"), "aggregate": ("concat", "vote"), "n_jobs": 1}
    values["progress"] = False
    true = ablate(store, protocol, **values).table
    (split,) = protocol
    rows = store.rows.copy()
    labels = rows["label"].to_numpy().copy()
    labels[split.test] = np.random.default_rng(0).permutation(labels[split.test])
    rows["label"] = labels
    wrong = ablate(SimpleNamespace(**{**vars(store), "rows": rows}), protocol, **values).table
    chosen = ["heads", "removal", "C", "aggregate", "normalise", "select_auc", "n_features"]
    pd.testing.assert_frame_equal(true[chosen], wrong[chosen])
    assert (true["auc"] - wrong["auc"]).abs().max() > 0.1


def test_seeds_are_those_of_the_protocol(store, protocol):
    assert set(ablate(store, protocol, **FEW, seeds=1).table["seed"]) == {0}
    assert set(ablate(store, protocol, **FEW, seeds=[1]).table["seed"]) == {1}
    with pytest.raises(InputError, match="unknown seed of the protocol '2'"):
        ablate(store, protocol, **FEW, seeds=3)
    with pytest.raises(InputError, match="names none"):
        ablate(store, protocol, **FEW, seeds=[])


def test_an_estimate_comes_before_the_work(store, protocol, capsys, tmp_path):
    ablate(store, protocol, **{**FEW, "progress": True}, folder=tmp_path)
    printed = capsys.readouterr().out
    assert "8 combinations asked for, 6 to compute" in printed
    assert "6 combinations × 2 splits" in printed
    assert f"MB into {tmp_path}" in printed
    assert "by the first split" in printed
