"""`interp pairs` and `--protocol twins` as a user meets them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from interp.cli import main
from interp.images.image_set import ImageSet
from interp.main_job import make_protocol


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Twenty photographs and two generated images."""
    rng = np.random.default_rng(0)
    for name in [f"real/{i:02d}.png" for i in range(20)] + ["glide/0.png", "glide/1.png"]:
        path = tmp_path / "given" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)).save(path)
    return tmp_path / "given"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["interp", "pairs", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_twins_are_made_split_by_mechanism_and_bad_files_told(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (photographs / "real" / "07.png").write_bytes(b"nothing")
    options = ["--mechanisms", "nearest", "bilinear:3", "checkerboard", "--side", "16", "--jobs", "1"]
    assert run(monkeypatch, photographs, "--out", tmp_path / "twins", *options) == 3
    printed = capsys.readouterr()
    assert "60 twin, 20 real" in printed.out and "4 of 80 rows have no image" in printed.err

    rows = ImageSet.open(tmp_path / "twins").table
    usable = (rows["twin_error"].fillna("") == "").to_numpy()
    store = cast(Any, SimpleNamespace(rows=rows, usable=usable, views=1))
    protocol = make_protocol(store, "twins", seeds=1)
    tested = [split.test_generators for split in protocol]
    assert tested == [("twin-bilinear-3",), ("twin-checkerboard",), ("twin-nearest",)]

    assert run(monkeypatch, photographs, "--out", tmp_path / "other", "--mechanisms", "neerest") == 2
    assert "did you mean 'nearest'" in capsys.readouterr().err
