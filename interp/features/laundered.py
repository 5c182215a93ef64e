"""A store for each of many launderings: every file is decoded once, laundered in all ways, and encoded in each."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.features.checks import bytes_per_image, check_on_four_images, refuse_full_disk
from interp.features.extract import chain
from interp.features.loading import TIMEOUT, PixelDataset, pixel_batches, pixel_dataset
from interp.features.provenance import store_key
from interp.features.recording import batches_of, joined, record_batch
from interp.features.shards import KEY
from interp.features.store import FeatureStore
from interp.features.writing import StoreWriter
from interp.images.decode import DecodedImage
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.launder_severity import cell_of
from interp.images.laundering import Laundering, as_laundering
from interp.images.views import Views, with_views
from interp.images.workers import Decoded

CLEAN = "clean"
"""Name of the store whose images were not laundered."""

AT_ONCE = 4
"""Batches of the encoder that decoding hands over together."""

Specs = Mapping[str, "Laundering | str | None"] | Iterable["Laundering | str"]


def launder_stores(
    images: ImageSet,
    encoder: Encoder,
    out: str | Path,
    specs: Specs,
    *,
    copies: Laundering | str | None = None,
    n_copies: int = 4,
    equalize: Equalize | str | None = None,
    views: Views | int | None = None,
    random_state: int = 0,
    batch_size: int = 32,
    shard_size: int = 256,
    workers: int | None = None,
    store_dtype: str = "float16",
    progress: bool = True,
    timeout: float = TIMEOUT,
) -> dict[str, FeatureStore]:
    """Extract the images as they are and under each laundering; go on where an earlier run was cut off.

    Each store is byte for byte what `extract(..., launder=spec)` makes. A shard that some store lacks is decoded and
    laundered once for all of them; specs that are added later find the others done. An image that crashes one
    laundering, or takes too long in all of them together, is a row with its reason in every store of that pass.

    Args:
        images: what to look at.
        encoder: who looks.
        out: folder of the stores, a folder for each name.
        specs: launderings, their texts being their names; or a mapping from names to them. The clean store is
            always among them.
        copies: a laundering with ranges and chances, such as `blur:0-3@0.5+jpeg:30-100@0.5`, of which every image gets
            `n_copies` draws with seeds of their own, as stores `copy 1`, `copy 2`, …: to train on.
        n_copies: how many.
        equalize, views, batch_size, shard_size, workers, store_dtype, progress: as for `extract`.
        random_state: seed of all that launderings draw; the k-th copy has the seed `random_state` + k.
        timeout: seconds that decoding one image and laundering it in one way may take.

    Returns:
        The stores by name: clean, the specs in their order, then the copies.

    Raises:
        InputError: as `extract`; or two specs would share a folder.
    """
    equalize = Equalize.parse(equalize) if isinstance(equalize, str) else equalize
    views = Views(views) if isinstance(views, int) else views
    images = images if views is None else with_views(images, views)
    plain = pixel_dataset(images, encoder.preprocessing, equalize, views)
    writers, datasets = {}, {}
    for name, (launder, seed) in named_specs(specs, copies, n_copies, random_state).items():
        key = store_key(encoder, images.keys, equalize, views, store_dtype, launder, seed)
        options = {"batch_size": batch_size, "shard_size": shard_size}
        writers[name] = StoreWriter(Path(out) / folder_name(name), images, encoder, key, **options)
        datasets[name] = _Shared(plain, launder, seed)
    open_ = {name: writer for name, writer in writers.items() if not writer.finished}
    with ExitStack() as stack:
        todo = {name: stack.enter_context(writer.opened()) for name, writer in open_.items()}
        shards = {n: shard for part in todo.values() for n, shard in part.items()}
        if shards:
            together = _Together([datasets[name] for name in open_])
            processes = (os.cpu_count() or 1) if workers is None else workers
            guard = timeout * len(open_)
            speed = check_on_four_images(encoder, datasets[next(iter(open_))], processes, guard)
            passes = sum(len(shard) for part in todo.values() for shard in part.values())
            _announce(encoder, together, passes, speed, out, processes, guard, store_dtype)
            for name in open_:
                print(f"  {name}: {chain(datasets[name].launder, equalize)}")
            plan = [
                (n, batch) for n, rows in sorted(shards.items()) for batch in batches_of(rows, batch_size)
            ]
            pieces = [piece for _, batch in plan for piece in together.pieces(batch)]
            pin = encoder.device.type == "cuda"
            loading = pixel_batches(together, pieces, processes, timeout=guard, pin=pin)  # type: ignore[arg-type]
            bar = tqdm(total=passes, unit="pass", disable=not progress)
            with bar, closing(loading) as loaded:
                recorded: dict[str, tuple[list, list]] = {name: ([], []) for name in open_}
                for number, batch in plan:
                    found = [next(loaded) for _ in together.pieces(batch)]
                    for place, (name, writer) in enumerate(open_.items()):
                        if number not in todo[name]:
                            continue
                        arrays, facts = recorded[name]
                        pixels = torch.cat([part.pixels[:, place] for part in found])
                        arrays.append(record_batch(encoder, pixels, batch_size))
                        facts += [one["each"][place] for part in found for one in part.facts]
                        bar.update(len(batch))
                        if batch[-1] == shards[number][-1]:
                            writer.write(number, joined(arrays), facts)
                            recorded[name] = ([], [])
    return {name: writer.store() for name, writer in writers.items()}


def open_launder_stores(
    folder: str | Path,
) -> tuple[FeatureStore, dict[str, FeatureStore], list[FeatureStore]]:
    """What `launder_stores` wrote: the clean store, the laundered ones by their chains, and the copies.

    Raises:
        InputError: there is no clean store, or one is not finished.
    """
    folder = Path(folder)
    if not (folder / CLEAN / KEY).exists():
        raise InputError(
            f"{folder} holds no stores of launderings (no {CLEAN}); make them with `interp launder`"
        )
    clean = FeatureStore(folder / CLEAN)
    laundered, copies = {}, []
    for path in sorted(folder.glob(f"*/{KEY}")):
        if path.parent.name == CLEAN:
            continue
        store = FeatureStore(path.parent)
        if path.parent.name.startswith("copy_"):
            copies.append(store)
        else:
            laundered[store.key["laundering"]] = store

    def place(name: str) -> tuple[str, float]:
        return cell_of(name).operation, cell_of(name).severity

    return clean, {name: laundered[name] for name in sorted(laundered, key=place)}, copies


def named_specs(
    specs: Specs, copies: Laundering | str | None = None, n_copies: int = 4, random_state: int = 0
) -> dict[str, tuple[Laundering | None, int]]:
    """Every store's laundering and seed, by its name.

    Raises:
        InputError: two names are those of one folder, or there is less than one copy.

    >>> [f"{name}: {chain}, {seed}" for name, (chain, seed) in named_specs(["jpeg:50"], "blur:0-3", 2).items()]
    ['clean: None, 0', 'jpeg:50: jpeg:50, 0', 'copy 1: blur:0-3, 1', 'copy 2: blur:0-3, 2']
    """
    pairs: Any = specs.items() if isinstance(specs, Mapping) else ((spec, spec) for spec in specs)
    given = {str(name): spec for name, spec in pairs}
    if n_copies < 1:
        raise InputError(f"n_copies is the number of laundered copies, 1 or more; given {n_copies}")
    found: dict[str, tuple[Laundering | None, int]] = {CLEAN: (None, random_state)}
    for name, spec in given.items():
        launder = as_laundering(spec)
        if launder is not None:
            found[name] = (launder, random_state)
    if copies is not None:
        drawn = as_laundering(copies)
        found |= {f"copy {k}": (drawn, random_state + k) for k in range(1, n_copies + 1)}
    folders = [folder_name(name) for name in found]
    for name in found:
        if folders.count(folder_name(name)) > 1:
            raise InputError(f"{name!r} and another spec would share the folder {folder_name(name)!r}")
    return found


def folder_name(name: str) -> str:
    """A name as a folder's.

    >>> folder_name("vae:/models/taef2"), folder_name("resize:0.5+jpeg:75")
    ('vae_models_taef2', 'resize_0.5+jpeg_75')
    """
    kept = "".join(letter if letter.isalnum() or letter in "+-.@" else "_" for letter in name)
    return "_".join(part for part in kept.split("_") if part) or "_"


class _LastRead:
    """Decodes a file once for several that ask for it one after the other."""

    def __init__(self) -> None:
        self._last: tuple[str, DecodedImage] | None = None

    def __call__(self, dataset: PixelDataset, path: str) -> DecodedImage:
        if self._last is None or self._last[0] != path:
            self._last = None
            self._last = path, PixelDataset.read(dataset, path)
        return self._last[1]


class _Shared(PixelDataset):
    """The images of a plain dataset under one laundering."""

    def __init__(self, plain: PixelDataset, launder: Laundering | None, random_state: int):
        options = (plain.preprocessing, plain.equalize, plain.views, launder, random_state)
        super().__init__(plain.paths, *options, keys=plain.keys)
        self.reader: Any = None

    def read(self, path: str) -> DecodedImage:
        return super().read(path) if self.reader is None else self.reader(self, path)


class _Together:
    """Pixels of one image under each of k launderings, (k, 3, H, W) uint8, from one decode."""

    def __init__(self, datasets: Sequence[_Shared]):
        reader = _LastRead()
        self.datasets = list(datasets)
        for dataset in self.datasets:
            dataset.reader = reader
        self.blank = np.stack([dataset.blank for dataset in self.datasets])

    def __len__(self) -> int:
        return len(self.datasets[0])

    def __getitem__(self, index: int) -> Decoded:
        return self.decode(index)

    def decode(self, index: int, reason: str | None = None) -> Decoded:
        pixels, facts = zip(*(dataset.decode(index, reason) for dataset in self.datasets), strict=True)
        return np.stack(pixels), {"each": list(facts)}

    def pieces(self, batch: range) -> list[range]:
        """A batch in parts so small that what waits for the encoder fits into memory."""
        size = max(1, AT_ONCE * len(batch) // len(self.datasets))
        return batches_of(batch, size)


def _announce(
    encoder: Encoder,
    together: _Together,
    passes: int,
    speed: float,
    out: str | Path,
    processes: int,
    guard: float,
    dtype: str,
) -> None:
    """Print what the work will take, the decoding and laundering of an image measured.

    Raises:
        InputError: the disk cannot hold it.
    """
    start, few = time.perf_counter(), range(min(4, len(together)))
    list(pixel_batches(together, [few], min(processes, 1), timeout=guard))  # type: ignore[arg-type]
    laundering = (time.perf_counter() - start) / len(few) / len(together.datasets) / max(processes, 1)
    need = passes * bytes_per_image(encoder, dtype)
    minutes = passes * max(laundering, 1 / speed) / 60
    print(
        f"{len(together.datasets)} launderings of {len(together)} images: {passes} passes, {need / 1e6:.0f} MB into "
        f"{out}; about {minutes:.0f} min, laundering {laundering * passes / 60:.0f} and encoding "
        f"{passes / speed / 60:.0f} side by side"
    )
    refuse_full_disk(Path(out), need)
