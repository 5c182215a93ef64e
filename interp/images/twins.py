"""Twins: of each photograph the same picture again, through one mechanism of a generator and nothing else."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from PIL import Image
from tqdm import tqdm

from interp.errors import InputError, UnreadableImage, unknown_name
from interp.images.decode import read_image
from interp.images.image_set import ImageSet
from interp.images.seeds import derive_seed
from interp.images.twins_alignment import (
    FREQUENCIES,
    compressed_alike,
    jpeg_settings,
    mixed,
    radial_alike,
)
from interp.images.twins_diffusion import Inpaint
from interp.images.twins_mechanisms import Mechanism, as_image, read_mechanisms

SETTINGS = "twins.json"
LABEL = "twin"
ORIGINALS, MASKS = "photograph", "masks"
_MAKING = 1  # raise it when the pixels change, so that older folders are not taken for them


def make_twins(
    images: ImageSet,
    mechanisms: Sequence[str],
    out: str | Path,
    *,
    side: int | None = 256,
    frequencies: str = "none",
    mix: tuple[float, float] = (0.0, 0.0),
    random_state: int = 0,
    n_jobs: int | None = None,
    progress: bool = True,
) -> ImageSet:
    """Make a twin of every photograph by every mechanism, beside the photograph itself in the same size and format.

    A detector that tells twins from their photographs has seen the mechanism: content, size, file format and
    everything before the mechanism are the same on both sides. Twins have the label "twin", never "fake" or "real",
    and are used where they are asked for, by `Protocol.twins` or by name. Mechanisms:

    - `nearest`, `bilinear`, `bicubic`, `lanczos`, `checkerboard` (a transposed convolution), each `:FACTOR`, 2 if not
      given: scaled down and up again, as the last layer of a generator does;
    - `vae:MODEL`: a round trip through an autoencoder, as in laundering;
    - `denoise:STRENGTH:MODEL`: a diffusion model adds noise and takes it away;
    - `inpaint:SHARE:MODEL`: it paints under a mask, whose picture is kept; `inpaint:SHARE:MECHANISM` puts the pixels of
      another mechanism there.

    A twin depends on its photograph, its mechanism's name, `side`, `frequencies`, `mix` and `random_state` alone. A
    run that was cut off goes on; one with more mechanisms, or more photographs, adds theirs.

    Args:
        images: rows labelled "real", or without a label, are the photographs; others are left out.
        mechanisms: their texts.
        out: folder of the twins.
        side: the centre square of each photograph is scaled to this many pixels first; None leaves it as it is.
        frequencies: "none"; "jpeg" compresses a twin as its photograph's own file was (Dual Data Alignment; with
            `side=None`; a photograph that is no colour JPEG changes nothing); "radial" gives it the photograph's
            energy in each ring of frequencies.
        mix: lowest and highest share of the photograph's pixels that is mixed into its twin, 0 to below 1, drawn for
            each twin. Dual Data Alignment (Chen et al. 2025) draws it from 0 up.
        random_state: seed of every draw.
        n_jobs: processes; by default one for each core. A model that was given by name needs 1.
        progress: show a bar if it takes longer than two seconds.

    Returns:
        Photographs and twins, all of them PNG. `generator` is the mechanism's name, such as "twin-nearest", and `group`
        the photograph's. Further columns: `twin_of` (the photograph's key here), `mechanism` (its text), `drawn` (what
        this image got), `share` (of the photograph mixed in), `mask`, and `twin_error`: why a row has no image.

    Raises:
        InputError: no photograph, an unknown mechanism, settings that cannot be, or a folder of other settings.
    """
    chosen = read_mechanisms(mechanisms)
    _check(side, frequencies, mix)
    table = images.table[images.table["label"].isin(["real", ""])]
    if table.empty:
        raise InputError(f"twins are made of photographs, and none of {len(images)} images is one")
    settings = {"making": _MAKING, "images": str(images.root.resolve()), "side": side}
    settings |= {"frequencies": frequencies, "mix": list(map(float, mix)), "random_state": random_state}
    out = Path(out).absolute()  # other processes may stand elsewhere
    _open(out, settings)
    jobs = [
        delayed(_twins_of)(str(key), images.path(str(key)).absolute(), str(group), out, chosen, settings)
        for key, group in table["group"].items()
    ]
    rows: list[dict[str, Any]] = []
    workers = n_jobs or os.cpu_count() or 1
    with tqdm(total=len(jobs), desc="twins", unit="photograph", delay=2, disable=not progress) as bar:
        for made in Parallel(n_jobs=min(workers, len(jobs)), return_as="generator")(jobs):
            rows += made
            bar.update()
    manifest = out / "manifest.csv"
    temporary = manifest.with_suffix(f".{os.getpid()}")
    pd.DataFrame(rows).to_csv(temporary, index=False)
    os.replace(temporary, manifest)
    return ImageSet.from_manifest(manifest)


def _check(side: int | None, frequencies: str, mix: tuple[float, float]) -> None:
    if frequencies not in FREQUENCIES:
        raise unknown_name("frequencies", frequencies, FREQUENCIES)
    if side is not None and side < 16:
        raise InputError(f"side is an edge of 16 pixels or more, or None; got {side}")
    if frequencies == "jpeg" and side is not None:
        raise InputError(
            "frequencies='jpeg' compresses a twin as its photograph's file was, and scaling would undo that; "
            "give side=None"
        )
    if len(mix) != 2 or not 0 <= mix[0] <= mix[1] < 1:
        raise InputError(f"mix is a lowest and a highest share, 0 to below 1; got {tuple(mix)}")


def _open(out: Path, settings: dict[str, Any]) -> None:
    """Take the folder for these settings, or refuse it."""
    file = out / SETTINGS
    if not file.exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} holds something else than twins; name another folder")
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings, indent=1))
        return
    try:
        found = json.loads(file.read_text())
    except ValueError:
        found = {}
    if found != settings:
        named = [name for name in settings if found.get(name) != settings[name]] or ["the settings"]
        differ = "; ".join(f"{n} was {found.get(n)!r}, asked for {settings.get(n)!r}" for n in named)
        raise InputError(f"{out} holds other twins: {differ}. Name another folder, or delete this one")


def _twins_of(
    key: str, path: Path, group: str, out: Path, mechanisms: Sequence[Mechanism], settings: dict[str, Any]
) -> list[dict[str, Any]]:
    """The photograph's row and its twins' rows; what is not there yet is made."""
    name = "/".join("__" if part == ".." else part for part in key.split("/")) + ".png"
    original = f"{ORIGINALS}/{name}"
    rows, steps = [_row(original, group)], []
    for mechanism in mechanisms:
        step, share = _drawn(mechanism, key, settings)
        about = {"label": LABEL, "generator": mechanism.name, "family": mechanism.family, "twin_of": original}
        about |= {"mechanism": str(mechanism.step), "drawn": str(step), "share": share}
        about |= {"mask": f"{MASKS}/{mechanism.name}/{name}" if isinstance(step, Inpaint) else ""}
        rows.append(_row(f"{mechanism.name}/{name}", group, **about))
        steps.append(step)
    missing = [row for row in rows if not ((out / row["path"]).exists() and (out / row["mask"]).exists())]
    if not missing:
        return rows
    try:
        photograph, jpeg = _read(path, settings)
        if rows[0] in missing:
            _write(photograph, out / original)
    except UnreadableImage as error:
        for row in missing:
            row["twin_error"] = str(error)
        return rows
    for row, mechanism, step in zip(rows[1:], mechanisms, steps, strict=True):
        if row not in missing:
            continue
        try:
            made = step.apply(photograph, _rng("noise", mechanism, key, settings))
        except UnreadableImage as error:
            row["twin_error"] = str(error)
            continue
        if row["mask"]:
            _write(step.mask(photograph.size, _rng("noise", mechanism, key, settings)), out / row["mask"])
        _write(_aligned(made, photograph, jpeg, settings["frequencies"], row["share"]), out / row["path"])
    return rows


def _row(path: str, group: str, **about: Any) -> dict[str, Any]:
    """A row of the manifest, by default a photograph's."""
    row = {
        "path": path,
        "label": "real",
        "generator": "real",
        "family": "real",
        "group": group,
        "twin_of": "",
    }
    return {**row, "mechanism": "", "drawn": "", "share": 0.0, "mask": "", "twin_error": "", **about}


