"""Data sets of rows with images: the bytes stay as they are, once, and a run that was cut off goes on."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from interp.errors import InputError
from interp.images.decode import read_image
from interp.images.hugging_face import ROWS
from interp.images.image_set import ImageSet


def encoded(seed: int, file_format: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (30 * seed, 40, 200)).save(buffer, file_format)
    return buffer.getvalue()


def test_every_way_to_hold_an_image_keeps_its_bytes(tmp_path: Path) -> None:
    originals = [encoded(i, f) for i, f in enumerate(["JPEG", "PNG", "WEBP", "JPEG", "PNG"])]
    for i in (2, 3, 4):
        (tmp_path / f"{i}.img").write_bytes(originals[i])
    held = [
        {"bytes": originals[0], "path": None},
        originals[1],
        {"bytes": None, "path": str(tmp_path / "2.img")},
        tmp_path / "3.img",
        Image.open(tmp_path / "4.img"),
    ]
    rows = [{"image": value, "label": i % 2, "prompt": f"p{i}"} for i, value in enumerate(held)]
    images = ImageSet.from_hugging_face(rows, folder=tmp_path / "set", progress=False)
    assert [images.path(key).read_bytes() for key in images.keys] == originals
    for key, data in zip(images.keys, originals, strict=True):
        assert Path(key).stem == hashlib.sha256(data).hexdigest()
    assert [Path(key).suffix for key in images.keys] == [".jpg", ".png", ".webp", ".jpg", ".png"]
    assert images.table["label"].tolist() == ["real", "fake", "real", "fake", "real"]
    assert images.table["prompt"].tolist() == [f"p{i}" for i in range(5)]
    assert not images.table["recoded"].any() and (images.table["copies"] == 1).all()


def test_pixels_alone_are_recoded_and_say_so(tmp_path: Path) -> None:
    pixels = Image.new("RGB", (5, 4), (1, 2, 3))
    images = ImageSet.from_hugging_face([{"image": pixels, "label": "fake"}], folder=tmp_path, progress=False)
    assert images.table["recoded"].tolist() == [True]
    assert read_image(images.path(images.keys[0])).pixels.tobytes() == pixels.tobytes()
    assert "1 without their original file" in repr(images)


def test_a_run_that_was_cut_off_goes_on_and_writes_nothing_twice(tmp_path: Path) -> None:
    rows = [{"image": encoded(i), "label": i % 2} for i in range(7)]

    def torn() -> Iterator[dict[str, object]]:
        yield from rows[:4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ImageSet.from_hugging_face(torn(), folder=tmp_path, progress=False)
    with open(tmp_path / ROWS, "ab") as lines:
        lines.write(b'{"label": "re')  # the power went
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    assert len(before) == 4
    images = ImageSet.from_hugging_face((row for row in rows), folder=tmp_path, progress=False)
    assert len(images) == 7
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    whole = ImageSet.from_hugging_face((row for row in rows), folder=tmp_path / "whole", progress=False)
    pd.testing.assert_frame_equal(images.table, whole.table)


def test_a_limit_can_be_raised(tmp_path: Path) -> None:
    rows = [{"image": encoded(i), "label": 0} for i in range(5)]
    sizes = [
        len(ImageSet.from_hugging_face(rows, folder=tmp_path, limit=limit, progress=False))
        for limit in (2, 4, 3, None)
    ]
    assert sizes == [2, 4, 3, 5]


def test_the_same_bytes_are_one_row_and_torn_labels_none(tmp_path: Path) -> None:
    rows = [
        {"image": encoded(i), "label": label}
        for i, label in [(1, "real"), (1, "real"), (2, "real"), (2, "fake")]
    ]
    images = ImageSet.from_hugging_face(rows, folder=tmp_path, progress=False)
    assert images.table["label"].tolist() == ["real", ""] and images.table["copies"].tolist() == [2, 2]


def test_a_row_without_an_image_is_an_unreadable_row(tmp_path: Path) -> None:
    rows = [{"image": None, "label": 0}, {"image": "no/such.png", "label": 1}, {"image": b"junk", "label": 1}]
    images = ImageSet.from_hugging_face(rows, folder=tmp_path, progress=False)
    assert [images.path(key).exists() for key in images.keys] == [False, False, True]


def hub_parquet(path: Path, names: list[str]) -> Path:
    """A Parquet file as `datasets` writes it: a struct of bytes and path, and the class names in the schema."""
    table = pa.table(
        {
            "image": [{"bytes": encoded(i), "path": f"{i}.jpg"} for i in range(3)],
            "label": [0, 1, 2 % len(names)],
        }
    )
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    head = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": head}), path)
    return path


def test_class_names_are_believed_and_not_their_numbers(tmp_path: Path) -> None:
    path = hub_parquet(tmp_path / "a.parquet", ["FAKE", "REAL"])
    images = ImageSet.from_hugging_face(path, folder=tmp_path / "a", progress=False)
    assert images.table["label"].tolist() == ["fake", "real", "fake"]
    path = hub_parquet(tmp_path / "b.parquet", ["real", "sdxl", "glide"])
    images = ImageSet.from_hugging_face(str(path), folder=tmp_path / "b", progress=False)
    assert images.table["generator"].tolist() == ["real", "sdxl", "glide"]
    path = hub_parquet(tmp_path / "c.parquet", ["human", "machine"])
    with pytest.raises(InputError, match=r"'human' is neither real nor fake \(classes: human, machine\)"):
        ImageSet.from_hugging_face(path, folder=tmp_path / "c", progress=False)


def test_the_columns_of_community_forensics_open(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "image_name": ["a.png", "b.png"],
            "image_data": [encoded(1, "PNG"), encoded(2, "PNG")],
            "model_name": ["DeepFloyd", "DeepFloyd"],
            "architecture": ["PixDiff", "real"],
            "split": ["test", "test"],
            "label": [1, 0],
        }
    )
    (tmp_path / "data").mkdir()
    table.iloc[:1].to_parquet(tmp_path / "data/0.parquet")
    table.iloc[1:].to_parquet(tmp_path / "data/1.parquet")
    images = ImageSet.from_hugging_face(
        tmp_path / "data",
        folder=tmp_path / "out",
        image="image_data",
        generator="model_name",
        family="architecture",
        progress=False,
    )
    assert images.table["generator"].tolist() == ["DeepFloyd", "real"]
    assert images.table["family"].tolist() == ["PixDiff", "real"]
    assert images.table["split"].tolist() == ["test", "test"]
    assert "image_data" not in images.table.columns


def test_what_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"img": encoded(1), "label": 0}]
    splits: Any = {"test": rows}
    with pytest.raises(InputError, match="unknown column of the image 'image'; did you mean 'img'"):
        ImageSet.from_hugging_face(rows, folder=tmp_path / "a", progress=False)
    with pytest.raises(InputError, match="label=None"):
        ImageSet.from_hugging_face([{"image": encoded(1)}], folder=tmp_path / "b", progress=False)
    with pytest.raises(InputError, match=r"give one split, such as dataset\['test'\]"):
        ImageSet.from_hugging_face(splits, folder=tmp_path / "c", progress=False)
    with pytest.raises(InputError, match="has no row"):
        ImageSet.from_hugging_face([], folder=tmp_path / "d", progress=False)
    unlabelled: Any = {"folder": tmp_path / "e", "image": "img", "progress": False}
    assert ImageSet.from_hugging_face(rows, label=None, **unlabelled).table["label"].tolist() == [""]
    with pytest.raises(InputError, match="give another folder"):
        ImageSet.from_hugging_face(rows, **unlabelled)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="pip install datasets"):
        ImageSet.from_hugging_face("owner/name", folder=tmp_path / "f")


@pytest.mark.parametrize("streaming", [False, True])
def test_the_real_package_gives_the_original_bytes(streaming: bool, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    originals = [encoded(i) for i in range(4)]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["fake", "real"])}
    )
    rows = {"image": [{"bytes": data, "path": None} for data in originals], "label": [0, 1, 1, 0]}
    dataset = datasets.Dataset.from_dict(rows, features=features)
    if streaming:
        dataset = dataset.to_iterable_dataset()
    first = ImageSet.from_hugging_face(dataset, folder=tmp_path, limit=1, progress=False)
    images = ImageSet.from_hugging_face(dataset, folder=tmp_path, progress=False)
    assert len(first) == 1 and not images.table["recoded"].any()
    assert [images.path(key).read_bytes() for key in images.keys] == originals
    assert images.table["label"].tolist() == ["fake", "real", "real", "fake"]


def test_a_stream_that_does_not_know_its_columns_yet_keeps_bytes_too(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    rows = [{"image": {"bytes": encoded(i), "path": None}, "label": i % 2} for i in range(3)]
    dataset = datasets.IterableDataset.from_generator(lambda: iter(rows))
    assert dataset.features is None
    images = ImageSet.from_hugging_face(dataset, folder=tmp_path, progress=False)
    assert [images.path(key).read_bytes() for key in images.keys] == [encoded(i) for i in range(3)]
