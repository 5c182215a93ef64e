"""Whether a set's files or its content tell the label, before any encoder looks: the audit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InputError
from interp.evaluation.audit_text import container_sentence
from interp.evaluation.one_feature import ALL, FOLDS, as_categories, folds_of, out_of_fold, permutation_p
from interp.images.audit_facts import COMPRESSED, LOOKED_AT, audit_facts
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet
from interp.images.manifest import held_against
from interp.images.near_duplicates import merged_groups, near_duplicates
from interp.images.pixel_statistics import STATISTICS
from interp.images.radial_spectrum import BANDS
from interp.protocol.clustered_auc import clustered_auc
from interp.protocol.intervals import holm
from interp.protocol.leaks import units
from interp.protocol.metrics import auc

LEVEL, LEAST = 0.05, 0.6
"""An alarm is a p below the one, adjusted by Holm over all features of an audit, and an AUC above the other."""

FEWEST = 20
"""Images that a generator must have to be named as the one that a feature tells best."""

CONTAINER = {
    "format": ["format"],
    "size": ["size", "short_side", "long_side"],
    "aspect": ["aspect"],
    "mode": ["mode"],
    "quantisation tables": ["quantisation"],
    "subsampling": ["subsampling"],
    "progressive": ["progressive"],
    "EXIF": ["exif"],
    "ICC profile": ["icc"],
    "other metadata": ["metadata"],
}
"""What the container says, and the columns that say it."""

CONTENT: dict[str, list[str]] = {"bytes per pixel": ["bytes_per_pixel"], "compressibility": [COMPRESSED]}
for _name, _statistic in STATISTICS.items():
    CONTENT.setdefault(_statistic.group, []).append(_name)
CONTENT["radial spectrum"] = list(BANDS)


@dataclass(frozen=True, repr=False)
class Audit:
    """What an audit found; nothing in the set is changed.

    Attributes:
        files: what `audit_facts` read of each image.
        table: a row for each feature: kind ("container", "content" or "words"), feature, auc (cross-validated, groups
            kept together), low, high (95 % over images, the fitted scores as they are), p (by permutation of labels,
            1 where the AUC is too low for an alarm anyway), p_holm, alarm, best_told (the generator whose images the
            feature tells best from photographs), best_auc, n_real, n_fake.
        near_duplicates: pairs of images that look the same; see `interp.images.near_duplicates.near_duplicates`.
        equalize: what makes all containers alike, or None where no container feature raises an alarm.
        skipped: phrases that were asked for and that the text tower cannot be trusted with.
    """

    files: pd.DataFrame
    table: pd.DataFrame
    near_duplicates: pd.DataFrame
    equalize: Equalize | None
    skipped: tuple[str, ...] = ()

    @property
    def alarms(self) -> pd.DataFrame:
        """The features that raise an alarm, strongest first."""
        return self.table[self.table["alarm"]].sort_values("auc", ascending=False)

    @property
    def sentence(self) -> str:
        """The container's alarm in one sentence, for the top of a report; empty where there is none."""
        return container_sentence(self.table, self.equalize, noun=self.noun)

    @property
    def noun(self) -> str:
        """What photographs were held against: "fakes", or "twins" in a set that has no fakes."""
        return f"{held_against(self.files['label'])}s"

    @property
    def groups(self) -> pd.Series:
        """By key, groups that keep near duplicates together: a column `group` for the set's manifest."""
        return merged_groups(self.files, self.near_duplicates)

    def text(self, *, most: int = 10) -> str:
        """The findings for a terminal, with at most `most` pairs of near duplicates."""
        from interp.evaluation.audit_text import audit_text

        return audit_text(self, most)

    def __repr__(self) -> str:
        return self.text()

    def write(self, folder: str | Path) -> None:
        """Write audit.csv, files.csv, near_duplicates.csv, groups.csv and audit.txt."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.table.to_csv(folder / "audit.csv", index=False)
        self.files.to_csv(folder / "files.csv")
        self.near_duplicates.to_csv(folder / "near_duplicates.csv", index=False)
        self.groups.to_csv(folder / "groups.csv")
        (folder / "audit.txt").write_text(self.text() + "\n", encoding="utf-8")


def audit_images(
    images: ImageSet,
    *,
    equalize: Equalize | str = LOOKED_AT,
    content: bool = True,
    words: pd.DataFrame | None = None,
    n_jobs: int | None = None,
    random_state: int = 0,
    progress: bool = True,
) -> Audit:
    """Say what the files and, apart from them, the content of a labelled set tell of the label.

    Args:
        images: the set; images that cannot be read or have no label are left out. Fakes are held against photographs,
            or twins in a set without fakes.
        equalize: what images are brought through before their content is measured.
        content: measure content too.
        words: rows that `word_shortcuts` gave for a store of these images; they are judged together with the others.
        n_jobs: processes; by default one for each core.
        random_state: seed of the folds.
        progress: show a bar.

    Raises:
        InputError: fewer than five independent photographs, or fakes (twins).

    >>> from interp.images.simulated import draw_simulated_set
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> images = draw_simulated_set(folder.name, n_per_class=12, generators=["simulated-smooth"], progress=False)
    >>> audit_images(images, content=False, n_jobs=1, progress=False).sentence
    ''
    """
    looked_at = Equalize.parse(equalize) if isinstance(equalize, str) else equalize
    if looked_at is None:
        raise InputError("content is measured in images of one size; give an equalisation such as '256:75'")
    files = audit_facts(images, equalize=looked_at, content=content, n_jobs=n_jobs, progress=progress)
    tables = [shortcut_table(files, "container", CONTAINER, random_state=random_state)]
    if content:
        tables.append(shortcut_table(files, "content", CONTENT, random_state=random_state))
    skipped: tuple[str, ...] = ()
    if words is not None:
        tables.append(words)
        skipped = tuple(words.attrs.get("skipped", ()))
    table = with_alarms(pd.concat(tables, ignore_index=True))
    alarmed = (table["alarm"] & (table["kind"] == "container")).any()
    advice = recommended_equalize(files) if alarmed else None
    return Audit(files, table, near_duplicates(files), advice, skipped)


def shortcut_table(
    files: pd.DataFrame, kind: str, features: dict[str, list[str]], *, random_state: int = 0
) -> pd.DataFrame:
    """How well each feature alone, and all together, tell fakes from photographs of groups that it was not fitted on.

    Args:
        files: what `audit_facts` gave.
        kind: for the column of that name.
        features: columns of each feature, as `CONTAINER` and `CONTENT`.
        random_state: seed of folds and permutations.

    Returns:
        The columns of `Audit.table` but p_holm and alarm.
    """
    other = held_against(files["label"])
    used = with_sizes(files[(files["error"] == "") & files["label"].isin(["real", other])])
    fake = (used["label"] == other).to_numpy()
    unit = units(used)
    fold = folds_of(fake, unit, random_state)
    codes = {name: as_categories(used[name]) for columns in features.values() for name in columns}
    every = {**features, ALL: list(codes)}
    generator = used["generator"].to_numpy().astype(str)
    rows = []
    for name, columns in every.items():
        values = [codes[column] for column in columns]
        found = judged(out_of_fold(values, fake, fold), fake, unit, generator)
        p = (
            permutation_p(values, fake, unit, fold, random_state=random_state)
            if found["auc"] > LEAST
            else 1.0
        )
        rows.append({"kind": kind, "feature": name, **found, "p": p})
    return pd.DataFrame(rows)


def judged(scores: np.ndarray, fake: np.ndarray, unit: np.ndarray, generator: np.ndarray) -> dict[str, Any]:
    """AUC, its interval and p, and the generator that these scores tell best."""
    found = clustered_auc(fake, scores, unit)
    by_generator = {
        name: auc(fake[kept], scores[kept])
        for name in np.unique(generator[fake])
        for kept in [~fake | (generator == name)]
        if (generator == name).sum() >= FEWEST
    }
    best = max(by_generator, key=lambda name: by_generator[name]) if by_generator else ""
    counts = {"n_real": int((~fake).sum()), "n_fake": int(fake.sum())}
    told = {"best_told": best, "best_auc": by_generator.get(best, float("nan"))}
    return {**found._asdict(), **told, **counts}


def with_sizes(files: pd.DataFrame) -> pd.DataFrame:
    """The files with their size as one value, their edges in order, and their aspect."""
    width, height = files["width"].astype(int), files["height"].astype(int)
    edges = {"short_side": np.minimum(width, height), "long_side": np.maximum(width, height)}
    size = width.astype(str) + "x" + height.astype(str)
    return files.assign(size=size, aspect=width / height, **edges)


def with_alarms(table: pd.DataFrame) -> pd.DataFrame:
    """The table with p_holm, over all of its rows, and alarm, before best_told."""
    p = holm(table["p"].fillna(1.0))
    alarm = (p < LEVEL) & (table["auc"] > LEAST).to_numpy()
    found = table.drop(columns=["p_holm", "alarm"], errors="ignore")
    place = list(found.columns).index("p") + 1
    found.insert(place, "p_holm", p)
    found.insert(place + 1, "alarm", alarm)
    return found


def recommended_equalize(files: pd.DataFrame) -> Equalize:
    """One path for all: through the smallest size and the lowest JPEG quality that a generator or photographs have.

    Of each generator the median counts. What is larger than 256 px everywhere goes to 256 at once.

    >>> files = pd.DataFrame({"generator": ["real", "biggan"], "width": [500, 128], "height": [375, 128],
    ...                       "jpeg_quality": [96, np.nan], "error": ""})
    >>> str(recommended_equalize(files))
    'common:128:95'
    """
    good = files[files["error"] == ""]
    short = np.minimum(good["width"], good["height"]).groupby(good["generator"]).median().min()
    quality = good["jpeg_quality"].fillna(100).groupby(good["generator"]).median().min()
    edge = max(int(short), 16)
    return Equalize(quality=int(np.clip(quality, 30, 95)), common=edge if edge < 256 else None)


def container_alarm(
    images: ImageSet,
    applied: str = "none",
    *,
    n_jobs: int | None = None,
    random_state: int = 0,
    progress: bool = True,
) -> str:
    """`container_sentence` of a set, from an audit of its files alone; empty where it has too few of a label to ask.

    Args:
        images: the set.
        applied: what a run brought its images through.
        n_jobs, random_state, progress: as in `audit_images`.
    """
    counts = images.table["label"].value_counts()
    if min(counts.get("real", 0), counts.get(held_against(images.table["label"]), 0)) < 2 * FOLDS:
        return ""
    try:
        found = audit_images(
            images, content=False, n_jobs=n_jobs, random_state=random_state, progress=progress
        )
    except InputError:  # so many images are unreadable or of one group that no fold is left
        return ""
    return container_sentence(found.table, found.equalize, applied, found.noun)
