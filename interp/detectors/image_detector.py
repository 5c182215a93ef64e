"""What detectors that train a network on images share, beside what all published detectors do: input and saving."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors.torch import load_file, save_file
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from torch import nn

from interp.detectors.checkpoints import strictly
from interp.detectors.parted import PartedDetector
from interp.detectors.resumable_training import Costs, trained_tensors
from interp.errors import InputError, unknown_name

DESCRIPTION, WEIGHTS = "image_detector.json", "weights.safetensors"
SCORED_AT_ONCE = 64


class ImageDetector(PartedDetector):
    """A network that is trained on images, not on features of a store.

    A subclass makes its network (`_make`), trains it, and says what of itself it has learnt beside the weights
    (`LEARNT`), all of it fit for JSON.

    Attributes:
        costs_: what the training took.
        network_: the trained network.
    """

    LEARNT: ClassVar[tuple[str, ...]] = ()
    features = "pixels"
    network_: nn.Module
    costs_: Costs
    device: str | None

    def save(self, folder: str | Path, key: Mapping[str, Any] | None = None) -> Path:
        """Write parameters as JSON and the tensors that were trained as safetensors.

        Args:
            folder: where to.
            key: what else a user has to know to use it, such as how its images were equalised.

        Raises:
            InputError: a parameter is no plain value: give models by name.
        """
        check_is_fitted(self)
        parameters = {
            name: value for name, value in self.get_params().items() if name not in ("folder", "device")
        }
        learnt = {name: getattr(self, name) for name in self.LEARNT}
        learnt |= {"threshold_": self.threshold_, "reversed_": self.reversed_, "shape_": list(self.shape_)}
        learnt["classes_"] = self.classes_.tolist()
        about = {
            "kind": type(self).__name__,
            "parameters": parameters,
            "learnt": learnt,
            "key": dict(key or {}),
        }
        try:
            written = json.dumps(about, indent=1)
        except TypeError as error:
            raise InputError(
                f"only parameters that JSON holds can be saved ({error}); give models by name"
            ) from error
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: p.cpu().contiguous() for name, p in trained_tensors(self.network_).items()}
        save_file(tensors, folder / WEIGHTS)
        (folder / DESCRIPTION).write_text(written + "\n")
        return folder

    def _read(self, X: ArrayLike, y: ArrayLike | None = None) -> tuple[Any, np.ndarray]:
        pixels = self._images(X)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
            raise InputError(
                f"{type(self).__name__} reads images, uint8 of shape (n, 3, height, width); given {pixels.dtype} of "
                f"shape {pixels.shape}. interp.features.pixels.PixelStore makes them"
            )
        if y is None:
            if pixels.shape[1:] != self.shape_:
                raise InputError(f"it was fitted on images of shape {self.shape_}; given {pixels.shape[1:]}")
            return X, np.empty(0)
        check_consistent_length(pixels, y)
        self.shape_ = pixels.shape[1:]
        return X, np.asarray(y)

    def _images(self, X: Any) -> np.ndarray:
        """The grey levels in X."""
        return np.asarray(X)

    @torch.inference_mode()
    def _logits(self, X: Any) -> np.ndarray:
        """What the network answers, (n, …) float64, in float32 and in batches."""
        self.network_.eval()
        starts = range(0, len(X), SCORED_AT_ONCE)
        found = [self.network_(*self._inputs(X[i : i + SCORED_AT_ONCE])) for i in starts]
        return torch.cat(found).double().cpu().numpy()

    def _trainable(self) -> int:
        return sum(p.numel() for p in self.network_.parameters() if p.requires_grad)

    @abstractmethod
    def _make(self) -> nn.Module:
        """The untrained network, from parameters and what was learnt."""

    @abstractmethod
    def _inputs(self, X: Any) -> tuple[torch.Tensor, ...]:
        """What the network takes of some rows, on its device."""


def load_image_detector(folder: str | Path, device: str | None = None) -> tuple[Any, dict[str, Any]]:
    """A detector that `ImageDetector.save` wrote, and the key that was given to it.

    Args:
        folder: where it lies. The model it was tuned from is loaded by its name.
        device: where to run; by default on the CPU.

    Raises:
        InputError: no such detector, or the model it was tuned from is another one now.
    """
    from interp.detectors.clip_finetune import ClipFinetune
    from interp.detectors.lare import Lare

    folder = Path(folder)
    if not (folder / DESCRIPTION).exists():
        raise InputError(f"{folder} holds no detector of images (no {DESCRIPTION})")
    about = json.loads((folder / DESCRIPTION).read_text())
    kinds = {"ClipFinetune": ClipFinetune, "Lare": Lare}
    if about["kind"] not in kinds:
        raise unknown_name("detector of images", about["kind"], kinds)
    detector = kinds[about["kind"]](**about["parameters"])
    vars(detector).update(about["learnt"])
    detector.classes_, detector.shape_ = np.asarray(detector.classes_), tuple(detector.shape_)
    network = detector._make()
    expected = {name: tuple(p.shape) for name, p in trained_tensors(network).items()}
    network.load_state_dict(strictly(load_file(folder / WEIGHTS), expected, folder), strict=False)
    detector.network_ = network.eval().to(device or "cpu")
    return detector, about["key"]
