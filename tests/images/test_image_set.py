"""Sets of images from folders, manifests and lists of paths."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from interp.errors import InputError
from interp.images.image_set import ImageSet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    for name in ("glide/a.png", "glide/nature/b.JPG", "real/c.webp", "d.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_a_folder_is_labelled_by_its_layout(folder: Path) -> None:
    images = ImageSet.open(folder)
    assert images.table.reset_index().to_numpy().tolist() == [
        ["d.png", "", "", "", "d.png"],
        ["glide/a.png", "fake", "glide", "glide", "glide/a.png"],
        ["glide/nature/b.JPG", "real", "real", "real", "glide/nature/b.JPG"],
        ["real/c.webp", "real", "real", "real", "real/c.webp"],
    ]
    assert all(images.path(key).is_file() for key in images.keys)


def test_a_manifest_in_the_folder_comes_first(folder: Path) -> None:
    pd.DataFrame({"path": ["glide/a.png"], "label": ["real"]}).to_csv(folder / "manifest.csv", index=False)
    assert ImageSet.open(folder).table["label"].to_dict() == {"glide/a.png": "real"}
    assert len(ImageSet.from_folder(folder)) == 4


def test_links_out_of_a_folder_need_permission(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away/e.png").touch()
    (folder / "sdxl").symlink_to(tmp_path / "away")
    with pytest.raises(InputError, match="sdxl/e.png"):
        ImageSet.open(folder)
    assert ImageSet.open(folder, allow_outside=True).table.loc["sdxl/e.png", "generator"] == "sdxl"


def test_files_that_are_missing_are_rows(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path\nno/such.png\n")
    assert ImageSet.open(tmp_path / "m.csv").keys.tolist() == ["no/such.png"]


@pytest.mark.parametrize("second", ["a.png", "./a.png", "x/../a.png"])
def test_one_image_is_one_row(second: str, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"path\na.png\n{second}\n")
    with pytest.raises(InputError, match=r"given twice: 'a\.png'"):
        ImageSet.open(tmp_path / "m.csv")


def test_rows_without_a_path_are_named(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\na.png,real\n,fake\n")
    with pytest.raises(InputError, match="the first is row 1"):
        ImageSet.open(tmp_path / "m.csv")


def test_paths_are_unlabelled_and_counted_once(folder: Path) -> None:
    images = ImageSet.from_paths(
        [folder / "glide", folder / "real/c.webp", folder / "glide/a.png", folder / "gone.png"]
    )
    assert images.keys.tolist() == ["glide/a.png", "glide/nature/b.JPG", "real/c.webp", "gone.png"]
    assert images.root == folder
    assert set(images.table["label"]) == set(images.table["generator"]) == {""}
    assert ImageSet.from_paths(folder / "glide").keys.tolist() == ["a.png", "nature/b.JPG"]
    assert ImageSet.from_paths(str(folder / "d.png")).path("d.png") == folder / "d.png"
    with pytest.raises(InputError, match="no image was given"):
        ImageSet.from_paths([])


def test_conditions_narrow_a_set_and_its_summary(folder: Path) -> None:
    images = ImageSet.open(folder, where=("label!=", "generator!=glide"))
    assert images.keys.tolist() == ["glide/nature/b.JPG", "real/c.webp"]
    pd.testing.assert_frame_equal(ImageSet.open(folder, where="label=real").table, images.table)
    assert images.summary().to_dict("records") == [
        {"label": "real", "generator": "real", "family": "real", "images": 2, "groups": 2}
    ]
    assert "2 images" in repr(images) and "<table" in images._repr_html_()
    with pytest.raises(InputError, match="unknown column 'role'"):
        images.where("role=test")


def test_a_table_without_its_columns_is_refused() -> None:
    table = pd.DataFrame({"label": ["real"]}, index=pd.Index(["a.png"], name="key"))
    with pytest.raises(InputError, match="generator, family, group"):
        ImageSet(table, Path("."))


def test_the_corpus_opens(shared: Path) -> None:
    images = ImageSet.open(shared / "corpus/manifest.csv", where="role=test")
    given = pd.read_csv(shared / "corpus/manifest.csv").query("role == 'test'").set_index("path")
    assert images.keys.tolist() == given.index.tolist()
    for name in ("label", "generator", "group", "sha256", "width"):
        assert images.table[name].tolist() == given[name].tolist()
    assert images.table["family"].tolist() == given["generator_family"].tolist()
