"""Hugging Face data sets and Parquet files with images in them: each image's own bytes into a folder, once."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from interp.errors import InputError, unknown_name
from interp.images.manifest import LABELS, text_column

ROWS = "rows.jsonl"
"""One line for each row that is written, after a line that says what they come from; it is what resumes."""


def write_images(
    dataset: str | Path | Iterable[Mapping[str, Any]],
    folder: Path,
    *,
    image: str = "image",
    label: str | None = "label",
    generator: str | None = None,
    family: str | None = None,
    group: str | None = None,
    split: str = "train",
    limit: int | None = None,
    progress: bool = True,
) -> Path:
    """Write every image of a data set as a file named by its content, and a manifest; go on where it stopped.

    An image that is held as bytes or as a file keeps its bytes, and so its container. One that is only held
    as pixels (a PIL image) is saved as PNG and has `recoded` true: format, JPEG quality and metadata of the
    original are lost, and comparisons that rest on them with it. Rows whose images are the same, byte for
    byte, become one row with their number in `copies`, without a label where theirs disagree. A row without
    an image points to a file that does not exist, and becomes an unreadable image. Columns of text and
    numbers are kept.

    Args:
        dataset: a `datasets.Dataset` or `IterableDataset`; any iterable of rows as dicts; a Parquet file or a
            folder of them; or the name of a data set on the hub, which is streamed.
        folder: where `images/`, `rows.jsonl` and `manifest.parquet` go.
        image: the column of images: a dict of `bytes` and `path`, bytes, a path or a PIL image.
        label: the column of labels, or None. Class names are used where the data set has them; where one of
            them means real, such as `real`, other names are generators. Numbers without names are 0 for real
            and 1 for fake.
        generator: the column that names the generator, such as `model_name`.
        family: the column that names the generator's family, such as `architecture`.
        group: the column of rows that must not be split, such as `prompt`.
        split: the split to load, for a name on the hub.
        limit: stop after so many rows.
        progress: show a bar.

    Returns:
        The path of the manifest.

    Raises:
        InputError: a column or label is unknown, the folder holds something else, or `datasets` is needed
            and absent.
    """
    rows, names, origin = _source(dataset, image, label, split)
    columns = {"image": image, "label": label, "generator": generator, "family": family, "group": group}
    folder.mkdir(parents=True, exist_ok=True)
    done = _written(folder / ROWS, {"origin": origin, **columns})
    rest = itertools.islice(_from_row(rows, done), None if limit is None else max(0, limit - done))
    with open(folder / ROWS, "a", encoding="utf-8") as lines:
        for number, row in enumerate(_bar(rest, done, limit, progress), start=done):
            _refuse_columns(row, columns)
            said = _said(row, columns, names) | _saved(row[image], folder, number)
            lines.write(json.dumps(said, default=str) + "\n")
            lines.flush()
    return _write_manifest(folder, limit)


def _source(
    dataset: str | Path | Iterable[Mapping[str, Any]], image: str, label: str | None, split: str
) -> tuple[Iterable[Mapping[str, Any]], Sequence[str], str]:
    """The rows, the names of the label's classes, and what to call the data set."""
    if isinstance(dataset, str | Path) and Path(dataset).exists():
        return _parquet(Path(dataset), label)
    if isinstance(dataset, Path):
        raise InputError(f"there is no Parquet file or folder {dataset}")
    origin = type(dataset).__name__
    rows: Any = dataset
    if isinstance(dataset, str):
        try:
            import datasets  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise InputError(
                f"the data set {dataset!r} is read with the package datasets, which is not installed: "
                "`pip install datasets`, or pass its rows as dicts"
            ) from None
        origin = f"{dataset}:{split}"
        dataset = datasets.load_dataset(dataset, split=split, streaming=True)
    if isinstance(dataset, Mapping):
        raise InputError(
            f"give one split, such as dataset[{next(iter(dataset), 'train')!r}], not all of them"
        )
    features = getattr(dataset, "features", None) or {}
    kind: Any = features.get(image)
    if type(kind).__name__ == "Image" and getattr(kind, "decode", False):
        rows = rows.cast_column(image, type(kind)(decode=False))
    return rows, getattr(features.get(label or ""), "names", None) or (), origin


def _parquet(path: Path, label: str | None) -> tuple[Iterator[dict[str, Any]], Sequence[str], str]:
    import pyarrow.parquet as pq

    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"no Parquet file in {path}")
    try:
        metadata = pq.read_schema(files[0]).metadata or {}
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {files[0]}: {error}") from error
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    batches = (batch for file in files for batch in pq.ParquetFile(file).iter_batches(batch_size=64))
    rows = (row for batch in batches for row in batch.to_pylist())
    return rows, (features.get(label) or {}).get("names") or (), path.name


