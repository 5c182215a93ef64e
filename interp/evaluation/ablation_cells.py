"""All combinations of an ablation on one split: choose columns, remove, scale, fit, and score the test rows once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from interp.analysis.coordinate_removal import CoordinateRemoval
from interp.analysis.generator_erasure import GeneratorErasure
from interp.analysis.head_removal import HeadRemoval
from interp.analysis.head_search import HeadSearch, gather
from interp.analysis.strength import STRENGTHS, choose_strength
from interp.encoders.layout import HeadLayout
from interp.evaluation.ablation_grid import Combination
from interp.evaluation.cells import IN_DISTRIBUTION, evaluation_sets
from interp.features.store import FeatureStore
from interp.protocol.metrics import auc, balanced_accuracy_at, threshold_for_balanced_accuracy
from interp.protocol.pooling import ViewPool
from interp.protocol.resampling import derive_seed
from interp.protocol.roles import Split


@dataclass(frozen=True)
class Material:
    """What every split reads.

    Attributes:
        features: (n, p) float32 for each kind of features that some combination reads.
        fold: (l, h, d, P) float64, from head features to head embeddings; None where no combination needs it.
        layout: which columns are which head's.
        y: (n,), 1 fake, 0 photograph.
        generator: (n,) names.
        views: means over the views of an image, in a store of views; single views fit and choose.
    """

    features: dict[str, np.ndarray]
    fold: np.ndarray | None
    layout: HeadLayout
    y: np.ndarray
    generator: np.ndarray
    views: ViewPool

    @classmethod
    def of(cls, store: FeatureStore, combinations: Sequence[Combination]) -> Material:
        """Read what the combinations need from a store."""
        kinds = {"embedding" if one.heads == "embedding" else "heads" for one in combinations}
        kinds |= {one.removal for one in combinations} & {"heads"}
        folds = any(one.aggregate == "sum" or one.removal == "heads" for one in combinations)
        return cls(
            features={kind: store.features(kind) for kind in sorted(kinds)},
            fold=store.readout.folded.numpy().astype(float) if folds else None,
            layout=store.layout,
            y=(store.rows["label"] != "real").to_numpy().astype(int),
            generator=store.rows["generator"].to_numpy().astype(str),
            views=ViewPool(store.rows),
        )


def split_cells(
    split: Split, combinations: Sequence[Combination], material: Material, random_state: int
) -> pd.DataFrame:
    """Fit every combination on a split's train rows, choose on its select rows, score its test rows once.

    Args:
        split: positions into the rows.
        combinations: what to compute; what several share is computed once.
        material: features and labels of all rows.
        random_state: seed of removals.

    Returns:
        A row for each combination and test generator: combination (its position), test, auc, average_precision,
        balanced_accuracy, select_auc, n_features.
    """
    rows = SplitRows(split, material, random_state)
    order = sorted(range(len(combinations)), key=lambda i: _shared(combinations[i]))
    found = []
    for (aggregate, heads), same_columns in _groups(order, combinations, ("aggregate", "heads")):
        if aggregate == "vote":
            scores, select_auc = rows.vote(heads)
            found += [
                {"combination": i, **one}
                for i in same_columns
                for one in rows.measured(scores, select_auc, 1)
            ]
            continue
        columns = rows.columns(heads, aggregate)
        for (removal,), same_removal in _groups(same_columns, combinations, ("removal",)):
            kept = rows.without(columns, removal)
            for (normalise,), same_scale in _groups(same_removal, combinations, ("normalise",)):
                for i in same_scale:
                    fitted = rows.fit(kept, normalise, combinations[i].C)
                    found += [{"combination": i, **one} for one in rows.measured(*fitted, kept.shape[1])]
    return pd.DataFrame(found).sort_values("combination", kind="stable", ignore_index=True)


class SplitRows:
    """The train, select and test rows of one split, and what combinations do with their columns."""

    def __init__(self, split: Split, material: Material, random_state: int) -> None:
        self.at = np.union1d(np.union1d(split.train, split.select), split.test)
        self.material, self.y, self.generator = material, material.y[self.at], material.generator[self.at]
        self.train, self.select = (np.searchsorted(self.at, part) for part in (split.train, split.select))
        self.test, self.test_rows = split.test, np.searchsorted(self.at, split.test)
        self.images = material.views.images(split.test)
        sets = evaluation_sets(material.views.judged(split), material.generator, material.y)
        self.tests = {name: members for name, members in sets.items() if name != IN_DISTRIBUTION}
        self.seed = derive_seed(random_state, split.name, split.seed) % 2**32
        self._order: np.ndarray | None = None
        self._search: HeadSearch | None = None

    def columns(self, heads: str, aggregate: str) -> np.ndarray:
        """(m, p) float64: the embedding, or the columns or summed embeddings of the heads that select rows choose."""
        if heads == "embedding":
            return self.material.features["embedding"][self.at].astype(float)
        chosen, layout = list(self._heads(heads, aggregate)), self.material.layout
        fold = None
        if aggregate == "sum":
            fold = np.asarray(self.material.fold).reshape(layout.n_heads, layout.width, -1)
        return gather(self.material.features["heads"][self.at], chosen, layout, fold).astype(float)

    def vote(self, heads: str) -> tuple[np.ndarray, float]:
        """Scores (m,) of the heads' calibrated vote, and its AUC on select rows."""
        search = self._searched("vote")
        found = search.search() if heads == "best" else search.evaluate(self._heads(heads, "vote"))
        return found.scores, found.select_auc

    def without(self, columns: np.ndarray, removal: str) -> np.ndarray:
        """(m, kept): less what serves select generators worst, or less what tells which generator made a fake."""
        if removal == "none":
            return columns
        removing: Any = CoordinateRemoval(random_state=self.seed)
        if removal == "generators":
            removing = GeneratorErasure()
        elif removal == "heads":
            removing = HeadRemoval(
                self.material.layout, np.asarray(self.material.fold), random_state=self.seed
            )
            columns = np.hstack([columns, self.material.features["heads"][self.at]])
        chosen = np.union1d(self.train, self.select)
        part = np.where(np.isin(chosen, self.train), "train", "select")
        fitted = removing.fit(columns[chosen], self.y[chosen], part=part, generator=self.generator[chosen])
        return fitted.transform(columns)

    def fit(self, columns: np.ndarray, normalise: str, C: str) -> tuple[np.ndarray, float]:
        """Scores (m,) of a logistic regression fitted on train rows, and its AUC on select rows."""
        values = unit_rows(columns) if normalise == "l2" else columns
        center, scale = scaling(values[self.train], normalise == "standard")
        choice = choose_strength(
            (values[self.train] - center) / scale,
            self.y[self.train],
            (values[self.select] - center) / scale,
            self.y[self.select],
            generator=self.generator[self.select],
            strengths=STRENGTHS if C == "select" else (float(C),),
        )
        coef = choice.coef / scale
        return values @ coef + (choice.intercept - center @ coef), choice.select_auc

    def measured(self, scores: np.ndarray, select_auc: float, n_features: int) -> list[dict[str, object]]:
        """A row for each test generator; the threshold is the best one on select rows."""
        threshold = threshold_for_balanced_accuracy(self.y[self.select], scores[self.select])
        pooled = self.material.views(self.test, scores[self.test_rows])
        found = []
        for test, members in self.tests.items():
            y, of_test = self.material.y[members], pooled[np.searchsorted(self.images, members)]
            numbers = {
                "auc": auc(y, of_test),
                "average_precision": float(average_precision_score(y, of_test)),
                "balanced_accuracy": balanced_accuracy_at(y, of_test, threshold),
            }
            found.append({"test": test, **numbers, "select_auc": select_auc, "n_features": n_features})
        return found

    def _heads(self, heads: str, aggregate: str) -> Sequence[int]:
        if heads == "all":
            return range(self.material.layout.n_heads)
        if heads == "best":
            return self._searched(aggregate).search().heads
        if self._order is None:  # the same for every aggregate: each head alone is ranked
            self._order = self._searched(aggregate).ranking()
        return self._order[: int(heads)].tolist()

    def _searched(self, aggregate: str) -> HeadSearch:
        """The search of one aggregate; the last one is kept, since it holds all head features of the split."""
        if self._search is None or self._search.aggregate != aggregate:
            self._search = HeadSearch(
                self.material.features["heads"][self.at],
                self.y,
                self.material.layout,
                self.train,
                self.select,
                rows=np.arange(len(self.at)) if aggregate == "vote" else None,
                generator=self.generator,
                aggregate=aggregate,
                fold=self.material.fold,
            )
        return self._search


