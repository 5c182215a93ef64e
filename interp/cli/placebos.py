"""The command that asks detectors about photographs alone: `interp placebos`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from interp.cli.options import Parts, report_unreadable


def placebos(
    store: Annotated[Path, Positional, arg(help="folder of a store of labelled images")],
    images: Annotated[Path, Positional, arg(help="folder or manifest that the store was made of")],
    out: Annotated[
        Path, arg(help="folder of altered photographs and results; the same command goes on there")
    ],
    encoder: Annotated[str, arg(help="who made the store: hub id, folder, or embedded")],
    parts: OmitArgPrefixes[Parts] = Parts(),
    layout: Annotated[str | None, arg(help="how the folder is laid out; by default it is recognised")] = None,
    where: Annotated[UseAppendAction[tuple[str, ...]], arg(help="condition such as role=test")] = (),
    divide: Annotated[
        UseAppendAction[tuple[str, ...]], arg(help="photographs that meet a condition against all others")
    ] = (),
    words: Annotated[
        UseAppendAction[tuple[str, ...]],
        arg(help="photographs nearer to a phrase against all others; for a CLIP"),
    ] = (),
    erase: Annotated[bool, arg(help="add detectors from whose features the placebos were erased")] = False,
    resamples: Annotated[int, arg(help="joint resamples of photographs")] = 1000,
    jobs: Annotated[int | None, arg(help="processes; by default one for each core")] = None,
    workers: Annotated[int | None, arg(help="decoding processes; by default one for each core")] = None,
) -> int:
    """Ask every detector, and every head, what it says of photographs alone; mark results that a placebo explains."""
    from interp.encoders.loading import load_encoder
    from interp.evaluation.arms import default_arms
    from interp.evaluation.placebo_arms import placebo_erasure_arm
    from interp.evaluation.placebo_kinds import by_score, divided, nearness, usual_placebos
    from interp.evaluation.placebos import head_placebos, placebo_marks, placebo_panel
    from interp.explain.text_encoder import load_text_encoder
    from interp.features.store import FeatureStore
    from interp.images.image_set import ImageSet
    from interp.main_job import make_protocol
    from interp.report.figures import save_figure
    from interp.report.placebo_figure import draw_placebos

    opened, chosen = FeatureStore(store), ImageSet.open(images, layout=layout, where=where)
    protocol = make_protocol(opened, **vars(parts))
    asked = [divided(opened, condition, condition) for condition in divide]
    if words:
        text = load_text_encoder(encoder)
        asked += [by_score(phrase, opened, nearness(opened, text, phrase)) for phrase in words]
    asked += usual_placebos(chosen, load_encoder(encoder), opened, out / "altered", workers=workers)
    arms = default_arms(opened, n_nulls=0)
    if erase:
        arms += [placebo_erasure_arm(opened, asked), placebo_erasure_arm(opened, asked, "heads")]
    heads = head_placebos(opened, protocol, asked, n_resamples=resamples, random_state=parts.random_state)
    options = {"n_resamples": resamples, "n_jobs": jobs, "random_state": parts.random_state}
    panel = placebo_panel(opened, protocol, arms, asked, **options)
    heads.to_csv(out / "heads.csv", index=False)
    panel.to_csv(out / "panel.csv", index=False)
    figure = save_figure(draw_placebos(panel), out / "placebos.png")
    shown = panel[["arm", "placebo", "auc", "low", "high", "explained"]]
    print(shown.to_string(index=False, float_format="%.3f"))
    print(
        *[f"{arm}: {mark or 'no placebo explains it'}" for arm, mark in placebo_marks(panel).items()],
        sep="\n",
    )
    print(f"tables and figure: {figure.parent}")
    return report_unreadable(opened)
