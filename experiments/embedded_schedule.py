"""When `pretrain_embedded_clip.py` sees which picture size, at what rate, and how the plan keeps to the time given."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

STAGES = ((32, 0.62), (48, 0.25), (64, 0.13))  # share of the steps at each picture size
FULL = STAGES[-1][0]
COST = {32: 1.0, 48: 2.1, 64: 3.8}  # time of a step, measured once on an idle machine
ANNEAL_SECONDS = 300.0
MEMORY_SECONDS = 600.0  # the pace is an average over about this time, as other work comes and goes


@dataclass
class Schedule:
    """A plan over steps, redrawn now and then so that it ends in time.

    Attributes:
        longest: steps of the plan when time is no matter.
        limit: seconds of training that the plan may take.
        peak: the highest learning rate.
        warm_up: steps until the rate is there.
        total: steps of the plan as it stands.
        step: steps taken.
        seconds: time they took.
        speed: steps of the smallest size in a second, lately.
        smallest: the picture size reached; a plan that grows does not go back to a smaller one.
        anneal: first step, steps and first rate of the way to zero, once it has been asked for.
    """

    longest: int
    limit: float
    peak: float
    warm_up: int = 300
    total: int = 0
    step: int = 0
    seconds: float = 0.0
    speed: float = 0.0
    smallest: int = STAGES[0][0]
    anneal: dict[str, float] | None = None

    def __post_init__(self) -> None:
        self.total = self.total or self.longest

    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps; `longest`, `limit` and `peak` are settings of a run and may change."""
        kept = asdict(self)
        return {name: kept[name] for name in ("total", "step", "seconds", "speed", "smallest", "anneal")}

    def ends(self, total: int) -> list[tuple[int, int]]:
        """Picture size and step after the last one of each stage."""
        reached = np.cumsum([share for _, share in STAGES])
        return [(side, round(total * part)) for (side, _), part in zip(STAGES, reached, strict=True)]

    @property
    def side(self) -> int:
        """Pixels of the picture at this step."""
        if self.anneal:
            return FULL
        planned = next((side for side, end in self.ends(self.total) if self.step < end), FULL)
        return max(planned, self.smallest)

    @property
    def rate(self) -> float:
        """Learning rate at this step: a linear warm-up, then a cosine to zero, or the shorter way down."""
        if self.anneal:
            left = 1 - (self.step - self.anneal["step"]) / self.anneal["steps"]
            return self.anneal["rate"] * max(0.0, left)
        if self.step < self.warm_up:
            return self.peak * (self.step + 1) / self.warm_up
        part = min(1.0, (self.step - self.warm_up) / max(1, self.total - self.warm_up))
        return float(self.peak * 0.5 * (1 + np.cos(np.pi * part)))

    @property
    def finished(self) -> bool:
        """Whether the last step has been taken."""
        if self.anneal:
            return self.step >= self.anneal["step"] + self.anneal["steps"]
        return self.step >= self.total

    def advance(self, seconds: float) -> None:
        """Count one step and the time it took; its speed weighs by that time, so that a standstill is not forgotten."""
        weight = seconds / max(seconds, min(MEMORY_SECONDS, self.seconds + seconds))
        self.smallest = self.side
        self.speed += weight * (COST[self.side] / seconds - self.speed)
        self.step, self.seconds = self.step + 1, self.seconds + seconds

    def seconds_of(self, side: int) -> float:
        """Expected seconds of a step."""
        return COST[side] / self.speed if self.speed else COST[side]

    def seconds_left(self, total: int) -> float:
        """Expected time of the rest of a plan of `total` steps."""
        left, start = 0.0, self.step
        for side, end in self.ends(total):
            left += max(0, end - start) * self.seconds_of(max(side, self.smallest))
            start = max(start, end)
        return left

    def replan(self) -> None:
        """Make the plan as long as the time that is left allows, and no longer than `longest`."""
        if self.anneal or self.finished or not np.isfinite(self.limit):
            return
        low, high, time_left = self.step + 1, max(self.step + 1, self.longest), self.limit - self.seconds
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.seconds_left(middle) <= time_left else (low, middle - 1)
        self.total = low

    def begin_anneal(self) -> None:
        """Shorten what is left to five minutes at the full size, the rate falling to zero in a line."""
        if not self.anneal:
            steps = max(1, min(int(ANNEAL_SECONDS / self.seconds_of(FULL)), self.total - self.step))
            self.anneal = {"step": self.step, "steps": steps, "rate": self.rate}
