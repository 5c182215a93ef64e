"""One pass over the images into a feature store: checked, estimated, resumable."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from interp.encoders.encoder import Encoder
from interp.errors import unknown_name
from interp.features.checks import check_on_four_images, print_estimate
from interp.features.loading import TIMEOUT, pixel_dataset
from interp.features.lock import refuse_unwritable
from interp.features.provenance import store_key
from interp.features.recording import record_shards
from interp.features.shards import ROWS
from interp.features.store import FeatureStore
from interp.features.writing import StoreWriter, refuse_foreign
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.laundering import Laundering, as_laundering
from interp.images.views import Views, with_views

ENGINES = ("local", "ray")


def extract(
    images: ImageSet,
    encoder: Encoder,
    out: str | Path,
    *,
    equalize: Equalize | str | None = None,
    views: Views | int | None = None,
    launder: Laundering | str | None = None,
    random_state: int = 0,
    batch_size: int = 32,
    shard_size: int = 256,
    workers: int | None = None,
    store_dtype: str = "float16",
    progress: bool = True,
    timeout: float = TIMEOUT,
    engine: str = "local",
) -> FeatureStore:
    """Record every head and MLP of every image into a store; go on where an earlier run was cut off.

    Before the pass it checks on four images that the parts sum to the embedding (relative error at most
    1e-5 in float32) and how far a low-precision run is from float32, and prints an estimate of time and
    disk. An unreadable image becomes a row with its error, and so does one that crashes the decoder or takes
    longer than `timeout`. One process writes a store; a second one is refused.

    Every pass has `batch_size` rows, so that an image's numbers do not depend, bit for bit, on which images share
    its batch, wherever the encoder treats all rows alike; docs/odd_images.md says where that is so. With
    `batch_size=1` it always is.

    Args:
        images: what to look at.
        encoder: who looks.
        out: the store's folder; may hold an unfinished store made with the same settings.
        equalize: bring every image through one path first, such as `common:128:75`.
        views: look at this many crops at native resolution instead of one resized image; a row for each.
        launder: what happens to every image at its own size, before it is equalised, such as
            `resize:0.5+jpeg:75`; see docs/laundering.md.
        random_state: seed of what laundering draws; nothing else is drawn.
        batch_size: images in one pass of the encoder. Part of what makes a store's bytes.
        shard_size: images in one shard, the unit of resuming.
        workers: decoding processes; by default one for each core. With 0 images are decoded in this process,
            which an image that crashes the decoder takes down with it.
        store_dtype: float16, or float32 where values overflow.
        progress: show a bar with images/s.
        timeout: seconds that decoding one image may take.
        engine: "local", or "ray" to decode and encode on a Ray cluster, which gives the same store; then `workers`
            are decoding actors. See `record_with_ray`, and docs/scale.md.

    Raises:
        InputError: the folder cannot be written, is being written, or holds something else, such as a store made
            with other settings; the disk is too small or becomes full; the parts do not sum to the whole; a
            low-precision run is too far from float32; a value overflows; or the engine is unknown or not installed.
            What is finished stays.

    See the README for the whole path in ten lines.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    equalize = Equalize.parse(equalize) if isinstance(equalize, str) else equalize
    views = Views(views) if isinstance(views, int) else views
    launder = as_laundering(launder)
    images = images if views is None else with_views(images, views)
    key = store_key(encoder, images.keys, equalize, views, store_dtype, launder, random_state)
    writer = StoreWriter(out, images, encoder, key, batch_size=batch_size, shard_size=shard_size)
    if writer.finished:
        return writer.store()
    with writer.opened() as todo:
        if todo:
            dataset = pixel_dataset(images, encoder.preprocessing, equalize, views, launder, random_state)
            processes = (os.cpu_count() or 1) if workers is None else workers
            speed = check_on_four_images(encoder, dataset, processes, timeout)
            count = sum(map(len, todo.values()))
            print_estimate(writer.out, encoder, count, len(images) - count, speed, store_dtype)
            if launder is not None:
                print(f"every image: {chain(launder, equalize)}")
            bar = tqdm(total=len(images), initial=len(images) - count, unit="image", disable=not progress)
            if engine == "ray":
                from interp.features.ray_engine import record_with_ray

                recorded = record_with_ray(
                    encoder, dataset, todo, batch_size, workers, timeout, bar, store_dtype
                )
            else:
                recorded = record_shards(encoder, dataset, todo, batch_size, processes, timeout, bar)
            with bar, closing(recorded):
                for shard in recorded:
                    writer.write(*shard)
    return writer.store()


def chain(launder: Laundering | None, equalize: Equalize | None) -> str:
    """What happens to an image, in its order.

    >>> chain(Laundering.parse("jpeg:50"), Equalize.parse("common:128:75"))
    'decoded → jpeg:50 at its own size → equalised common:128:75 → resized for the encoder'
    """
    steps = ["decoded"]
    steps += [f"{launder} at its own size"] if launder else []
    steps += [f"equalised {equalize}"] if equalize else []
    return " → ".join([*steps, "resized for the encoder"])


def refuse_folder(out: str | Path) -> None:
    """Raise at once, before an encoder is loaded, what `extract` would raise about the folder of its store.

    Raises:
        InputError: it holds something else, or has no finished store and cannot be written, or is being written.
    """
    out = Path(out)
    refuse_foreign(out)
    if not (out / ROWS).exists():
        refuse_unwritable(out)
