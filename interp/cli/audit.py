"""The command that looks for shortcuts in files and content: `interp audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg


def audit(
    images: Annotated[Path, Positional, arg(help="folder, or CSV/Parquet manifest, with labels")],
    out: Annotated[Path | None, arg(help="folder for the findings: CSV files, text and a page")] = None,
    layout: Annotated[str | None, arg(help="how the folder is laid out; by default it is recognised")] = None,
    where: Annotated[UseAppendAction[tuple[str, ...]], arg(help="condition such as role=test")] = (),
    allow_outside: Annotated[bool, arg(help="allow images outside the manifest's folder")] = False,
    equalize: Annotated[str, arg(help="what images go through before their content is measured")] = "256:75",
    content: Annotated[
        bool, arg(help="measure content; without it the audit is several times quicker")
    ] = True,
    store: Annotated[Path | None, arg(help="store of these images, to ask its text tower for words")] = None,
    text: Annotated[
        str, arg(help="the text tower of the store's encoder: hub id, folder, or embedded")
    ] = "embedded",
    write_equalised: Annotated[
        Path | None, arg(help="folder: bring all images through what the audit advises, and write them there")
    ] = None,
    jobs: Annotated[int | None, arg(help="processes; by default one for each core")] = None,
    random_state: Annotated[int, arg(help="seed of folds and permutations")] = 0,
) -> int:
    """Say what in the files, and in their content, tells fakes from photographs; find images that look the same."""
    from interp.cli.options import UNREADABLE
    from interp.evaluation.audit import audit_images
    from interp.images.equalised_set import write_equalised as write
    from interp.images.image_set import ImageSet

    opened = ImageSet.open(images, layout=layout, where=where, allow_outside=allow_outside)
    words = _words(store, text) if store else None
    options = {"content": content, "words": words, "n_jobs": jobs, "random_state": random_state}
    found = audit_images(opened, equalize=equalize, **options)
    written = ""
    if out:
        from interp.report.audit_page import write_audit_page

        found.write(out)
        written = f"\n\nall tables, the text and a page: {write_audit_page(found, out)}"
    print(found.text() + written)
    if write_equalised and found.equalize is not None:
        new = write(opened, found.equalize, write_equalised)
        print(f"{len(new)} images through {found.equalize}: {write_equalised}")
    elif write_equalised:
        print("nothing to equalise: no feature of the containers raises an alarm")
    return UNREADABLE if (found.files["error"] != "").any() else 0


def _words(store: Path, text: str):
    from interp.evaluation.audit_words import word_shortcuts
    from interp.explain.text_encoder import load_text_encoder
    from interp.features.store import FeatureStore

    return word_shortcuts(FeatureStore(store), load_text_encoder(text))
