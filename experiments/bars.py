"""The speeds that the benchmarks are held to, and which of them a table of timings meets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from experiments.benchmark import Timing


class Bar(NamedTuple):
    """What every row whose name has these words must reach.

    Attributes:
        words: parts of the row's name.
        device: where our side computes, "cpu" or "cuda".
        times: how many times faster than the other side, at least; None if only seconds count.
        seconds: what it may take; None if only the ratio counts.
    """

    words: tuple[str, ...]
    device: str
    times: float | None = None
    seconds: float | None = None

    def row(self, timings: Iterable[Timing]) -> str:
        """A line of the Markdown table: the bar, what was measured, and whether it is met."""
        found = [
            one
            for one in timings
            if one.device == self.device and all(word.lower() in one.name.lower() for word in self.words)
        ]
        bar = f"≥ {self.times:.3g} times faster" if self.times is not None else f"≤ {self.seconds:g} s"
        if not found:
            measured, met = "", "no GPU here" if self.device == "cuda" else "not measured"
        elif self.times is not None:
            least = min(1 / one.ratio for one in found)
            measured, met = f"{least:.3g}", "met" if least >= self.times else "not met"
        else:
            most = max(one.ours for one in found)
            measured, met = f"{most:.3g} s", "met" if most <= (self.seconds or 0) else "not met"
        return (
            " | ".join(
                ["| " + ", ".join(word.strip() for word in self.words), self.device, bar, measured, met]
            )
            + " |"
        )


BARS = (
    Bar(("ridge probes",), "cpu", times=30),
    Bar(("logistic probes",), "cpu", times=1.3),
    Bar(("logistic probes",), "cuda", times=100),
    Bar(("eliminated by log_loss",), "cpu", seconds=8),
    Bar(("eliminated by squared_error",), "cpu", seconds=8),
    Bar(("eliminated by auc",), "cpu", seconds=120),
    Bar(("eliminated by",), "cuda", seconds=1),
    Bar(("ViT-B/16", "recorded pass", " float32"), "cpu", times=1 / 0.96),
    Bar(("ViT-B/16", "recorded pass", " bfloat16"), "cpu", times=1 / 0.96),
    Bar(("ViT-B/32", "recorded pass", " float32"), "cpu", times=1 / 0.96),
    Bar(("ViT-B/32", "recorded pass", " bfloat16"), "cpu", times=1 / 0.96),
    Bar(("ViT-L/14", ": recorded pass"), "cuda", times=1 / 0.98),
    Bar(("ViT-L/14", "compiled recorded pass", "float16"), "cuda", times=1.2),
    Bar(("deit", "DataLoader", " float32 against"), "cpu", times=1.05),
    Bar(("deit", "DataLoader", " bfloat16 against"), "cpu", times=1.7),
    Bar(("clip", "DataLoader", " float32 against"), "cpu", times=1.15),
)


def bars_table(timings: list[Timing]) -> str:
    """Every bar, one line each."""
    head = "| what | device | bar | measured | |\n|---|---|---|---|---|"
    return "\n".join([head, *(bar.row(timings) for bar in BARS)])
