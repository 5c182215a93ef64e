"""The audit finds what was planted, raises false alarms seldom, and keeps groups together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from interp.errors import InputError
from interp.evaluation.audit import (
    ALL,
    CONTAINER,
    audit_images,
    container_sentence,
    recommended_equalize,
    shortcut_table,
    with_alarms,
)
from interp.evaluation.one_feature import BINS, as_categories, folds_of, out_of_fold
from interp.images.audit_facts import audit_facts
from interp.images.equalised_set import write_equalised
from interp.images.equalize import Equalize
from interp.images.image_set import ImageSet

N = 24


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((72, 64), Image.Resampling.BICUBIC)


def write_set(root: Path, *, exif: bool) -> ImageSet:
    """Photographs and fakes alike in all but, perhaps, a camera's name; one fake is a photograph, scaled."""
    camera = Image.Exif()
    camera[0x010F] = "Maker"
    for number in range(N):
        for place, seed in (("real", number), ("glide", 100 + number)):
            (root / place).mkdir(parents=True, exist_ok=True)
            image = picture(seed if (place, number) != ("glide", 5) else 3)
            options: dict[str, Any] = {"exif": camera} if exif and place == "real" and number % 8 else {}
            image.save(root / place / f"{number}.jpg", quality=80 + number % 3, **options)
    (root / "glide" / "torn.jpg").write_bytes(b"no image")
    return ImageSet.open(root)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return write_set(tmp_path_factory.mktemp("planted") / "set", exif=True)


def test_a_planted_exif_leak_and_a_planted_near_duplicate_are_found(
    planted: ImageSet, tmp_path: Path
) -> None:
    audit = audit_images(planted, n_jobs=1, progress=False)
    container = audit.table[audit.table["kind"] == "container"].set_index("feature")
    assert set(container.index[container["alarm"]]) == {"EXIF", ALL}
    assert container.loc["EXIF", "auc"] > 0.85 and container.loc["EXIF", "best_told"] == "glide"
    assert not audit.table.loc[audit.table["kind"] == "content", "alarm"].any()
    assert audit.near_duplicates[["key", "other", "across"]].to_numpy().tolist() == [
        ["glide/5.jpg", "real/3.jpg", "label generator group"]
    ]
    assert audit.groups["glide/5.jpg"] == audit.groups["real/3.jpg"]
    assert audit.sentence.startswith("ALARM: the files alone") and "EXIF" in audit.sentence
    text = audit.text()
    for words in ("1 unreadable", "ALARM", "1 pairs of images look the same", "glide/5.jpg ~ real/3.jpg"):
        assert words in text
    audit.write(tmp_path)
    assert len(pd.read_csv(tmp_path / "audit.csv")) == len(audit.table)
    assert (tmp_path / "audit.txt").read_text().startswith("25 fake, 24 real")


def test_what_it_advises_takes_the_alarm_away(planted: ImageSet, tmp_path: Path) -> None:
    audit = audit_images(planted, content=False, n_jobs=1, progress=False)
    assert audit.equalize is not None and audit.equalize == Equalize(common=64, quality=81)
    equalised = write_equalised(planted, audit.equalize, tmp_path / "new", progress=False)
    assert len(equalised) == 2 * N
    assert equalised.table["native_key"].isin(planted.keys).all()
    after = audit_images(equalised, content=False, n_jobs=1, progress=False)
    assert after.equalize is None and after.sentence == "" and "No alarm" in after.text()
    with pytest.raises(InputError, match="another folder"):
        write_equalised(planted, "64:75", planted.root)


