"""What stands in files beside the images: metadata of image folders, and lists of the GRIP group."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from interp.errors import InputError
from interp.images.image_set import ImageSet


def grown(root: Path, paths: list[str]) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def test_metadata_files_have_the_last_word(tmp_path: Path) -> None:
    root = grown(tmp_path, ["train/a.png", "train/deep/b.png", "test/real/c.png", "test/midjourney/d.png"])
    (root / "train/metadata.csv").write_text(
        "file_name,label,generator,prompt,width\na.png,1,glide,NA,7\ndeep/b.png,0,,,9\n"
    )
    (root / "test/metadata.jsonl").write_text(
        '{"file_name": "d.png", "label": "real"}\n{"file_name": "midjourney/d.png", "seed": 3}\n'
    )
    images = ImageSet.open(root)
    assert images.layout == "imagefolder"
    table = images.table.loc[["train/a.png", "train/deep/b.png", "test/real/c.png", "test/midjourney/d.png"]]
    assert table["label"].tolist() == ["fake", "real", "real", "fake"]
    assert table["generator"].tolist() == ["glide", "real", "real", "midjourney"]
    assert table["split"].tolist() == ["train", "train", "test", "test"]
    assert table["prompt"].iloc[0] == "NA" and len(images.where("width>=8")) == 1
    (root / "metadata.csv").write_text("name\na.png\n")
    with pytest.raises(InputError, match="needs the column 'file_name'"):
        ImageSet.open(root)


def test_lists_of_the_grip_group_open_as_manifests(tmp_path: Path) -> None:
    rows = [
        ("synthbuster/dalle2/r000da54ft.png", "dalle2"),
        ("synthbuster/real_RAISE_1k/r000da54ft.png", "real"),
    ]
    rows += [("x/y.jpg", "coco_valid"), ("x/z.jpg", "")]
    pd.DataFrame(rows, columns=["filename", "typ"]).assign(url="u").to_csv(tmp_path / "list.csv", index=False)
    images = ImageSet.open(tmp_path / "list.csv")
    assert images.layout == "grip-list" and len(ImageSet.open(tmp_path / "list.csv", layout="grip-list")) == 4
    assert images.table["label"].tolist() == ["fake", "real", "real", ""]
    assert images.table["generator"].tolist() == ["dalle2", "real", "real", ""]
    assert images.table["group"].tolist() == ["r000da54ft", "r000da54ft", "x/y.jpg", "x/z.jpg"]
    assert images.table["source"].tolist() == ["dalle2", "real", "coco_valid", ""]
    assert set(images.table["url"]) == {"u"}
