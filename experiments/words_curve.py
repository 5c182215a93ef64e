"""How many texts does it take to say what the heads of the embedded CLIP write?

    python experiments/words_curve.py --photographs tiny-imagenet/val.parquet --out runs/words

TextSpan is fitted for every head on one half of some photographs with names, all heads are written anew as their mean
and their first k texts, and the other half is classified among all names (zero-shot). With --store, a store of the
embedded CLIP with labels, the same is done for a detector: TextSpan and detector see train and select rows alone, and
photographs and fakes of an unseen generator are told apart. Writes words.csv (a row for each task, run and number of
texts) and words.png.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from experiments.embedded_captions import plain_captions
from experiments.embedded_data import Photographs, read_photographs
from interp import FeatureStore, Protocol, extract, load_encoder, load_text_encoder
from interp.detectors.linear import LinearDetector
from interp.explain.head_words import embedding_in_words, text_spans
from interp.explain.in_words import TEMPLATES
from interp.explain.phrases import phrases
from interp.explain.text_encoder import unit_rows
from interp.images.image_set import ImageSet
from interp.protocol.metrics import auc
from interp.report.figures import save_figure

NUMBERS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


@dataclass(frozen=True)
class Settings:
    """What to say in words."""

    photographs: Path
    """Parquet with photographs and their names, as `experiments/pretrain_embedded_clip.py` reads."""
    store: Path | None = None
    """A store of the embedded CLIP with labels and generators."""
    out: Path = Path("runs/words")
    """Folder of the table, the figure and the store of the photographs."""
    most: int = 2000
    """Photographs."""
    seeds: int = 3
    """Halves of the photographs; dealings of the store's rows."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    random_state: int = 0
    """Seed of every draw."""


def pool(text) -> np.ndarray:
    """Embeddings of the phrases that the tower was tried with, and of the whole pool after them."""
    known = list(dict.fromkeys([*text.reliability["phrase"], *phrases()["phrase"]]))
    return text(known, TEMPLATES)


def photograph_store(settings: Settings, photographs: Photographs, chosen: np.ndarray) -> FeatureStore:
    """The chosen photographs as PNG files and, seen by the embedded CLIP, as a store."""
    from PIL import Image

    folder = settings.out / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    for number in chosen:
        path = folder / f"{number:05d}.png"
        if not path.exists():
            Image.fromarray(photographs.pixels[number]).save(path)
    images = ImageSet.from_paths([folder / f"{number:05d}.png" for number in chosen])
    return extract(images, load_encoder("embedded", device="cpu"), settings.out / "store", workers=0)


def in_words(store: FeatureStore, texts: np.ndarray, rows: np.ndarray) -> dict[int, np.ndarray]:
    """The embedding with every head as its mean and its first k texts, fitted on some rows; for each k."""
    spans = text_spans(store, texts, max(NUMBERS), rows=rows)
    return dict(zip(NUMBERS, embedding_in_words(store, spans, NUMBERS), strict=True))


def named(settings: Settings, texts: np.ndarray, text) -> list[dict[str, object]]:
    """Zero-shot top-1 among all names, on the half of the photographs that no span was fitted on."""
    data = read_photographs([settings.photographs], settings.out / "photographs.npy")
    rng = np.random.default_rng(settings.random_state)
    chosen = np.sort(rng.permutation(len(data.labels))[: settings.most])
    store, labels = photograph_store(settings, data, chosen), data.labels[chosen]
    names = text(plain_captions(data.words))
    rows = []
    for seed in range(settings.seeds):
        half = rng.permutation(len(chosen)) < len(chosen) // 2
        judged = np.flatnonzero(~half)
        plain = store.embedding()
        for k, embedding in {None: plain, **in_words(store, texts, np.flatnonzero(half))}.items():
            right = (unit_rows(embedding[judged]) @ names.T).argmax(1) == labels[judged]
            rows.append(
                {
                    "task": "zero-shot top-1 of 200 names",
                    "seed": seed,
                    "texts": k,
                    "value": right.mean(),
                    "n": len(judged),
                }
            )
    return rows


