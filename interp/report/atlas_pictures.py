"""Small pictures for the head atlas: thumbnails, and where in an image a head looks."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image
from tqdm import tqdm

from interp.encoders.encoder import Encoder
from interp.encoders.token_recorder import record_tokens
from interp.errors import InputError, UnreadableImage
from interp.images.decode import read_image
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet

SIDE = 64
"""Longer edge of a thumbnail, in pixels."""
LARGE_SIDE = 160
"""Edge of the picture that an attention map lies on."""


@dataclass(frozen=True)
class AttentionMap:
    """Where a head reads in one image, and the image as the encoder saw it.

    Attributes:
        key: row key of the image.
        weights: (rows, columns): attention of the image's token on each patch; with `elsewhere` they sum to 1.
        elsewhere: attention on tokens that stand for no patch: the class token itself, and registers.
        picture: the image as the encoder saw it, as a data URI.
    """

    key: str
    weights: np.ndarray
    elsewhere: float
    picture: str


def thumbnails(
    images: ImageSet, keys: Iterable[str], equalize: Equalize | None = None, *, progress: bool = True
) -> dict[str, str]:
    """Data URIs of small WebP pictures, by key; images that cannot be read are left out.

    Args:
        images: where they lie. Of keys that it does not know, there is no picture.
        keys: row keys.
        equalize: what every image was brought through before the encoder saw it.
        progress: show a bar.
    """
    found, known = {}, set(images.keys)
    for key in tqdm(list(keys), desc="thumbnails", unit="image", disable=not progress):
        if key in known and (picture := _opened(images, key, equalize)) is not None:
            picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            found[key] = data_uri(picture)
    return found


def attention_maps(
    images: ImageSet,
    encoder: Encoder,
    strongest: Mapping[str, str],
    equalize: Equalize | None = None,
    *,
    progress: bool = True,
) -> dict[str, AttentionMap]:
    """For each head, where it reads in one image; one pass of the encoder for each different image.

    Args:
        images: where they lie.
        encoder: who looks.
        strongest: head name to row key.
        equalize: what every image is brought through first.
        progress: show a bar.

    Returns:
        By head name; heads whose image cannot be read are left out.

    Raises:
        InputError: this encoder's attention cannot be split over tokens; see `record_tokens`.
    """
    heads_of: dict[str, list[str]] = {}
    for head, key in strongest.items():
        heads_of.setdefault(key, []).append(head)
    found, known, layout = {}, set(images.keys), encoder.layout
    for key, heads in tqdm(heads_of.items(), desc="attention", unit="image", disable=not progress):
        picture = _opened(images, key, equalize) if key in known else None
        if picture is None:
            continue
        _, tokens = record_tokens(encoder, encoder.pixel_values([picture]))
        weights = tokens.weights[0].flatten(0, 1).double().cpu().numpy()
        seen = Image.fromarray(encoder.preprocessing.apply(picture).transpose(1, 2, 0))
        seen.thumbnail((LARGE_SIDE, LARGE_SIDE), Image.Resampling.LANCZOS)
        shown = data_uri(seen)
        for head in heads:
            row = weights[layout.index(head)]
            patches = row[tokens.prefix :].reshape(tokens.grid)
            found[head] = AttentionMap(key, patches, float(row[: tokens.prefix].sum()), shown)
    return found


def data_uri(picture: Image.Image) -> str:
    """A picture as text that a page can hold: WebP, lossy.

    >>> data_uri(Image.new("RGB", (8, 8), "teal"))[:23]
    'data:image/webp;base64,'
    """
    kept = io.BytesIO()
    picture.save(kept, "WEBP", quality=60, method=4)
    return f"data:image/webp;base64,{base64.b64encode(kept.getvalue()).decode()}"


def refuse_strangers(images: ImageSet, keys: Iterable[str]) -> None:
    """Images of which a store has no row were opened from another folder or manifest.

    Raises:
        InputError: none of the keys is there.
    """
    keys = list(keys)
    if not set(images.keys) & set(keys):
        raise InputError(
            f"none of the {len(images)} images in {images.root} is a row of the store, whose first row is {keys[0]!r}; "
            "open the folder or manifest that the store was extracted from"
        )


def _opened(images: ImageSet, key: str, equalize: Equalize | None) -> Image.Image | None:
    try:
        pixels = read_image(images.path(key)).pixels
    except UnreadableImage:
        return None
    return pixels if equalize is None else equalize.apply(pixels)
