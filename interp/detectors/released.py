"""Published detection heads, loaded from their own files, and only ever put on the encoder they were fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from interp.detectors.checkpoints import read_tensors, sha256_of, strictly
from interp.detectors.detector import Detector, LinearScore
from interp.detectors.fitting import GRIP, GRIP_ARCH, KINDS, LINEAR, RINE, Fitting, Given
from interp.detectors.rine_head import RineHead, rine_scores
from interp.errors import InputError, unknown_name

if TYPE_CHECKING:
    from interp.encoders.encoder import Encoder
    from interp.features.store import FeatureStore


@dataclass(frozen=True)
class ReleasedHead:
    """A published head that scores a store, if the store's encoder is the one that it was fitted to.

    Attributes:
        kind: one of `KINDS`.
        fitting: the encoder, features and preprocessing that it needs.
        model: a `LinearScore`, a scikit-learn pipeline, or a `RineHead`.
        tensors: the head's own weights, by their published names.
        notes: the file, its SHA-256, and how many tensors of a frozen encoder were left in it.
    """

    kind: str
    fitting: Fitting
    model: Any
    tensors: Mapping[str, torch.Tensor]
    notes: Mapping[str, Any]

    def check_encoder(self, encoder: Encoder, *, allow_other_encoder: bool = False) -> None:
        """Refuse an encoder that this head was not fitted to, before anything is extracted.

        Raises:
            InputError: another width or number of blocks, always; another model or activation, unless allowed.
        """
        given = Given.encoder(encoder)
        self.fitting.refuse_shape(self.kind, given)
        if not allow_other_encoder:
            self.fitting.refuse_model(self.kind, given)

    def prepare(self, encoder: Encoder, *, allow_other_encoder: bool = False) -> Encoder:
        """The same encoder with the preprocessing of the head's authors, to extract with.

        Raises:
            InputError: see `check_encoder`.
        """
        from interp.encoders.encoder import Encoder

        self.check_encoder(encoder, allow_other_encoder=allow_other_encoder)
        if encoder.preprocessing == self.fitting.preprocessing:
            return encoder
        made = {
            "name": encoder.name,
            "revision": encoder.revision,
            "device": encoder.device,
            "dtype": encoder.dtype,
        }
        return Encoder(encoder.model, self.fitting.preprocessing, **made)

    def check_store(
        self,
        store: FeatureStore,
        *,
        allow_other_encoder: bool = False,
        allow_other_preprocessing: bool = False,
    ) -> None:
        """Refuse a store whose encoder or preprocessing is not the one that this head needs.

        Raises:
            InputError: see `check_encoder`; or another preprocessing than the authors', unless allowed.
        """
        given = Given.store(store)
        self.fitting.refuse_shape(self.kind, given)
        if not allow_other_encoder:
            self.fitting.refuse_model(self.kind, given)
        if not allow_other_preprocessing:
            self.fitting.refuse_preprocessing(self.kind, store.key["preprocessing"])

    def score(
        self,
        store: FeatureStore,
        *,
        encoder: Encoder | None = None,
        allow_other_encoder: bool = False,
        allow_other_preprocessing: bool = False,
    ) -> pd.DataFrame:
        """Score every image of a store, as `Detector.score` does; the score is the logit, above 0 is fake.

        Args:
            store: features of the images.
            encoder: the encoder that made the store. RINE needs its LayerNorms; for the linear heads its activation
                is checked too, which a store does not hold.
            allow_other_encoder: score features of another model of the same width, knowingly.
            allow_other_preprocessing: the same for images prepared in another way.

        Returns:
            Indexed by key: score, verdict ("fake", "real", or "" where unreadable), error.

        Raises:
            InputError: the store does not fit, or RINE is given no encoder.
        """
        allowed = {
            "allow_other_encoder": allow_other_encoder,
            "allow_other_preprocessing": allow_other_preprocessing,
        }
        if encoder is not None:
            self.check_encoder(encoder, allow_other_encoder=allow_other_encoder)
        if not isinstance(self.model, RineHead):
            return self.detector(store, **allowed).score(store)
        self.check_store(store, **allowed)
        if encoder is None:
            raise InputError(
                "RINE reads the class token behind each block's second LayerNorm, whose weights a store does not "
                f"hold; pass encoder=, the one that made {store.folder} ({store.key['encoder']['name']})"
            )
        usable = store.usable
        scores = np.where(usable, rine_scores(self.model, store, encoder), np.nan)
        verdict = np.where(usable, np.where(scores > 0, "fake", "real"), "")
        return pd.DataFrame({"score": scores, "verdict": verdict, "error": store.rows["error"]})

    def detector(
        self,
        store: FeatureStore,
        *,
        allow_other_encoder: bool = False,
        allow_other_preprocessing: bool = False,
    ) -> Detector:
        """The head bound to a store's settings, to keep with `Detector.save` and to use with `interp score`.

        Raises:
            InputError: the store does not fit, or the head is RINE, which reads what no `Detector` does.
        """
        if isinstance(self.model, RineHead):
            raise InputError(
                "RINE reads an encoder's LayerNorms beside the store and is no Detector; use score()"
            )
        self.check_store(
            store,
            allow_other_encoder=allow_other_encoder,
            allow_other_preprocessing=allow_other_preprocessing,
        )
        notes = {**self.notes, "fitted_to": self.fitting.encoder}
        return Detector(self.kind, self.fitting.features, self.model, 0.0, store.key, notes)

    def save(self, path: str | Path) -> Path:
        """Write the head's own tensors as safetensors, from which `load_released_head` reads it back.

        Raises:
            InputError: the name does not end in .safetensors.
        """
        from safetensors.torch import save_file

        path = Path(path)
        if path.suffix != ".safetensors":
            raise InputError(f"{path} must end in .safetensors, which is what is written")
        save_file({name: value.contiguous() for name, value in self.tensors.items()}, path)
        return path


def load_released_head(path: str | Path, kind: str | None = None) -> ReleasedHead:
    """Load a published head from the file its authors released; nothing in the file is executed.

    - `universal-fake-detect` (arXiv 2302.10174): {weight (1, 768), bias (1,)}, or a whole model's fc.weight, fc.bias.
    - `grip-few-shot` (arXiv 2312.00195): {"model": {fc.weight (1, 1024), fc.bias (1,)}}; the token is brought to
      unit length first.
    - `rine` (arXiv 2402.19091): alpha, proj1.*, proj2.*, head.*.

    A whole model's frozen encoder is not read: it is taken to be the public one, and the notes say how many tensors
    were left.

    Args:
        path: a file of `torch.save` or `.safetensors`.
        kind: which head it is; by default what its names and shapes say.

    Raises:
        InputError: no such file or kind; a file that must run code to be loaded; tensors that are missing, unexpected
            or of another shape; or a file that could be no known head.
    """
    if kind is not None and kind not in KINDS:
        raise unknown_name("released head", kind, KINDS)
    path = Path(path)
    tensors = read_tensors(path)
    arch = _arch_beside(path)
    kind = _kind_of(tensors, arch, path) if kind is None else kind
    if kind == GRIP and arch not in (None, GRIP_ARCH):
        raise InputError(f"{path.parent / 'config.yaml'} says arch {arch}; only {GRIP_ARCH} is known")
    if kind == RINE:
        model = RineHead.from_checkpoint(tensors, path)
        fitting = Fitting.rine(model.shape, path)
        kept = {name: value for name, value in tensors.items() if not name.startswith("clip.")}
    else:
        fitting = LINEAR[kind]
        inside = {name for name in tensors if name.startswith("fc.")}
        kept = {
            n.removeprefix("fc."): v
            for n, v in tensors.items()
            if n in inside or not _frozen(n, bool(inside))
        }
        kept = strictly(kept, {"weight": (1, fitting.width), "bias": (1,)}, path)
        model = _linear(kept, unit_length=kind == GRIP)
    notes = {"file": path.name, "sha256": sha256_of(path), "tensors_left": len(tensors) - len(kept)}
    return ReleasedHead(kind, fitting, model, kept, notes)


def _frozen(name: str, whole_model: bool) -> bool:
    """A frozen encoder's tensors in a whole model's file, which the published code keeps below `model.`."""
    return whole_model and name.startswith("model.")


def _linear(tensors: Mapping[str, torch.Tensor], *, unit_length: bool) -> Any:
    coef = tensors["weight"].double().numpy()
    intercept = tensors["bias"].double().numpy()
    if not unit_length:
        return LinearScore(coef[0], float(intercept[0]))
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer
    from sklearn.svm import LinearSVC

    svm = LinearSVC()
    svm.coef_, svm.intercept_, svm.classes_ = coef, intercept, np.array([0, 1])
    svm.n_features_in_ = coef.shape[1]
    return make_pipeline(Normalizer(), svm)


def _arch_beside(path: Path) -> str | None:
    """The `arch` that a config.yaml beside the weights names, as the few-shot detectors come; None without one."""
    config = path.parent / "config.yaml"
    lines = config.read_text().splitlines() if config.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("arch:")), None)


def _kind_of(tensors: Mapping[str, torch.Tensor], arch: str | None, path: Path) -> str:
    if arch is not None and arch.startswith("opencliplinear"):
        return GRIP
    if "alpha" in tensors or any(name.startswith(("proj1.", "proj2.")) for name in tensors):
        return RINE
    weight = tensors.get("fc.weight", tensors.get("weight"))
    for kind, fitting in LINEAR.items():
        if weight is not None and tuple(weight.shape) == (1, fitting.width):
            return kind
    shown = ", ".join(f"{name} {tuple(value.shape)}" for name, value in list(tensors.items())[:6])
    raise InputError(
        f"{path} is no released head that is known ({', '.join(KINDS)}); it holds {shown}. A linear head holds "
        "weight (1, 768) or (1, 1024) and bias, RINE holds alpha, proj1.*, proj2.* and head.*"
    )
