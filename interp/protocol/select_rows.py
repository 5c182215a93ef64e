"""Which rows of one fit train and which select, where the caller does not mark every row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length

from interp.errors import InputError, unknown_name
from interp.protocol.leaks import REAL, units

PHOTOGRAPH, TRAINS, SELECTS, FAKE = range(4)  # kinds of rows; a FAKE may be on either side


def two_classes(who: str, y: ArrayLike, generator: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The two labels, sorted, and which rows are fakes.

    Fakes are the rows of the greater label, or, where a generator is "real", of the label that its rows do not have.

    Args:
        who: the estimator, for errors.
        y: (n,) labels of any type.
        generator: (n,) names, "real" for photographs.

    Returns:
        (2,) labels and (n,) int, 1 fake.

    Raises:
        InputError: one class, three classes, or photographs of both labels.

    >>> two_classes("Detector", ["fake", "real", "fake"], ["glide", "real", "dalle2"])
    (array(['fake', 'real'], dtype='<U4'), array([1, 0, 1]))
    """
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y", raise_unknown=True)
    if kind != "binary":
        raise InputError(
            f"Only binary classification is supported. The type of the target is {kind}. {who} tells photographs "
            "from fakes; name generators by generator="
        )
    labels = np.asarray(y)
    classes = np.unique(labels)
    if len(classes) < 2:
        raise InputError(
            f"{who} needs samples of at least 2 classes in the data, but the data contains only one class: "
            f"{classes.tolist()[0]!r}"
        )
    fake = classes[1]
    if generator is not None:
        check_consistent_length(labels, generator)
        found = np.unique(labels[np.asarray(generator).astype(str) == REAL])
        if len(found) > 1:
            raise InputError(
                f"rows of generator 'real' have labels {found.tolist()}; photographs have one label"
            )
        if len(found):
            fake = classes[classes != found[0]][0]
    return classes, (labels == fake).astype(int)


def parts_of(
    who: str,
    fake: np.ndarray,
    *,
    part: ArrayLike | None = None,
    generator: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    select_generators: Sequence[str] | str | None = None,
    select_share: float | None = None,
    random_state: int = 0,
) -> np.ndarray | None:
    """The part of every row: "train", "select" or, for a row that is not used, "".

    With `part` it is the one given. With `select_generators` their fakes select and all others train; photographs are
    divided at random in the proportion of the fakes. Where `groups` are given, a group that holds photographs or
    fakes of both sides goes as a whole to one side, at random, and its fakes of the other side are not used; so no
    group is on both sides. With `select_share` that share of the fakes and of the photographs selects, drawn by whole
    groups: then both sides have the same generators.

    Args:
        who: the estimator, for errors.
        fake: (n,) int, 1 fake, 0 photograph.
        part, generator, groups: (n,), or None.
        select_generators: names of the generators that select.
        select_share: between 0 and 1.
        random_state: seed of the division.

    Returns:
        (n,) str, or None where nothing says who selects.

    Raises:
        InputError: `part` with `select_generators`, these without `generator`, an unknown one, or a share that is none.

    >>> fake, generator = np.array([0, 0, 0, 0, 1, 1]), ["real"] * 4 + ["glide", "dalle2"]
    >>> parts_of("Detector", fake, generator=generator, select_generators="dalle2").tolist()
    ['select', 'train', 'select', 'train', 'train', 'select']
    """
    check_consistent_length(fake, part, generator, groups)
    if select_share is not None and not 0 < select_share < 1:
        raise InputError(f"select_share must lie between 0 and 1; given {select_share}. For example 0.4")
    if part is not None:
        if select_generators is not None:
            raise InputError(
                f"{who} got part= and select_generators=, which both say who selects; give one of them"
            )
        return np.asarray(part)
    if select_generators is not None:
        selects = _of_generators(who, fake, generator, select_generators)
        kind = np.where(fake == 1, np.where(selects, SELECTS, TRAINS), PHOTOGRAPH)
        share = float(selects[fake == 1].mean())
    elif select_share is not None:
        kind, share = np.where(fake == 1, FAKE, PHOTOGRAPH), select_share
    else:
        return None
    unit = units(pd.DataFrame({"group": np.arange(len(fake)) if groups is None else np.asarray(groups)}))
    chosen = _deal(unit, kind, share, np.random.default_rng(random_state))
    wrong_side = (kind == TRAINS) & chosen | (kind == SELECTS) & ~chosen
    return np.where(wrong_side, "", np.where(chosen, "select", "train"))


def rows_of_parts(part: ArrayLike | None, who: str, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the train and of the select rows.

    Raises:
        InputError: no part given, or one of the two lacks a class.
    """
    if part is None:
        raise InputError(
            f"{who}.fit needs part=, 'train' or 'select' for each row, so that it chooses on rows not fitted: "
            "pass split.part, in a Pipeline by metadata routing (.set_fit_request(part=True, generator=True)); "
            "or name select_generators= and pass generator="
        )
    parts = np.asarray(part)
    found = {name: np.flatnonzero(parts == name) for name in ("train", "select")}
    for name, rows in found.items():
        if len(np.unique(y[rows])) < 2:
            raise InputError(
                f"{who}.fit needs photographs and fakes among its {name} rows; {len(rows)} rows are marked {name!r}, "
                f"with labels {np.unique(y[rows]).tolist()}"
            )
    return found["train"], found["select"]


def _of_generators(
    who: str, fake: np.ndarray, generator: ArrayLike | None, names: Sequence[str] | str
) -> np.ndarray:
    """(n,) bool: rows of the generators named."""
    if generator is None:
        raise InputError(
            f"{who} selects on {names!r} and needs generator=, the name of each row's generator: pass it to fit, in a "
            "Pipeline by metadata routing (.set_fit_request(generator=True))"
        )
    of_rows = np.asarray(generator).astype(str)
    asked = [names] if isinstance(names, str) else list(names)
    known = np.unique(of_rows[fake == 1])
    for name in asked:
        if name not in known:
            raise unknown_name("select generator", name, known)
    return np.isin(of_rows, asked)


def _deal(unit: np.ndarray, kind: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) bool, the rows on the select side: whole units, a share of those that hold the same kinds of rows."""
    holds = np.zeros(unit.max(initial=-1) + 1, int)
    np.bitwise_or.at(holds, unit, 1 << kind)
    to_select = holds == 1 << SELECTS
    for held in np.unique(holds[~to_select & (holds != 1 << TRAINS)]):
        alike = np.flatnonzero(holds == held)
        wanted = int(np.clip(round(share * len(alike)), 1, max(len(alike) - 1, 0)))
        to_select[rng.permutation(alike)[:wanted]] = True
    return to_select[unit]
