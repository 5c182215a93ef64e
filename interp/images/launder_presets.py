"""Grids of laundering: those of published protocols, and our own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from interp.errors import unknown_name
from interp.images.laundering import Laundering


@dataclass(frozen=True)
class Cell:
    """One condition of a grid.

    Attributes:
        operation: what is done; cells of one operation make one curve.
        severity: how much of it, larger for more damage: 100 - quality, sigma in pixels, standard deviation in grey
            levels, |log2 factor|, or the share of an edge that is lost; 1 for a condition without a scale.
        laundering: the chain.
    """

    operation: str
    severity: float
    laundering: Laundering


@dataclass(frozen=True)
class Preset:
    """A grid, and the augmentation that the same protocol trains with.

    Attributes:
        name: of the protocol.
        as_published: `code` or `paper`, whichever it follows where the two differ.
        cells: by name, in order.
        training: augmentations by name, without their crops and flips; empty where not known.
        source: where the constants come from.
    """

    name: str
    as_published: str
    cells: dict[str, Cell]
    source: str
    training: dict[str, Laundering] = field(default_factory=dict)


def preset(name: str, *, as_published: str = "code", vae: Iterable[str] = ()) -> Preset:
    """A grid by its name; docs/laundering.md tells where code and paper differ.

    Args:
        name: wang2020, ufd, cozzolino, rine, sidbench or default.
        as_published: `code` does what the published code does, its mistakes included; `paper` what was meant.
        vae: autoencoders whose round trips are added to the grid, as in `vae:NAME_OR_FOLDER`.

    Raises:
        InputError: an unknown name, with the nearest one.

    >>> list(preset("sidbench", as_published="paper").cells)
    ['jpeg:95', 'jpeg:90', 'jpeg:50', 'jpeg:30', 'blur:2', 'blur:4', 'blur:2+jpeg:50']
    """
    if name not in _MAKERS:
        raise unknown_name("preset of launderings", name, _MAKERS)
    if as_published not in ("code", "paper"):
        raise unknown_name("reading of a protocol", as_published, ("code", "paper"))
    cells, training, source = _MAKERS[name](as_published == "code")
    for model in vae:
        cells |= _cell(f"vae:{model}", "vae", 1)
    chains = {variant: Laundering.parse(text) for variant, text in training.items()}
    return Preset(name, as_published, cells, source, chains)


_Parts = tuple[dict[str, Cell], dict[str, str], str]


def _wang2020(code: bool) -> _Parts:
    training = {f"blur+jpeg ({chance})": _blur_and_jpeg(code, chance, "30-100") for chance in (0.1, 0.5)}
    return _wang_grid(code), training, "Wang et al. 2020, github.com/PeterWang512/CNNDetection"


def _ufd(code: bool) -> _Parts:
    training = {"blur+jpeg": _blur_and_jpeg(code, 0.5, "30-100")}
    return _wang_grid(code), training, "Ojha et al. 2023, github.com/WisconsinAIVision/UniversalFakeDetect"


def _cozzolino(code: bool) -> _Parts:
    return (
        _cell("social:vipcup", "social", 1),
        {},
        "IEEE VIP Cup 2022; Corvi et al. 2023; Cozzolino et al. 2024",
    )


def _rine(code: bool) -> _Parts:
    texts = {
        "blur": "kernelblur:3|5|7|9:4" if code else "kernelblur:3|5|7|9",
        "crop": "cropback:0.8-0.95:swapped" if code else "cropback:0.8-0.95",
        "compress": "jpeg:95:bgr" if code else "jpeg:10-75",
        "noise": "noise:5-20:down" if code else "noise:5-20:variance",
    }
    texts["combined"] = f"({'+'.join(texts.values())})"
    cells = {
        operation: Cell(operation, 1, Laundering.parse(f"{text}@0.5")) for operation, text in texts.items()
    }
    training = {"blur+jpeg": _blur_and_jpeg(code, 0.5, "30|100" if code else "30-100")}
    return (
        cells,
        training,
        "Frank et al. 2020 as in Koutlis and Papadopoulos 2024, github.com/mever-team/rine",
    )


def _sidbench(code: bool) -> _Parts:
    rounding = ":down" if code else ""
    cells = _qualities("jpeg", (95, 90, 50, 30))
    for sigma in (2, 4):
        cells |= _cell(f"blur:{sigma}{rounding}", "blur", sigma)
    cells |= _cell(f"blur:2{rounding}+jpeg:50", "blur+jpeg", 1)
    return cells, {}, "Schinas and Papadopoulos 2024, github.com/mever-team/sidbench"


def _default(code: bool) -> _Parts:
    cells = _qualities("jpeg", (100, 95, 90, 85, 80, 75, 70, 65, 60, 50, 40, 30))
    cells |= _cell("jpeg2:90:70", "jpeg2", 30)
    cells |= _qualities("webp", (90, 75, 50, 30))
    for kernel in ("bilinear", "bicubic", "lanczos"):
        for factor in (0.75, 0.5, 0.25, 1.25, 1.5, 2):
            direction = "shrink" if factor < 1 else "enlarge"
            chain = str(Laundering.parse(f"resize:{factor}:{kernel}"))
            cells |= _cell(chain, f"{direction} ({kernel})", abs(math.log2(factor)))
    for sigma in (0.5, 1, 2, 3, 4):
        cells |= _cell(f"blur:{sigma}", "blur", sigma)
    for deviation in (2, 5, 10, 20):
        cells |= _cell(f"noise:{deviation}", "noise", deviation)
    for place, operation in (("crop:{}", "crop"), ("cropback:{}:0-1:0-1", "cropback")):
        for share in (0.9, 0.75, 0.5):
            cells |= _cell(place.format(share), operation, round(1 - share, 2))
    for pipeline in ("screenshot", "social:facebook", "messenger:telegram", "messenger:whatsapp"):
        cells |= _cell(pipeline, pipeline, 1)
    return cells, {}, "this project; the constants of platforms are assumptions"


def _wang_grid(code: bool) -> dict[str, Cell]:
    cells = _qualities("jpeg", range(100, 20, -10))
    for sigma in range(5):
        cells |= _cell(f"blur:{sigma}{':down' if code else ''}", "blur", sigma)
    return cells


def _blur_and_jpeg(code: bool, chance: float, quality: str) -> str:
    return f"blur:0-3{':down' if code else ''}@{chance}+jpeg:{quality}@{chance}"


def _qualities(codec: str, qualities: Iterable[int]) -> dict[str, Cell]:
    return {f"{codec}:{q}": Cell(codec, 100 - q, Laundering.parse(f"{codec}:{q}")) for q in qualities}


def _cell(text: str, operation: str, severity: float) -> dict[str, Cell]:
    return {text: Cell(operation, float(severity), Laundering.parse(text))}


_MAKERS: dict[str, Callable[[bool], _Parts]] = {
    "wang2020": _wang2020,
    "ufd": _ufd,
    "cozzolino": _cozzolino,
    "rine": _rine,
    "sidbench": _sidbench,
    "default": _default,
}
PRESETS = tuple(_MAKERS)
"""Names that `preset` takes."""
