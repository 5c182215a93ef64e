"""The command that trains a system on images, not on stored features: `interp tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from interp.cli.options import Parts, report_unreadable


def tune(
    store: Annotated[Path, Positional, arg(help="folder of a store: its rows, parts and equalisation")],
    images: Annotated[Path, Positional, arg(help="the folder or manifest that it was extracted from")],
    out: Annotated[Path, arg(help="folder of the detector")],
    system: Annotated[Literal["clip_finetune", "lare"], arg(help="docs/comparison.md says what each is")],
    encoder: Annotated[str, arg(help="model to tune: hub id, folder or embedded")],
    tunes: Annotated[
        str, arg(name="tune", help="all, image or lora (clip_finetune); all or head (lare)")
    ] = "all",
    pipeline: Annotated[str, arg(help="latent diffusion pipeline: folder or hub id, for lare")] = "",
    side: Annotated[int, arg(help="edge in pixels at which the diffusion model looks, for lare")] = 256,
    epochs: Annotated[int, arg(help="passes over the train rows")] = 5,
    rate: Annotated[float | None, arg(help="peak learning rate; by default the system's own")] = None,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    device: str | None = None,
    workers: int | None = None,
    where: Annotated[UseAppendAction[tuple[str, ...]], arg(help="conditions on the images")] = (),
    parts: OmitArgPrefixes[Parts] = Parts(),
) -> int:
    """Train a system that looks at images and save it; killed, the same command goes on. `interp score` uses it."""
    import numpy as np

    from interp.detectors.clip_finetune import ClipFinetune
    from interp.detectors.image_scores import image_key
    from interp.detectors.lare import Lare
    from interp.detectors.lare_maps import LatentError, load_pipeline
    from interp.detectors.map_store import extract_maps
    from interp.errors import InputError
    from interp.features.pixels import StoreWithImages
    from interp.images.image_set import ImageSet
    from interp.main_job import make_protocol

    if system == "lare" and not pipeline:
        raise InputError("lare needs --pipeline, a latent diffusion model: a folder or hub id")
    opened = ImageSet.open(images, where=where)
    seen = StoreWithImages(store, opened, encoder, workers=workers)
    split = make_protocol(seen, **vars(parts)).final_split()
    key = image_key(seen.key["equalize"])
    if system == "lare":
        error = LatentError(load_pipeline(pipeline), side=side, device=device or "cpu")
        key = image_key(seen.key["equalize"], pipeline, error)
        seen.maps = extract_maps(opened, error, out / "maps", **seen.path, workers=workers).maps
    kind = ClipFinetune if system == "clip_finetune" else Lare
    options: dict[str, Any] = {"tune": tunes, "epochs": epochs, "precision": precision, "device": device}
    options |= {"folder": str(out / "training"), "random_state": parts.random_state}
    options |= {} if rate is None else {"rate": rate}
    detector = kind(encoder, **options)
    rows = np.union1d(split.train, split.select)
    fake = (seen.rows["label"] != "real").to_numpy().astype(int)
    generator = seen.rows["generator"].to_numpy().astype(str)
    X = seen.features(detector.features)
    detector.fit(X[rows], fake[rows], part=split.part[rows], generator=generator[rows])
    detector.save(out, key)
    spent = detector.costs_
    print(f"{system}, trained on {', '.join(split.train_generators)}, lies in {out}")
    print(
        f"{spent.seconds_per_1000:.1f} s for 1,000 images, peak {spent.peak_mib:.0f} MiB, on {spent.device}"
    )
    if isinstance(detector, ClipFinetune):
        chosen = X[split.select], generator[split.select]
        print(
            "select images by source and nearest caption:", detector.confusion(*chosen).to_string(), sep="\n"
        )
    return report_unreadable(seen)
