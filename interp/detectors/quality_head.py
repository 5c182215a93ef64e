"""A trained quality model as a function of the image embedding alone: small, saved as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import softmax

from interp.errors import InputError
from interp.features.store import FeatureStore

MLP = ("first_bias", "first_weight", "last_bias", "last_weight")
LEVELS = ("levels", "prompts")


@dataclass(frozen=True)
class QualityHead:
    """Predicted mean opinion score of an image, from its joint embedding.

    Attributes:
        weights: either first_weight (h, P), first_bias (h,), last_weight (1, h), last_bias (1,): an MLP with one ReLU
            layer; or prompts (K, P), the scale in them, and levels (K,): the expected level. Both read x / ‖x‖.
        key: provenance of the embeddings it was fitted on, `store.key`; empty where it is not known.

    Raises:
        InputError: other weights.

    >>> head = QualityHead({"prompts": 50 * np.eye(2), "levels": np.array([1.0, 5.0])})
    >>> head.predict([[0.1, 0.0], [2.0, 2.0]]).round(3)
    array([1., 3.])
    """

    weights: Mapping[str, np.ndarray]
    key: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if tuple(sorted(self.weights)) not in (MLP, LEVELS):
            raise InputError(
                f"a quality head holds {', '.join(MLP)}, or {', '.join(LEVELS)}; given {', '.join(self.weights)}"
            )

    def predict(self, X: ArrayLike) -> np.ndarray:
        """(n,) predicted scores of embeddings (n, P)."""
        x = np.asarray(X, dtype=np.float64)
        unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        w = self.weights
        if "levels" in w:
            return softmax(unit @ w["prompts"].T, axis=1) @ w["levels"]
        hidden = np.maximum(unit @ w["first_weight"].T + w["first_bias"], 0)
        return (hidden @ w["last_weight"].T + w["last_bias"])[:, 0]

    def score(self, store: FeatureStore) -> pd.DataFrame:
        """Quality of every image of a store, labels or none: key, quality (NaN where unreadable), error.

        Raises:
            InputError: the store was made by another encoder or with another preprocessing than `key` says.
        """
        from interp.features.provenance import refuse_other_settings

        settings = [name for name in ("encoder", "preprocessing", "equalize") if name in self.key]
        refuse_other_settings(
            store.folder, {n: store.key.get(n) for n in settings}, {n: self.key[n] for n in settings}
        )
        quality = np.full(len(store), np.nan)
        if store.usable.any():
            quality[store.usable] = self.predict(store.features("embedding")[store.usable])
        table = store.rows[["error"]].copy()
        table.insert(0, "quality", quality)
        return table

    def save(self, path: str | Path) -> Path:
        """Write weights and key as one safetensors file.

        Raises:
            InputError: the name does not end in .safetensors.
        """
        import json

        from safetensors.numpy import save_file

        path = Path(path)
        if path.suffix != ".safetensors":
            raise InputError(f"{path} must end in .safetensors, which is what is written")
        weights = {name: np.ascontiguousarray(value) for name, value in self.weights.items()}
        save_file(weights, path, metadata={"key": json.dumps(dict(self.key))})
        return path

    @classmethod
    def load(cls, path: str | Path) -> QualityHead:
        """Read what `save` wrote.

        Raises:
            InputError: the file is no quality head.
        """
        import json

        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                key = json.loads((file.metadata() or {}).get("key", "{}"))
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is no quality head that QualityHead.save wrote ({error})") from error
        return cls(weights, key)
