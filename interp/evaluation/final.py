"""The detector that is kept for use: fitted once, on every generator that may train."""

from __future__ import annotations

import numpy as np

from interp.detectors.detector import Detector
from interp.evaluation.arms import Arm
from interp.features.store import FeatureStore
from interp.protocol.calibration import calibrate
from interp.protocol.metrics import threshold_for_balanced_accuracy
from interp.protocol.pooling import ViewPool
from interp.protocol.splits import Protocol


def final_detector(
    arm: Arm, store: FeatureStore, protocol: Protocol, *, encoder_location: str = "", pool: str = "mean"
) -> Detector:
    """Fit an arm on the protocol's final split, for scoring new images; no claim rests on it.

    With generators named by hand that is the first split itself; otherwise all generators that train anywhere do
    so together on one part of the images, and select on another.

    Args:
        arm: what to fit.
        store: features of all images.
        protocol: over the store's rows.
        encoder_location: where the encoder was loaded from.
        pool: "mean" or "max" over the views of an image.
    """
    split = protocol.final_split()
    y = (store.rows["label"] != "real").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)
    X = store.features(arm.features)
    fitted = arm.fit(X, y, split, generator)
    model = fitted.linear()
    views = ViewPool(store.rows, pool)
    scores = views(split.select, fitted.decision_function(X[split.select]))
    labels = y[views.images(split.select)]
    kept = getattr(fitted.transformer, "heads_", None)
    removed = getattr(fitted.transformer, "removed_", None)
    notes = {
        "encoder_location": encoder_location,
        "train_generators": list(split.train_generators),
        "train_images": len(split.train),
        "select_images": len(split.select),
        "calibration": calibrate(labels, scores).numbers(),
        "C": getattr(fitted.classifier, "C_", None),
        "heads": kept,
        "removed": None if removed is None else np.asarray(removed).tolist(),
        **({"pool": pool} if views.pools else {}),
    }
    return Detector(
        name=arm.name,
        features=arm.features,
        model=fitted.model if model is None else model,
        threshold=threshold_for_balanced_accuracy(labels, scores),
        key=store.key,
        notes=notes,
    )
