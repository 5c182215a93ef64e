"""A store as it is written: its key first, then shard after shard, its rows last; nothing is ever half there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.features.lock import only_writer
from interp.features.provenance import refuse_other_settings
from interp.features.recording import SMALL
from interp.features.remote import as_address
from interp.features.shards import (
    KEY,
    READOUT,
    ROWS,
    clear_leftovers,
    finished_shards,
    read_json,
    read_rows,
    to_storage,
    whole_or_absent,
    write_json,
    write_rows,
    write_shard,
)
from interp.features.store import FeatureStore
from interp.images.image_set import ImageSet

FACTS = ["content_hash", "pixel_hash", "width", "height", "format", "mode", "bytes", "error"]
"""Columns that say what was found in an image's file."""


class StoreWriter:
    """Writes one store, or goes on with one that was cut off.

    A shard is written by a thread while the next one is encoded, one at a time.

    Args:
        out: the store's folder.
        images: one row of the store for each; with views, the set of views.
        encoder: who looks.
        key: what decides the store's bytes; see `store_key`.
        batch_size: images in one pass of the encoder.
        shard_size: images in one shard.

    Attributes:
        shards: the rows of every shard.

    Raises:
        InputError: the folder holds something else than a store.
    """

    def __init__(
        self,
        out: str | Path,
        images: ImageSet,
        encoder: Encoder,
        key: dict[str, Any],
        *,
        batch_size: int,
        shard_size: int,
    ):
        self.out, self._images, self._encoder, self._dtype = Path(out), images, encoder, key["dtype"]
        self._header = {
            "key": key,
            "images": len(images),
            "batch_size": batch_size,
            "shard_size": shard_size,
        }
        starts = range(0, len(images), shard_size)
        self.shards = [range(i, min(i + shard_size, len(images))) for i in starts]
        self._thread: ThreadPoolExecutor | None = None
        self._written: Future[None] | None = None
        refuse_foreign(self.out)

    @property
    def finished(self) -> bool:
        """Whether all of it is there.

        Raises:
            InputError: what is there was made with other settings.
        """
        if not (self.out / ROWS).exists() or len(finished_shards(self._folder)) < len(self.shards):
            return False
        refuse_other_settings(self.out, read_json(self.out / KEY), self._header)
        return True

    @contextmanager
    def opened(self) -> Iterator[dict[int, range]]:
        """Be the store's only writer: gives the shards to do, by number; when all are written, the rows follow.

        Raises:
            InputError: as `only_writer`; the store was made with other settings; or the last shard's error.
        """
        with only_writer(self.out):
            done = self._open_or_create()
            todo = {number: shard for number, shard in enumerate(self.shards) if number not in done}
            if todo:
                (self.out / ROWS).unlink(missing_ok=True)  # a shard was taken away: it is not finished
            with ThreadPoolExecutor(
                1
            ) as self._thread:  # an error waits for the shard that is being written, too
                yield todo
                self._wait()
            with whole_or_absent(self.out / ROWS) as temporary:
                write_rows(temporary, read_rows(self._folder, range(len(self.shards))))

    def write(self, number: int, arrays: dict[str, np.ndarray], facts: list[dict[str, Any]]) -> None:
        """Begin to write one shard, inside `opened`; first wait for the one before.

        Args:
            number: of the shard.
            arrays: (rows of the shard, …) float32, by name; not to be changed any more.
            facts: what the file of each row said, and its error.

        Raises:
            InputError: of the shard before: a value overflows the stored precision, or the disk is full.
        """
        if self._thread is None:
            raise InputError("a store is written inside `with writer.opened()`")
        self._wait()
        self._written = self._thread.submit(self._write, number, arrays, facts)

    def _wait(self) -> None:
        """Wait for the shard that is being written, and raise its error."""
        written, self._written = self._written, None
        if written is not None:
            written.result()

    def _write(self, number: int, arrays: dict[str, np.ndarray], facts: list[dict[str, Any]]) -> None:
        stored = {
            name: to_storage(array, self._dtype if name in SMALL else "float32", name)
            for name, array in arrays.items()
        }
        rows = self._rows(self.shards[number], facts)
        bad = (rows["error"] != "").to_numpy()
        for array in stored.values():
            array[bad] = np.nan
        write_shard(self._folder, number, stored, rows)

    def store(self) -> FeatureStore:
        """The finished store."""
        return FeatureStore(self.out)

    @property
    def _folder(self) -> Path:
        return self.out / "shards"

    def _open_or_create(self) -> set[int]:
        """Shards already there; the key is the first thing that a store holds."""
        if (self.out / KEY).exists():
            refuse_other_settings(self.out, read_json(self.out / KEY), self._header)
            clear_leftovers(self.out)
        else:
            clear_leftovers(self.out)
            write_json(self.out / KEY, self._header)
        if not (self.out / READOUT).exists():
            with whole_or_absent(self.out / READOUT) as temporary:
                self._encoder.readout.save(temporary)
        return finished_shards(self._folder)

    def _rows(self, indices: range, facts: list[dict[str, Any]]) -> pd.DataFrame:
        """The image set's columns with what the files said; a file's fact wins over a manifest's column."""
        table = self._images.table.iloc[list(indices)]
        found = pd.DataFrame(facts, index=table.index)
        kept = table.drop(columns=[c for c in found.columns if c in table.columns])
        return pd.concat([kept, found.reindex(columns=FACTS)], axis=1)


def refuse_foreign(out: Path) -> None:
    """Refuse a folder that holds something else than a store, hidden files aside, or that is no folder here.

    Raises:
        InputError: it does, or is an address.
    """
    if address := as_address(out):
        raise InputError(
            f"stores are written into folders; extract into one and copy it to {address} when finished"
        )
    if out.is_dir() and not (out / KEY).exists() and any(e for e in out.iterdir() if e.name[0] != "."):
        raise InputError(f"{out} is not empty and holds no feature store; name a new folder with --out")
