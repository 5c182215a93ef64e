"""How few pairs are enough? A linear SVM on the next-to-last class token, from 10 to 10,000 paired draws.

    python -m experiments.few_shot STORE --out runs/few_shot
    python -m experiments.few_shot STORE --other OTHER --out runs/few_shot       # and fuse with another encoder's

For each split of `experiments.compare_systems`, N photographs and N fakes are drawn from the train rows, pairs of one
content first, several times; the detector is fitted on them, calibrated on select rows, and judged on unseen
generators. Numbers beyond what a split holds are left out and said so. Beside it: what C changes with all rows, and
with --other all fusion rules on the two encoders' log-likelihood ratios. Writes draws.csv, pairs.csv, strengths.csv,
fusion.csv and pairs.png.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import seaborn as sns
import tyro
from matplotlib.figure import Figure
from tqdm import tqdm

from experiments.compare_systems import rotated
from interp import FeatureStore
from interp.analysis.strength import mean_auc
from interp.detectors.few_shot import FewShot, paired_draw
from interp.detectors.fusion import RULES, fuse
from interp.protocol.resampling import derive_seed
from interp.protocol.roles import Split
from interp.report.figures import save_figure


@dataclass(frozen=True)
class Settings:
    """On what, how many pairs, and how often."""

    store: Annotated[Path, tyro.conf.Positional]
    """A feature store with labels, generators and groups."""
    other: Path | None = None
    """A store of the same images by another encoder, to fuse with."""
    out: Path = Path("runs/few_shot")
    """Folder of tables and the figure."""
    pairs: tuple[int, ...] = (10, 30, 100, 300, 1000, 3000, 10000)
    """N, photographs and fakes each."""
    draws: int = 10
    """Draws of each N."""
    C: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0, 100.0)
    """Inverse strengths of the SVM."""
    seeds: int = 3
    """Dealings of photographs and prompts into three parts."""
    min_train: int = 200
    """Images that a generator must have to train or select."""
    random_state: int = 0
    """Seed of everything drawn."""


class Data:
    """A store's next-to-last tokens with labels, generators and groups."""

    def __init__(self, store: FeatureStore):
        self.store, self.X = store, store.features("next_to_last")
        self.y = (store.rows["label"] == "fake").to_numpy().astype(int)
        self.generator = store.rows["generator"].to_numpy().astype(str)
        self.groups = store.rows["group"].to_numpy()

    def scores(self, split: Split, train: np.ndarray, detector: FewShot) -> np.ndarray:
        """Log-likelihood ratios of the test rows by a detector fitted on `train` and calibrated on select rows."""
        rows = np.concatenate([train, split.select])
        part = np.repeat(["train", "select"], [len(train), len(split.select)])
        fitted = detector.fit(self.X[rows], self.y[rows], part=part, generator=self.generator[rows])
        return fitted.decision_function(self.X[split.test])

    def auc(self, split: Split, scores: np.ndarray) -> float:
        """Mean AUC over test generators."""
        test = split.test
        return float(mean_auc(self.y[test], scores[:, None], self.generator[test])[0])


def main(settings: Settings) -> None:
    """Draw, fit, judge, write."""
    store = FeatureStore(settings.store)
    data = Data(store)
    settings.out.mkdir(parents=True, exist_ok=True)
    protocol = rotated(store, settings.seeds, settings.min_train, settings.random_state)
    drawn = pd.DataFrame(
        [row for split in tqdm(protocol, desc="pairs") for row in draw(data, split, settings)]
    )
    drawn.to_csv(settings.out / "draws.csv", index=False)
    found = curve(drawn)
    found.to_csv(settings.out / "pairs.csv")
    most = int(drawn["most"].min())
    print(f"{store}\nmean AUC on unseen generators; splits hold {most} pairs, so larger N are left out")
    print(found.to_string(float_format="%.3f"))
    save_figure(figure(drawn), settings.out / "pairs.png")
    rows = [
        {"C": C, "auc": data.auc(split, data.scores(split, split.train, FewShot(C)))}
        for split in protocol
        for C in settings.C
    ]
    strengths = pd.DataFrame(rows).groupby("C")["auc"].agg(["mean", "std", "count"])
    strengths.to_csv(settings.out / "strengths.csv")
    print("\nall train rows, one C each", strengths.to_string(float_format="%.3f"), sep="\n")
    if settings.other is not None:
        other = Data(FeatureStore(settings.other))
        table = pd.DataFrame([fused(data, other, split) for split in protocol]).agg(["mean", "std"]).T
        table.to_csv(settings.out / "fusion.csv")
        print("\ntwo encoders", table.to_string(float_format="%.3f"), sep="\n")


def draw(data: Data, split: Split, settings: Settings) -> list[dict[str, float | str]]:
    """AUC of every draw of every number of pairs that this split's train rows hold."""
    rows, y = split.train, data.y[split.train]
    most, found = int(np.bincount(y, minlength=2).min()), []
    for n in settings.pairs:
        for number in range(settings.draws if n <= most else 0):
            seed = derive_seed("pairs", split.name, split.seed, n, number) % 2**32
            chosen = rows[paired_draw(y, n, groups=data.groups[rows], random_state=seed)]
            auc = data.auc(split, data.scores(split, chosen, FewShot(settings.C, random_state=0)))
            found.append(
                {"split": split.name, "seed": split.seed, "most": most, "N": n, "draw": number, "auc": auc}
            )
    return found


def curve(drawn: pd.DataFrame) -> pd.DataFrame:
    """For each N: mean AUC, its spread over draws within a split, and over train generators."""
    within = drawn.groupby(["N", "split", "seed"])["auc"].std().groupby("N").mean()
    across = drawn.groupby(["N", "split"])["auc"].mean().groupby("N").std()
    counted = drawn.groupby("N")["auc"].agg(["mean", "min", "count"])
    return counted.assign(sd_of_draws=within, sd_of_generators=across)


def fused(first: Data, second: Data, split: Split) -> dict[str, float]:
    """AUC of each detector alone and of every fusion rule on one split."""
    scores = [one.scores(split, split.train, FewShot()) for one in (first, second)]
    alone = {
        one.store.key["encoder"]["name"]: first.auc(split, s)
        for one, s in zip((first, second), scores, strict=True)
    }
    both = np.stack(scores, axis=1)
    return {**alone, **{rule: first.auc(split, fuse(both, rule)) for rule in RULES}}


def figure(drawn: pd.DataFrame) -> Figure:
    """AUC against N, a line for each train generator, the band of all draws behind."""
    made = Figure(figsize=(6.4, 4), layout="constrained")
    axes = made.subplots()
    long = drawn.assign(train=drawn["split"].str.split(">").str[0])
    sns.lineplot(
        long, x="N", y="auc", hue="train", style="train", markers=True, dashes=False, errorbar="sd", ax=axes
    )
    axes.set(xscale="log", xlabel="pairs to train on", ylabel="mean AUC on unseen generators")
    sns.move_legend(axes, "center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.axhline(0.5, color="0.6", linewidth=0.8)
    return made


if __name__ == "__main__":
    main(tyro.cli(Settings))
