"""A set whose images were all brought through one path, written as files: what an audit advises, done."""

from __future__ import annotations

import os
from pathlib import Path

from interp.errors import InputError, UnreadableImage
from interp.images.decode import read_image
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet


def write_equalised(
    images: ImageSet, equalize: Equalize | str, folder: str | Path, *, progress: bool = True
) -> ImageSet:
    """Write what comes out of an equalisation as PNG, so that every file has the same container, and a manifest.

    The pixels are those that `extract(..., equalize=...)` shows the encoder; extract the new set without it. Files that
    are there already are kept, so that the same call goes on where it was cut off.

    Args:
        images: the set; one that cannot be read is left out.
        equalize: such as "common:128:75".
        folder: of the new set, with `manifest.csv`.
        progress: show a bar.

    Returns:
        The new set: keys end in .png, all other columns are as they were, `native_key` is the old key.

    Raises:
        InputError: no equalisation, the folder is that of the set itself, an image lies outside the set's folder, or
            none can be read.

    >>> import tempfile
    >>> from PIL import Image
    >>> root = tempfile.TemporaryDirectory()
    >>> (Path(root.name) / "set/real").mkdir(parents=True)
    >>> Image.new("RGB", (300, 200)).save(Path(root.name) / "set/real/a.jpg")
    >>> new = write_equalised(ImageSet.open(Path(root.name) / "set"), "64:75", Path(root.name) / "new", progress=False)
    >>> new.keys[0], read_image(new.path(new.keys[0])).pixels.size
    ('real/a.jpg.png', (64, 64))
    """
    from tqdm import tqdm

    path = Equalize.parse(equalize) if isinstance(equalize, str) else equalize
    if path is None:
        raise InputError("nothing to write: give an equalisation such as 'common:128:75'")
    folder = Path(folder)
    if folder.resolve() == images.root.resolve():
        raise InputError(f"{folder} holds the set itself; name another folder")
    outside = [key for key in images.keys if key.startswith("/") or ".." in key.split("/")]
    if outside:
        raise InputError(
            f"{outside[0]!r} lies outside the set's folder and would be written outside {folder}"
        )
    written: dict[str, str] = {}
    for key in tqdm(images.keys, unit="image", desc=f"equalising to {path}", disable=not progress):
        target = folder / f"{key}.png"
        if not target.exists():
            try:
                pixels = path.apply(read_image(images.path(key)).pixels)
            except UnreadableImage:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            pixels.save(part, "PNG", compress_level=3)
            os.replace(part, target)
        written[key] = f"{key}.png"
    if not written:
        raise InputError(f"none of the {len(images)} images can be read")
    table = images.table.loc[list(written)].rename_axis("native_key").reset_index()
    table.insert(0, "path", list(written.values()))
    table.to_csv(folder / "manifest.csv", index=False)
    return ImageSet.open(folder)
