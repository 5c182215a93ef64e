"""Content shortcuts in words: whether a phrase that the text tower can be trusted with tells fakes from photographs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp.errors import InputError
from interp.evaluation.audit import judged
from interp.explain.phrase_reliability import reliable_only
from interp.explain.text_encoder import unit_rows
from interp.features.store import FeatureStore
from interp.images.manifest import held_against
from interp.protocol.leaks import units

if TYPE_CHECKING:
    from interp.explain.text_encoder import TextEncoder

ASKED = ("photograph", "painting", "drawing", "digital art", "fantasy", "portrait", "person", "face", "text")
ASKED += (
    "animal",
    "mammal",
    "bird",
    "dog",
    "cat",
    "insect",
    "vehicle",
    "building",
    "landscape",
    "food",
    "fruit",
)
ASKED += ("furniture", "clothing", "device", "structure")
"""What an audit asks for: kinds of pictures, and classes of things."""


def word_shortcuts(
    store: FeatureStore,
    text: TextEncoder,
    phrases: Sequence[str] = ASKED,
    *,
    reliability: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """How well the nearness of an image to a phrase tells fakes from photographs, nothing fitted.

    Args:
        store: features of labelled images, of the very checkpoint that the text tower belongs to.
        text: the text tower.
        phrases: what to ask for; one that is not reliable is skipped, and named in `attrs["skipped"]`.
        reliability: what `phrase_reliability` gave; by default the text tower's own.

    Returns:
        A row a phrase as in `interp.evaluation.audit.Audit.table` without p_holm and alarm, of kind "words"; the
        feature says whose images are nearer: "fakes: painting". p is two-sided: the side is chosen by the images.

    Raises:
        InputError: nothing is known of the reliability of words, or the tower is of another space.
    """
    tried = text.reliability if reliability is None else reliability
    if tried is None:
        raise InputError(
            f"nothing says which phrases {text.name or 'this text tower'} can be trusted with; give reliability=, from "
            "interp.explain.phrase_reliability.phrase_reliability on images whose content is known"
        )
    labels = store.rows["label"]
    kept = store.usable & labels.isin(["real", held_against(labels)]).to_numpy()
    rows = store.rows[kept]
    images = store.features("embedding")[kept]
    if images.shape[1] != text.width:
        raise InputError(
            f"the store's embeddings have {images.shape[1]} numbers, the text tower's {text.width}: they are of "
            "different checkpoints"
        )
    known = [one for one, reliable in zip(phrases, reliable_only(phrases, tried), strict=True) if reliable]
    found = _judged_words(rows, images, text, known) if known else []
    columns = ["kind", "feature", "auc", "low", "high", "p", "best_told", "best_auc", "n_real", "n_fake"]
    table = pd.DataFrame(found, columns=pd.Index(columns))
    table.attrs["skipped"] = [one for one in phrases if one not in known]
    return table


def _judged_words(
    rows: pd.DataFrame, images: np.ndarray, text: TextEncoder, known: Sequence[str]
) -> list[dict[str, object]]:
    nearness = unit_rows(images, images.mean(0)) @ unit_rows(text(known)).T
    fake, unit = (rows["label"] != "real").to_numpy(), units(rows)
    generator = rows["generator"].to_numpy().astype(str)
    found: list[dict[str, object]] = []
    for number, phrase in enumerate(known):
        sides = {
            whose: judged(sign * nearness[:, number], fake, unit, generator)
            for whose, sign in ((f"{held_against(rows['label'])}s", 1.0), ("photographs", -1.0))
        }
        whose = max(sides, key=lambda side: sides[side]["auc"])
        row = {**sides[whose], "p": min(1.0, 2 * sides[whose]["p"])}
        found.append({"kind": "words", "feature": f"{whose}: {phrase}", **row})
    return found
