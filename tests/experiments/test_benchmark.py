"""Timings are scaled by the part that was timed, written between the marks, and exponents are slopes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from experiments import benchmark, growth
from experiments.bars import Bar
from experiments.bench_analysis import Ranking, Settings
from experiments.benchmark import Pair, Timing, timing, write_results


def test_seconds_of_a_part_are_brought_to_the_whole(monkeypatch):
    seconds = {"ours": 2.0, "theirs": 0.5}
    monkeypatch.setattr(benchmark, "clock", lambda call: seconds[call()])
    found = timing(Pair("what", lambda: "ours", lambda: "theirs", share=0.05), rounds=3)
    assert (found.ours, found.theirs) == (2.0, pytest.approx(10.0))
    assert found.ratio == found.low == found.high == pytest.approx(0.2)


def test_the_table_is_written_between_its_marks_and_the_prose_stays(tmp_path):
    page, results = tmp_path / "page.md", tmp_path / "folder" / "results.json"
    page.write_text("# Before\n\n<!-- table begins -->\nold\n<!-- table ends -->\n\nafter\n")
    for name in ("first", "second"):
        write_results([Timing(name, "cpu", 1.0, 4.0, 0.25, 0.2, 0.3)], results, page)
    text = page.read_text()
    assert text.startswith("# Before\n") and text.endswith("\nafter\n")
    assert "| second | cpu | 1 | 4 | 0.25 | 0.2 | 0.3 | 4 |" in text
    assert "old" not in text and "first" not in text
    found = json.loads(results.read_text())
    assert found["results"][0]["ratio"] == 0.25 and found["machine"]["torch"]


def test_pieces_add_up_and_a_row_measured_again_is_replaced(tmp_path):
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    for name, ratio in (("first", 0.5), ("second", 0.25), ("first", 0.1)):
        one = Timing(name, "cpu", 1.0, 4.0, ratio, 0.0, 1.0)
        write_results([one], results, page, keep=True, judge=lambda rows: f"judged {len(rows)}")
    found = json.loads(results.read_text())["results"]
    assert [(row["name"], row["ratio"]) for row in found] == [("first", 0.1), ("second", 0.25)]
    assert "judged 2" in page.read_text() and "judged 1" not in page.read_text()


def test_a_bar_is_met_by_the_slowest_of_its_rows():
    rows = [Timing(f"B/16, batch {i}", "cpu", 2.0 + i, 4.0, (2.0 + i) / 4, 0.0, 1.0) for i in range(2)]
    assert "| 1.33 | met |" in Bar(("b/16",), "cpu", times=1.3).row(rows)
    assert "| 1.33 | not met |" in Bar(("b/16", "batch"), "cpu", times=1.4).row(rows)
    assert "| 3 s | met |" in Bar(("B/16",), "cpu", seconds=3.0).row(rows)
    assert "no GPU here" in Bar(("B/16",), "cuda", times=1.3).row(rows)
    assert "not measured" in Bar(("B/32",), "cpu", times=1.3).row(rows)


def test_both_sides_of_the_ranking_run():
    ranking = Ranking(Settings(heads=2, generators=2, share=0.5, jobs=1))
    pair = ranking.pair("ridge", "cpu")
    assert pair.share == 0.5 and "50.0% of it timed" in pair.name
    pair.ours()
    pair.theirs()


def test_an_exponent_is_the_slope_of_a_power():
    size = np.array([1, 2, 4, 8, 16])
    table = pd.DataFrame({"what": "cube", "axis": "images", "size": size})
    table["seconds"], table["megabytes"] = 0.1 * size**3.0, 5 + 2.0 * size**2
    found = growth.exponents(table).iloc[0]
    assert found["seconds"] == pytest.approx(3.0)
    assert 1.5 < found["megabytes"] < 2.0


@pytest.mark.parametrize("what", ["rank_heads ridge", "greedy_elimination"])
def test_a_point_is_measured(what):
    axis, size = ("images", 80) if what.startswith("rank") else ("coordinates", 8)
    seconds, before, peak = growth._point(what, axis, size, 1)
    assert seconds > 0 and 0 < before <= peak
