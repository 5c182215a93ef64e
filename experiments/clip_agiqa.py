"""Quality of generated images from a frozen encoder: CLIP-AGIQA in both forms, ridge, kernel ridge and MLP on heads.

    interp extract manifest.csv --where "mos_quality>=0" --encoder E --out STORE
    python -m experiments.clip_agiqa STORE --text embedded --out runs/clip_agiqa

Ten random splits into train (64 %), validation (16 %) and test (20 %) that share no prompt. Strengths, heads and the
family called "chosen" are picked on validation rows; then every model is fitted anew on train and validation rows.
Reported: SRCC, PLCC, KRCC on test rows, and the paired gain in SRCC over ridge on all heads; its interval knows that
splits share images (Nadeau and Bengio 2003). Finished splits are kept. Writes splits.csv and quality.csv.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro
from scipy.stats import spearmanr
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import GroupShuffleSplit
from sklearn.neural_network import MLPRegressor
from tqdm import tqdm

from experiments.compare_systems import TITLE
from interp import FeatureStore
from interp.detectors.clip_agiqa import ClipAgiqa
from interp.explain.text_encoder import load_text_encoder
from interp.features.provenance import open_results
from interp.protocol.quality import quality_agreement, repeated_splits_interval

LINEAR = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
"""Ridge penalties, over the number of standardised columns."""
RADIAL = (0.001, 0.01, 0.1, 1.0)
"""Ridge penalties under a radial kernel, whose diagonal is 1."""
SCALES = (0.1, 0.3, 1.0)
"""Of the radial kernel: γ is this over twice the number of standardised columns."""
BASELINE = "ridge, all heads"
Family = Callable[[np.ndarray, np.ndarray, np.ndarray, int | None], list[np.ndarray]]
"""From standardised columns to fit on, opinions, columns to score, and the number of one strength or None for all."""


@dataclass(frozen=True)
class Settings:
    """On what, and how often."""

    store: Annotated[Path, tyro.conf.Positional]
    """A feature store of images with opinion scores."""
    out: Path = Path("runs/clip_agiqa")
    """Folder of tables and finished splits."""
    text: str | None = None
    """Text tower of the store's encoder, for CLIP-AGIQA."""
    opinion: str = "mos_quality"
    """Column with the opinion scores; rows without one are left out."""
    group: str = "prompt"
    """Column whose values are not shared between train, validation and test."""
    splits: int = 10
    """Random splits."""
    epochs: int = 100
    """Of CLIP-AGIQA."""
    random_state: int = 0
    """Seed of everything drawn."""


def main(settings: Settings) -> None:
    """Fit what is missing, write and print the table."""
    store = FeatureStore(settings.store)
    rated = store.usable & store.rows[settings.opinion].notna().to_numpy()
    y, groups = (store.rows.loc[rated, name].to_numpy() for name in (settings.opinion, settings.group))
    kinds = ("embedding", "next_to_last", "heads", "layers")
    X = {kind: store.features(kind)[rated].astype(np.float64) for kind in kinds}
    text = None if settings.text is None else load_text_encoder(settings.text, device="cpu")
    about = {"store": store.key, "opinion": settings.opinion, "group": settings.group, "rows": len(y)}
    folder = open_results(
        settings.out / "splits", {**about, "text": settings.text, "epochs": settings.epochs}
    )
    outer = GroupShuffleSplit(settings.splits, test_size=0.2, random_state=settings.random_state)
    for number, (seen, test) in enumerate(tqdm(list(outer.split(y, groups=groups)), unit="split")):
        if not (folder / f"{number:02d}.csv").exists():
            inner = GroupShuffleSplit(1, test_size=0.2, random_state=number)
            train, chooses = (seen[rows] for rows in next(inner.split(seen, groups=groups[seen])))
            one = Quality(X, y, train, chooses, test, store.layout.width)
            table = one.table({} if text is None else prompted(text, settings.epochs, number))
            table.assign(split=number).to_csv(folder / f"{number:02d}.csv", index=False)
    found = pd.concat([pd.read_csv(path) for path in sorted(folder.glob("*.csv"))])
    found.to_csv(settings.out / "splits.csv", index=False)
    table = summarise(found, n_test=0.2, n_train=0.8)
    table.to_csv(settings.out / "quality.csv")
    print(TITLE.format(encoder=store.key["encoder"]["name"], images=len(y)))
    print(table.to_string(float_format="%.3f"))