def _from_row(rows: Iterable[Mapping[str, Any]], start: int) -> Iterable[Mapping[str, Any]]:
    if start and hasattr(rows, "skip"):
        return rows.skip(start)  # type: ignore[attr-defined]
    return itertools.islice(rows, start, None)


def _bar(rows: Iterable[Mapping[str, Any]], done: int, limit: int | None, progress: bool) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(rows, initial=done, total=limit, unit="image", desc="writing", disable=not progress)


def _written(path: Path, origin: Mapping[str, Any]) -> int:
    """How many rows are written; a line that was cut off is taken away."""
    head = json.dumps(origin)
    if not path.exists():
        path.write_text(head + "\n", encoding="utf-8")
        return 0
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        path.write_text(head + "\n", encoding="utf-8")
        return 0
    first, _, rest = whole.partition(b"\n")
    if first.decode() != head:
        raise InputError(
            f"{path.parent} holds images of {first.decode()}, not of {head}; give another folder, or delete it"
        )
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return rest.count(b"\n")


def _refuse_columns(row: Mapping[str, Any], columns: Mapping[str, str | None]) -> None:
    for role, name in columns.items():
        if name is not None and name not in row:
            hint = " Pass label=None for images without labels." if role == "label" else ""
            raise InputError(f"{unknown_name(f'column of the {role}', name, row)}.{hint}")


def _said(row: Mapping[str, Any], columns: Mapping[str, str | None], names: Sequence[str]) -> dict[str, Any]:
    """Label, generator, family and group as a manifest says them, and the columns of text and numbers."""
    kept = {k: v for k, v in row.items() if v is None or isinstance(v, str | int | float | bool)}
    taken = ("path", "key", "recoded", "copies", "label")
    kept = {f"given_{k}" if k in taken and k != columns["label"] else k: v for k, v in kept.items()}
    kept.pop(columns["image"] or "", None)
    for role in ("generator", "family", "group"):
        if (name := columns[role]) is not None:
            kept[role] = row[name]
    if columns["label"] is None:
        return kept
    value = row[columns["label"]]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        value = names[value]
    text = "" if value is None else str(value).strip()
    if text.lower() in LABELS:
        return kept | {"label": LABELS[text.lower()]}
    if any(LABELS.get(name.lower()) == "real" for name in names):
        return kept | {"label": "fake"} | ({} if columns["generator"] else {"generator": text})
    raise InputError(
        f"the label {text!r} is neither real nor fake" + (f" (classes: {', '.join(names)})" if names else "")
        + "; rename it in the data set, or pass label=None and the column of generators"
    )  # fmt: skip


def _saved(value: Any, folder: Path, number: int) -> dict[str, Any]:
    data, recoded = _bytes(value)
    if data is None:
        return {"path": f"images/missing/row-{number}", "recoded": False}
    name = hashlib.sha256(data).hexdigest()
    path = Path("images") / name[:2] / f"{name}.{_ending(data)}"
    if not (folder / path).exists():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        part = folder / f"{path}.part"
        part.write_bytes(data)
        os.replace(part, folder / path)
    return {"path": path.as_posix(), "recoded": recoded}


def _bytes(value: Any) -> tuple[bytes | None, bool]:
    """An image's own bytes, or those of a PNG of its pixels, and whether it is the latter."""
    if isinstance(value, Mapping):
        value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    if isinstance(value, Image.Image):
        original = getattr(value, "filename", "")
        if not original or not os.path.isfile(original):
            buffer = io.BytesIO()
            value.save(buffer, "PNG")
            return buffer.getvalue(), True
        value = original
    if isinstance(value, str | Path):
        try:
            return Path(value).read_bytes(), False
        except OSError:
            return None, False
    return (bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None), False


def _ending(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            found = str(picture.format).lower()
    except Exception:  # whatever a damaged image raises: it becomes an unreadable row when it is decoded
        return "bin"
    return {"jpeg": "jpg", "mpo": "jpg", "tiff": "tif", "jpeg2000": "jp2"}.get(found, found)


def _write_manifest(folder: Path, limit: int | None) -> Path:
    lines = (folder / ROWS).read_text(encoding="utf-8").splitlines()[1:]
    table = pd.DataFrame([json.loads(line) for line in lines[:limit]])
    if table.empty:
        raise InputError(f"the data set has no row; nothing was written to {folder}")
    for name in ("label", "generator", "family", "group"):
        table[name] = text_column(table, name)
    grouped = table.groupby("path", sort=False)
    once = grouped.head(1).set_index("path", drop=False)
    once["copies"] = grouped.size()
    torn = grouped["label"].nunique().gt(1)
    once.loc[torn, ["label", "generator", "family"]] = ""
    part = folder / "manifest.parquet.part"
    once.reset_index(drop=True).to_parquet(part)
    os.replace(part, folder / "manifest.parquet")
    return folder / "manifest.parquet"
