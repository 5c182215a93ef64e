"""How time and memory grow with images, heads and coordinates: measured, plotted, with the exponent of each line.

    python experiments/growth.py --out runs/growth

Every point is a process of its own; its memory is the peak beyond that of a small problem run there before. Writes
growth.csv, exponents.csv and growth.png. An exponent is the slope of log time, or of log memory, over log size on the
larger half of the points.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

WIDTH = 64


@dataclass(frozen=True)
class Settings:
    """Where the results go, and how large the problems grow."""

    out: Path = Path("runs/growth")
    """Folder of tables and figure."""
    images: tuple[int, ...] = (2000, 4000, 8000, 16000, 32000)
    """Images, with 36 heads or 96 coordinates."""
    heads: tuple[int, ...] = (24, 48, 96, 192, 384)
    """Heads, with 4,000 images."""
    coordinates: tuple[int, ...] = (48, 96, 192, 384, 768)
    """Coordinates, with 4,000 images."""
    repeats: int = 3
    """Timings of each point; the shortest counts."""


def main(settings: Settings) -> None:
    """Measure every point, write tables and the figure, print the exponents."""
    table = pd.DataFrame([row for job in jobs(settings) for row in [measured(*job, settings.repeats)]])
    settings.out.mkdir(parents=True, exist_ok=True)
    found = exponents(table)
    table.to_csv(settings.out / "growth.csv", index=False)
    found.to_csv(settings.out / "exponents.csv", index=False)
    draw(table, found, settings.out / "growth.png")
    print(found.to_string(index=False, float_format="%.2f"))


def jobs(settings: Settings) -> list[tuple[str, str, int]]:
    """What is computed, along which axis, and how large."""
    ranking = [("images", n) for n in settings.images] + [("heads", h) for h in settings.heads]
    found = [(f"rank_heads {probe}", axis, size) for probe in ("logistic", "ridge") for axis, size in ranking]
    greedy = [("images", n) for n in settings.images] + [("coordinates", p) for p in settings.coordinates]
    return found + [("greedy_elimination", axis, size) for axis, size in greedy]


def measured(what: str, axis: str, size: int, repeats: int) -> dict[str, object]:
    """Seconds and peak memory (MB) of one point, and the memory before it began."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        seconds, before, peak = pool.apply(_point, (what, axis, size, repeats))
    print(f"{what}, {size} {axis}: {seconds:.3f} s, {peak - before:.0f} MB", flush=True)
    return {"what": what, "axis": axis, "size": size, "seconds": seconds, "megabytes": peak - before}


def _point(what: str, axis: str, size: int, repeats: int) -> tuple[float, float, float]:
    sizes = {"images": 4000, "heads": 36, "coordinates": 96} | {axis: size}
    run = _ranking(what.split()[-1], **sizes) if what.startswith("rank") else _elimination(**sizes)
    warm = {"images": 100, "heads": 2, "coordinates": 4}
    (_ranking(what.split()[-1], **warm) if what.startswith("rank") else _elimination(**warm))()
    before = _peak()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds), before, _peak()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _ranking(probe: str, images: int, heads: int, coordinates: int) -> Callable[[], object]:
    from interp.analysis.ranking import rank_heads
    from interp.encoders.layout import HeadLayout
    from interp.protocol.roles import Split

    rng, layout = np.random.default_rng(0), HeadLayout(1, heads, WIDTH)
    generator = np.array(["real", "a", "real", "b"] * (images // 4))
    rows = np.arange(len(generator))
    X = rng.standard_normal((len(rows), layout.size), dtype=np.float32)
    y = (generator != "real").astype(int)
    X += 0.1 * y[:, None].astype(np.float32)  # in place, else the peak would be that of the data
    split = Split(
        ("a",),
        ("b",),
        ("c",),
        0,
        len(rows),
        train=rows[rows % 4 < 2],
        select=rows[rows % 4 > 1],
        test=rows[:0],
    )
    return lambda: rank_heads(X, y, layout, [split], generator=generator, probe=probe, progress=False)


def _elimination(images: int, heads: int, coordinates: int) -> Callable[[], object]:
    from interp.analysis.elimination import greedy_elimination

    rng = np.random.default_rng(0)
    y = np.arange(images // 2) % 2
    train, select = (rng.normal(0.1 * y[:, None], size=(len(y), coordinates)) for _ in range(2))
    return lambda: greedy_elimination(train, y, select, y, ridge=0.1 * len(y))


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """The slope of log seconds and log megabytes over log size, on the larger half of each line."""
    rows = []
    for (what, axis), line in table.groupby(["what", "axis"], sort=False):
        upper = line.sort_values("size").tail(max(2, (len(line) + 1) // 2))
        row: dict[str, object] = {"what": what, "axis": axis}
        for unit in ("seconds", "megabytes"):
            value = np.maximum(upper[unit].to_numpy(float), 1e-6)
            row[unit] = float(np.polyfit(np.log(upper["size"].to_numpy(float)), np.log(value), 1)[0])
        rows.append(row)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, found: pd.DataFrame, path: Path) -> None:
    """Time above, memory below, one column for each axis; the legend states the exponents."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    axes_names, names = list(dict.fromkeys(table["axis"])), list(dict.fromkeys(table["what"]))
    figure, panels = plt.subplots(2, len(axes_names), figsize=(4 * len(axes_names), 6), squeeze=False)
    for panel_row, unit in zip(panels, ("seconds", "megabytes"), strict=True):
        for panel, axis in zip(panel_row, axes_names, strict=True):
            for what, line in table[table["axis"] == axis].groupby("what", sort=False):
                slope = found.loc[(found["what"] == what) & (found["axis"] == axis), unit].iloc[0]
                panel.loglog(line["size"], line[unit].clip(lower=0.1 if unit == "megabytes" else 1e-6), "o-",
                             color=f"C{names.index(what)}", label=f"{what}: {slope:.1f}")  # fmt: skip
            sizes = table.loc[table["axis"] == axis, "size"].unique()
            panel.set(xlabel=axis, ylabel=unit)
            panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
            panel.xaxis.set_minor_locator(NullLocator())
            panel.legend(fontsize=7, title="exponent", title_fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main(tyro.cli(Settings))
