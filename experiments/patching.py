"""Which heads move a verdict, when one head sees a twin of the photograph: causal beside direct effect and probe AUC.

    python experiments/patching.py STORE --encoder E --images manifest.csv --out runs/patching

Pairs are photographs and the same photographs scaled down and up again, as a generator that upsamples would leave them;
a head is exchanged between the two at every token. The detector reads the embedding and tells photographs from these
copies; it is fitted on other photographs than those that are patched. Writes heads.csv and patching.png.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import spearmanr

from interp import Detector, Encoder, FeatureStore, ImageSet, load_encoder, read_image
from interp.analysis.logistic import balanced_weights, fit_logistic
from interp.analysis.ranking import standardised
from interp.detectors.detector import LinearScore
from interp.detectors.linear import LinearDetector
from interp.explain.patching import patch_pairs, patching_effects
from interp.explain.verdict import features, seen_by
from interp.protocol.metrics import auc
from interp.report.figures import save_figure


@dataclass(frozen=True)
class Settings:
    """What to patch."""

    store: Annotated[Path, tyro.conf.Positional]
    """A store with photographs; says how images are equalised."""
    images: Path
    """Manifest or folder of its images."""
    encoder: str = "embedded"
    """Hub id or folder of its encoder."""
    out: Path = Path("runs/patching")
    """Folder of table and figure."""
    pairs: int = 20
    """Photographs that are patched."""
    others: int = 100
    """Photographs that the detector is fitted on, and as many that judge it and the heads' probes."""
    factor: int = 8
    """How far twins are scaled down."""
    random_state: int = 0
    """Seed of the choice of photographs."""


def twin(photograph: Image.Image, factor: int) -> Image.Image:
    """A photograph scaled down and up again."""
    small = photograph.resize(
        (photograph.width // factor, photograph.height // factor), Image.Resampling.BICUBIC
    )
    return small.resize(photograph.size, Image.Resampling.BILINEAR)


def recorded(encoder: Encoder, detector: Detector, pictures: list[Image.Image], kind: str) -> np.ndarray:
    """Features (n, p) of pictures, along the path of the detector's images."""
    parts = []
    for start in range(0, len(pictures), 32):
        seen = [seen_by(detector, one) for one in pictures[start : start + 32]]
        parts.append(features(encoder.record(encoder.pixel_values(seen)), kind))
    return np.concatenate(parts).astype(np.float64)


def head_table(settings: Settings) -> tuple[pd.DataFrame, float, pd.DataFrame]:
    """A row for each head: total and direct effect with intervals, probe AUC; the detector's AUC; effects both ways."""
    store, encoder = FeatureStore(settings.store), load_encoder(settings.encoder)
    images = ImageSet.open(settings.images)
    rng = np.random.default_rng(settings.random_state)
    real = rng.permutation(store.rows.index[(store.rows["label"] == "real") & store.usable])
    many = [settings.pairs, settings.others, settings.others]
    chosen = np.split(real[: sum(many)], np.cumsum(many)[:-1])
    none = Detector("none", "embedding", LinearScore(np.zeros(encoder.width), 0.0), 0.0, store.key)
    pictures = []
    for keys in chosen:
        opened = [read_image(images.path(key)).pixels for key in keys]
        pictures.append((opened, [twin(one, settings.factor) for one in opened]))
    X = {
        kind: [recorded(encoder, none, a + b, kind) for a, b in pictures[1:]]
        for kind in ("embedding", "heads")
    }
    y = [np.repeat([0, 1], len(keys)) for keys in chosen[1:]]
    model = LinearDetector(C=0.01).fit(X["embedding"][0], y[0])
    detector = Detector(
        "twins", "embedding", LinearScore(model.coef_, model.intercept_), model.threshold_, store.key
    )
    patched = patch_pairs(encoder, detector, list(zip(*pictures[0], strict=True)))
    effects = patching_effects(patched)
    table = effects[effects["into"] == "both"].set_index("head").loc[list(store.layout.names)]
    for name in store.layout.names:
        columns = store.layout.slice(name)
        train, judged = standardised(*(part[:, columns] for part in X["heads"]))
        coef, intercept = fit_logistic(train[None], y[0], 0.01, balanced_weights(y[0]))
        table.loc[name, "probe_auc"] = auc(y[1], judged @ coef[0] + intercept[0])
    return table.reset_index(), auc(y[1], model.decision_function(X["embedding"][1])), effects


def draw(table: pd.DataFrame) -> Figure:
    """Total against direct effect and against probe AUC; the five strongest heads are named."""
    figure = Figure(figsize=(9.4, 4.0), layout="constrained")
    named = table.loc[table["total"].abs().sort_values(ascending=False).index[:5]]
    ends = np.abs(table[["total_low", "total_high"]].to_numpy().T - table["total"].to_numpy())
    sides = {
        "direct": "direct effect: stored contribution exchanged (log-odds)",
        "probe_auc": "AUC of a probe on the head",
    }
    for axis, (column, label) in zip(figure.subplots(1, 2, sharey=True), sides.items(), strict=True):
        axis.errorbar(
            table[column], table["total"], ends, fmt="o", color="0.25", markersize=4, elinewidth=0.8
        )
        for row in named.to_dict("records"):
            axis.annotate(
                row["head"], (row[column], row["total"]), (5, 4), textcoords="offset points", fontsize=8
            )
        axis.axhline(0, color="0.8", linewidth=0.8)
        rho = spearmanr(table[column], table["total"]).statistic
        axis.set(xlabel=label, title=f"Spearman {rho:+.2f}")
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(
        "total effect: head exchanged in the pass\n(log-odds towards the twin's verdict)"
    )
    return figure


def main(settings: Settings) -> None:
    """Patch, write, print."""
    table, detector_auc, effects = head_table(settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    effects.to_csv(settings.out / "effects.csv", index=False)
    table.to_csv(settings.out / "heads.csv", index=False)
    save_figure(draw(table), settings.out / "patching.png")
    print(
        f"detector: AUC {detector_auc:.3f} on {2 * settings.others} other images; {settings.pairs} pairs patched"
    )
    order = table["total"].abs().sort_values(ascending=False).index
    print(table.loc[order[:10]].to_string(index=False, float_format="%+.3f"))
    for column in ("direct", "probe_auc"):
        print(
            f"Spearman of total effect with {column}: {spearmanr(table['total'], table[column]).statistic:+.2f}"
        )


if __name__ == "__main__":
    main(tyro.cli(Settings))
