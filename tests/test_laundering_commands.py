"""Launder, then measure robustness, as a user meets them on the command line."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

from interp.cli import main
from interp.images.simulated import draw_simulated_set


@pytest.fixture
def interp(monkeypatch, capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["interp", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    return run


def test_launder_then_robustness(interp, tmp_path):
    names = ["nearest", "smooth", "palette"]
    generators = [f"simulated-{name}" for name in names]
    draw_simulated_set(tmp_path / "images", n_per_class=24, generators=generators)
    chosen = ["--encoder", "embedded", "--workers", "0", "--spec", "jpeg:30", "--spec", "blur:2"]
    chosen += ["--copies", "jpeg:20-60", "--n-copies", "1"]
    code, printed, complaint = interp("launder", tmp_path / "images", *chosen, "--out", tmp_path / "stores")
    assert code == 0, complaint
    assert "4 stores in" in printed and "about" in printed
    parts = ["--protocol", "by-hand", "--seeds", "1", "--resamples", "20", "--jobs", "1"]
    for part, name in zip(("train", "select", "test"), generators, strict=True):
        parts += [f"--{part}", name]
    code, printed, complaint = interp("robustness", tmp_path / "stores", *parts, "--out", tmp_path / "out")
    assert code == 0, complaint
    assert "embedding, fitted trained on copies: AUC" in printed
    curves = pd.read_csv(tmp_path / "out" / "curves.csv")
    assert set(curves["laundering"]) == {"clean", "jpeg:30", "blur:2", "(all launderings)"}
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"robustness.png", "heads.png", "heads.csv", "choices.csv", "auc.tex", "auc.parquet"} <= written
    assert "20 joint resamples" in (tmp_path / "out" / "auc.tex").read_text()
    nulls = pd.read_csv(tmp_path / "out" / "nulls.csv")
    assert set(nulls["arm"]) == {"selected_heads", "coordinate_removal"} and nulls["draw"].max() == 4
    assert "random choices of as many" in printed
    text = (tmp_path / "out" / "robustness.md").read_text()
    assert "| jpeg:30 |" in text and "24 photographs" not in text and "20 joint resamples" in text


def test_what_is_wrong_is_said_before_an_encoder_is_loaded(interp, tmp_path):
    for arguments, message in (
        (["--spec", "jpg:30"], "did you mean 'jpeg'"),
        (["--grid", "wang"], "did you mean 'wang2020'"),
        ([], "nothing to launder with"),
        (["--launder", "jpeg:30"], "takes --spec or --grid"),
    ):
        code, _, complaint = interp(
            "launder", tmp_path, *arguments, "--encoder", "/no/such", "--out", tmp_path / "s"
        )
        assert code == 2 and message in complaint
    code, _, complaint = interp("robustness", tmp_path, "--out", tmp_path / "o")
    assert code == 2 and "interp launder" in complaint
