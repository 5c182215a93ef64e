"""Runs warn when the files alone, or the resampling history, could explain a result."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from interp.evaluation.files import file_warnings, header_aucs


def store(equalize: str, fake_side: int, real_side: int, fake_format: str = "PNG"):
    n = 100
    label = np.repeat(["real", "fake"], n)
    side = np.where(label == "real", real_side, fake_side)
    rows = pd.DataFrame(
        {"label": label, "generator": np.where(label == "real", "real", "small"), "width": side}
    )
    rows["height"], rows["mode"] = side, "RGB"
    rows["format"] = np.where(label == "real", "PNG", fake_format)
    rows["bytes"] = np.random.default_rng(0).integers(1000, 2000, 2 * n) * side**2 // 1000
    return SimpleNamespace(rows=rows, usable=np.ones(2 * n, bool), key={"equalize": equalize})


def test_a_format_that_is_the_label_scores_one():
    assert header_aucs(store("none", 64, 64, "JPEG").rows)["format"] == 1.0
    assert header_aucs(store("none", 64, 64).rows)["format"] == 0.5


def test_an_unequalised_leak_is_warned_about_and_equal_files_are_not():
    assert "format 1.00" in file_warnings(store("none", 64, 64, "JPEG"))[0]
    assert file_warnings(store("none", 64, 64)) == []


def test_upscaling_of_one_generator_is_warned_about_until_all_share_one_history():
    warning = file_warnings(store("256:75", 128, 400))[0]
    assert "100% of small" in warning
    assert "common:128:75" in warning
    assert file_warnings(store("common:128:75", 128, 400)) == []
    assert file_warnings(store("256:75", 300, 400)) == []


def test_one_generator_among_many_is_warned_about():
    one = store("none", 400, 400)
    small = one.rows[one.rows["generator"] == "small"]
    tiny = small.head(25).assign(generator="tiny", width=32, height=32)
    many = pd.concat([one.rows, *[small] * 4, tiny])
    assert header_aucs(many).max() < 0.6  # 25 of 525 fakes
    among = SimpleNamespace(rows=many, usable=np.ones(len(many), bool), key={"equalize": "none"})
    (warning,) = file_warnings(among)
    assert "tell tiny from photographs (width AUC 1.00)" in warning
    fewer = SimpleNamespace(rows=many.iloc[:-10], usable=np.ones(len(many) - 10, bool), key=one.key)
    assert file_warnings(fewer) == []
