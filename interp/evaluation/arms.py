"""The arms of a comparison: what each detector reads, what it selects or removes, and what it is judged against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import has_fit_parameter

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.generator_erasure import GeneratorErasure
from interp.analysis.head_removal import HeadRemoval
from interp.analysis.head_selection import HeadSelection
from interp.analysis.leace import Leace
from interp.analysis.shortcut_removal import ShortcutRemoval
from interp.detectors.detector import LinearScore, responses
from interp.detectors.linear import LinearDetector
from interp.encoders.layout import HeadLayout
from interp.errors import InputError, unknown_name
from interp.features.statistics import read_statistics
from interp.features.store import FeatureStore

if TYPE_CHECKING:
    from interp.evaluation.system_arms import SystemArm
    from interp.protocol.roles import Split
    from interp.protocol.splits import Protocol


@dataclass(frozen=True)
class Arm:
    """One way to a detector: features, then perhaps a selection or removal, then a classifier.

    Attributes:
        name: what it is called in tables.
        features: which features of a store it reads; see `FeatureStore.features`.
        transformer: a scikit-learn transformer whose `fit` takes part= and generator=, or None.
        classifier: any scikit-learn classifier; one whose `fit` takes part= sees train and select rows, any other
            is fitted on train rows alone. By default `LinearDetector`, which chooses its strength on select rows.
        n_nulls: draws of each null; 0 for an arm that chooses nothing.
        statistics: (n, k) numbers of all rows of the store, for a transformer whose `fit` takes statistics=; or None.
        concept: (n,) classes or values of all rows, for a transformer whose `fit` takes concept=; or None.
    """

    name: str
    features: str
    transformer: Any = None
    classifier: Any = None
    n_nulls: int = 0
    statistics: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    concept: pd.Series | None = field(default=None, repr=False, compare=False)

    @property
    def description(self) -> str:
        """Everything that decides what the arm does, in one line; statistics and concept by a digest of their values.

        >>> Arm("embedding", "embedding").description
        "Arm(name='embedding', features='embedding', transformer=None, classifier=None, n_nulls=0)"
        """
        found = repr(self)
        for name, values in self.beside.items():
            found += f" on {name} {int(pd.util.hash_pandas_object(values).sum()):016x}"
        return found

    @property
    def beside(self) -> dict[str, pd.DataFrame | pd.Series]:
        """What the transformer reads beside features, labels and generators, by the name of its argument."""
        given = {"statistics": self.statistics, "concept": self.concept}
        return {name: values for name, values in given.items() if values is not None}

    def fit(self, X: np.ndarray, y: np.ndarray, split: Split, generator: np.ndarray) -> FittedArm:
        """Fit on a split's train rows, choosing on its select rows.

        Args:
            X: (n, p) features of all rows.
            y: (n,) 1 fake, 0 photograph.
            split: positions into the rows.
            generator: (n,) names.
        """
        transformer = None
        if self.transformer is not None:
            rows = np.union1d(split.train, split.select)
            context = {"part": split.part[rows], "generator": generator[rows]}
            beside = {name: values.iloc[rows] for name, values in self.beside.items()}
            transformer = clone(self.transformer).fit(X[rows], y[rows], **context, **beside)
        return self.behind(transformer, X, y, split, generator)

    def behind(
        self, transformer: Any, X: np.ndarray, y: np.ndarray, split: Split, generator: np.ndarray
    ) -> FittedArm:
        """Fit the classifier alone, behind a transformer that is fitted already, or None; the rest as in `fit`."""
        rows = np.union1d(split.train, split.select)
        context = {"part": split.part[rows], "generator": generator[rows]}
        kept = X[rows] if transformer is None else transformer.transform(X[rows])
        classifier = clone(self.classifier) if self.classifier is not None else LinearDetector()
        if has_fit_parameter(classifier, "part"):
            return FittedArm(self, transformer, classifier.fit(kept, y[rows], **context))
        train = context["part"] == "train"
        return FittedArm(self, transformer, classifier.fit(kept[train], y[rows][train]))


@dataclass(frozen=True)
class FittedArm:
    """An arm fitted on one split."""

    arm: Arm
    transformer: Any
    classifier: Any

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Scores (n,) of features (n, p)."""
        return responses(self.model, X)

    @property
    def model(self) -> Any:
        """Transformer and classifier as one fitted scikit-learn model."""
        if self.transformer is None:
            return self.classifier
        return make_pipeline(self.transformer, self.classifier)

    def linear(self) -> LinearScore | None:
        """The same score as weights on the arm's own feature columns, where it is linear; else None."""
        if not isinstance(self.classifier, LinearDetector):
            return None
        if self.transformer is None:
            return LinearScore(self.classifier.coef_, self.classifier.intercept_)
        if not hasattr(self.transformer, "pull_back"):
            return None
        coef, intercept = self.transformer.pull_back(self.classifier.coef_, self.classifier.intercept_)
        return LinearScore(coef, intercept)


