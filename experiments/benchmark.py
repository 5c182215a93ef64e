"""Two sides of a benchmark, timed in turn in one process: ratios with their spread, as a table and as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

HEADER = (
    "| what | device | ours, s | theirs, s | ours ÷ theirs | lowest | highest | times faster |\n"
    "|---|---|---|---|---|---|---|---|"
)
VERSIONS = ("torch", "transformers", "numpy", "scipy", "scikit-learn")


class Pair(NamedTuple):
    """What is timed.

    Attributes:
        name: what it is, and on which data.
        ours, theirs: the two sides.
        device: where our side computes.
        share: the part of their side that is timed; their seconds are divided by it.
    """

    name: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    device: str = "cpu"
    share: float = 1.0


@dataclass(frozen=True)
class Timing:
    """Seconds of both sides (medians) and their ratio: median, lowest and highest of the rounds."""

    name: str
    device: str
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float

    def row(self) -> str:
        """A line of the Markdown table."""
        cells = [f"{value:.3g}" for value in (self.ours, self.theirs, self.ratio, self.low, self.high)]
        return " | ".join(["| " + self.name, self.device, *cells, f"{1 / self.ratio:.3g}"]) + " |"


def timing(pair: Pair, rounds: int) -> Timing:
    """Time both sides in turn, after one warm-up of each."""
    for side in (pair.ours, pair.theirs):
        side()
    seconds = [(clock(pair.ours), clock(pair.theirs) / pair.share) for _ in range(rounds)]
    ratios = [a / b for a, b in seconds]
    ours, theirs = (statistics.median(side) for side in zip(*seconds, strict=True))
    return Timing(pair.name, pair.device, ours, theirs, statistics.median(ratios), min(ratios), max(ratios))


def clock(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def print_table(pairs: Iterable[Pair], rounds: int) -> list[Timing]:
    """Time every pair and print its line when it is done."""
    print(HEADER)
    found = []
    for pair in pairs:
        found.append(timing(pair, rounds))
        print(found[-1].row(), flush=True)
    return found


def machine() -> dict[str, str]:
    """Hardware, versions and date."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    found = {
        "date": datetime.date.today().isoformat(),
        "cpu": f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "threads": str(torch.get_num_threads()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
    }
    return found | {name: version(name) for name in VERSIONS}


def write_results(
    timings: list[Timing],
    json_file: Path,
    page: Path,
    keep: bool = False,
    judge: Callable[[list[Timing]], str] | None = None,
) -> None:
    """Write everything as JSON, and the table into the page between its two marks.

    Args:
        timings: what was measured.
        json_file: where it is kept.
        page: a Markdown file.
        keep: leave earlier rows of other names in their places; else they go.
        judge: makes a second table from all rows.
    """
    rows = {(one.name, one.device): one for one in timings}
    if keep and json_file.exists():
        earlier = [Timing(**row) for row in json.loads(json_file.read_text())["results"]]
        rows = {(one.name, one.device): one for one in earlier} | rows
    found = list(rows.values())
    about = machine()
    json_file.parent.mkdir(parents=True, exist_ok=True)
    results = {"machine": about, "results": [asdict(one) for one in found]}
    json_file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    begin, end = "<!-- table begins -->", "<!-- table ends -->"
    text = page.read_text() if page.exists() else f"# Performance\n\n{begin}\n{end}\n"
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    where = ", ".join(f"{name} {value}" for name, value in about.items())
    table = "\n".join([HEADER, *(one.row() for one in found)])
    judged = f"\n{judge(found)}\n" if judge else ""
    page.write_text(f"{before}{begin}\n{where}.\n\n{table}\n{judged}{end}{after}")
