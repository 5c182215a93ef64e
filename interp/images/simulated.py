"""A benchmark drawn on the spot: simulated photographs, and simulated generators on other scenes."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from PIL import Image
from tqdm import tqdm

from interp.errors import InputError, unknown_name
from interp.images.camera import Camera, compress, photograph
from interp.images.image_set import ImageSet
from interp.images.scenes import SCENES, draw_scene
from interp.images.simulators import SIMULATORS

_SETTINGS = "simulated.json"
_DRAWING = 2  # raise it when the pictures change, so that older folders are not taken for them
_BATCH, _WORTH_A_PROCESS = 25, 400  # pictures
_COLUMNS = ["path", "label", "generator", "family", "group", "scene", "shortcut"]


def draw_simulated_set(
    folder: str | Path,
    *,
    n_per_class: int = 60,
    size: int = 64,
    random_state: int = 0,
    generators: Sequence[str] | None = None,
    shortcut: float = 0.0,
    shortcut_generators: Sequence[str] = (),
    n_jobs: int | None = None,
    progress: bool = True,
) -> ImageSet:
    """Draw photographs of invented scenes, and images of simulated generators on other scenes.

    Nothing here comes from a real camera or a real generator; a number measured on it says that a tool
    works, never how well generated images are detected. Photographs are scenes seen by a simulated camera
    (`interp.images.camera`). A simulated generator shows other scenes and leaves one trace that real generators
    are known for, at a strength that is drawn for each image (`interp.images.simulators.SIMULATORS` cites
    where each is described):

    - family upsampling: `simulated-nearest`, `simulated-bilinear`, `simulated-bicubic` (a layer doubled the
      size) and `simulated-checkerboard` (a strided transposed convolution covered pixels unevenly);
    - family denoising: `simulated-smooth` (the sensor's noise is gone, edges are kept), `simulated-spectral`
      (high frequencies fall off too early) and `simulated-diffusion` (noise came and was taken away in steps);
    - family quantising: `simulated-palette` (few colours, as from a small codebook) and
      `simulated-autoencoder` (few latent numbers for each patch, rounded);
    - family rendering: `simulated-no-sensor` (no colour mosaic and no sensor's noise).

    Nothing else tells the classes apart: each class has the same mix of kinds of scenes and cameras, JPEG of a
    quality from one range comes last for all, and all files are PNG of one size in pixels and in bytes.

    An image depends on `random_state`, its generator and its number alone: neither more images, nor other
    generators, nor other processes, nor a shortcut elsewhere change it. The same versions of numpy, scipy and
    Pillow on the same kind of processor give the same bytes; elsewhere a rounding may tip single levels.

    Args:
        folder: written once; a complete folder with the same settings is opened as it is.
        n_per_class: photographs, and also images of each generator. Each image has its own scene: its group.
        size: edge in pixels, even.
        random_state: the same number gives the same pictures.
        generators: names of those to draw; by default all ten.
        shortcut: strength of a planted shortcut, 0 to 0.5: a warm cast that multiplies red by 1 + shortcut and
            blue by 1 − shortcut. White balances and scenes vary: red over blue alone then has an AUC of about
            0.75 at 0.05, 0.9 at 0.1, and 0.99 at 0.2.
        shortcut_generators: all images of these carry the cast, and no other; the manifest's column
            `shortcut` says which.
        n_jobs: processes; by default one for each core, and fewer for small sets.
        progress: show a bar if drawing takes longer than two seconds.

    Returns:
        The set; its table has the further columns `scene`, the kind of scene, and `shortcut`.

    Raises:
        InputError: sizes that cannot be drawn, unknown generators, a shortcut without generators or the other
            way round, or a folder that holds something else.
    """
    if n_per_class < 1 or size < 16 or size % 2:
        raise InputError(
            f"expected n_per_class of 1 or more and an even size of 16 or more; got {n_per_class} and {size}"
        )
    names = _known(SIMULATORS if generators is None else generators, tuple(SIMULATORS))
    marked = _known(shortcut_generators, names)
    if not 0 <= shortcut <= 0.5 or bool(marked) != (shortcut > 0):
        raise InputError(
            f"a shortcut is a strength above 0, at most 0.5, and the generators that carry it; "
            f"got shortcut={shortcut} and shortcut_generators={marked}"
        )
    settings = {"drawing": _DRAWING, "n_per_class": n_per_class, "size": size, "random_state": random_state}
    settings |= {"generators": names, "shortcut": shortcut, "shortcut_generators": marked}
    folder = Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".drawing-") as temporary:
            drawn = Path(temporary) / "set"
            _draw(drawn, settings, n_jobs, progress)
            try:
                os.rename(drawn, folder)
            except OSError as error:
                if not (folder / _SETTINGS).exists():  # no other process finished first
                    raise InputError(
                        f"cannot write the simulated set to {folder}: {error.strerror}"
                    ) from error
    return _open_drawn(folder, settings)


def _known(given: Sequence[str] | dict[str, Any], known: Sequence[str]) -> list[str]:
    """The given names in the order of the known ones, each once."""
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if name not in known:
            raise unknown_name("simulated generator", name, known)
    return [name for name in known if name in names]


def _draw(folder: Path, settings: dict[str, Any], n_jobs: int | None, progress: bool) -> None:
    n, names = settings["n_per_class"], ["real", *settings["generators"]]
    for name in names:
        (folder / name).mkdir(parents=True)
    jobs = [
        delayed(_draw_batch)(folder.absolute(), settings, name, range(start, min(start + _BATCH, n)))
        for name in names
        for start in range(0, n, _BATCH)
    ]
    workers = n_jobs or min(os.cpu_count() or 1, max(1, n * len(names) // _WORTH_A_PROCESS))
    rows = []
    with tqdm(total=n * len(names), desc="draw", unit="image", delay=2, disable=not progress) as bar:
        for batch in Parallel(n_jobs=workers, return_as="generator")(jobs):
            rows += batch
            bar.update(len(batch))
    pd.DataFrame(rows, columns=_COLUMNS).to_csv(folder / "manifest.csv", index=False)
    (folder / _SETTINGS).write_text(json.dumps(settings))


def _draw_batch(folder: Path, settings: dict[str, Any], name: str, numbers: range) -> list[tuple]:
    """Draw and write some images of one class; their rows of the manifest."""
    simulator = SIMULATORS.get(name)
    place = list(SIMULATORS).index(name) + 1 if simulator else 0
    family, label = (simulator.family, "fake") if simulator else ("real", "real")
    cast = settings["shortcut"] if name in settings["shortcut_generators"] else 0
    rows = []
    for i in numbers:
        rng = np.random.default_rng(np.random.SeedSequence(settings["random_state"], spawn_key=(place, i)))
        kind = list(SCENES)[i % len(SCENES)]
        light, camera = draw_scene(kind, settings["size"], rng), Camera.any(rng)
        tones = (simulator.picture if simulator else photograph)(light, camera, rng)
        pixels = compress(tones * (1 + cast, 1, 1 - cast), camera)
        path = f"{name}/{i:04d}.png"
        Image.fromarray(pixels).save(folder / path, compress_level=0)  # so that all files have one length
        rows.append((path, label, name, family, f"{name}-{i:04d}", kind, bool(cast)))
    return rows


def _open_drawn(folder: Path, settings: dict[str, Any]) -> ImageSet:
    try:
        found = json.loads((folder / _SETTINGS).read_text())
    except (OSError, ValueError):
        found = None
    if found != settings:
        held = "something else" if found is None else f"a set drawn with {found}"
        raise InputError(
            f"{folder} holds {held}, asked for {settings}; name another folder, or delete this one"
        )
    images = ImageSet.from_manifest(folder / "manifest.csv")
    lost = [key for key in images.keys if not images.path(key).is_file()]
    if lost:
        raise InputError(
            f"{len(lost)} images of the set in {folder} are gone; delete the folder to draw it anew"
        )
    return images