def detected(settings: Settings, texts: np.ndarray) -> list[dict[str, object]]:
    """AUC of a detector of the embedding on test rows, the generator left out in turn; spans see train rows alone."""
    store = FeatureStore(settings.store)  # type: ignore[arg-type]
    y = (store.rows["label"] == "fake").to_numpy().astype(int)
    generator = store.rows["generator"].to_numpy().astype(str)
    big = pd.Series(generator[y == 1]).value_counts()
    known = set(big[big >= settings.min_train].index)
    protocol = Protocol.leave_one_out(store.rows, settings.min_train, settings.seeds, usable=store.usable)
    X, rows = store.embedding().astype(np.float64), []
    for split in protocol:
        if split.test_generators[0] not in known:
            continue
        fitted = np.union1d(split.train, split.select)
        context = {"part": split.part[fitted], "generator": generator[fitted]}
        detector = LinearDetector().fit(X[fitted], y[fitted], **context)
        for k, embedding in {None: X, **in_words(store, texts, split.train)}.items():
            value = auc(y[split.test], detector.decision_function(embedding[split.test]))
            row = {"task": "detector, AUC on the unseen generator", "seed": f"{split.seed} {split.name}"}
            rows.append({**row, "texts": k, "value": value, "n": len(split.test)})
    return rows


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """For each task: what the bars ask, over means of seeds and splits."""
    rows = []
    for task, of_task in table.groupby("task", sort=False):
        plain = of_task.loc[of_task["texts"].isna(), "value"].mean()
        wide = of_task.dropna(subset=["texts"]).pivot(index="seed", columns="texts", values="value")
        mean, steps = wide.mean(), wide.diff(axis=1).iloc[:, 1:]
        se = steps.std(ddof=1) / np.sqrt(len(steps))
        rows.append(
            {
                "task": task,
                "runs": len(wide),
                "n": int(of_task["n"].mean()),
                "plain": plain,
                "no_text": mean.iloc[0],
                "full_rank": mean.iloc[-1],
                "share": mean.iloc[-1] / plain,
                "spearman": spearmanr(mean.index, mean).statistic,
                "largest_drop": max(0.0, float(-steps.mean().min())),
                "drops_beyond_2_se": int((steps.mean() < -2 * se).sum()),
            }
        )
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Figure:
    """A panel for each task: value against texts for each head, ± 2 SE over runs."""
    tasks = list(table.groupby("task", sort=False))
    figure = Figure(figsize=(4.4 * len(tasks), 3.5), layout="constrained")
    for axis, (task, of_task) in zip(np.atleast_1d(figure.subplots(1, len(tasks))), tasks, strict=True):
        plain = of_task.loc[of_task["texts"].isna(), "value"].mean()
        by = of_task.dropna(subset=["texts"]).groupby("texts")["value"]
        axis.axhline(plain, color="0.5", linestyle="--", linewidth=1, label="heads as they are")
        axis.errorbar(
            by.mean().index, by.mean(), 2 * by.sem(), fmt="o-", color="0.1", markersize=4, label="in words"
        )
        axis.set_xscale("symlog", linthresh=1, base=2)
        axis.set_xticks(NUMBERS, [str(k) for k in NUMBERS])
        axis.set(
            xlabel="texts for each head",
            ylabel=task.partition(", ")[2] or "accuracy",
            title=task.partition(",")[0],
        )
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def main(settings: Settings) -> None:
    """Measure, write, print."""
    settings.out.mkdir(parents=True, exist_ok=True)
    text = load_text_encoder("embedded", device="cpu")
    texts = pool(text)
    rows = named(settings, texts, text)
    rows += detected(settings, texts) if settings.store else []
    table = pd.DataFrame(rows)
    table.to_csv(settings.out / "words.csv", index=False)
    save_figure(draw(table), settings.out / "words.png")
    print(f"{len(texts)} texts\n{summarise(table).to_string(index=False, float_format='%.3f')}")
    print(
        table.groupby(["task", "texts"], dropna=False, sort=False)["value"].agg(["mean", "sem"]).to_string()
    )


if __name__ == "__main__":
    main(tyro.cli(Settings))