def _drawn(mechanism: Mechanism, key: str, settings: dict[str, Any]) -> tuple[Any, float]:
    rng = _rng("draws", mechanism, key, settings)
    (step,) = mechanism.step.draw(rng)
    return step, round(float(rng.uniform(*settings["mix"])), 4)


def _rng(use: str, mechanism: Mechanism, key: str, settings: dict[str, Any]) -> np.random.Generator:
    return np.random.default_rng(derive_seed("twins", use, settings["random_state"], key, mechanism.name))


def _read(path: Path, settings: dict[str, Any]) -> tuple[Image.Image, dict[str, Any] | None]:
    """The photograph as both sides have it, and where it is asked for, how its file was compressed."""
    photograph = read_image(path).pixels
    if settings["side"] is not None:
        edge = min(photograph.size)
        left, top = (photograph.width - edge) // 2, (photograph.height - edge) // 2
        square = photograph.crop((left, top, left + edge, top + edge))
        photograph = square.resize((settings["side"],) * 2, Image.Resampling.BICUBIC)
    return photograph, jpeg_settings(path) if settings["frequencies"] == "jpeg" else None


def _aligned(
    twin: Image.Image, photograph: Image.Image, jpeg: dict[str, Any] | None, frequencies: str, share: float
) -> Image.Image:
    """The twin in the photograph's frequencies, with a share of its pixels."""
    twin = compressed_alike(twin, jpeg)
    if frequencies != "radial" and share == 0:
        return twin
    tones, real = np.asarray(twin, float), np.asarray(photograph, float)
    if frequencies == "radial":
        tones = radial_alike(tones, real)
    return as_image(mixed(tones, real, share))


def _write(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    temporary.write_bytes(buffer.getvalue())
    os.replace(temporary, path)
