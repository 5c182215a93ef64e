"""Commands that say why: `interp explain | words`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from interp.cli.options import report_unreadable
from interp.errors import InputError

if TYPE_CHECKING:
    from interp.detectors.detector import Detector

Method = Literal["auto", "exact", "integrated_gradients", "shapley", "occlusion"]


def explain(
    what: Annotated[Path, Positional, arg(help="an image, or a store for the mean over its images")],
    detector: Annotated[Path, Positional, arg(help="folder of a saved detector, or of a run")],
    out: Annotated[Path, Positional, arg(help="folder for the tables and the figure")],
    method: Annotated[
        Method, arg(help="how parts are found; auto: exact where the detector is linear")
    ] = "auto",
    compare: Annotated[bool, arg(help="set every method beside the others, for one image")] = False,
    encoder: Annotated[str | None, arg(help="where to load the encoder from, if it has moved")] = None,
    device: str | None = None,
    random_state: int = 0,
) -> int:
    """Say why an image was called fake or real, or what a detector tells fakes from photographs by, part by part."""
    from interp.features.shards import KEY
    from interp.features.store import FeatureStore
    from interp.report.explanation import explain_image
    from interp.report.set_explanation import explain_set

    loaded = _detector(detector)
    if (what / KEY).exists():
        store = FeatureStore(what)
        differences = explain_set(store, loaded, random_state=random_state)
        differences.save(out)
        print(f"{differences}\ntable and figure: {out}")
        return report_unreadable(store)
    from interp.encoders.loading import load_encoder

    location = encoder or loaded.notes.get("encoder_location") or loaded.key["encoder"]["name"]
    opened = load_encoder(location, device=device, dtype=loaded.key["encoder"]["dtype"])
    why = explain_image(what, opened, loaded, method=method)
    why.save(out)
    print(f"{why}\n{why.largest().to_string(index=False, float_format='%+.3f')}")
    if compare:
        table = why.compare(random_state=random_state)
        table.to_csv(out / "methods.csv", index=False)
        print(table.to_string(index=False, float_format="%.3g"))
    print(f"tables and figure: {out}")
    return 0


def words(
    store: Annotated[Path, Positional, arg(help="folder of a store")],
    text: Annotated[
        str | None, arg(help="hub id or folder of the CLIP whose encoder it was; by default its name")
    ] = None,
    heads: Annotated[tuple[str, ...], arg(help="heads to describe, such as L3.H0; by default all")] = (),
    detector: Annotated[Path | None, arg(help="describe this detector's direction in place of heads")] = None,
    removed: Annotated[
        bool, arg(help="describe what removing the heads named takes from the embedding")
    ] = False,
    top: Annotated[int, arg(help="texts for each")] = 5,
    nulls: Annotated[int, arg(help="random directions, or rotated pools for heads")] = 20,
    out: Annotated[Path | None, arg(help="CSV to write the table to")] = None,
    device: str | None = None,
    random_state: int = 0,
) -> int:
    """Heads, a detector's direction or a removed component in words, with what a random one would reach."""
    from interp.explain.in_words import describe_detector, describe_heads, describe_removed
    from interp.explain.text_encoder import load_text_encoder
    from interp.features.store import FeatureStore

    opened = FeatureStore(store)
    tower = load_text_encoder(text or opened.key["encoder"]["name"], device=device)
    if removed and not heads:
        raise InputError("--removed describes what heads take with them; name some with --heads")
    options: dict[str, Any] = {"k": top, "nulls": nulls, "random_state": random_state}
    if detector is not None:
        found = describe_detector(opened, _detector(detector), tower, **options)
    elif removed:
        found = describe_removed(opened, heads, tower, **options)
    else:
        found = describe_heads(opened, tower, heads=heads or None, **options)
    if out:
        found.table.to_csv(out, index=False)
    print(found)
    return report_unreadable(opened)


def _detector(folder: Path) -> Detector:
    """A saved detector, or the one that a run's report recommends."""
    from interp.detectors.detector import load_detector

    summary = folder / "summary.json"
    if summary.exists():
        folder = folder / "detectors" / json.loads(summary.read_text())["recommended"]
    return load_detector(folder)
