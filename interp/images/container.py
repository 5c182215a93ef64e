"""What the container of an image says beside its pixels: tables, metadata, profile; read from the header alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import ExifTags, Image

from interp.images.decode import FORMATS
from interp.images.jpeg import jpeg_facts

NONE = "none"
"""Stands for whatever a file has none of."""

CONTAINER = ("quantisation", "subsampling", "progressive", "exif", "icc", "metadata")
"""Facts that `container_facts` reads beside format, mode and size."""

_OTHERS_TELL = {"exif", "icc_profile", "progressive", "progression", "transparency", "background"}
_OTHERS_TELL |= {"interlace", "loop", "duration", "timestamp", "bbox", "adobe", "jfif"}
_OTHERS_TELL |= {"dpi"}  # made up by Pillow from EXIF or JFIF


def container_facts(path: str | Path) -> dict[str, str]:
    """The container of one file that can be decoded, as short texts that are equal where the containers are.

    Returns:
        `quantisation` (a digest of all tables of a JPEG), `subsampling` ("4:2:0", …), `progressive` ("yes" or "no"),
        `exif` (names of the tags there), `icc` (a digest of the colour profile), `metadata` (names of comments, text
        chunks and other fields); each "none" where the file has none, "damaged" where it cannot be read.

    Raises:
        OSError: the file is no image; call it on files that have been decoded.

    >>> import io
    >>> buffer = io.BytesIO()
    >>> Image.new("RGB", (8, 8)).save(buffer, "JPEG", comment=b"mine")
    >>> facts = container_facts(buffer)
    >>> facts["subsampling"], facts["exif"], facts["metadata"]
    ('4:2:0', 'none', 'comment jfif_density jfif_unit jfif_version')
    """
    Image.init()
    with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as picture:
        tables = getattr(picture, "quantization", None) or {}
        info = dict(picture.info)
        facts = {
            "quantisation": _digest(repr(sorted((n, list(t)) for n, t in tables.items())) if tables else ""),
            "progressive": "yes" if info.get("progressive") or info.get("interlace") else "no",
            "exif": _exif(picture),
            "icc": _digest(info.get("icc_profile") or b""),
            "metadata": " ".join(sorted(str(name) for name in set(info) - _OTHERS_TELL)) or NONE,
        }
        is_jpeg = picture.format == "JPEG"
    return {**facts, "subsampling": str(jpeg_facts(path)["subsampling"]) if is_jpeg else NONE}


def _digest(value: str | bytes) -> str:
    if not value:
        return NONE
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).hexdigest()[:8]


def _exif(picture: Image.Image) -> str:
    """Names of the EXIF tags, in order; their values are left out."""
    try:
        tags = sorted(picture.getexif())
    except Exception:  # a damaged block raises whatever its bytes lead to
        return "damaged"
    return " ".join(ExifTags.TAGS.get(tag, str(tag)) for tag in tags) or NONE