def unit_rows(columns: np.ndarray) -> np.ndarray:
    """Each row (n, p) divided by its length; a row of zeros stays.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8], [0. , 0. ]])
    """
    length = np.linalg.norm(columns, axis=1, keepdims=True)
    return columns / np.where(length > 0, length, 1.0)


def scaling(train: np.ndarray, each: bool) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale of columns, (p,) and (p,), from train rows (n, p).

    With `each` every column has its own standard deviation. Without it all have one, the root mean square of these:
    the columns keep their proportions, and a value of C penalises as much as it does on standardised columns.

    >>> scaling(np.array([[0.0, 0.0], [2.0, 14.0]]), each=False)
    (array([1., 7.]), array([5., 5.]))
    """
    center, scale = train.mean(0), train.std(0)
    if not each:
        scale = np.full(len(scale), np.sqrt(np.mean(scale**2)))
    return center, np.where(scale > 0, scale, np.inf)  # a constant column says nothing


def _shared(combination: Combination) -> tuple[str, ...]:
    return combination.aggregate, combination.heads, combination.removal, combination.normalise


def _groups(order: Sequence[int], combinations: Sequence[Combination], by: tuple[str, ...]):
    """Runs of combinations that agree in some factors, with the values they agree in."""

    def key(i: int) -> tuple[str, ...]:
        return tuple(getattr(combinations[i], factor) for factor in by)

    return [(values, list(same)) for values, same in itertools.groupby(order, key)]
