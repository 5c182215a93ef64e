"""The command that fits one published system for use: `interp train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from interp.cli.options import Parts, report_unreadable


def train(
    store: Annotated[Path, Positional, arg(help="folder of a store")],
    out: Annotated[Path, arg(help="folder of the detector")],
    system: Annotated[str, arg(help="name of a system; docs/comparison.md lists them")] = "embedding",
    text: Annotated[
        str | None, arg(help="text tower of the store's encoder, for systems that need texts")
    ] = None,
    encoder: Annotated[str, arg(help="where the encoder lies, if its name does not say so")] = "",
    parts: OmitArgPrefixes[Parts] = Parts(),
) -> int:
    """Fit a published system on a store and save it; `interp score` then scores images without labels by it."""
    import numpy as np

    from interp.detectors.systems import features_of, make_system
    from interp.evaluation.arms import Arm
    from interp.evaluation.final import final_detector
    from interp.explain.phrases import phrases
    from interp.explain.text_encoder import load_text_encoder
    from interp.features.store import FeatureStore
    from interp.main_job import make_protocol

    opened = FeatureStore(store)
    texts = None
    if text is not None:
        pool = phrases(("objects", "scenes"))["phrase"].to_list()
        texts = load_text_encoder(text, device="cpu")(pool).astype(np.float64)
    made = make_system(system, opened, texts=texts, random_state=parts.random_state)
    arm = Arm(system, features_of(made), classifier=made)
    detector = final_detector(arm, opened, make_protocol(opened, **vars(parts)), encoder_location=encoder)
    detector.save(out)
    print(f"{system}, fitted on {', '.join(detector.notes['train_generators'])}, lies in {out}")
    return report_unreadable(opened)
