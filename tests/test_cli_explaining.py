"""`interp explain` and `interp words` as a user meets them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp.cli import main
from interp.detectors.detector import Detector, LinearScore


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> tuple[Path, Path, Path]:
    """An image, a store of the embedded CLIP, and a detector of its embedding."""
    import interp

    folder = tmp_path_factory.mktemp("told")
    images = interp.draw_simulated_set(folder / "images", n_per_class=10, generators=["simulated-nearest"])
    encoder = interp.load_encoder("embedded", device="cpu")
    store = interp.extract(images, encoder, folder / "store", workers=0, progress=False)
    coef = np.random.default_rng(0).normal(size=store.embedding().shape[1])
    detector = Detector(
        "d", "embedding", LinearScore(coef, 0.1), 0.0, store.key, {"encoder_location": "embedded"}
    )
    return images.path(images.keys[0]), folder / "store", detector.save(folder / "detector")


@pytest.fixture
def interp(monkeypatch, capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["interp", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    return run


def test_explain_tells_of_an_image_and_of_a_store(interp, told, tmp_path):
    image, store, detector = told
    code, printed, _ = interp("explain", image, detector, tmp_path / "one", "--compare", "--device", "cpu")
    assert code == 0 and "exact" in printed
    parts = pd.read_csv(tmp_path / "one" / "parts.csv")
    scores = interp(
        "score", image, "--detector", detector, "--out", tmp_path / "scores.csv", "--workers", "0"
    )
    assert scores[0] == 0
    score = pd.read_csv(tmp_path / "scores.csv")["score"].item()
    assert parts["contribution"].sum() == pytest.approx(score, rel=2e-3, abs=2e-3)
    assert (pd.read_csv(tmp_path / "one" / "methods.csv")["completeness"] < 1e-3).all()
    code, printed, _ = interp("explain", store, detector, tmp_path / "all")
    assert code == 0 and "logit of fakes - photographs" in printed
    assert (tmp_path / "all" / "differences.png").exists()


def test_words_tell_of_heads_of_a_detector_and_of_what_is_removed(interp, told, tmp_path):
    _, store, detector = told
    out = ["--out", tmp_path / "words.csv", "--device", "cpu", "--nulls", "3", "--top", "2"]
    code, printed, _ = interp("words", store, "--heads", "L5.H0", "L5.H1", *out)
    assert code == 0 and "253 phrases" in printed
    assert len(pd.read_csv(tmp_path / "words.csv")) == 4
    assert interp("words", store, "--detector", detector, *out)[0] == 0
    assert set(pd.read_csv(tmp_path / "words.csv")["reading"]) == {"weights", "pattern"}
    assert interp("words", store, "--removed", "--heads", "L5.H0", *out)[0] == 0
    assert "share" in pd.read_csv(tmp_path / "words.csv")
    code, _, complaint = interp("words", store, "--removed", *out)
    assert code == 2 and "name some with --heads" in complaint