class Quality:
    """All models on one split.

    Args:
        X: by kind of features, (n, p).
        y: (n,) opinion scores.
        train, chooses, test: positions.
        width: columns of one head.
    """

    def __init__(
        self,
        X: Mapping[str, np.ndarray],
        y: np.ndarray,
        train: np.ndarray,
        chooses: np.ndarray,
        test: np.ndarray,
        width: int,
    ):
        self.X, self.y, self.width = X, y, width
        self.train, self.chooses, self.test = train, chooses, test
        self.ranking = self._ranking()

    def table(self, prompted: Mapping[str, Any]) -> pd.DataFrame:
        """A row for each model: its SRCC on validation rows and its agreement on test rows."""
        heads = self.X["heads"]
        joined = np.concatenate([heads, self.X["layers"]], axis=1)
        rows = [
            self.chosen("ridge, last layer", [self.X["next_to_last"]], linear),
            self.chosen("ridge, embedding", [self.X["embedding"]], linear),
            self.chosen(BASELINE, [heads], linear),
            self.chosen("ridge, selected heads", self._selected(), linear),
            self.chosen("ridge, heads and layers", [joined], linear),
            self.chosen("kernel ridge, all heads", [heads], radial),
            self.chosen("kernel ridge, selected heads", self._selected(), radial),
            self.chosen("kernel ridge, heads and layers", [joined], radial),
            self.chosen("MLP, all heads", [heads], perceptron),
            self.chosen("MLP, selected heads", self._selected()[:2], perceptron),
        ]
        for name, model in prompted.items():
            seen = np.concatenate([self.train, self.chooses])
            part = np.repeat(["train", "select"], [len(self.train), len(self.chooses)])
            model.fit(self.X["embedding"][seen], self.y[seen], part=part)
            reached = self._srcc(model.predict(self.X["embedding"][self.chooses]), self.chooses)
            rows.append(self._row(name, reached, model.predict(self.X["embedding"][self.test])))
        table = pd.DataFrame(rows)
        best = table.loc[table["validation"].idxmax()]
        return pd.concat([table, best.to_frame().T.assign(model="chosen", picked=best["model"])])

    def chosen(self, name: str, sets: list[np.ndarray], family: Family) -> dict[str, Any]:
        """One family: its columns and strength picked on validation rows, fitted anew on train and validation rows."""
        tried = [self._predicted(columns, family, self.train, self.chooses) for columns in sets]
        reached = np.array([[self._srcc(one, self.chooses) for one in each] for each in tried])
        best, strength = np.unravel_index(int(np.argmax(reached)), reached.shape)
        seen = np.concatenate([self.train, self.chooses])
        (found,) = self._predicted(sets[int(best)], family, seen, self.test, int(strength))
        return self._row(name, float(reached.max()), found)

    def _predicted(
        self,
        columns: np.ndarray,
        family: Family,
        fits: np.ndarray,
        scores: np.ndarray,
        only: int | None = None,
    ) -> list[np.ndarray]:
        center, scale = columns[fits].mean(0), columns[fits].std(0)
        scaled = [(columns[rows] - center) / np.where(scale > 0, scale, np.inf) for rows in (fits, scores)]
        return family(scaled[0], self.y[fits], scaled[1], only)

    def _row(self, name: str, reached: float, predicted: np.ndarray) -> dict[str, Any]:
        return {
            "model": name,
            "validation": reached,
            **quality_agreement(self.y[self.test], predicted)._asdict(),
        }

    def _srcc(self, predicted: np.ndarray, rows: np.ndarray) -> float:
        return float(spearmanr(predicted, self.y[rows])[0]) if np.ptp(predicted) > 0 else -1.0

    def _ranking(self) -> np.ndarray:
        """Heads, best first, by the validation SRCC of a ridge on each alone."""
        heads = self.X["heads"].reshape(len(self.y), -1, self.width)

        def alone(fits: np.ndarray, y: np.ndarray, scores: np.ndarray, _only: int | None) -> list[np.ndarray]:
            return [Ridge(alpha=0.1 * len(fits)).fit(fits, y).predict(scores)]

        reached = [
            self._srcc(self._predicted(heads[:, h], alone, self.train, self.chooses)[0], self.chooses)
            for h in range(heads.shape[1])
        ]
        return np.argsort(-np.array(reached), kind="stable")

    def _selected(self) -> list[np.ndarray]:
        """Columns of the best quarter, half and three quarters of the heads."""
        heads = self.X["heads"].reshape(len(self.y), -1, self.width)
        counts = [max(1, len(self.ranking) * share // 4) for share in (1, 2, 3)]
        return [heads[:, np.sort(self.ranking[:k])].reshape(len(self.y), -1) for k in counts]


def linear(fits: np.ndarray, y: np.ndarray, scores: np.ndarray, only: int | None = None) -> list[np.ndarray]:
    """Predictions of ridge at each strength, or at one of them, in its dual form."""
    kernel, cross = (rows @ fits.T / fits.shape[1] for rows in (fits, scores))
    return _solved(kernel, cross, y, LINEAR if only is None else LINEAR[only : only + 1])


def radial(fits: np.ndarray, y: np.ndarray, scores: np.ndarray, only: int | None = None) -> list[np.ndarray]:
    """Predictions of kernel ridge with a radial kernel at each width and strength, or at one of these."""
    near, far = (
        euclidean_distances(rows, fits, squared=True) / (2 * fits.shape[1]) for rows in (fits, scores)
    )
    found = []
    for number, scale in enumerate(SCALES):
        strengths = RADIAL
        if only is not None:
            strengths = RADIAL[only % len(RADIAL) :][:1] if only // len(RADIAL) == number else ()
        if len(strengths):
            found += _solved(np.exp(-scale * near), np.exp(-scale * far), y, strengths)
    return found


def _solved(
    kernel: np.ndarray, cross: np.ndarray, y: np.ndarray, strengths: Sequence[float]
) -> list[np.ndarray]:
    """Kernel ridge of y less its mean, at each strength."""
    models = (KernelRidge(alpha=strength, kernel="precomputed") for strength in strengths)
    return [model.fit(kernel, y - y.mean()).predict(cross) + y.mean() for model in models]


def perceptron(
    fits: np.ndarray, y: np.ndarray, scores: np.ndarray, _only: int | None = None
) -> list[np.ndarray]:
    """Predictions of an MLP with a hidden layer of 128 units, stopped early."""
    options: dict[str, Any] = {"early_stopping": True, "max_iter": 60, "random_state": 0}
    model = MLPRegressor(hidden_layer_sizes=(128,), alpha=10.0, learning_rate_init=1e-3, **options)
    return [model.fit(fits, (y - y.mean()) / y.std()).predict(scores) * y.std() + y.mean()]


def prompted(text: Any, epochs: int, seed: int) -> dict[str, Any]:
    """CLIP-AGIQA in both forms."""
    options: dict[str, Any] = {"epochs": epochs, "random_state": seed}
    return {
        "CLIP-AGIQA, as in the code": ClipAgiqa(text, "code", **options),
        "CLIP-AGIQA, cosine": ClipAgiqa(text, "cosine", **options),
    }


def summarise(found: pd.DataFrame, n_test: float, n_train: float) -> pd.DataFrame:
    """Means over splits, and the paired gain in SRCC over ridge on all heads with its interval."""
    table = found.groupby("model", sort=False)[["validation", "srcc", "plcc", "krcc", "plcc_fitted"]].mean()
    table["sd"] = found.groupby("model")["srcc"].std()
    by_split = found.pivot(index="split", columns="model", values="srcc")
    gains = by_split.sub(by_split[BASELINE], axis=0)
    table["gain"] = gains.mean()
    for model in table.index:
        ends = repeated_splits_interval(gains[model], n_train, n_test) if len(gains) > 1 else (np.nan, np.nan)
        table.loc[model, ["low", "high"]] = ends
    if "picked" in found:
        table["picked"] = found.groupby("model")["picked"].agg(
            lambda names: ", ".join(sorted(set(names.dropna())))
        )
    return table


if __name__ == "__main__":
    main(tyro.cli(Settings))
