"""Curves tell what laundering does: planted heads that break and that last, and every number against scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.head_selection import HeadSelection
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.evaluation.arms import Arm
from interp.evaluation.head_robustness import head_means, head_robustness
from interp.evaluation.joint_scores import JointScores
from interp.evaluation.robustness import FITTED, Robustness, robustness_curves
from interp.evaluation.robustness_cells import SMALL
from interp.evaluation.robustness_curves import ALL_LAUNDERINGS, ALL_SETS
from interp.protocol.splits import Protocol
from interp.report.robustness_tables import robustness_markdown

LAYOUT = HeadLayout(1, 2, 2)
BREAKS, LASTS = "L0.H0", "L0.H1"
SIZES = {"real": 300, "glide": 140, "dalle2": 140, "attngan": 140, "vqdm": 40}


@dataclass
class Planted:
    """Stands for a feature store: the same rows, other features."""

    rows: pd.DataFrame
    values: np.ndarray
    launder: str = "none"
    usable: np.ndarray = field(default_factory=lambda: np.empty(0))
    name: str = "planted"

    def __post_init__(self) -> None:
        self.usable = np.ones(len(self.rows), bool) if not len(self.usable) else self.usable

    @property
    def key(self) -> dict[str, Any]:
        seed = {} if self.launder == "none" else {"laundering_seed": 0}
        return {"encoder": self.name, "laundering": self.launder, **seed, "libraries": {"torch": "2"}}

    @property
    def layout(self) -> HeadLayout:
        return LAYOUT

    def features(self, kind: str) -> np.ndarray:
        return self.values


def planted() -> dict[str, Planted]:
    """Head 0 tells clean fakes best and nothing when laundered; head 1 tells both, less well."""
    rng = np.random.default_rng(0)
    generator = np.repeat(list(SIZES), list(SIZES.values()))
    rows = pd.DataFrame({"generator": generator, "label": np.where(generator == "real", "real", "fake")})
    rows["group"] = rows.index.astype(str)
    fake = (generator != "real").astype(float)
    lasting = rng.normal(size=(len(rows), 2)) + 1.2 * fake[:, None]

    def one(launder: str, signal: float) -> Planted:
        breaking = rng.normal(size=(len(rows), 2)) + signal * fake[:, None]
        return Planted(rows, np.hstack([breaking, lasting]).astype(np.float32), launder)

    return {
        "clean": one("none", 2.5),
        "jpeg:50": one("jpeg:50", 1.0),
        "jpeg:30": one("jpeg:30", 0.0),
        "copy": one("jpeg:20-60", 0.0),
    }


ARMS = [Arm("all", "heads"), Arm("one", "heads", HeadSelection(LAYOUT, k=1))]


@pytest.fixture(scope="module")
def stores() -> dict[str, Planted]:
    return planted()


@pytest.fixture(scope="module")
def protocol(stores: dict[str, Planted]) -> Protocol:
    rows = stores["clean"].rows
    return Protocol.by_hand(
        rows, "glide", "dalle2", ["attngan", "vqdm"], seeds=2, fractions=(0.15, 0.15, 0.7)
    )


@pytest.fixture(scope="module")
def found(stores: dict[str, Planted], protocol: Protocol) -> Robustness:
    return curves(stores, protocol, copies=[stores["copy"]], n_resamples=100)


def curves(stores: dict[str, Any], protocol: Protocol, arms: Any = ARMS, **options: Any) -> Robustness:
    laundered = {name: stores[name] for name in ("jpeg:50", "jpeg:30")}
    return robustness_curves(stores["clean"], laundered, protocol, arms, n_jobs=1, progress=False, **options)  # type: ignore[arg-type]


def at(found: Robustness, metric: str = "auc", test: str = "attngan") -> pd.DataFrame:
    table = found.curves.query("metric == @metric and test == @test")
    return table.set_index(["arm", "fitted", "laundering"]).sort_index()


def test_what_breaks_and_what_lasts_is_told(found: Robustness) -> None:
    table = at(found)
    for arm in ("all", "one"):
        clean = table.loc[(arm, "clean")]
        assert clean.loc[["clean", "jpeg:50", "jpeg:30"], "severity"].tolist() == [0, 50, 70]
        assert (
            clean.loc["clean", "value"] > 0.97 > clean.loc["jpeg:50", "value"] > clean.loc["jpeg:30", "value"]
        )
        assert clean.loc["jpeg:30", "change_high"] < 0
    assert (
        table.loc[("one", "clean", "jpeg:30"), "low"] < 0.5 < table.loc[("one", "clean", "jpeg:30"), "high"]
    )
    for fitted in FITTED[1:]:
        lasting = table.loc[("one", fitted)]
        assert lasting["value"].between(0.8, 0.97).all() and lasting["change"].abs().max() < 1e-6
        assert lasting.loc["jpeg:30", "gain_low"] > 0 > lasting.loc["clean", "gain_high"]
    assert table.loc[("all", "trained on copies", "jpeg:30"), "gain_low"] > 0


def test_heads_are_chosen_on_select_rows_by_what_they_are_shown(found: Robustness) -> None:
    named = found.choices[found.choices["arm"] == "one"].groupby("fitted")["named"].unique()
    assert named["clean"].tolist() == [BREAKS]
    assert named["chosen on copies"].tolist() == named["trained on copies"].tolist() == [LASTS]


def test_every_number_is_that_of_scikit_learn_at_the_clean_threshold(stores, protocol) -> None:
    one = Protocol(protocol.rows, protocol.splits[:1])
    table = at(curves(stores, one, n_resamples=3))["value"]
    split, y = one.splits[0], (stores["clean"].rows["label"] != "real").to_numpy().astype(int)
    generator = stores["clean"].rows["generator"].to_numpy().astype(str)
    fitted = ARMS[0].fit(stores["clean"].values, y, split, generator)
    rows = split.test[np.isin(generator[split.test], ["real", "attngan"])]
    clean, laundered = (fitted.decision_function(stores[name].values[rows]) for name in ("clean", "jpeg:30"))
    assert table["all", "clean", "jpeg:30"] == pytest.approx(roc_auc_score(y[rows], laundered), abs=1e-6)
    whole = curves(stores, one, n_resamples=3)
    threshold = whole.choices.query("arm == 'all'")["threshold"].item()
    value = {m: at(whole, m)["value"]["all", "clean", "jpeg:30"] for m in whole.curves["metric"].unique()}
    called = laundered > threshold
    assert value["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y[rows], called), abs=1e-6)
    assert value["accuracy_fakes"] == pytest.approx(called[y[rows] == 1].mean(), abs=1e-6)
    assert value["accuracy_photographs"] == pytest.approx((~called)[y[rows] == 0].mean(), abs=1e-6)
    flips = called != (clean > threshold)
    expected = (flips[y[rows] == 0].mean() + flips[y[rows] == 1].mean()) / 2
    assert value["flip_rate"] == pytest.approx(expected, abs=1e-6) and expected > 0.05
    assert 0 < value["tpr_at_5pct_fpr"] < 1 and np.isnan(value["tpr_at_1pct_fpr"])  # 210 photographs


def test_nothing_changes_on_clean_images_and_intervals_hold_the_value(found: Robustness) -> None:
    clean = found.curves.query("laundering == 'clean'")
    assert np.nan_to_num(clean[["change", "change_low", "change_high"]].to_numpy()).max() == 0
    assert (clean.query("metric == 'flip_rate'")["value"] == 0).all()
    plain = found.curves.query("arm == 'all' and fitted == 'clean'")
    assert np.nan_to_num(plain["gain"].to_numpy()).max() == 0
    known = found.curves.dropna(subset=["value"])
    assert ((known["low"] <= known["value"] + 1e-9) & (known["value"] <= known["high"] + 1e-9)).mean() > 0.97


def test_refit_is_the_gain_over_the_same_arm_fitted_on_clean_images(found: Robustness) -> None:
    table = at(found)
    plain = found.curves.query("fitted == 'clean'")[["refit", "refit_low", "refit_high"]]
    assert np.nan_to_num(plain.to_numpy()).max() == 0
    for fitted in FITTED[1:]:
        for arm in ("all", "one"):
            expected = table.loc[(arm, fitted), "value"] - table.loc[(arm, "clean"), "value"]
            assert np.allclose(table.loc[(arm, fitted), "refit"], expected, atol=1e-6)
    one = table.loc[("one", "chosen on copies")]
    assert one.loc["jpeg:30", "refit_low"] > 0.2 and one.loc["clean", "refit_high"] < 0
    text = robustness_markdown(found)
    assert "| one, chosen on copies | -" in text and "to itself fitted on clean images" in found.words


def test_small_sets_are_one_secondary_row(found: Robustness) -> None:
    tests = set(found.curves["test"])
    assert tests == {"attngan", SMALL, "(in distribution)", ALL_SETS}
    together, alone = (at(found, test=name)["value"] for name in (ALL_SETS, "attngan"))
    assert np.array_equal(together, alone)  # the only generator with 100 images
    sizes = found.curves.query("test == @SMALL")[["n_real", "n_fake"]].drop_duplicates()
    assert sizes["n_real"].item() == 210 and 20 < sizes["n_fake"].item() <= 40
    over = at(found).xs(ALL_LAUNDERINGS, level="laundering")["value"]
    mean = at(found)["value"].unstack("laundering")[["jpeg:50", "jpeg:30"]].mean(axis=1)
    pd.testing.assert_series_equal(over.sort_index(), mean.sort_index(), check_names=False)


def test_images_that_a_laundering_cannot_take_are_left_out_everywhere(stores, protocol) -> None:
    bad = protocol.splits[0].test[:5]
    broken = Planted(stores["jpeg:30"].rows, stores["jpeg:30"].values.copy(), "jpeg:30")
    broken.usable[bad], broken.values[bad] = False, np.nan
    one = Protocol(protocol.rows, protocol.splits[:1])
    found = curves({**stores, "jpeg:30": broken}, one, n_resamples=3)
    assert found.left_out == 5 and "5 test images" in found.words
    assert found.curves.query("metric == 'auc'")["value"].notna().all()
    assert found.curves.query("test == 'attngan'")["n_real"].iloc[0] == 205


def test_sentences_say_what_was_gained_and_lost(found: Robustness) -> None:
    lines = found.words.splitlines()
    assert len(lines) == len(ARMS) * len(FITTED)
    assert lines[0].startswith("all, fitted clean: AUC 0.9") and "least under jpeg:30" in lines[0]


def test_detectors_together_score_as_they_do_alone(stores, protocol) -> None:
    split, y = protocol.splits[0], (stores["clean"].rows["label"] != "real").to_numpy().astype(int)
    generator = stores["clean"].rows["generator"].to_numpy().astype(str)
    forest = Arm("forest", "heads", classifier=DecisionTreeClassifier(max_depth=3, random_state=0))
    vote = Arm("vote", "heads", HeadSelection(LAYOUT, aggregate="vote"))
    coordinates = Arm("coordinates", "embedding", CoordinateRemoval())
    values = stores["clean"].values
    fitted = [arm.fit(values, y, split, generator) for arm in (*ARMS, forest, vote, coordinates)]
    features = {"heads": values, "embedding": values}
    alone = np.stack([one.decision_function(values[split.test]) for one in fitted], axis=1)
    np.testing.assert_allclose(JointScores(fitted)(features, split.test), alone, atol=1e-9)


def test_random_choices_stand_beside_a_choice_and_are_detectors_of_their_own(stores, protocol) -> None:
    one = Protocol(protocol.rows, protocol.splits[:1])
    arms = [ARMS[0], replace(ARMS[1], n_nulls=6), replace(ARMS[0], name="never", n_nulls=3)]
    found = curves(stores, one, arms, copies=[stores["copy"]], n_resamples=3)
    assert set(found.nulls["arm"]) == {"one"} and set(found.nulls["fitted"]) == set(FITTED)
    drawn = found.nulls.query("test == 'attngan'").set_index(["fitted", "laundering", "draw"]).sort_index()
    split, y = one.splits[0], (stores["clean"].rows["label"] != "real").to_numpy().astype(int)
    generator = stores["clean"].rows["generator"].to_numpy().astype(str)
    rows = split.test[np.isin(generator[split.test], ["real", "attngan"])]
    values = stores["clean"].values
    alone = []
    for columns in (slice(0, 2), slice(2, 4)):
        fitted = ARMS[0].fit(values[:, columns], y, split, generator)
        scores = (
            fitted.decision_function(stores[name].values[rows][:, columns]) for name in ("clean", "jpeg:30")
        )
        alone.append([roc_auc_score(y[rows], score) for score in scores])
    reached = drawn.loc["clean"]["auc"].unstack("laundering")[["clean", "jpeg:30"]].to_numpy()
    near = np.abs(reached[:, None] - np.array(alone)).max(axis=2) < 1e-9
    assert (
        near.any(axis=1).all() and near.any(axis=0).all()
    )  # each is one of the two heads, and both were drawn
    plain = at(found)["value"]["all", "clean"]
    gain = drawn.loc["trained on copies"].xs("jpeg:30", level="laundering")
    assert np.allclose(gain["gain"], gain["auc"] - plain["jpeg:30"], atol=1e-6)
    lucky = drawn.loc["clean"]["gain"].xs(ALL_LAUNDERINGS, level="laundering").max()
    line = next(line for line in found.words.splitlines() if line.startswith("one, fitted clean"))
    assert f"6 random choices of as many: {lucky:+.3f} at most" in line
    again = curves(stores, one, arms, copies=[stores["copy"]], n_resamples=3)
    pd.testing.assert_frame_equal(again.nulls, found.nulls)
    assert "random" in robustness_markdown(found) and curves(stores, one, n_resamples=3).nulls.empty


def test_a_head_that_breaks_is_told_from_one_that_lasts(stores, protocol) -> None:
    laundered = {name: stores[name] for name in ("jpeg:50", "jpeg:30")}
    table = head_robustness(stores["clean"], laundered, protocol, progress=False)  # type: ignore[arg-type]
    assert len(table) == 2 * len(protocol)
    heads = head_means(table).set_index("head")
    assert list(heads.index) == [LASTS, BREAKS]
    assert heads.loc[BREAKS, "transfer_auc"] > heads.loc[LASTS, "transfer_auc"] > 0.85
    assert heads.loc[BREAKS, "change"] < -0.2 and heads.loc[LASTS, "change"] == pytest.approx(0, abs=1e-9)
    assert heads.loc[BREAKS, "worst"] == "jpeg:30"
    first = Protocol(protocol.rows, protocol.splits[:1])
    unread = {name: Planted(one.rows, one.values.copy(), one.launder) for name, one in stores.items()}
    for one in unread.values():
        one.values[first.splits[0].test] = np.nan
    again = head_robustness(unread["clean"], {n: unread[n] for n in laundered}, first, progress=False)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(again, table[table["seed"] == 0].reset_index(drop=True))
    with pytest.raises(InputError, match="one laundered store at least"):
        head_robustness(stores["clean"], {}, protocol)  # type: ignore[arg-type]


def test_other_stores_are_refused(stores, protocol) -> None:
    fewer = Planted(stores["clean"].rows.iloc[:-1], stores["clean"].values[:-1], "jpeg:30")
    with pytest.raises(InputError, match="other rows than the clean one"):
        curves({**stores, "jpeg:30": fewer}, protocol)
    other = Planted(stores["clean"].rows, stores["clean"].values, "jpeg:30", name="another")
    with pytest.raises(InputError, match="in more than laundering: encoder"):
        curves({**stores, "jpeg:30": other}, protocol)
    measured = pd.DataFrame({"blur": np.zeros(len(protocol.rows))})
    with pytest.raises(InputError, match="reads statistics of clean images"):
        curves(stores, protocol, [Arm("b", "heads", statistics=measured)], copies=[stores["copy"]])
