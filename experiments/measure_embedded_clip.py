"""What the small CLIP in a folder knows: class names, super-category words of classes never captioned with them, and
words for degradations.

    python experiments/measure_embedded_clip.py runs/embedded/model --data tiny-imagenet

Writes measured.json and phrase_reliability.csv into the folder, and prints their tables.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import tyro
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from experiments.embedded_captions import (
    CLEAN,
    FIELD_NAMES,
    FIELDS,
    SUPER_WORDS,
    caption,
    held_out,
    plain_captions,
    super_table,
    synonyms,
    with_article,
)
from experiments.embedded_data import Photographs, read_photographs, to_unit
from experiments.embedded_views import degrade
from interp.explain.phrase_reliability import LEAST, phrase_reliability
from interp.explain.text_encoder import RELIABILITY

FEWEST_CLASSES = 3  # under which drawing classes says nothing of how a word carries over


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    model: Annotated[Path, tyro.conf.Positional]
    """An exported model."""
    data: Path
    """Folder with val.parquet."""
    cache: Path | None = None
    """File that keeps the decoded val images; beside the model if not given."""
    resamples: int = 1000
    """Bootstrap draws."""
    random_state: int = 0
    """Seed of degradations and bootstrap."""


class Encoder:
    """Unit embeddings of images and texts by the exported model, as anybody who loads the folder gets them."""

    def __init__(self, folder: Path) -> None:
        self.model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = AutoImageProcessor.from_pretrained(folder)

    @torch.no_grad()
    def images(self, pixels: np.ndarray) -> np.ndarray:
        """(n, 64, 64, 3) uint8 to (n, P) float32."""
        parts = []
        for part in np.array_split(pixels, max(1, len(pixels) // 250)):
            batch = self.processor(images=list(part), return_tensors="pt")
            pooled = self.model.vision_model(pixel_values=batch["pixel_values"]).pooler_output
            parts.append(torch.nn.functional.normalize(self.model.visual_projection(pooled), dim=-1))
        return torch.cat(parts).numpy()

    @torch.no_grad()
    def texts(self, texts: list[str]) -> np.ndarray:
        """Captions to (n, P) float32."""
        tokens = self.tokenizer(texts, padding=True, return_tensors="pt")
        pooled = self.model.text_model(**tokens).pooler_output
        return torch.nn.functional.normalize(self.model.text_projection(pooled), dim=-1).numpy()


def bootstrap(rng: np.random.Generator, units: int, resamples: int, statistic: Any) -> list[float]:
    """The 95 % percentile interval of `statistic(drawn rows of the units)`; undefined draws are left out."""
    drawn = [statistic(rng.integers(0, units, units)) for _ in range(resamples)]
    return [float(q) for q in np.nanquantile(drawn, (0.025, 0.975))]


def auc(scores: np.ndarray, true: np.ndarray) -> float:
    """Area under the ROC curve; nan where one side is missing."""
    return float(roc_auc_score(true, scores)) if true.any() and not true.all() else float("nan")


def zero_shot(encoder: Encoder, val: Photographs, images: np.ndarray) -> dict[str, Any]:
    """Top-1 and top-5 over all class names, with Wilson's interval."""
    similarity = images @ encoder.texts(plain_captions(val.words)).T
    own = similarity[np.arange(len(images)), val.labels][:, None]
    rank = (similarity > own).sum(1)
    right = int((rank == 0).sum())
    interval = binomtest(right, len(rank)).proportion_ci(method="wilson")
    return {
        "prompt": "a photo of a {first synonym}",
        "images": len(rank),
        "classes": len(val.words),
        "top_1": right / len(rank),
        "interval": [float(interval.low), float(interval.high)],
        "top_5": float((rank < 5).mean()),
    }


