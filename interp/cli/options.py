"""What several commands share: how images are looked at, who trains and tests, and how a run ends."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import UseAppendAction

if TYPE_CHECKING:
    from interp.encoders.encoder import Encoder
    from interp.features.store import FeatureStore
    from interp.images.image_set import ImageSet

UNREADABLE = 3
"""Exit code of a run that ended well but met images it could not read."""


@dataclass(frozen=True)
class Looking:
    """How images are looked at."""

    encoder: str = "openai/clip-vit-large-patch14"
    """Hub id or folder of the encoder; "embedded" is the small teaching CLIP inside the package."""
    equalize: str = "none"
    """Bring every image through one path first: SIDE:QUALITY (256:75) or common:SIDE:QUALITY (common:128:75)."""
    launder: str = "none"
    """What happens to every image at its own size, before it is equalised, such as resize:0.5+jpeg:75."""
    views: int | None = None
    """Look at this many crops of each image at native resolution (1, 4, 5, 9, …) instead of one resized image."""
    layout: str | None = None
    """How a folder is laid out, such as genimage; by default it is recognised."""
    where: UseAppendAction[tuple[str, ...]] = ()
    """Keep the rows that meet a condition such as role=test; may be given several times."""
    allow_outside: bool = False
    """Allow a manifest to name images outside its own folder."""
    device: str | None = None
    """cpu, cuda or mps; by default the best there is."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision the encoder runs in."""
    store_dtype: Literal["float16", "float32"] = "float16"
    """Precision that head and MLP values are stored in."""
    batch_size: int = 32
    """Images in one pass."""
    workers: int | None = None
    """Decoding processes; by default one for each core."""
    fast: bool = False
    """Compute the last block for the class token alone, and float32 layers by oneDNN; the last bits change."""
    engine: Literal["local", "ray"] = "local"
    """Where to decode and encode: this process, or a Ray cluster (RAY_ADDRESS, else one started here)."""


@dataclass(frozen=True)
class Parts:
    """Who trains, selects and tests."""

    protocol: Literal[
        "pairs", "leave-one-out", "by-hand", "chronological", "twins", "twins-to-generators"
    ] = "pairs"
    """All ordered pairs, each generator left out in turn, the generators named below, older generators against newer
    ones, or photographs against their twins (see interp pairs): each mechanism left out in turn, or trained on
    mechanisms and tested on generators."""
    train: tuple[str, ...] = ()
    """Generators to train on (by hand)."""
    select: tuple[str, ...] = ()
    """Generators to choose heads, components and strengths on (by hand)."""
    test: tuple[str, ...] = ()
    """Generators to report on (by hand)."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    released: tuple[str, ...] = ()
    """When generators were released, as glide=2021-12-20 (chronological); else the manifest's column released says."""
    seeds: int = 5
    """Dealings of photographs and groups into three parts."""
    random_state: int = 0
    """Seed of every random draw."""


@dataclass(frozen=True)
class Judging:
    """What is compared, and how much is drawn to judge a gain."""

    aggregates: tuple[Literal["concat", "sum", "vote"], ...] = ("concat",)
    """How selected heads are put together; one detector for each."""
    head_removal: bool = False
    """Add a detector on the embedding without the heads that serve select generators worst."""
    shortcut_removal: bool = False
    """Look for properties of the pixels, such as a colour cast, that only train fakes have; name and erase them."""
    generator_erasure: bool = False
    """Add a detector on the embedding without what says which generator made a fake; with --protocol leave-one-out."""
    pool: Literal["mean", "max"] = "mean"
    """What the scores of an image's views are put together by."""
    nulls: int = 50
    """Draws of each null: random subsets, permuted select labels, rotated spaces."""
    resamples: int = 1000
    """Joint resamples of photographs and groups for the intervals."""
    jobs: int | None = None
    """Processes; by default one for each core."""


def open_images(images: Path, looking: Looking) -> ImageSet:
    """The images that the command line named."""
    from interp.images.image_set import ImageSet

    return ImageSet.open(
        images, layout=looking.layout, where=looking.where, allow_outside=looking.allow_outside
    )


def looking_encoder(looking: Looking) -> Encoder:
    """The encoder that the command line named."""
    from interp.encoders.loading import load_encoder

    return load_encoder(looking.encoder, device=looking.device, dtype=looking.dtype, fast=looking.fast)


def speed_options(looking: Looking) -> dict[str, Any]:
    """How images are read and passed on, which decides nothing of what is found."""
    return {"batch_size": looking.batch_size, "workers": looking.workers, "engine": looking.engine}


def extract_store(images: Path, out: Path, looking: Looking, *, statistics: bool = False) -> FeatureStore:
    """Extract what the command line named; with statistics, measure every image's pixels too."""
    from interp.features.extract import extract, refuse_folder
    from interp.features.statistics import measure_statistics
    from interp.images.equalize import Equalize

    chosen = open_images(images, looking)
    equalize = Equalize.parse(looking.equalize)
    refuse_folder(out)
    options = {"launder": looking.launder, "views": looking.views, "store_dtype": looking.store_dtype}
    options |= speed_options(looking)
    store = extract(chosen, looking_encoder(looking), out, equalize=equalize, **options)
    if statistics:
        measure_statistics(chosen, store, workers=looking.workers)
    return store


def report_unreadable(store: FeatureStore) -> int:
    """Print the reasons of unreadable images; returns the exit code."""
    bad = store.rows.loc[~store.usable, "error"]
    if len(bad):
        print(f"{len(bad)} of {len(store)} images could not be read:", file=sys.stderr)
        for key, reason in bad.head(10).items():
            print(f"  {key}: {reason}", file=sys.stderr)
    return UNREADABLE if len(bad) else 0
