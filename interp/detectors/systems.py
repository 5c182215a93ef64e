"""The registry of detection systems that are compared over one protocol."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.detectors.clip_finetune import ClipFinetune
from interp.detectors.component_removal import ComponentRemoval
from interp.detectors.few_shot import FewShot
from interp.detectors.lare import Lare
from interp.detectors.linear import LinearDetector
from interp.detectors.mixture_of_layers import MixtureOfLayers
from interp.detectors.principal_scaling import PrincipalScaling
from interp.detectors.rine import Rine
from interp.detectors.semantic_removal import SemanticRemoval
from interp.detectors.universal_fake_detect import NearestNeighbour, UniversalFakeDetect
from interp.errors import InputError, unknown_name

if TYPE_CHECKING:
    from interp.features.store import FeatureStore

SYSTEMS: dict[str, Callable[..., Any]] = {
    "embedding": LinearDetector,
    "universal_fake_detect": UniversalFakeDetect,
    "nearest_neighbour": NearestNeighbour,
    "few_shot": FewShot,
    "no_bias": partial(ComponentRemoval.for_store, method="none"),
    "coordinate_removal": partial(ComponentRemoval.for_store, method="coordinates"),
    "coordinate_intersection": partial(ComponentRemoval.for_store, method="intersection"),
    "best_heads_sum": partial(ComponentRemoval.for_store, method="heads_sum"),
    "best_heads_concat": partial(ComponentRemoval.for_store, method="heads_concat"),
    "best_heads_vote": partial(ComponentRemoval.for_store, method="heads_vote"),
    "text_null_space": lambda texts, random_state=0: SemanticRemoval(texts, random_state=random_state),
    "semantic_svd": SemanticRemoval,
    "principal_scaling": PrincipalScaling.for_store,
    "mixture_of_layers": MixtureOfLayers.for_store,
    "rine": Rine.for_store,
    "rine_paper": partial(Rine.for_store, as_published="paper"),
}
"""Name of a system -> what makes it, unfitted.

To add yours, write a class with `fit(X, y)` and `decision_function(X)`, and one line: `SYSTEMS["mine"] = Mine`. It
reads the embedding, or what its attribute `features` names (`FeatureStore.features`). Where its `fit` takes part= and
generator= it sees select rows, otherwise train rows alone. Parameters of these names are filled in: `store`, `texts`
(embeddings of the encoder's own text tower) and `random_state`.
"""

IMAGE_SYSTEMS: dict[str, Callable[..., Any]] = {
    "clip_finetune": lambda store, random_state=0: ClipFinetune(store.encoder, random_state=random_state),
    "lare": lambda store, random_state=0: Lare(store.encoder, random_state=random_state),
}
"""Systems that look at images, which a store does not hold: made for `interp.features.pixels.StoreWithImages` alone."""


def make_system(
    name: str, store: FeatureStore, *, texts: np.ndarray | None = None, random_state: int = 0
) -> Any:
    """An unfitted system for the encoder that made a store.

    Args:
        name: one of `SYSTEMS` or `IMAGE_SYSTEMS`.
        store: whose encoder.
        texts: (m, P) text embeddings, for systems that need them.
        random_state: seed of all that it draws.

    Raises:
        InputError: an unknown name, one that needs texts and is given none, or one that needs images or maps and is
            given a store without.

    >>> make_system("universal_fake_detetc", None)
    Traceback (most recent call last):
    interp.errors.InputError: unknown system 'universal_fake_detetc'; did you mean 'universal_fake_detect'? Known: ...
    """
    known_systems = SYSTEMS | IMAGE_SYSTEMS
    if name not in known_systems:
        raise unknown_name("system", name, known_systems)
    if name in IMAGE_SYSTEMS:
        _refuse_without_images(name, store)
    asked = inspect.signature(known_systems[name]).parameters
    if "texts" in asked and asked["texts"].default is inspect.Parameter.empty and texts is None:
        raise InputError(
            f"{name} needs texts=, embeddings of the text tower that belongs to {store.key['encoder']['name']}; an "
            "encoder without one, such as a ViT or DeiT, cannot have this system"
        )
    known = {"store": store, "random_state": random_state}
    given = {
        key: value for key, value in known.items() if key in asked or key == "random_state" and _any(asked)
    }
    if "texts" in asked and asked["texts"].default is inspect.Parameter.empty:
        given["texts"] = texts
    return known_systems[name](**given)


def features_of(system: Any) -> str:
    """Which of `FeatureStore.features` a system reads."""
    return getattr(system, "features", "embedding")


def _refuse_without_images(name: str, store: Any) -> None:
    missing = "images" if getattr(store, "images", None) is None else ""
    if not missing and name == "lare" and store.maps is None:
        missing = "maps of latent reconstruction error"
    if missing:
        raise InputError(
            f"{name} needs {missing}, which a feature store does not hold; give an interp.features.pixels."
            f"StoreWithImages, or train it by `interp tune` (in numbers: `python -m experiments.{name} --help`)"
        )


def _any(parameters: Any) -> bool:
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
