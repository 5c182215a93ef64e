"""The same pass over the images on a Ray cluster: decoding and encoding actors, shard after shard."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.features.checks import bytes_per_image
from interp.features.loading import PixelDataset, pixel_batches
from interp.features.recording import SMALL, RecordedShard, batches_of, joined, record_batch
from interp.features.shards import to_storage

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""A cluster that is started here reports to nobody, and keeps to itself what Ray mends by itself."""

AHEAD = 4
"""Blocks for each actor that may wait on their way."""
ROW, PATH, KEY, PIXELS, FACTS = "row", "path", "key", "pixels", "facts"
"""Columns that travel: a row's number, the name of its file, its image's key where it is laundered, its pixels, and
what the file said as JSON."""


def record_with_ray(
    encoder: Encoder,
    dataset: PixelDataset,
    shards: Mapping[int, range],
    batch_size: int,
    workers: int | None,
    timeout: float,
    bar: tqdm,
    dtype: str = "float16",
) -> Generator[RecordedShard]:
    """Record shards as `record_shards` does, on a Ray cluster, and hand them over in their order.

    A shard is one block of Ray Data (`from_blocks` keeps it so, and asks no worker what is in it). It is
    decoded by one actor, in a guarded process of its own, and encoded by another in batches of the same
    composition and with as many threads as here, so that a cluster of the same processors gives the same bytes.
    Every actor loads the encoder once. Where a worker is killed, Ray does its blocks again. Ray Data holds
    decoding and encoding back while `AHEAD` blocks for each actor wait, however many images there are.

    Ray's own conventions say which cluster: the one that this process is connected to already, else RAY_ADDRESS,
    else one that runs on this machine, else one that is started here and ended afterwards. Every machine needs
    this package and the images under the same names.

    Args:
        encoder: who looks. Where the cluster has GPUs each encoding actor takes one, unless there is one here too
            and the encoder is not on it.
        dataset: the images.
        shards: the indices of each shard to record, by its number.
        batch_size: images in one pass of the encoder.
        workers: decoding actors; by default one for each core that encoding leaves.
        timeout: seconds that decoding one image may take.
        bar: told of every shard.
        dtype: of the store; arrays travel in it.

    Raises:
        InputError: Ray is not installed, or there would be no decoding actor.
    """
    if workers is not None and workers < 1:
        raise InputError(
            f"engine 'ray' decodes in actors and got workers={workers}; give 1 or more, or leave it out"
        )
    longest = max(map(len, shards.values()))
    block = longest * (dataset.blank.nbytes + bytes_per_image(encoder, dtype))
    with _cluster() as ray:
        room = share_out(ray.cluster_resources(), workers, torch.get_num_threads(), on_gpu=_on_gpu(encoder))
        window = AHEAD * block * (room.decoders + room.encoders)
        with _settings(ray, window):
            options = (
                dataset.preprocessing,
                dataset.equalize,
                dataset.views,
                dataset.launder,
                dataset.random_state,
            )
            decoding = (options, batch_size, timeout)
            encoding = (
                ray.put(encoder.for_processes()),
                room.gpus > 0,
                torch.get_num_threads(),
                batch_size,
                dtype,
            )
            blocks = (
                ray.data.from_blocks([_named(dataset, rows) for rows in shards.values()])
                .map_batches(
                    _Decoding,
                    fn_constructor_args=decoding,
                    batch_size=None,
                    compute=ray.data.ActorPoolStrategy(size=room.decoders),
                    num_cpus=room.decoder_cpus,
                )
                .map_batches(
                    _Encoding,
                    fn_constructor_args=encoding,
                    batch_size=longest,
                    compute=ray.data.ActorPoolStrategy(size=room.encoders),
                    num_cpus=room.encoder_cpus,
                    num_gpus=room.gpus,
                )
                .iter_batches(batch_size=None, batch_format="numpy")
            )
            for (number, rows), arrays in zip(shards.items(), blocks, strict=True):
                if not np.array_equal(arrays.pop(ROW), rows):
                    raise RuntimeError(f"Ray Data gave other rows than those of shard {number}")
                facts = [json.loads(text) for text in arrays.pop(FACTS)]
                bar.update(len(rows))
                yield number, arrays, facts


