"""The demo: the main job with the CLIP inside the package on drawn images, a shortcut planted; no download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interp.report.results import RunResult

TRAIN = ("simulated-bilinear", "simulated-smooth")
SELECT = ("simulated-nearest", "simulated-diffusion")
TEST = ("simulated-bicubic", "simulated-checkerboard", "simulated-no-sensor", "simulated-spectral")
CAST = 0.2

NOTICE = (
    "Demo: the small CLIP inside the package (64 pixels, for teaching) on simulated (drawn) images of eight simulated "
    "generators. The images of the two that train carry a planted shortcut, a warm colour cast. It shows the path and "
    "what it writes; its numbers say nothing about generated images."
)


def run_demo(out: str | Path = "demo") -> RunResult:
    """Draw images, run the main job on them, and write everything that a real run writes into `out`."""
    from interp.encoders.loading import EMBEDDED, load_encoder
    from interp.images.simulated import draw_simulated_set
    from interp.main_job import run
    from interp.report.page import write_page

    print(NOTICE, flush=True)
    out = Path(out)
    images = draw_simulated_set(
        out / "images",
        n_per_class=600,
        generators=[*TRAIN, *SELECT, *TEST],
        shortcut=CAST,
        shortcut_generators=TRAIN,
    )
    parts = {"protocol": "by-hand", "train": TRAIN, "select": SELECT, "test": TEST}
    options = {"shortcut_removal": True, "seeds": 3, "nulls": 20, "resamples": 500}
    result = run(images, load_encoder(EMBEDDED), out, **parts, **options)
    page = write_page(result, out, title="Which heads transfer? The demo", notice=NOTICE, samples=images)
    print(f"A page that says what was found: {page}", flush=True)
    return result
