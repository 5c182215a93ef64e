"""Which attention heads of a frozen image encoder tell generated images from photographs, and why.

The public names are listed here and loaded on first use, so that `import interp` is quick (PEP 562).

>>> import interp
>>> interp.HeadLayout(layers=12, heads=3, width=64).n_heads
36
"""

from __future__ import annotations

import difflib
import importlib

__version__ = "0.1.0"

# Public name -> the module that defines it, in the order in which data flows. After a change here run
# `python tests/test_api_surface.py --update`: it writes the stub for editors and the snapshot of signatures.
_HOME = {
    "InputError": "interp.errors",
    "ImageSet": "interp.images.image_set",
    "read_image": "interp.images.decode",
    "draw_simulated_set": "interp.images.simulated",
    "make_twins": "interp.images.twins",
    "check_images": "interp.images.check",
    "audit_images": "interp.evaluation.audit",
    "Equalize": "interp.images.equalize",
    "Laundering": "interp.images.laundering",
    "Preprocessing": "interp.images.preprocess",
    "Encoder": "interp.encoders.encoder",
    "Family": "interp.encoders.families",
    "load_encoder": "interp.encoders.loading",
    "HeadRecorder": "interp.encoders.recorder",
    "pruned": "interp.encoders.pruning",
    "HeadLayout": "interp.encoders.layout",
    "Decomposition": "interp.encoders.readout",
    "FeatureStore": "interp.features.store",
    "extract": "interp.features.extract",
    "StoreWithImages": "interp.features.pixels",
    "launder_stores": "interp.features.laundered",
    "Protocol": "interp.protocol.splits",
    "rank_heads": "interp.analysis.ranking",
    "BatchedLogisticRegression": "interp.analysis.batched_logistic",
    "HeadSelection": "interp.analysis.head_selection",
    "CoordinateRemoval": "interp.analysis.coordinate_removal",
    "HeadRemoval": "interp.analysis.head_removal",
    "harmful_components": "interp.analysis.harmful",
    "Leace": "interp.analysis.leace",
    "GeneratorErasure": "interp.analysis.generator_erasure",
    "LinearDetector": "interp.detectors.linear",
    "Detector": "interp.detectors.detector",
    "load_detector": "interp.detectors.detector",
    "load_released_head": "interp.detectors.released",
    "make_system": "interp.detectors.systems",
    "load_text_encoder": "interp.explain.text_encoder",
    "describe_heads": "interp.explain.in_words",
    "describe_detector": "interp.explain.in_words",
    "describe_removed": "interp.explain.in_words",
    "Arm": "interp.evaluation.arms",
    "evaluate_transfer": "interp.evaluation.transfer",
    "robustness_curves": "interp.evaluation.robustness",
    "compare_systems": "interp.evaluation.system_comparison",
    "placebo_panel": "interp.evaluation.placebos",
    "Placebo": "interp.evaluation.placebos",
    "ablate": "interp.evaluation.ablation",
    "explain_image": "interp.report.explanation",
    "explain_set": "interp.report.set_explanation",
    "head_atlas": "interp.report.atlas_heads",
    "write_atlas": "interp.report.atlas",
    "run": "interp.main_job",
    "score_images": "interp.detectors.scoring",
    "reproduce": "interp.reproduction",
}

__all__ = sorted([*_HOME, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        near = difflib.get_close_matches(name, __all__, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f". Public names: {', '.join(__all__)}"
        raise AttributeError(f"module 'interp' has no attribute {name!r}{hint}", name=name)
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