def default_arms(
    store: FeatureStore, *, n_nulls: int = 50, aggregates: Sequence[str] = ("concat",)
) -> list[Arm]:
    """The plain embedding, all heads, selected heads, coordinate removal, and two plain layer baselines.

    Args:
        store: whose heads and layers.
        n_nulls: draws of each null for the arms that select or remove.
        aggregates: one arm of selected heads for each: concat, sum, vote; see `HeadSelection`.
    """
    layout = store.layout
    tokens = HeadLayout(layout.layers, 1, store.readout.norm_weight.shape[0])
    selected = []
    for aggregate in aggregates:
        fold = store.readout.folded.numpy() if aggregate == "sum" else None
        name = "selected_heads" if aggregate == "concat" else f"selected_heads_{aggregate}"
        selection = HeadSelection(layout, aggregate=aggregate, fold=fold)
        selected.append(Arm(name, "heads", selection, n_nulls=n_nulls))
    return [
        Arm("embedding", "embedding"),
        Arm("all_heads", "heads"),
        *selected,
        Arm("coordinate_removal", "embedding", CoordinateRemoval(), n_nulls=n_nulls),
        Arm("best_layer", "layers", HeadSelection(tokens, k=1)),
        Arm("all_layers", "layers"),
    ]


def head_removal_arm(store: FeatureStore, *, n_nulls: int = 50, **options: Any) -> Arm:
    """The arm `head_removal`: the embedding without the heads that serve select generators worst.

    Not among `default_arms`: it would add a fifth to a split's time there (36 heads, P = 192, 20 draws of each null).

    Args:
        store: whose heads.
        n_nulls: draws of each null.
        options: of `HeadRemoval`: replace, criterion, max_removed, refit, C, draws, random_state.
    """
    removal = HeadRemoval(store.layout, store.readout.folded.numpy(), **options)
    return Arm("head_removal", "embedding_and_heads", removal, n_nulls=n_nulls)


def shortcut_removal_arm(
    store: FeatureStore, statistics: pd.DataFrame | None = None, *, n_nulls: int = 50, **options: Any
) -> Arm:
    """The arm `shortcut_removal`: the embedding without the properties of pixels that a detector leans on in vain.

    Args:
        store: whose rows.
        statistics: a row for each of them, in order; by default those that `measure_statistics` left in the store.
        n_nulls: draws of each null.
        options: of `ShortcutRemoval`: candidates, n_null, level, random_state.

    Raises:
        InputError: the store has no statistics, or those given are of other rows.
    """
    measured = read_statistics(store) if statistics is None else statistics
    if not measured.index.equals(store.rows.index):
        raise InputError(
            f"statistics must have the {len(store)} rows of {store.folder}, in order; given {len(measured)} rows. "
            "measure_statistics(images, store) gives them"
        )
    return Arm(
        "shortcut_removal", "embedding", ShortcutRemoval(**options), n_nulls=n_nulls, statistics=measured
    )


def generator_erasure_arm(
    protocol: Protocol | None = None, *, features: str = "embedding", n_nulls: int = 50, **options: Any
) -> Arm:
    """The arm `generator_erasure`: features that do not say which generator made a fake, to any linear model.

    It needs three generators among the fakes that train and select: `Protocol.leave_one_out`, or parts by hand.

    Args:
        protocol: what it is to be fitted under, where known, so that too few generators are told before any work.
        features: what it reads from a store.
        n_nulls: draws of the null: as much erased, of names shuffled among the fakes.
        options: of `GeneratorErasure`: method, shrinkage, layout.

    Raises:
        InputError: a split of the protocol trains and selects on fewer than three generators.
    """
    for split in protocol or ():
        if len({*split.train_generators, *split.select_generators}) < 3:
            raise InputError(
                f"generator_erasure needs three generators that train and select; split {split.name} has "
                f"{len({*split.train_generators, *split.select_generators})}. Use --protocol leave-one-out with four "
                "generators or more, or name parts by hand"
            )
    return Arm("generator_erasure", features, GeneratorErasure(**options), n_nulls=n_nulls)


def concept_erasure_arm(
    store: FeatureStore,
    concept: str | pd.Series,
    *,
    name: str = "concept_erasure",
    features: str = "embedding",
    n_nulls: int = 50,
    **options: Any,
) -> Arm:
    """An arm whose features do not say a concept, such as art against photograph, to any linear model.

    Args:
        store: whose rows.
        concept: a column of the store's rows, or a value for each of them, in order; None or NaN where it is not known.
        name: of the arm.
        features: what it reads from the store.
        n_nulls: draws of the null: as much erased, of the concept shuffled within photographs and within fakes.
        options: of `Leace`: keep, of, method, shrinkage, layout.

    Raises:
        InputError: no such column, or values of other rows.
    """
    if isinstance(concept, str) and concept not in store.rows:
        raise unknown_name("column", concept, store.rows.columns)
    values = pd.Series(store.rows[concept] if isinstance(concept, str) else concept)
    if not values.index.equals(store.rows.index):
        raise InputError(
            f"concept must have the {len(store.rows)} rows of {store.folder}, in order; given {len(values)} rows"
        )
    return Arm(name, features, Leace(**options), n_nulls=n_nulls, concept=values)


def needed_features(arms: Sequence[Arm | SystemArm]) -> list[str]:
    """The kinds of features that some arm reads."""
    return sorted({arm.features for arm in arms})
