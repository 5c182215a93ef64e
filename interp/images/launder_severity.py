"""Which curve a laundering lies on, and how far along it."""

from __future__ import annotations

import math

from interp.images.launder_codecs import Avif, DoubleJpeg, Jpeg, Webp
from interp.images.launder_geometry import Crop, CropBack, Resize
from interp.images.launder_pixels import Blur, Noise
from interp.images.launder_presets import Cell
from interp.images.launder_step import Step
from interp.images.laundering import Laundering


def cell_of(laundering: Laundering | str) -> Cell:
    """The operation and severity of a laundering, as the grids of `preset` have them.

    A chain, and a step whose numbers are drawn or have no scale, is an operation of its own, with severity 1; no
    laundering is the operation "clean" with severity 0, where every curve begins.

    >>> [(cell.operation, cell.severity) for cell in map(cell_of, ("jpeg:70", "resize:0.25", "vae:taesd", "none"))]
    [('jpeg', 30.0), ('shrink (bicubic)', 2.0), ('vae', 1.0), ('clean', 0.0)]
    """
    chain = Laundering.parse(laundering) if isinstance(laundering, str) else laundering
    if not chain.steps:
        return Cell("clean", 0.0, chain)
    if len(chain.steps) == 1 and isinstance(chain.steps[0], Step):
        operation, severity = _of_step(chain.steps[0])
        if isinstance(severity, int | float):
            return Cell(operation, round(float(severity), 12), chain)
    return Cell(str(chain), 1.0, chain)


def _of_step(step: Step) -> tuple[str, object]:
    """Its operation and severity; None where a number is still to be drawn."""
    number = {name: value for name, value in vars(step).items() if isinstance(value, int | float)}
    if isinstance(step, Jpeg | Webp | Avif):
        return step.name, 100 - number["quality"] if "quality" in number else None
    if isinstance(step, DoubleJpeg):
        return step.name, 100 - number["second"] if len(number) == 3 else None
    if isinstance(step, Resize):
        factor = number.get("factor")
        if factor is None:
            return step.name, None
        return f"{'shrink' if factor < 1 else 'enlarge'} ({step.filter})", abs(math.log2(factor))
    if isinstance(step, Crop | CropBack):
        return step.name, 1 - number["share"] if "share" in number else None
    if isinstance(step, Blur):
        return step.name, number.get("sigma")
    if isinstance(step, Noise):
        return step.name, number.get("amount") if step.unit == "sd" else None
    return (step.name, 1.0) if step.name == "vae" else (str(step), 1.0)