def drawn_files(rng: np.random.Generator) -> pd.DataFrame:
    """A clean set: containers of two hundred files of many kinds, dealt to both labels alike."""
    n = int(rng.integers(60, 200))
    kinds = {
        "format": ["JPEG", "PNG", "WEBP"],
        "mode": ["RGB", "L"],
        "quantisation": [f"q{i}" for i in range(int(rng.integers(2, 40)))],
        "subsampling": ["4:2:0", "4:4:4", "none"],
        "progressive": ["yes", "no"],
        "exif": ["none", "Make", "Make Model", "Software"],
        "icc": ["none", "a", "b"],
        "metadata": ["none", "comment", "dpi"],
    }
    drawn = {
        name: rng.choice(values, n, p=rng.dirichlet(np.ones(len(values)))) for name, values in kinds.items()
    }
    label = rng.permutation(np.repeat(["real", "fake"], [n // 2, n - n // 2]))
    sizes = rng.choice(rng.integers(64, 2000, 6), (2, n)) + rng.integers(0, 2, (2, n)) * rng.integers(
        0, 300, (2, n)
    )
    table = pd.DataFrame({**drawn, "width": sizes[0], "height": sizes[1], "label": label, "error": ""})
    generator = np.where(label == "real", "real", rng.choice(["glide", "dalle2"], n))
    group = np.where(rng.random(n) < 0.3, rng.integers(0, 5, n), np.arange(10, n + 10)).astype(str)
    return table.assign(generator=generator, group=label + group)


def test_false_alarms_are_rare() -> None:
    rng = np.random.default_rng(0)
    alarms = [
        with_alarms(shortcut_table(drawn_files(rng), "container", CONTAINER))["alarm"].any()
        for _ in range(200)
    ]
    assert np.mean(alarms) <= 0.05


def test_scores_are_of_other_folds_and_groups_stay_in_one() -> None:
    rng = np.random.default_rng(1)
    unit = np.repeat(np.arange(80), 3)
    fake = np.repeat(rng.random(80) < 0.5, 3)
    fold = folds_of(fake, unit)
    assert (pd.Series(fold).groupby(unit).nunique() == 1).all()
    same = out_of_fold([unit], fake, fold)  # a value that occurs in one unit alone says nothing
    assert not same.any()
    noisy = np.where(rng.random(240) < 0.8, fake, ~fake).astype(np.int64)
    assert roc_auc_score(fake, out_of_fold([noisy], fake, fold)) == pytest.approx(0.8, abs=0.07)
    pair = rng.integers(0, 2, (2, 240))
    both = [pair[0], pair[1]]
    assert abs(roc_auc_score(fake, out_of_fold(both, fake, fold)) - 0.5) < 0.15
    with pytest.raises(InputError, match="5 folds"):
        folds_of(fake[:12], unit[:12])


def test_numbers_fall_into_bins_of_like_size_and_missing_ones_into_their_own() -> None:
    values = pd.Series(np.r_[np.random.default_rng(0).normal(size=1200), np.nan])
    code = as_categories(values)
    counts = np.bincount(code[:-1])
    assert len(counts) == BINS and np.ptp(counts) <= 2 and (code[:-1] != code[-1]).all()
    order = np.argsort(values[:-1])
    assert (np.diff(code[:-1][order]) >= 0).all()
    assert as_categories(pd.Series([5.0] * 9)).tolist() == [0] * 9


def test_sentence_and_advice() -> None:
    table = pd.DataFrame(
        {"kind": "container", "feature": ["format", "size"], "auc": [1.0, 0.7], "alarm": [True, False]}
    )
    advice = Equalize(256, 75)
    assert "Use --equalize 256:75" in container_sentence(table, advice)
    assert "were brought through 256:75" in container_sentence(table, advice, applied="256:75")
    assert container_sentence(table.assign(alarm=False), advice) == ""
    files = pd.DataFrame(
        {"generator": ["real", "sdxl"], "width": 900, "height": 700, "jpeg_quality": [90, 75.0]}
    )
    assert str(recommended_equalize(files.assign(error=""))) == "256:75"


def test_the_corpus_gives_itself_away_and_the_advice_is_common_128(shared: Path) -> None:
    images = ImageSet.open(shared / "corpus/manifest.csv", where="role=test")
    few = images.table.groupby("generator", group_keys=False).sample(12, random_state=0)
    chosen = ImageSet(few, images.root)
    audit = audit_images(chosen, content=False, n_jobs=1, progress=False)
    told = audit.table.set_index("feature")
    assert told.loc["size", "auc"] > 0.95 and told.loc["size", "alarm"]
    assert str(audit.equalize) == "common:128:75"
    facts = audit_facts(ImageSet(few.head(3), images.root), n_jobs=1, progress=False)
    assert facts.select_dtypes("float64").notna().drop(columns="jpeg_quality").all(axis=None)


def write_twins(root: Path, suffix: str) -> ImageSet:
    """Photographs, and twins of them with a little noise, of the same format or another."""
    rows, rng = [], np.random.default_rng(0)
    (root / "made").mkdir(parents=True)
    for number in range(N):
        image = picture(number)
        image.save(root / f"{number}.png")
        noisy = np.clip(np.asarray(image, int) + rng.integers(-2, 3, (64, 72, 3)), 0, 255)
        Image.fromarray(noisy.astype(np.uint8)).save(root / "made" / f"{number}{suffix}")
        rows.append((f"{number}.png", "real", "real", str(number)))
        rows.append((f"made/{number}{suffix}", "twin", "twin-noise", str(number)))
    table = pd.DataFrame(rows, columns=["path", "label", "generator", "group"])
    table.to_csv(root / "manifest.csv", index=False)
    return ImageSet.open(root / "manifest.csv")


def test_twins_are_held_against_their_photographs(tmp_path: Path) -> None:
    silent = audit_images(write_twins(tmp_path / "same", ".png"), content=False, progress=False)
    assert (
        silent.noun == "twins" and silent.sentence == "" and "tells twins from photographs" in silent.text()
    )
    assert (silent.table[["n_real", "n_fake"]] == N).all(axis=None)
    assert silent.near_duplicates.empty  # a twin looks like its photograph by design
    told = audit_images(write_twins(tmp_path / "other", ".jpg"), content=False, progress=False)
    assert (
        "the files alone tell twins from photographs" in told.sentence and "format AUC 1.00" in told.sentence
    )
