"""What a check finds is what was planted: damage, copies, copies across lines, and files that tell the label."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from interp.cli.images import check
from interp.images import check as module
from interp.images.check import check_images
from interp.images.check_findings import find_giveaways
from interp.images.decode import read_image
from interp.images.image_set import ImageSet


def drawn(seed: int, side: int = 16) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(levels)


@pytest.fixture
def planted(tmp_path: Path) -> ImageSet:
    """Twelve photographs as JPEG, twelve generated images as PNG, and everything that can be wrong."""
    root = tmp_path / "set"
    root.mkdir()
    rows = []

    def row(name: str, generator: str, split: str, image: Image.Image | bytes, **options: Any) -> None:
        if isinstance(image, bytes):
            (root / name).write_bytes(image)
        else:
            image.save(root / name, **options)
        rows.append({"path": name, "generator": generator, "split": split})

    for i in range(12):
        row(f"real{i}.jpg", "real", "train", drawn(i), quality=70 + i)
        row(f"fake{i}.png", "glide", "train", drawn(100 + i))
    row("torn.png", "glide", "train", (root / "fake0.png").read_bytes()[:60])
    row("twice.png", "glide", "train", (root / "fake1.png").read_bytes())
    row("other.bmp", "glide", "train", drawn(102))
    row("liar.png", "real", "train", drawn(103))
    row("rival.png", "sdxl", "train", drawn(104))
    row("late.jpg", "real", "test", (root / "real5.jpg").read_bytes())
    rows.append({"path": "gone.png", "generator": "glide", "split": "train"})
    pd.DataFrame(rows).to_csv(root / "manifest.csv", index=False)
    return ImageSet.open(root)


def test_what_was_planted_is_found(planted: ImageSet, tmp_path: Path) -> None:
    check = check_images(planted, n_jobs=2, progress=False)
    assert check.files.index.equals(planted.keys)
    assert set(check.unreadable.index) == {"torn.png", "gone.png"} and check.exit_code == 3
    assert check.unreadable.loc["gone.png", "error"] == "no such file"
    for key in ("real3.jpg", "fake3.png", "other.bmp"):
        for name, value in read_image(planted.path(key)).facts.items():
            assert check.files.loc[key, name] == value
    assert check.files.loc["real3.jpg", ["jpeg_quality", "subsampling"]].tolist() == [73.0, "4:2:0"]
    assert math.isnan(float(check.files.loc["fake3.png", "jpeg_quality"]))  # type: ignore[arg-type]

    copies = check.duplicates.groupby("copies").agg(keys=("key", set), kind=("kind", "first"))
    assert sorted((sorted(keys), kind) for keys, kind in copies.to_numpy()) == [
        (["fake1.png", "twice.png"], "file"),
        (["fake2.png", "other.bmp"], "pixels"),
        (["fake3.png", "liar.png"], "file"),
        (["fake4.png", "rival.png"], "file"),
        (["late.jpg", "real5.jpg"], "file"),
    ]
    crossings = check.crossings.set_index("across")
    assert crossings.loc["label", "keys"] == "fake3.png | liar.png"
    assert set(crossings.loc[["generator"], "values"]) == {"glide | real", "glide | sdxl"}
    assert crossings.loc["split", "keys"] == "late.jpg | real5.jpg"

    text = check.text()
    for line in ("2 unreadable", "gone.png: no such file", "1 sets of copies across labels", "AUC"):
        assert line in text
    check.write(tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out/files.csv")) == len(planted)
    names = ("unreadable", "duplicates", "crossings", "distribution", "giveaways")
    assert all((tmp_path / f"out/{name}.csv").is_file() for name in names)
    shares = check.distribution.groupby(["label", "generator", "feature"])["share"].sum()
    assert np.allclose(shares, 1)


def test_a_clean_set_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(12):
        for place in ("real", "glide"):
            (tmp_path / place).mkdir(exist_ok=True)
            drawn(i + 50 * (place == "real")).save(tmp_path / f"{place}/{i}.png")
    assert check(tmp_path, jobs=1) == 0
    printed = capsys.readouterr().out
    assert "0 unreadable" in printed and "0 files with a copy" in printed
    assert "ERROR" not in printed and "gives the label away" not in printed


def files_of(n: int, **columns: object) -> pd.DataFrame:
    blank = {"format": "PNG", "mode": "RGB", "subsampling": "", "width": 64, "height": 64, "bytes": 9}
    table = pd.DataFrame({**blank, "jpeg_quality": math.nan, "error": "", **columns}, index=range(2 * n))
    return table.assign(label=["real"] * n + ["fake"] * n, generator=["real"] * n + ["glide"] * n)


def test_a_feature_that_is_the_label_gives_it_away_and_one_that_is_not_does_not() -> None:
    n = 60
    draw = np.random.default_rng(0)
    files = files_of(n, format=["JPEG"] * n + ["PNG"] * n, width=draw.permutation(2 * n) + 100)
    found = find_giveaways(files).set_index(["feature", "generator"])
    for generator in ("all", "glide"):
        assert found.loc[("format", generator), "auc"] == 1
        assert found.loc[("format", generator), "verdict"] == "format alone gives the label away: AUC 1.00"
        assert found.loc[("mode", generator), "auc"] == 0.5
        assert (
            abs(float(found.loc[("size", generator), "auc"]) - 0.5) < 0.1
        )  # all sizes differ: nothing to learn
    assert find_giveaways(files_of(5)).empty
    twins = files.assign(label=files["label"].replace("fake", "twin"))
    pd.testing.assert_frame_equal(find_giveaways(twins), find_giveaways(files))
    more = twins.loc[twins["label"] == "twin"].assign(format="JPEG", generator="twin-vae")
    among = pd.concat([files, more], ignore_index=True)  # beside fakes, twins are neither
    pd.testing.assert_frame_equal(find_giveaways(among), find_giveaways(files))


def test_a_cache_spares_what_has_not_changed(
    planted: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache/facts.parquet"
    first = check_images(planted, n_jobs=1, cache=cache, progress=False)
    looked: list[str] = []
    inner = module._look_at_all

    def counted(paths, *options):
        looked.extend(Path(path).name for path in paths)
        return inner(paths, *options)

    monkeypatch.setattr(module, "_look_at_all", counted)
    again = check_images(planted, n_jobs=1, cache=cache, progress=False)
    pd.testing.assert_frame_equal(again.files, first.files, check_dtype=False)
    assert looked == ["gone.png"]
    looked.clear()
    drawn(7).save(planted.path("fake3.png"))
    later = time.time_ns() + 10**9
    os.utime(planted.path("fake4.png"), ns=(later, later))
    check_images(planted, n_jobs=1, cache=cache, progress=False)
    assert sorted(looked) == ["fake3.png", "fake4.png", "gone.png"]


def test_a_check_that_is_stopped_keeps_what_it_saw(
    planted: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = module._look_at_all

    def stopped(*given):
        for number, answer in enumerate(inner(*given)):
            if number == 5:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(module, "_look_at_all", stopped)
    with pytest.raises(KeyboardInterrupt):
        check_images(planted, n_jobs=1, cache=tmp_path / "c.parquet", progress=False)
    assert len(pd.read_parquet(tmp_path / "c.parquet")) == 5


def test_a_decoder_that_dies_is_an_unreadable_image(
    planted: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly(path: str) -> dict[str, object]:
        return os._exit(3) if path.endswith("fake3.png") else look_at(path)

    look_at = module.look_at
    monkeypatch.setattr(module, "look_at", deadly)
    check = check_images(planted, n_jobs=2, progress=False)
    assert check.unreadable.loc["fake3.png", "error"] == "the decoder crashed (exit code 3)"
    assert len(check.unreadable) == 3


def test_a_set_of_nothing_but_damage_is_checked_too(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_text("no image")
    for _ in range(2):
        check = check_images(ImageSet.open(tmp_path), n_jobs=1, cache=tmp_path / "c.parquet", progress=False)
        assert check.exit_code == 3 and "2 unreadable" in check.text()
