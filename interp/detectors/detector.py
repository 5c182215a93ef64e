"""A detector to keep: what it reads, how it decides, and where it comes from; saved without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InputError
from interp.features.store import FeatureStore
from interp.images.views import VIEW_OF
from interp.protocol.calibration import read_calibration
from interp.protocol.pooling import ViewPool

DESCRIPTION = "detector.json"
WEIGHTS = "weights.safetensors"
OTHER = "model.skops"


@dataclass(frozen=True)
class LinearScore:
    """A score that is linear in the columns it reads.

    Attributes:
        coef: (p,), float64.
        intercept: float.
    """

    coef: np.ndarray
    intercept: float

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Scores (n,) of rows (n, p)."""
        return np.asarray(X, dtype=np.float64) @ self.coef + self.intercept


@dataclass(frozen=True)
class Detector:
    """A fitted detector with all that is needed to use it on new images.

    Attributes:
        name: which arm it is, such as `selected_heads`.
        features: what it reads from a store: embedding, heads, layers.
        model: a `LinearScore`, or any fitted scikit-learn classifier or pipeline; on arrays or on frames, with labels
            0 and 1 or "real" and "fake".
        threshold: score above which an image is called fake; chosen on select rows.
        key: provenance of the features it was fitted on (encoder, preprocessing, equalisation).
        notes: what it was fitted on, the heads or coordinates it keeps, and where its encoder was loaded from.
    """

    name: str
    features: str
    model: Any
    threshold: float
    key: Mapping[str, Any]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def score(self, store: FeatureStore) -> pd.DataFrame:
        """Score every image of a store: key, score, verdict ("fake", "real", "" where unreadable), probability, error.

        The probability of a fake comes from the calibration on select rows, where the notes have one; it holds where
        fakes are as frequent as they were there.

        The views of an image are pooled to one score, as they were where the detector was judged.

        Raises:
            InputError: the store was made by another encoder or with another preprocessing or equalisation.
        """
        self.refuse_other_store(store)
        views = ViewPool(store.rows, self.notes.get("pool", "mean"))
        every = np.arange(len(store))
        table = store.rows[["error"]].iloc[views.images(every)].copy()
        if views.pools:
            table.index = pd.Index(store.rows[VIEW_OF].iloc[views.images(every)], name="key")
        usable = store.usable
        scores = np.full(len(store), np.nan)
        if usable.any():
            named = hasattr(self.model, "feature_names_in_")
            X = store.frame(self.features) if named else store.features(self.features)
            scores[usable] = responses(self.model, X[usable])
        table.insert(0, "score", views(every, scores))
        verdict = np.where(table["score"] > self.threshold, "fake", "real")
        table.insert(1, "verdict", np.where(table["error"] == "", verdict, ""))
        if "calibration" in self.notes:
            known = read_calibration(self.notes["calibration"])
            table.insert(2, "probability", known.probability(table["score"]))
        return table

    def refuse_other_store(self, store: FeatureStore) -> None:
        """Raise InputError where a store was made by another encoder or with other settings than this was fitted on."""
        from interp.features.provenance import refuse_other_settings

        settings = ("encoder", "preprocessing", "equalize", "views", "laundering")
        made, asked = ({name: key.get(name, "none") for name in settings} for key in (store.key, self.key))
        refuse_other_settings(store.folder, made, asked)

    def save(self, folder: str | Path) -> Path:
        """Write the detector: a linear one as safetensors + JSON, any other scikit-learn model with skops."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        linear = isinstance(self.model, LinearScore)
        if linear:
            from safetensors.numpy import save_file

            save_file(
                {"coef": self.model.coef, "intercept": np.array([self.model.intercept])}, folder / WEIGHTS
            )
        else:
            import skops.io

            skops.io.dump(self.model, folder / OTHER)
        description = {
            "name": self.name,
            "features": self.features,
            "threshold": self.threshold,
            "linear": linear,
            "key": self.key,
            "notes": self.notes,
        }
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")
        return folder


def responses(model: Any, X: Any) -> np.ndarray:
    """Scores (n,) of rows (n, p), high for fakes: a model's decision function, or its probability where it has none.

    Fakes are its second class, or the first one where the second is called "real".
    """
    flipped = list(getattr(model, "classes_", ()))[1:] == ["real"]
    if hasattr(model, "decision_function"):
        scores = np.asarray(model.decision_function(X))
        return -scores if flipped else scores
    return np.asarray(model.predict_proba(X))[:, 0 if flipped else 1]


def load_detector(folder: str | Path, trusted: Sequence[str] = ()) -> Detector:
    """Load a detector that `Detector.save` wrote.

    Args:
        folder: where it lies.
        trusted: types that a model saved with skops may hold beside scikit-learn's and interp's own.

    Raises:
        InputError: the folder holds no detector, or its model holds types that are not trusted.
    """
    folder = Path(folder)
    if not (folder / DESCRIPTION).exists():
        inside = sorted(p.parent.name for p in folder.glob(f"**/{DESCRIPTION}"))
        hint = f"; it holds the detectors {', '.join(inside)}: name one of their folders" if inside else ""
        raise InputError(f"{folder} holds no detector (no {DESCRIPTION}){hint}")
    saved = json.loads((folder / DESCRIPTION).read_text())
    if saved.pop("linear"):
        from safetensors.numpy import load_file

        weights = load_file(folder / WEIGHTS)
        model: Any = LinearScore(weights["coef"], float(weights["intercept"][0]))
    else:
        model = _load_skops(folder / OTHER, trusted)
    return Detector(model=model, **saved)


def _load_skops(path: Path, trusted: Sequence[str]) -> Any:
    import skops.io

    unknown = [name for name in skops.io.get_untrusted_types(file=path) if not name.startswith("interp.")]
    if refused := sorted(set(unknown) - set(trusted)):
        raise InputError(
            f"{path} holds types that are not trusted: {', '.join(refused)}. If you know where it comes from, pass "
            f"trusted={refused}"
        )
    return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
