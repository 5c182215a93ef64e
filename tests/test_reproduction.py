"""A result is reproduced when every number is found and lies in its range; the registry and its page agree."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from published_page import PAGE, page

from interp.detectors.fitting import KINDS
from interp.errors import InputError
from interp.images.layouts import LAYOUTS
from interp.main_job import make_protocol, run
from interp.published.entries import DRAWN, FOLDER, Data, Entry, Expected, entries, read_entry
from interp.reproduction import compare, list_entries, reproduce

HERE = Data("manifest", "images", "somewhere", "free")


def entry(*numbers: Expected) -> Entry:
    return Entry(
        "one", "One", "a paper", "not run", "yes", "9", 0, HERE, "run", numbers, cautions=("Careful.",)
    )


def tables(folder: Path, **columns: list[object]) -> Path:
    (folder / "tables").mkdir()
    frame = pd.DataFrame({"arm": ["embedding", "heads", "twice", "twice"], **columns})
    frame.to_csv(folder / "tables" / "summary.csv", index=False)
    return folder


FOUND = {"auc": [0.8, 0.91, 0.5, 0.5], "gain": [np.nan, 0.11, "n/a", 0.1]}
CASES = {
    "inside": (Expected("summary", "embedding", "auc", 0.79, 0.77, 0.81), "yes", ""),
    "at the lower end": (Expected("summary", "embedding", "auc", 0.81, 0.8, 0.9), "yes", ""),
    "at the upper end": (Expected("summary", "embedding", "auc", 0.7, 0.6, 0.8), "yes", ""),
    "below": (Expected("summary", "embedding", "auc", 0.85, 0.801, 0.9), "no", ""),
    "above": (Expected("summary", "heads", "auc", 0.85, 0.8, 0.909), "no", ""),
    "no row": (Expected("summary", "head", "auc", 0.5, 0.4, 0.6), "missing", "row head of summary.csv"),
    "no column": (Expected("summary", "heads", "ap", 0.5, 0.4, 0.6), "missing", "column ap of summary.csv"),
    "no table": (Expected("sets", "heads", "auc", 0.5, 0.4, 0.6), "missing", "table sets.csv"),
    "not a number": (
        Expected("summary", "embedding", "gain", 0, 0, 0),
        "missing",
        "a number in row embedding",
    ),
    "twice": (
        Expected("summary", "twice", "auc", 0.5, 0.4, 0.6),
        "missing",
        "one row twice of summary.csv, not 2",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_number_is_within_outside_or_missing(case, tmp_path):
    expected, within, missing = CASES[case]
    verdict = compare(entry(expected), tables(tmp_path, **FOUND))
    row = verdict.table.iloc[0]
    assert row["within"] == within and row["missing"].startswith(missing)
    assert verdict.exit_code == {"yes": 0, "no": 1, "missing": 2}[within]
    if not missing:
        assert row["difference"] == pytest.approx(row["found"] - expected.value)


def test_what_is_missing_outweighs_what_is_outside(tmp_path):
    wrong, gone, right = CASES["below"][0], CASES["no row"][0], CASES["inside"][0]
    folder = tables(tmp_path, **FOUND)
    assert compare(entry(right, wrong), folder).exit_code == 1
    both = compare(entry(right, wrong, gone), folder)
    assert both.exit_code == 2
    assert "one: no verdict, numbers are missing (within: 1 yes, 1 no, 1 missing)" in both.words
    assert "Careful." in both.words and "row head of summary.csv" in both.words
    assert compare(entry(right), folder / "tables").exit_code == 0
    with pytest.raises(InputError, match=r"holds no tables of a run"):
        compare(entry(right), tmp_path / "nowhere")


def test_the_verdict_is_written_with_library_versions(tmp_path):
    demo = entries()["simulated-demo"]
    (tmp_path / "tables").mkdir()
    wide = pd.DataFrame([vars(one) for one in demo.numbers]).pivot(
        index="row", columns="column", values="value"
    )
    wide.to_csv(tmp_path / "tables" / "summary.csv")
    verdict = reproduce("simulated-demo", tables_from=tmp_path, out=tmp_path / "verdict")
    assert verdict.exit_code == 0 and verdict.unreadable is None
    kept = json.loads((tmp_path / "verdict" / "verdict.json").read_text())
    assert kept["exit_code"] == 0 and kept["within"] == {"yes": len(demo.numbers)}
    assert {"torch", "transformers", "interp"} <= set(kept["libraries"])
    again = pd.read_csv(tmp_path / "verdict" / "verdict.csv")
    assert again["found"].tolist() == pytest.approx([one.value for one in demo.numbers])
    reproduce("simulated-demo", tables_from=tmp_path)
    assert (tmp_path / "verdict.json").exists()


def test_what_is_not_given_is_asked_for(tmp_path):
    with pytest.raises(InputError, match="did you mean 'simulated-demo'"):
        reproduce("simulated-dmeo", out=tmp_path)
    with pytest.raises(InputError, match="--out DIR"):
        reproduce("simulated-demo")
    with pytest.raises(InputError, match=r"needs 489 photographs .*--data DIR"):
        reproduce("corpus-256", out=tmp_path)
    with pytest.raises(InputError, match=r"fc_weights\.pth .*--head FILE"):
        reproduce("universal-fake-detect", tmp_path, out=tmp_path)


@pytest.mark.slow
def test_the_demo_is_reproduced(tmp_path):
    verdict = reproduce("simulated-demo", out=tmp_path, jobs=1, workers=0, progress=False)
    assert verdict.exit_code == 0, verdict.words
    again = reproduce("simulated-demo", out=tmp_path, jobs=1, workers=0, progress=False)
    pd.testing.assert_frame_equal(again.table, verdict.table)


RUN = set(inspect.signature(run).parameters) | set(inspect.signature(make_protocol).parameters)


@pytest.mark.parametrize("name", entries())
def test_an_entry_is_complete_and_names_what_exists(name):
    one = entries()[name]
    texts = [one.title, one.source, one.status, one.leak_free, one.n]
    texts += [one.data.needs, one.data.get, one.data.licence, *one.cautions]
    assert all(text.strip() for text in texts) and one.cautions
    assert one.data.layout in {*LAYOUTS, "manifest", "grip-list", DRAWN}
    assert one.leak_free.split(":")[0] in ("yes", "no", "unknown")
    assert one.status.startswith(("measured here", "verified here", "published, not run here"))
    assert "encoder" in one.steps
    assert len({(n.table, n.row, n.column) for n in one.numbers}) == len(one.numbers)
    if one.command == "run":
        assert set(one.steps) <= RUN | {"draw"}
        assert {n.table for n in one.numbers} == {"summary"}
    else:
        assert one.steps["kind"] in KINDS and one.steps["head"]
        assert set(one.steps) <= {"kind", "head", "encoder", "per_class", "sets"}
        assert {n.table for n in one.numbers} == {"sets"}
        assert {n.row for n in one.numbers} <= {*one.steps.get("sets", {}), "(mean)"}


def test_the_list_has_a_row_for_each_entry():
    listed = list_entries()
    assert list(listed.index) == sorted(path.stem for path in FOLDER.glob("*.toml"))
    assert listed.loc["universal-fake-detect", "numbers"] == 2 * 19 + 3


BROKEN = {
    "no toml": "title =",
    "a field too few": (FOLDER / "simulated-demo.toml").read_text().replace("seed = 0\n", "", 1),
    "a field too many": "colour = 1\n" + (FOLDER / "simulated-demo.toml").read_text(),
    "no number": (FOLDER / "simulated-demo.toml").read_text().split("numbers =")[0],
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused(case, tmp_path):
    (tmp_path / "broken.toml").write_text(BROKEN[case])
    with pytest.raises(InputError, match=r"broken\.toml is no complete entry"):
        read_entry(tmp_path / "broken.toml")


def test_a_range_holds_its_value(tmp_path):
    text = (FOLDER / "rine-1class.toml").read_text().replace("0.903, 0.893, 0.913", "0.903, 0.91, 0.913")
    (tmp_path / "broken.toml").write_text(text)
    with pytest.raises(InputError, match=r"the range of \(mean\) accuracy does not hold its value 0\.903"):
        read_entry(tmp_path / "broken.toml")


def test_the_page_shows_the_registry():
    assert PAGE.read_text() == page(), "run `python tests/published_page.py`"
