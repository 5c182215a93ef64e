"""What erasing leaves behind: what a probe regains, what a generator left out keeps, how features then lie."""

from __future__ import annotations

import numpy as np
import pytest

from interp.analysis.generator_left_out import leave_one_generator_out
from interp.analysis.isotropy import isotropy, isotropy_before_and_after
from interp.analysis.leace import Leace
from interp.analysis.regained import regained_auc
from interp.analysis.subspace_removal import PcaRemoval
from interp.errors import InputError


def test_a_probe_trained_anew_regains_something_and_less_with_more_rows():
    rng = np.random.default_rng(0)
    z = np.arange(3000) % 2
    X = rng.normal(size=(3000, 20)) @ rng.normal(size=(20, 20)) + 2 * z[:, None]
    curve = regained_auc(X, np.array(["art", "photograph"])[z], ratios=(1, 4, 16, 64), repeats=8)
    assert curve["n"].tolist() == [20, 80, 320]  # 64 rows per dimension are more than a third
    regained, se = curve["regained"].to_numpy(), curve["regained_se"].to_numpy()
    assert (np.diff(regained) < 0).all() and (regained > 0.5 + 2 * se).all()
    assert (regained < curve["before"]).all()
    np.testing.assert_allclose(curve["own_rows"], 0.5)


def test_an_eraser_that_does_not_erase_is_found_out():
    rng = np.random.default_rng(0)
    z = np.arange(900) % 2
    X = rng.normal(size=(900, 10)) * [9, *[1] * 9] + 0.8 * z[:, None]

    class ByPrincipalDirection(PcaRemoval):
        def fit(self, X, y=None, *, concept=None):
            return super().fit(X)

    curve = regained_auc(X, z, eraser=ByPrincipalDirection(of="all"), ratios=(8,), repeats=3)
    assert curve["regained"][0] > 0.8 and curve["own_rows"][0] > 0.8


def test_a_curve_needs_two_classes_and_enough_rows():
    X = np.zeros((30, 20))
    with pytest.raises(InputError, match="two classes"):
        regained_auc(X, np.arange(30) % 3)
    with pytest.raises(InputError, match="a third of 30 rows"):
        regained_auc(X, np.arange(30) % 2, ratios=(4,))


def four_generators(n=1600, d=16, seed=0):
    """Every fake shares one direction; each generator has one of its own."""
    rng = np.random.default_rng(seed)
    which = np.arange(n) % 5
    directions = np.linalg.qr(rng.normal(size=(d, d)))[0]
    X = rng.normal(size=(n, d)) + 1.5 * (which > 0)[:, None] * directions[0]
    X += 2 * (which > 0)[:, None] * directions[which]
    part = np.array(["train", "select", "test"])[np.arange(n) // 5 % 3]
    return X, np.array(["real", "a", "b", "c", "d"])[which], part


def test_erasing_without_a_generator_leaves_that_one_recognisable():
    X, generator, part = four_generators()
    table = leave_one_generator_out(X, generator, part)
    assert table["left_out"].tolist() == ["a", "b", "c", "d"]
    assert (table["others_identity_before"] > 0.9).all() and (table["others_identity_after"] < 0.65).all()
    assert (table["identity_after"] > 0.9).all()  # its own direction was not there to be erased
    assert (table["detection_before"] > 0.7).all() and (table["detection_after"] > 0.7).all()
    assert table["moved"].between(0, 1).all()
    shuffled = X.copy()
    shuffled[part == "test"] = 1e9
    assert leave_one_generator_out(shuffled, generator, part).equals(table)


def test_leaving_one_out_needs_four_generators_and_both_parts():
    X, generator, part = four_generators(200)
    three = generator != "d"
    with pytest.raises(InputError, match=r"needs 4 of them; given 3 \(a, b, c\)"):
        leave_one_generator_out(X[three], generator[three], part[three])
    part[(generator == "b") & (part == "select")] = ""
    with pytest.raises(InputError, match="no select rows of 'b'"):
        leave_one_generator_out(X, generator, part)


def test_isotropy_at_its_ends():
    rng = np.random.default_rng(0)
    even = isotropy(rng.normal(size=(20000, 10)))
    assert even.iso_score > 0.99 and even.effective_rank > 9.99 and abs(even.mean_cosine) < 0.01
    line = isotropy(np.outer(np.arange(1.0, 50.0), np.ones(10)) + 1e-9 * rng.normal(size=(49, 10)))
    assert line.iso_score == pytest.approx(0, abs=1e-6)
    assert line.effective_rank == pytest.approx(1, abs=1e-4)
    assert line.mean_cosine == pytest.approx(1)
    half = isotropy(np.pad(rng.normal(size=(20000, 5)), ((0, 0), (0, 5))))
    assert half.iso_score == pytest.approx(
        (5 - 1) / (10 - 1), abs=0.01
    )  # k of p directions evenly: (k - 1) / (p - 1)
    assert half.effective_rank == pytest.approx(5, abs=0.01)


def test_isotropy_does_not_depend_on_rotation_scale_or_for_scores_the_mean():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8)) * np.arange(1, 9)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    first, turned, moved = isotropy(X), isotropy(3 * X @ rotation), isotropy(X + 50)
    assert turned.mean_cosine == pytest.approx(first.mean_cosine)
    for other in (turned, moved):
        assert other.iso_score == pytest.approx(first.iso_score)
        assert other.effective_rank == pytest.approx(first.effective_rank)
    assert moved.mean_cosine > 0.9
    pairs = [X[i] @ X[j] / np.linalg.norm(X[i]) / np.linalg.norm(X[j]) for i in range(200) for j in range(i)]
    assert first.mean_cosine == pytest.approx(np.mean(pairs))


def test_erasing_lowers_the_effective_rank_by_what_is_erased():
    rng = np.random.default_rng(0)
    z = np.arange(5000) % 3
    X = rng.normal(size=(5000, 10)) + 0.1 * rng.normal(size=(3, 10))[z]
    table = isotropy_before_and_after(Leace().fit(X, concept=z), X)
    assert table.loc["before", "effective_rank"] == pytest.approx(10, abs=0.05)
    assert table.loc["after", "effective_rank"] == pytest.approx(8, abs=0.05)


@pytest.mark.parametrize(
    "X", [np.zeros(4), np.zeros((1, 4)), np.full((5, 4), 3.3)], ids=lambda X: str(X.shape)
)
def test_isotropy_of_nothing_is_refused(X):
    with pytest.raises(InputError):
        isotropy(X)
