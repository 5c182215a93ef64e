"""Find shortcuts that can be measured in pixels, name them, and erase them: a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted, validate_data

from interp.analysis.choosing import ChoosesOnSelectRows
from interp.analysis.erasure import Erasure
from interp.analysis.nuisances import candidates_of
from interp.analysis.shortcut_evidence import Evidence, judge
from interp.analysis.shortcut_search import ShortcutSearch
from interp.encoders.layout import HeadLayout
from interp.errors import InputError
from interp.protocol.select_rows import rows_of_parts


class ShortcutRemoval(ChoosesOnSelectRows, Erasure):
    """Erase from an embedding the properties of pixels that a detector leans on in vain.

    A shortcut is a property, such as colour cast, that tells fakes from photographs in the train rows alone. Each
    candidate is a group of statistics of the pixels. Its directions are how the embedding moves with these statistics
    among photographs, and among the fakes of one generator, in train and select rows; the label has no part in them.
    They are the evidence. What is taken out is how the embedding moves with the statistics among photographs and among
    all fakes, since a property that comes with a generator moves it further: least-squares concept erasure (Belrose et
    al. 2023, arXiv 2306.03819) as the orthogonal projection of standardised columns. Afterwards no linear score of the
    rows fitted on is correlated with the statistics among photographs and among fakes taken together. Candidates are
    found one by one, each beyond those before it, as long as one passes all of this:

    - the statistics alone tell train fakes from photographs, better than they tell select fakes (bound on both);
    - through its directions the detector promises a margin on train rows of which select rows keep less than half
      of what they keep of the rest: below half, the squared error of a linear score falls when it goes;
    - what is promised and not kept is beyond what random directions of the embedding's own covariance reach: the
      statistics shuffled within classes, the largest of all candidates, each in units of its own spread;
    - erasing it does not lower the AUC on select rows beyond its error.

    The excess of a shortcut is proven on far fewer rows than what it costs in AUC; the gain on select rows is told
    with its interval and its null, and what it is worth elsewhere is for test rows to say.

    Args:
        candidates: names of properties, and the statistics of each; by default the groups of
            `interp.images.pixel_statistics.STATISTICS`, and every other statistic by itself.
        n_null: shuffles.
        level: of p_value, accepted; 0.02 keeps false finds below 5 in 100.
        random_state: seed of shuffles and folds, and of the two divisions below.
        select_generators, select_share: see `interp.analysis.coordinate_removal.CoordinateRemoval`.

    Attributes:
        removed_: names of what was erased, in order; empty where nothing was found, and then X passes through.
        members_: columns of the statistics of each candidate.
        rank_, moved_, mean_, left_, right_, n_rows_, layout_: see `interp.analysis.erasure.Erasure`.

    >>> rng = np.random.default_rng(0)
    >>> y, part = np.arange(400) % 2, np.repeat(["train", "select"], 200)
    >>> warm = rng.normal(size=400) + 2 * (y * (part == "train"))       # train fakes alone are warm
    >>> X = rng.normal(size=(400, 8)) + np.outer(y, np.eye(8)[0]) + 3 * np.outer(warm, np.ones(8))
    >>> statistics = pd.DataFrame({"red_over_blue": warm, "noise": rng.normal(size=400)})
    >>> removal = ShortcutRemoval().fit(X, y, part=part, statistics=statistics)
    >>> removal.removed_, removal.transform(X).shape
    (['colour cast'], (400, 8))
    """

    def __init__(
        self,
        candidates: Mapping[str, Sequence[Hashable]] | None = None,
        n_null: int = 199,
        level: float = 0.02,
        random_state: int = 0,
        select_generators: Sequence[str] | str | None = None,
        select_share: float | None = None,
    ):
        self.candidates = candidates
        self.n_null = n_null
        self.level = level
        self.random_state = random_state
        self.select_generators = select_generators
        self.select_share = select_share

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        part: ArrayLike | None = None,
        generator: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        statistics: pd.DataFrame | ArrayLike | None = None,
    ) -> ShortcutRemoval:
        """Search for what to erase.

        Args:
            X: (n, p), an array or a frame.
            y: (n,), 1 fake, 0 photograph, or any two labels (`interp.protocol.select_rows.two_classes`).
            part: (n,), "train" for rows the detector is fitted on, "select" for rows that judge it.
            generator: (n,) names; every generator is then a class of its own and weighs the same.
            groups: (n,) names of rows that belong together.
            statistics: (n, k) of the same rows, as `interp.features.statistics.measure_statistics` gives; a frame
                names them. Rows where one is missing are left out.

        Raises:
            InputError: no statistics, nothing says who selects, a part without both classes, unknown candidates, or
                too few shuffles for the level.
        """
        if (self.n_null + 1) * self.level < 1:
            raise InputError(
                f"{self.n_null} shuffles cannot reach level {self.level}; "
                f"give at least {int(np.ceil(1 / self.level)) - 1}"
            )
        values, given = validate_data(self, X, y, dtype=np.float64)
        labels, train, select = self._rows(given, part, generator, groups)
        columns, measured = _measured(statistics, len(values))
        known = np.all(np.isfinite(measured), axis=1)
        rows_of_parts(np.where(known, _names(train, select, len(values)), ""), "ShortcutRemoval", labels)
        train, select = train[known[train]], select[known[select]]
        names, units = (None if one is None else np.asarray(one) for one in (generator, groups))
        search = start = ShortcutSearch.of(values, labels, train, select, measured, names, units)
        self.members_ = candidates_of(columns, self.candidates)
        members = dict(self.members_)
        rng = np.random.default_rng(self.random_state)
        self.removed_: list[str] = []
        self._table: dict[str, dict[str, Any]] = {}
        found = []
        while members:
            step = judge(search, members, self.n_null, rng, self.level)
            self._table |= {name: evidence._asdict() for name, evidence in step.items()}
            passing = [name for name, evidence in step.items() if evidence.passes(self.level)]
            if not passing:
                break
            best = max(passing, key=lambda name: step[name].excess_z)
            self.removed_.append(best)
            found += members[best]
            search = search.erased(search.directions(members.pop(best)))
        used = values[np.concatenate([train, select])]
        self._project(start.erasable(found), values[train].std(0), used)
        return self

    def _project(self, directions: np.ndarray, scale: np.ndarray, used: np.ndarray) -> None:
        """The projection in the unit of X, from orthonormal directions (p, r) of columns of this scale (p,)."""
        inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
        self.layout_, self.n_rows_ = HeadLayout(1, 1, len(scale)), len(used)
        self.mean_ = used.mean(0)
        self.left_, self.right_ = (scale[:, None] * directions)[None], (directions.T * inverse)[None]
        self.rank_ = np.array([directions.shape[1]])
        total = ((used - self.mean_) ** 2).sum()
        self.moved_ = np.array([((used - self.transform(used)) ** 2).sum() / total if total else 0.0])

    @property
    def table_(self) -> pd.DataFrame:
        """A row for each candidate, the removed ones first and in order; the others beyond what was removed.

        Columns: candidate, the fields of `interp.analysis.shortcut_evidence.Evidence`, and removed.
        """
        check_is_fitted(self, "removed_")
        others = [name for name in self._table if name not in self.removed_]
        others.sort(key=lambda name: -self._table[name]["excess_z"])
        rows = [{"candidate": name, **self._table[name]} for name in [*self.removed_, *others]]
        return pd.DataFrame(rows).assign(removed=[row["candidate"] in self.removed_ for row in rows])

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        table = self.table_
        if self.removed_:
            return "; ".join(Evidence(**self._table[name]).sentence(name) for name in self.removed_)
        closest = f" (closest: {table['candidate'][0]}, p = {table['p_value'][0]:.2f})" if len(table) else ""
        return f"no shortcut found among {len(table)} properties of the pixels{closest}"


def _measured(statistics: pd.DataFrame | ArrayLike | None, n: int) -> tuple[list[Hashable], np.ndarray]:
    """Names and numbers (n, k) of the statistics."""
    if statistics is None:
        raise InputError(
            "ShortcutRemoval.fit needs statistics=, numbers of each row's pixels: pass "
            "measure_statistics(images, store), in a Pipeline by metadata routing (.set_fit_request(statistics=True))"
        )
    table = pd.DataFrame(statistics)
    if len(table) != n:
        raise InputError(f"statistics need one row for each of the {n} rows of X; given {len(table)}")
    return list(table.columns), table.to_numpy(np.float64)


def _names(train: np.ndarray, select: np.ndarray, n: int) -> np.ndarray:
    """(n,) the part of each row."""
    names = np.full(n, "", dtype="<U6")
    names[train], names[select] = "train", "select"
    return names
