"""LaRE²: an encoder's feature map, refined by how well a latent diffusion model reconstructs each place in one step.

Luo, Du, Yan and Ding, CVPR 2024, arXiv 2403.17465. The maps are `interp.detectors.lare_maps`, the refinement
`interp.detectors.error_guided`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from interp.detectors.error_guided import ErrorGuided
from interp.detectors.feature_map import FeatureMap
from interp.detectors.image_detector import ImageDetector
from interp.detectors.parted import Rows, refuse_unknown
from interp.detectors.resumable_training import ResumableTraining, batch_rows
from interp.encoders.encoder import Encoder, hash_weights
from interp.encoders.loading import load_encoder
from interp.errors import InputError
from interp.images.seeds import derive_seed

REFINE = ("both", "spatial", "channel", "none")
TUNE = ("all", "head")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NORMALISATIONS = {"encoder": None, "imagenet": IMAGENET}


class Lare(ImageDetector):
    """A network on images and their maps of latent reconstruction error.

    X is a structured array with the fields `pixels` and `map` (`interp.features.pixels.joined`). Published training:
    cross-entropy, Adam at 1e-4, batches of 48, gradient norm 5, everything trained, the rate halved when the AUC has
    not risen for four epochs, down to 1e-7. There that AUC, and the checkpoint, are of the test sets; here they are of
    select rows, and without any the rate stays and the last epoch counts. The number of epochs is not known.

    Three things are options where the public code does what is not the sounder choice, or an encoder with 64 pixels
    cannot follow it: it normalises CLIP's input by ImageNet's mean (`normalisation="imagenet"`); it trains on random
    crops, so that crop and map, which is of the whole image, do not show the same places (`crop`); and it reads a
    ResNet-50 (`encoder`, `layer`).

    Args:
        encoder: hub id, folder or "embedded"; or an `Encoder`, or a `FeatureMap` of any network.
        layer: whose output is the feature map; see `FeatureMap.of`.
        refine: "both", "spatial", "channel", or "none": the encoder alone.
        tune: "all" parameters, or the "head" behind a frozen encoder.
        normalisation: "encoder", its own, or "imagenet", as published.
        crop: train on random crops and score centre crops of the encoder's size, of images larger than that; otherwise
            images have the encoder's size.
        rate, batch_size, epochs: of the training.
        precision, device, folder, checkpoint_every: see `ClipFinetune`.
        select_generators, random_state: see `PartedDetector`; select rows choose rate, epoch and threshold.

    Attributes:
        classes_, threshold_, costs_: see `ImageDetector`.
    """

    LEARNT = ("base_", "errors_")
    features = "pixels_and_maps"

    def __init__(
        self,
        encoder: str | Encoder | FeatureMap = "embedded",
        layer: str | None = None,
        refine: str = "both",
        tune: str = "all",
        normalisation: str = "encoder",
        crop: bool = False,
        rate: float = 1e-4,
        batch_size: int = 48,
        epochs: int = 10,
        precision: str = "float32",
        device: str | None = None,
        folder: str | None = None,
        checkpoint_every: int = 100,
        select_generators: Sequence[str] | str | None = None,
        random_state: int = 0,
    ):
        self.encoder, self.layer, self.refine, self.tune = encoder, layer, refine, tune
        self.normalisation, self.crop = normalisation, crop
        self.rate, self.batch_size, self.epochs, self.precision = rate, batch_size, epochs, precision
        self.device, self.folder, self.checkpoint_every = device, folder, checkpoint_every
        self.select_generators, self.random_state = select_generators, random_state

    def _fit(self, train: Rows, select: Rows | None) -> None:
        for kind, given, known in (
            ("refine", self.refine, REFINE),
            ("tune", self.tune, TUNE),
            ("normalisation", self.normalisation, tuple(NORMALISATIONS)),
        ):
            refuse_unknown(kind, given, known)
        if min(self.epochs, self.batch_size) < 1 or self.rate < 0:
            raise InputError(
                "epochs and batch_size must be at least 1 and rate at least 0; given "
                f"{self.epochs}, {self.batch_size}, {self.rate}"
            )
        self.errors_ = int(train.X["map"].shape[1])
        self._refuse_no_numbers(train.X["map"])
        self.network_ = self._make()
        self._refuse_other_size()
        target, per_epoch = torch.from_numpy(train.y), -(-len(train.y) // self.batch_size)

        def batch_at(step: int) -> tuple[Tensor, ...]:
            rows = batch_rows(self.random_state, step, len(target), self.batch_size)
            some = train.X[rows.numpy()]
            pixels = self._cropped(some["pixels"], step)
            return pixels, torch.from_numpy(some["map"]), target[rows]

        judge = None if select is None else lambda: float(select.auc(self._score(select.X)[:, None])[0])
        training = self._training(train, select)
        self.costs_ = training.run(
            self.epochs * per_epoch, batch_at, functional.cross_entropy, epoch=per_epoch, judge=judge
        )

    def _make(self) -> ErrorGuided:
        looked, normalisation = self.encoder, NORMALISATIONS[self.normalisation]
        if isinstance(looked, str):
            looked = load_encoder(looked, device="cpu")
        if isinstance(looked, Encoder):
            looked = FeatureMap.of(looked, self.layer, normalisation)
        else:
            looked = copy.deepcopy(looked)
        weights = hash_weights(looked.model)
        if getattr(self, "network_", None) is None and getattr(self, "base_", weights) != weights:
            raise InputError("the encoder has other weights than the one that this detector was trained from")
        self.base_ = weights
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            network = ErrorGuided(looked, self.errors_, self.refine)
        network.encoder.requires_grad_(self.tune == "all")
        return network

    def _training(self, train: Rows, select: Rows | None) -> ResumableTraining:
        parameters = [p for p in self.network_.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=self.rate)
        plateau = None
        if select is not None:
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, mode="max", factor=0.5, patience=4, min_lr=1e-7
            )
        own = ("encoder", "device", "folder", "checkpoint_every")
        settings: dict[str, Any] = {n: v for n, v in self.get_params().items() if n not in own}
        digest = hashlib.sha256()
        for rows in (train, select):
            if rows is not None:
                digest.update(np.ascontiguousarray(rows.X).tobytes() + rows.y.tobytes())
        return ResumableTraining(
            self.network_,
            optimizer,
            plateau,
            precision=self.precision,
            clip=5.0,
            device=self.device,
            folder=self.folder,
            settings=settings | {"base": self.base_, "images": digest.hexdigest()},
            every=self.checkpoint_every,
            random_state=self.random_state,
        )

    def _score(self, X: np.ndarray) -> np.ndarray:
        self._refuse_no_numbers(X["map"])
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0]

    def _inputs(self, X: np.ndarray) -> tuple[Tensor, ...]:
        device = next(self.network_.parameters()).device
        return self._cropped(X["pixels"]).to(device), torch.from_numpy(np.array(X["map"])).to(device)

    def _images(self, X: Any) -> np.ndarray:
        names = getattr(getattr(X, "dtype", None), "names", None)
        if names != ("pixels", "map"):
            raise InputError(
                "Lare reads images and their maps, joined by interp.features.pixels.joined(pixels, maps); given "
                + (f"an array of {X.dtype}" if names is None and hasattr(X, "dtype") else f"fields {names}")
            )
        return X["pixels"]

    def _cropped(self, pixels: np.ndarray, step: int | None = None) -> Tensor:
        """Crops of the encoder's size: random ones of a training step, else from the centre."""
        height, width = self._looks_at()
        high, wide = pixels.shape[2] - height, pixels.shape[3] - width
        if not (high or wide):
            return torch.from_numpy(np.array(pixels))
        if step is None:
            return torch.from_numpy(np.array(pixels[:, :, high // 2 :, wide // 2 :][:, :, :height, :width]))
        rng = np.random.default_rng(derive_seed("crop", self.random_state, step))
        corners = rng.integers((high + 1, wide + 1), size=(len(pixels), 2))
        cut = [one[:, i : i + height, j : j + width] for one, (i, j) in zip(pixels, corners, strict=True)]
        return torch.from_numpy(np.stack(cut))

    def _looks_at(self) -> tuple[int, int]:
        """Height and width of what the encoder takes."""
        encoder: Any = self.network_.encoder
        return encoder.shape

    def _refuse_other_size(self) -> None:
        wanted, given = self._looks_at(), self.shape_[1:]
        if given != wanted and not (self.crop and given[0] >= wanted[0] and given[1] >= wanted[1]):
            raise InputError(
                f"images have {given[0]} × {given[1]} pixels, the encoder looks at {wanted[0]} × {wanted[1]}; "
                "preprocess them for it, or give larger ones and crop=True"
            )

    @staticmethod
    def _refuse_no_numbers(maps: np.ndarray) -> None:
        missing = np.flatnonzero(~np.isfinite(maps).all(axis=(1, 2, 3)))
        if len(missing):
            raise InputError(
                f"{len(missing)} maps are not numbers, the first that of row {missing[0]}: images that could not be "
                "read have none. Leave these rows out (store.usable)"
            )
