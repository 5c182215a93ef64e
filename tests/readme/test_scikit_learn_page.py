"""Every example of docs/scikit_learn.md runs, alone, on the store of a small run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sklearn
from readme.test_readme_commands import fences, run_python

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "scikit_learn.md"
EXAMPLES = [fence for fence in fences(PAGE.read_text(encoding="utf-8")) if fence.language == "python"]
LEAVES = ["pipeline", "pipeline", "search", "kept"]


@pytest.mark.parametrize(
    ("fence", "leaves"), list(zip(EXAMPLES, LEAVES, strict=True)), ids=range(len(LEAVES))
)
def test_an_example_runs(fence, leaves, small_run, tmp_path, monkeypatch, capsys):
    (tmp_path / "demo").symlink_to(small_run.folder)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with sklearn.config_context():  # which an example may set
        run_python(fence, names)
    assert capsys.readouterr().out and leaves in names
    if leaves == "search":
        store, chosen = names["store"], names["chosen"]
        assert set(store.rows["generator"].iloc[chosen]) == {"real", "simulated-nearest", "simulated-smooth"}
        assert np.isfinite(names["search"].cv_results_["mean_test_score"]).all()
    if leaves == "kept":
        store, selection, kept = names["store"], names["selection"], names["kept"]
        assert list(kept.index) == list(store.rows.index[store.usable])
        assert {column.rsplit(".", 1)[0] for column in kept.columns} == set(selection.heads_)
