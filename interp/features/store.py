"""A store of recorded heads on disk, and all that follows from it without a second pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from interp.encoders.layout import HeadLayout
from interp.encoders.readout import Readout
from interp.encoders.recorder import HeadRecord
from interp.errors import InputError, unknown_name
from interp.features.remote import as_address, local_copy, size
from interp.features.shards import KEY, READOUT, ROWS, read_json, read_shards


class FeatureStore:
    """What an encoder saw in n images: head values, MLP values, embeddings, and the rows they belong to.

    Args:
        folder: what `extract` wrote; or the address of a copy that `fsspec` can read, such as `s3://bucket/store`,
            whose arrays are fetched when they are first asked for (see docs/scale.md).

    Raises:
        InputError: the folder holds no store, or one that is not finished; or the address cannot be reached.

    Attributes:
        folder: of the store, or of the local copy of a remote one; absolute.
        address: where a remote store is, else None.
        rows: (n rows) table indexed by row key: label, generator, family, group, content_hash, pixel_hash,
            error (empty if the image could be read) and every column of the manifest.
        key: the provenance key: encoder, weights, precision, preprocessing, equalisation, libraries.
    """

    def __init__(self, folder: str | Path):
        self.address = as_address(folder)
        self._given = self.address or str(folder)
        # absolute, for other processes and for a working directory that changes
        self.folder = Path(folder).absolute() if self.address is None else local_copy(self.address)
        if not (self.folder / KEY).exists():
            raise InputError(
                f"{folder} holds no feature store (no {KEY}); make one with `interp extract … --out {folder}`"
            )
        header = read_json(self.folder / KEY)
        self.key: dict[str, Any] = header["key"]
        self._shards = range(-(-header["images"] // header["shard_size"]))
        if not (self.folder / ROWS).exists():
            done = len(list((self.folder / "shards").glob("[0-9]*")))
            raise InputError(
                f"the store {folder} is not finished ({done} of {len(self._shards)} shards); "
                "run the same `interp extract` again and it goes on"
            )
        self.rows = pd.read_parquet(self.folder / ROWS)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        encoder, bad = self.key["encoder"], int((~self.usable).sum())
        return (
            f"FeatureStore({self._given!r}: {len(self)} images{f', {bad} unreadable' if bad else ''}, "
            f"{encoder['name']}, {self.layout.n_heads} heads, equalize {self.key['equalize']})"
        )

    @property
    def views(self) -> int:
        """How many rows there are for each image: one, or its views."""
        return int(self.key["views"]) if self.key.get("views", "none") != "none" else 1

    @property
    def usable(self) -> np.ndarray:
        """(n,) bool: rows whose image could be read; the features of the others are NaN."""
        return (self.rows["error"] == "").to_numpy()

    @cached_property
    def readout(self) -> Readout:
        """The encoder's weights that carry head values into the embedding."""
        return Readout.load(self.folder / READOUT)

    @property
    def layout(self) -> HeadLayout:
        """Layers, heads and head width."""
        return self.readout.layout

    def array(self, name: str) -> np.ndarray:
        """One stored array: head_values, mlp_values, first, norm_mean, norm_std or embedding, (n, …)."""
        known = [field.name for field in fields(HeadRecord)]
        if name not in known:
            raise unknown_name("array", name, known)
        return read_shards(self.folder / "shards", self._shards, name)

    def features(self, kind: str) -> np.ndarray:
        """One matrix for each image, (n, p), float32, as detectors read it.

        Args:
            kind: "embedding" (p = P), "heads" (`head_features`, p = l·h·d), "layers" (the class token after each
                block, p = l·D), "before_mlp" (the same between each block's attention and its MLP), "next_to_last"
                (p = D) or "embedding_and_heads" (the first two side by side, columns `P.0`, … then `L0.H0.0`, …, as
                `HeadRemoval` reads them).

        Raises:
            InputError: another kind.
        """
        kinds = {
            "embedding": self.embedding,
            "heads": self.head_features,
            "layers": lambda: self.class_tokens()[:, 1:].reshape(len(self), -1),
            "before_mlp": lambda: (
                self.class_tokens()[:, 1:] - self.array("mlp_values").astype(np.float32)
            ).reshape(len(self), -1),
            "next_to_last": self.next_to_last,
            "embedding_and_heads": lambda: np.concatenate([self.embedding(), self.head_features()], axis=1),
        }
        if kind not in kinds:
            raise unknown_name("features", kind, kinds)
        return kinds[kind]()

    def frame(self, kind: str) -> pd.DataFrame:
        """`features(kind)` as a table: row keys as its index, and names for its columns.

        Columns are `L3.H5.17` (heads, as `HeadLayout.from_columns` reads them), `P.17` (embedding), `L3.17` (layers,
        before_mlp), `D.17` (next_to_last), or the first two kinds in turn (embedding_and_heads).

        Raises:
            InputError: another kind.
        """
        values = self.features(kind)
        return pd.DataFrame(values, index=self.rows.index, columns=self.columns(kind))

    def columns(self, kind: str) -> list[str]:
        """Names of the columns of `features(kind)`.

        Raises:
            InputError: another kind.
        """
        layers, (D, P) = range(self.layout.layers), self.readout.projection.shape
        names = {
            "embedding": lambda: [f"P.{i}" for i in range(P)],
            "heads": lambda: self.layout.columns,
            "layers": lambda: [f"L{layer}.{i}" for layer in layers for i in range(D)],
            "before_mlp": lambda: self.columns("layers"),
            "next_to_last": lambda: [f"D.{i}" for i in range(D)],
            "embedding_and_heads": lambda: [*self.columns("embedding"), *self.layout.columns],
        }
        if kind not in names:
            raise unknown_name("features", kind, names)
        return names[kind]()

    def head_features(self) -> np.ndarray:
        """(n, l·h·d), float32: head values ÷ the final LayerNorm's std, columns as in `layout`.

        In this unit a head's share of the embedding is linear: `X[:, layout.slice(head)] @ readout.folded[l, h]`.
        """
        values = self.array("head_values").reshape(len(self), -1).astype(np.float32)
        return values / self.array("norm_std")[:, None]

    def head_embeddings(self, heads: Sequence[str | int] | None = None) -> np.ndarray:
        """(n, k, P), float32: what each of k heads (default: all) adds to the embedding."""
        numbers = [self.layout.index(h) for h in (self.layout.names if heads is None else heads)]
        features = self.head_features().reshape(len(self), self.layout.n_heads, -1)
        folded = self.readout.folded.flatten(0, 1).numpy()
        return np.einsum("nkd,kdp->nkp", features[:, numbers], folded[numbers])

    def embedding(
        self,
        without: Iterable[str] = (),
        *,
        replace: str = "zero",
        rows: Sequence[int] | np.ndarray | None = None,
    ) -> np.ndarray:
        """(n, P), float32: the stored embedding, minus the parts named.

        Args:
            without: parts to remove: heads such as `L3.H5`, MLPs such as `L3.MLP`, or `first`.
            replace: "zero" takes a part out; "mean" puts its mean over `rows` in its place.
            rows: positions of the train rows that the mean is taken over; needed for "mean".

        Raises:
            InputError: an unknown part, or a mean without rows.
        """
        result = self.array("embedding")
        if replace not in ("zero", "mean"):
            raise unknown_name("replacement", replace, ["zero", "mean"])
        if replace == "mean" and rows is None:
            raise InputError(
                "replace='mean' needs rows=: positions of the train rows, so that no test row is averaged in"
            )
        for part in without:
            value = self._part(part)
            if replace == "mean":
                value = value - np.nanmean(value[np.asarray(rows)], axis=0)
            result = result - value
        return result

    def class_tokens(self) -> np.ndarray:
        """(n, l + 1, D), float32: the class token as it enters the first block and after each block."""
        return self.readout.class_tokens(self.record()).numpy()

    def next_to_last(self) -> np.ndarray:
        """(n, D), float32: the class token behind the final LayerNorm, before the projection."""
        return self.readout.next_to_last(self.record()).numpy()

    def record(self) -> HeadRecord:
        """All that was recorded, as tensors on the CPU."""
        return HeadRecord(*(torch.from_numpy(self.array(field.name)) for field in fields(HeadRecord)))

    def size(self) -> tuple[int, int]:
        """Bytes of the shards and bytes of the weights that all images share."""
        if self.address is not None:
            return size(self.address)
        shards = sum(p.stat().st_size for p in (self.folder / "shards").rglob("*") if p.is_file())
        return shards, (self.folder / READOUT).stat().st_size

    def _part(self, name: str) -> np.ndarray:
        layers = self.layout.layers
        mlps = {f"L{layer}.MLP": layer for layer in range(layers)}
        std = torch.from_numpy(self.array("norm_std"))
        if name == "first":
            return self.readout.residual(torch.from_numpy(self.array("first")), std).numpy()
        if name in mlps:
            values = torch.from_numpy(self.array("mlp_values")[:, mlps[name]])
            return self.readout.residual(values, std).numpy()
        if name in self.layout.names:
            return self.head_embeddings([name])[:, 0]
        raise unknown_name("part", name, [*self.layout.names, *mlps, "first"])
