"""A native size that features follow is found, one that they do not follow is not, and the label has no part in it."""

from __future__ import annotations

import types

import numpy as np
import pandas as pd
import pytest

from interp.errors import InputError
from interp.evaluation.native_size import native_size_leak


def store_of(follows: float, sizes: list[int], *, fakes_vary: bool = False) -> types.SimpleNamespace:
    """What the measurement reads of a store: 240 images whose features follow the native size as strongly as asked."""
    rng = np.random.default_rng(0)
    n = 240
    label = np.repeat(["real", "fake"], n // 2)
    short = np.where((label == "real") | fakes_vary, rng.choice(sizes, n), 512)
    group = [f"g{i // 2}" for i in range(n)]
    rows = pd.DataFrame({"label": label, "width": short, "height": short + 40, "group": group})
    X = rng.normal(size=(n, 12))
    X[:, 3] += follows * (np.log2(short) - 9) + 5 * (label == "fake")
    return types.SimpleNamespace(
        rows=rows, usable=np.ones(n, bool), key={"equalize": "256:75"}, folder="here", features=lambda kind: X
    )


def test_what_features_follow_is_found() -> None:
    found = native_size_leak(store_of(2.0, [128, 256, 512, 1024]), ["embedding"])  # type: ignore[arg-type]
    assert list(found["label"]) == ["real"] and found["n"].item() == 120  # fakes all have one size
    assert found["spearman"].item() > 0.6 and found["low"].item() > 0.6


def test_what_they_do_not_follow_is_not() -> None:
    found = native_size_leak(store_of(0.0, [128, 256, 512], fakes_vary=True), ["embedding"])  # type: ignore[arg-type]
    assert list(found["label"]) == ["real", "fake"]
    assert (found["low"] < 0.5).all() and (found["high"] > 0.5).all()


def test_nothing_to_predict_is_refused() -> None:
    with pytest.raises(InputError, match="do not vary"):
        native_size_leak(store_of(1.0, [512]))  # type: ignore[arg-type]
