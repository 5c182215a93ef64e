"""Time what `interp` does against what one would otherwise run, both in one process, and print the ratios.

python experiments/bench.py --rounds 7
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tyro


@dataclass(frozen=True)
class Settings:
    """How long to measure."""

    rounds: int = 7
    """Pairs of timings; the two sides take turns."""
    batch: int = 8
    """Images in a pass of the encoder."""


def main(settings: Settings) -> None:
    """Run every pair and print a Markdown table."""
    print("| what | ours, s | theirs, s | ours ÷ theirs | lowest | highest |")
    print("|---|---|---|---|---|---|")
    for name, ours, theirs in (recorded_pass(settings), ranked_heads()):
        print(row(name, ours, theirs, settings.rounds), flush=True)


def row(name: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> str:
    """Time both sides in turn, after one warm-up of each."""
    for side in (ours, theirs):
        side()
    pairs = [(clock(ours), clock(theirs)) for _ in range(rounds)]
    ratios = [a / b for a, b in pairs]
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    cells = [f"{mine:.3f}", f"{other:.3f}", *(f"{f(ratios):.2f}" for f in (statistics.median, min, max))]
    return " | ".join(["| " + name, *cells]) + " |"


def clock(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def recorded_pass(settings: Settings) -> tuple[str, Callable[[], object], Callable[[], object]]:
    """A pass with every head recorded against the same model's plain forward."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from interp.encoders.encoder import Encoder
    from interp.images.preprocess import Preprocessing

    config = CLIPVisionConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, patch_size=32
    )
    encoder = Encoder(CLIPVisionModelWithProjection(config), Preprocessing.clip(), name="ViT-B/32")
    pixels = torch.randn(settings.batch, 3, 224, 224)

    def plain() -> None:
        with torch.inference_mode():
            encoder.model(pixel_values=pixels)

    name = f"ViT-B/32, batch {settings.batch}, float32, CPU: recorded pass against plain forward"
    return name, lambda: encoder.record(pixels), plain


def ranked_heads(heads: int = 144, rows: int = 600) -> tuple[str, Callable[[], object], Callable[[], object]]:
    """One probe for each head, all at once, against a loop over scikit-learn's LogisticRegression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from interp.analysis.ranking import PROBE_C, probe_scores
    from interp.encoders.layout import HeadLayout

    rng = np.random.default_rng(0)
    layout = HeadLayout(heads // 12, 12, 64)
    y = np.arange(2 * rows) % 2
    X = rng.normal(size=(2 * rows, layout.size)) + 0.1 * y[:, None]
    train, test = np.arange(rows), np.arange(rows, 2 * rows)

    def loop() -> None:
        for name in layout.names:
            columns = X[:, layout.slice(name)]
            scaler = StandardScaler().fit(columns[train])
            probe = LogisticRegression(C=PROBE_C, class_weight="balanced", max_iter=1000)
            probe.fit(scaler.transform(columns[train]), y[train]).decision_function(
                scaler.transform(columns[test])
            )

    name = f"{heads} heads × 64 columns, {rows} train rows: probes at once against a scikit-learn loop"
    return name, lambda: probe_scores(X, y, layout, train, test), loop


if __name__ == "__main__":
    main(tyro.cli(Settings))
