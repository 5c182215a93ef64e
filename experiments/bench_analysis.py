"""Time the numerical core against loops over scikit-learn: ranking of heads, greedy elimination of coordinates.

python experiments/bench_analysis.py --rounds 3
python experiments/bench_analysis.py --heads 36 --coordinates 96 --share 0.1      # small, to see that it works
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from joblib import Parallel, delayed, parallel_config

from experiments.benchmark import Pair, print_table
from interp.analysis.elimination import greedy_elimination
from interp.analysis.ranking import PROBE_C, rank_heads
from interp.encoders.layout import HeadLayout
from interp.protocol.metrics import auc_by_generator, auc_columns
from interp.protocol.roles import Split

ROWS, PHOTOGRAPHS = 300, 1000
TRAIN, SELECT = 1000, 3000


@dataclass(frozen=True)
class Settings:
    """What to measure, and for how long."""

    rounds: int = 3
    """Pairs of timings; the two sides take turns."""
    heads: int = 384
    """Heads that are ranked, 64 wide."""
    generators: int = 10
    """Generators that train and test."""
    coordinates: int = 768
    """Coordinates that are removed one by one."""
    share: float = 0.02
    """Part of scikit-learn's loop over probes that is timed; 1 times all of it."""
    refits: int = 24
    """How many of the refits of a greedy elimination are timed, spread over its steps."""
    jobs: int = 2
    """Processes of scikit-learn's loop."""


def main(settings: Settings) -> None:
    """Run every pair and print a Markdown table."""
    print_table(pairs(settings), settings.rounds)


def pairs(settings: Settings) -> Iterator[Pair]:
    """Every pair, on the CPU and, where there is one, on the GPU."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    ranking = Ranking(settings)
    for device in devices:
        for probe in ("logistic", "ridge"):
            yield ranking.pair(probe, device)
    for device in devices:
        for score in ("log_loss", "squared_error", "auc"):
            yield elimination(settings, score, device)


class Ranking:
    """Head features of generators that differ by a shift; half of every generator trains, the other half tests."""

    def __init__(self, settings: Settings):
        rng = np.random.default_rng(0)
        self.settings, self.layout = settings, HeadLayout(1, settings.heads, 64)
        names = [f"generator {i}" for i in range(settings.generators)]
        self.generator = np.repeat(["real", *names], [PHOTOGRAPHS, *[ROWS] * len(names)])
        self.y = (self.generator != "real").astype(int)
        self.X = rng.standard_normal((len(self.y), self.layout.size), dtype=np.float32)
        for name in names:
            self.X[self.generator == name] += 0.1 * rng.standard_normal(self.layout.size, dtype=np.float32)
        at = {name: np.flatnonzero(self.generator == name) for name in ("real", *names)}
        self.splits = [
            Split(
                (a,),
                (b,),
                ("none",),
                0,
                len(self.y),
                train=np.concatenate([at["real"][::2], at[a][::2]]),
                select=np.concatenate([at["real"][1::2], at[b][1::2]]),
                test=np.empty(0, int),
                held_out=at[a][1::2],
            )
            for a in names
            for b in names
            if a != b
        ]

    def pair(self, probe: str, device: str) -> Pair:
        """`rank_heads` against a loop over heads and generators with the same AUC."""
        one = {split.train_generators: split for split in self.splits}
        tasks = [(head, split) for split in one.values() for head in range(self.layout.n_heads)]
        chosen = np.unique(
            np.linspace(0, len(tasks) - 1, max(1, round(self.settings.share * len(tasks)))).astype(int)
        )
        rows = np.unique(np.concatenate([part for s in self.splits for part in (s.select, s.held_out)]))

        def ours() -> None:
            rank_heads(
                self.X,
                self.y,
                self.layout,
                self.splits,
                generator=self.generator,
                probe=probe,
                device=None if device == "cpu" else device,
                progress=False,
            )

        def theirs() -> None:
            jobs = (
                delayed(scikit_learns)(
                    self.X[:, 64 * head : 64 * head + 64], self.y, split.train, rows, self.generator
                )
                for head, split in (tasks[i] for i in chosen)
            )
            with parallel_config(backend="loky", inner_max_num_threads=1):
                Parallel(n_jobs=self.settings.jobs)(jobs)

        k, share = self.settings.generators, len(chosen) / len(tasks)
        name = (
            f"{self.layout.n_heads} heads × 64 ranked, {k} train × {k} test generators of {ROWS} rows, {PHOTOGRAPHS} "
            f"photographs, half each: {probe} probes against a loop of LogisticRegression, {self.settings.jobs} "
            f"processes ({share:.1%} of it timed)"
        )
        return Pair(name, ours, theirs, device=device, share=share)


def scikit_learns(
    X: np.ndarray, y: np.ndarray, train: np.ndarray, rows: np.ndarray, generator: np.ndarray
) -> np.ndarray:
    """The AUC of one head's probe on every generator."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(X[train])
    probe = LogisticRegression(C=PROBE_C, class_weight="balanced", max_iter=1000)
    probe.fit(scaler.transform(X[train]), y[train])
    return auc_by_generator(y[rows], probe.decision_function(scaler.transform(X[rows])), generator[rows])


def elimination(settings: Settings, score: str, device: str) -> Pair:
    """All coordinates removed one by one, against a LogisticRegression for each candidate of each step."""
    from sklearn.linear_model import LogisticRegression

    rng, p = np.random.default_rng(0), settings.coordinates
    train_y, select_y = np.arange(TRAIN) % 2, np.arange(SELECT) % 2
    signal = rng.normal(size=p) * 0.1
    train = rng.normal(size=(TRAIN, p)) + train_y[:, None] * (signal + 0.05 * rng.normal(size=p))
    select = rng.normal(size=(SELECT, p)) + select_y[:, None] * signal
    total = p * (p + 1) // 2
    sizes = [
        p - np.searchsorted(np.cumsum(np.arange(p, 0, -1)), fit)
        for fit in np.linspace(0, total - 1, settings.refits)
    ]
    arrays = [torch.as_tensor(part, device=device) for part in (train, train_y, select, select_y)]

    def ours() -> None:
        greedy_elimination(*arrays, ridge=0.1 * TRAIN, score=score).order.cpu()

    def theirs() -> None:
        for size in sizes:
            probe = LogisticRegression(C=1.0, max_iter=1000).fit(train[:, : max(1, int(size))], train_y)
            auc_columns(select_y, probe.decision_function(select[:, : max(1, int(size))]))

    name = (
        f"{p} coordinates eliminated by {score}, {TRAIN} train and {SELECT} select rows: down-dates against "
        f"{total:,} refits of LogisticRegression ({settings.refits} of them timed)"
    )
    return Pair(name, ours, theirs, device=device, share=settings.refits / total)


if __name__ == "__main__":
    main(tyro.cli(Settings))