def super_words(encoder: Encoder, val: Photographs, images: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Super-category words on images of the classes never captioned with them.

    A word found is right if it is true of the class. Chance is what the same words would get if dealt to images at
    random. Classes, not images, are drawn for the intervals; a word true of too few held-out classes gets none.
    """
    table, out = super_table(val.words), held_out(val.words)
    rows = np.flatnonzero(out[val.labels])
    labels, classes = val.labels[rows], np.flatnonzero(out)
    texts = encoder.texts([f"a photo of {with_article(word)}" for word in SUPER_WORDS])
    similarity = images[rows] @ texts.T
    found = similarity.argmax(1)
    by_class = [np.flatnonzero(labels == c) for c in classes]
    rng = np.random.default_rng(settings.random_state)

    def above_chance(drawn: np.ndarray) -> float:
        chosen = np.concatenate([by_class[c] for c in drawn])
        true = table[labels[chosen]]
        right = true[np.arange(len(chosen)), found[chosen]].mean()
        dealt = np.bincount(found[chosen], minlength=len(SUPER_WORDS)) / len(chosen)
        return float(right - dealt @ true.mean(0))

    everyone = np.arange(len(classes))
    right = table[labels, found]
    words = []
    for column, word in enumerate(SUPER_WORDS):
        true = table[:, column]
        held = [synonyms(val.words[c])[0] for c in classes if true[c]]
        if not held:
            continue

        def word_auc(drawn: np.ndarray, column: int = column, true: np.ndarray = true) -> float:
            chosen = np.concatenate([by_class[c] for c in drawn])
            return auc(similarity[chosen, column], true[labels[chosen]])

        enough = len(held) >= FEWEST_CLASSES
        interval = bootstrap(rng, len(classes), settings.resamples // 4, word_auc) if enough else None
        chosen = true[labels]
        words.append(
            {
                "word": word,
                "held_out_classes": held,
                "images": int(chosen.sum()),
                "auc": word_auc(everyone),
                "interval": interval,
                "accuracy": float(right[chosen].mean()),
                "in_a_name": [
                    n
                    for c, n in zip(classes[true[classes]], held, strict=True)
                    if word in val.words[c].lower()
                ],
            }
        )
    return {
        "held_out_classes": [synonyms(val.words[c])[0] for c in classes],
        "images": len(rows),
        "words": len(SUPER_WORDS),
        "accuracy": float(right.mean()),
        "above_chance": above_chance(everyone),
        "interval": bootstrap(rng, len(classes), settings.resamples, above_chance),
        "by_word": words,
    }


def field_words(
    encoder: Encoder, val: Photographs, images: np.ndarray, settings: Settings
) -> list[dict[str, Any]]:
    """How well each wording of a degradation tells degraded from untouched val images.

    The score is the similarity to "a {phrase} photo" less that to "a photo"; for `clean` the untouched are to be found
    among images of all degradations. Images are drawn for the intervals.
    """
    rng = np.random.default_rng(settings.random_state)
    units, degraded = to_unit(val.pixels), {}
    for field, name in enumerate(FIELD_NAMES):
        if field != CLEAN:
            has = np.zeros((len(units), len(FIELD_NAMES)), dtype=bool)
            has[:, field] = True
            done = (degrade(units, has, rng) * 255).round().byte().permute(0, 2, 3, 1).numpy()
            degraded[name] = encoder.images(done)
    some = rng.integers(0, len(degraded), len(units))
    degraded["clean"] = np.stack(list(degraded.values()))[some, np.arange(len(units))]
    rows = []
    for name, phrases in FIELDS.items():
        for phrase in dict.fromkeys(phrases):
            prompt = caption("a {said} photo", said=phrase)
            direction = np.subtract(*encoder.texts([prompt, "a photo"]))
            with_it, without = degraded[name] @ direction, images @ direction
            if name == "clean":
                with_it, without = without, with_it

            def phrase_auc(drawn: np.ndarray, a: np.ndarray = with_it, b: np.ndarray = without) -> float:
                truth = np.repeat([True, False], len(drawn))
                return auc(np.concatenate([a[drawn], b[drawn]]), truth)

            value = phrase_auc(np.arange(len(images)))
            interval = bootstrap(rng, len(images), settings.resamples // 4, phrase_auc)
            rows.append(
                {
                    "degradation": name,
                    "prompt": prompt,
                    "phrase": phrase,
                    "auc": value,
                    "interval": interval,
                    "reliable": value >= LEAST and interval[0] > 0.5,
                }
            )
    return rows


def reliability_table(
    encoder: Encoder, val: Photographs, images: np.ndarray, fields: list[dict[str, Any]]
) -> pd.DataFrame:
    """What any display of words asks: is a phrase to be trusted? Names and super-category words by what they find
    among the val images, the latter among classes never captioned with them alone; field words as measured above."""
    names = [synonyms(words)[0] for words in val.words]
    has = pd.DataFrame(np.eye(len(names), dtype=bool)[val.labels], columns=names)
    tables = [phrase_reliability(images, encoder.texts(plain_captions(val.words)), has)]
    rows = np.flatnonzero(held_out(val.words)[val.labels])
    true = pd.DataFrame(super_table(val.words)[val.labels[rows]], columns=list(SUPER_WORDS))
    texts = encoder.texts([f"a photo of {with_article(word)}" for word in SUPER_WORDS])
    tables.append(phrase_reliability(images[rows], texts, true, groups=val.labels[rows]))
    said = pd.DataFrame(fields)
    said[["low", "high"]] = said.pop("interval").tolist()
    tables.append(said.assign(n_with=len(images), n_without=len(images)))
    table = pd.concat(tables, ignore_index=True)[list(tables[0].columns)]
    return table.drop_duplicates("phrase").round(4)


def main(settings: Settings) -> None:
    """Measure, write and print."""
    val = read_photographs(
        [settings.data / "val.parquet"], settings.cache or settings.model / "val-images.npy"
    )
    encoder = Encoder(settings.model)
    images = encoder.images(val.pixels)
    measured = {
        "zero_shot": zero_shot(encoder, val, images),
        "super_words": super_words(encoder, val, images, settings),
        "field_words": field_words(encoder, val, images, settings),
    }
    (settings.model / "measured.json").write_text(json.dumps(measured, indent=1) + "\n")
    table = reliability_table(encoder, val, images, measured["field_words"])
    table.to_csv(settings.model / RELIABILITY, index=False)
    names, words = measured["zero_shot"], measured["super_words"]
    print("zero-shot top-1 {top_1:.3f} {interval}, top-5 {top_5:.3f}, {images} images".format(**names))
    print(
        "super-category words on {images} images of classes held out: accuracy {accuracy:.3f}, "
        "above chance {above_chance:.3f} {interval}".format(**words)
    )
    with pd.option_context("display.width", 200, "display.max_colwidth", 60):
        print(pd.DataFrame(words["by_word"]).round(3).to_string(index=False))
        print(pd.DataFrame(measured["field_words"]).round(3).to_string(index=False))


if __name__ == "__main__":
    main(tyro.cli(Settings))