class _Decoding:
    """Actor that turns the names of a shard's images into pixels and facts."""

    def __init__(self, options: tuple[Any, ...], batch_size: int, timeout: float):
        self._options, self._batch_size, self._timeout = options, batch_size, timeout

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        views = self._options[2]
        first = int(block[ROW][0])
        elsewhere = (
            first % views.number if views else 0
        )  # views of the first image that the shard before this has
        paths = [os.fsdecode(name) for name in block[PATH]]
        keys = [os.fsdecode(key) for key in block[KEY]]
        dataset = PixelDataset(
            [paths[0]] * elsewhere + paths, *self._options, keys=[keys[0]] * elsewhere + keys
        )
        batches = batches_of(range(elsewhere, len(dataset)), self._batch_size)
        with closing(pixel_batches(dataset, batches, 1, timeout=self._timeout)) as loaded:
            pixels, facts = zip(*((batch.pixels.numpy(), batch.facts) for batch in loaded), strict=True)
        texts = [json.dumps(fact) for some in facts for fact in some]
        return {ROW: block[ROW], PIXELS: np.concatenate(pixels), FACTS: np.array(texts, dtype=object)}


class _Encoding:
    """Actor that turns the pixels of a shard into what the encoder's heads wrote."""

    def __init__(self, encoder: Any, gpu: bool, threads: int, batch_size: int, dtype: str):
        import ray  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(threads)
        self._encoder: Encoder = ray.get(encoder)
        self._encoder.to("cuda" if gpu else "cpu")
        self._batch_size, self._dtype = batch_size, dtype

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        pixels = block.pop(PIXELS)
        records = [
            record_batch(self._encoder, torch.tensor(pixels[rows.start : rows.stop]), self._batch_size)
            for rows in batches_of(range(len(pixels)), self._batch_size)
        ]
        return {**block, **_for_the_way(joined(records), self._dtype)}


@dataclass(frozen=True)
class Room:
    """How many actors there are, and what each is counted as."""

    encoders: int
    encoder_cpus: float
    gpus: int
    decoders: int
    decoder_cpus: float


def share_out(resources: Mapping[str, float], decoders: int | None, threads: int, *, on_gpu: bool) -> Room:
    """Divide a cluster between encoding and decoding actors so that there is room for all of them.

    Args:
        resources: what the cluster has, by Ray's names: `CPU` and `GPU`.
        decoders: decoding actors; by default one for each core that encoding leaves.
        threads: of each encoding actor, where it runs on processors.
        on_gpu: encode on GPUs where there are any.

    >>> share_out({"CPU": 64, "GPU": 8}, None, 8, on_gpu=True)
    Room(encoders=8, encoder_cpus=0.0, gpus=1, decoders=64, decoder_cpus=1.0)
    >>> share_out({"CPU": 4}, None, 2, on_gpu=True)
    Room(encoders=1, encoder_cpus=2.0, gpus=0, decoders=2, decoder_cpus=1.0)
    >>> share_out({"CPU": 1}, 2, 8, on_gpu=True)
    Room(encoders=1, encoder_cpus=0.5, gpus=0, decoders=2, decoder_cpus=0.25)
    """
    cpus = int(resources.get("CPU", 1)) or 1
    gpus = int(resources.get("GPU", 0)) if on_gpu else 0
    if gpus:
        encoders, each = gpus, 0.0
    else:
        encoders = max(1, (cpus - 1) // threads)
        each = float(min(threads, cpus - 1)) or 0.5
    left = cpus - encoders * each
    decoders = max(1, int(left)) if decoders is None else decoders
    share = min(1.0, left / decoders)
    return Room(encoders, each, int(gpus > 0), decoders, share)


def _on_gpu(encoder: Encoder) -> bool:
    return encoder.device.type == "cuda" or not torch.cuda.is_available()


def _for_the_way(arrays: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Arrays in the precision of the store; one that overflows it stays as it is, for the writer to refuse."""
    found = dict(arrays)
    for name in SMALL:
        with suppress(InputError):
            found[name] = to_storage(arrays[name], dtype, name)
    return found


def _named(dataset: PixelDataset, rows: range) -> Any:
    """A block of Ray Data for one shard: numbers of rows, names of files and keys as the system's bytes."""
    import pyarrow as pa

    names, keys = (
        [os.fsencode(texts[row]) for row in rows] for texts in (dataset.paths, dataset.keys or dataset.paths)
    )
    return pa.table({ROW: list(rows), PATH: names, KEY: keys})


@contextmanager
def _cluster() -> Iterator[Any]:
    """Ray, connected to a cluster by its own conventions; what is connected or started here ends here."""
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            f"engine 'ray' needs Ray Data ({error}); run `pip install \"interp[ray]\"`, or use engine 'local'"
        ) from error
    ours = not ray.is_initialized()
    if ours:
        with _environment(_QUIET):
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _settings(ray: Any, window: int) -> Iterator[None]:
    """Blocks in their order, never split, within a window of bytes; no bars or announcements, but errors."""
    context = ray.data.DataContext.get_current().copy()
    options = context.execution_options
    options.preserve_order = True
    limit = ray.data.ExecutionResources.for_limits(object_store_memory=window)
    options.resource_limits = options.resource_limits.min(limit)
    context.target_max_block_size = None
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with ray.data.DataContext.current(context):
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """These variables, where they are not set."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
