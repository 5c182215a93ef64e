"""Time what `interp` does against what one would otherwise run, both in one process, and print the ratios.

python experiments/bench.py --rounds 7
python experiments/bench.py --only ranked --write      # into benchmarks/results.json and docs/performance.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from experiments.bars import bars_table
from experiments.benchmark import Pair, print_table, timing, write_results

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """What to measure, how long, and where it goes."""

    rounds: int = 3
    """Pairs of timings; the two sides take turns."""
    only: str = ""
    """Rows whose name contains this; by default all. Pieces can be measured one after the other."""
    share: float = 0.02
    """Part of scikit-learn's long loop that is timed; 1 times all of it."""
    deit: Path | None = None
    """Folder of a DeiT-Tiny, timed from files; left out if absent."""
    clip: Path | None = None
    """Folder of a small CLIP, timed from files; left out if absent."""
    write: bool = False
    """Write benchmarks/results.json and the tables of docs/performance.md; with `only`, other rows stay as they are."""


def main(settings: Settings) -> None:
    """Run every pair, print a Markdown table, and write it where asked to."""
    chosen = (pair for pair in pairs(settings) if settings.only in pair.name)
    found = print_table(chosen, settings.rounds)
    if settings.write:
        files = ROOT / "benchmarks" / "results.json", ROOT / "docs" / "performance.md"
        write_results(found, *files, keep=bool(settings.only), judge=bars_table)


def pairs(settings: Settings) -> Iterator[Pair]:
    """The registry: pairs of the encoder pass, of extraction from files, and of the numerical core."""
    import torch

    from experiments import bench_analysis, bench_extraction

    yield from bench_analysis.pairs(bench_analysis.Settings(share=settings.share))
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        cpu = device == "cpu"
        passes = bench_extraction.Settings(
            models=("ViT-B/32", "ViT-B/16") if cpu else ("ViT-L/14",),
            device=device,
            deit=settings.deit if cpu else None,
            clip=settings.clip if cpu else None,
        )
        for given in bench_extraction.pairs(passes):
            yield Pair(*given, device=device)


def row(name: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> str:
    """A line of the table for two sides alone."""
    return timing(Pair(name, ours, theirs), rounds).row()


if __name__ == "__main__":
    main(tyro.cli(Settings))
