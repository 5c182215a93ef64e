"""RINE: one score from the class token of every block, each block weighted by a learnt importance.

Koutlis and Papadopoulos, "Leveraging Representations from Intermediate Encoder-blocks for Synthetic Image
Detection", ECCV 2024, arXiv 2402.19091. The paper speaks of each block's output; its code reads what each block's
second LayerNorm puts out, the input of the MLP, and so does this head, because the released weights were fitted to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from interp.detectors.checkpoints import strictly
from interp.encoders.recorder import HeadRecord
from interp.errors import InputError
from interp.features.shards import read_shards

if TYPE_CHECKING:
    from interp.encoders.encoder import Encoder
    from interp.features.store import FeatureStore

DECISION = 3
"""Linear maps in the last part, which ends in one logit."""
RECORDED = ("head_values", "mlp_values", "first", "norm_mean", "norm_std", "embedding")


class RineHead(nn.Module):
    """The trained part of RINE: project every block's token, average them by importance, decide.

    Dropout, which acts in training alone, is left out: this is the head as it scores.

    Args:
        layers: blocks of the encoder, l.
        width: of the class token, D.
        hidden: width of every map inside, d'.
        depth: linear maps before, and again after, the average over blocks.

    >>> RineHead(layers=3, width=8, hidden=4, depth=2)(torch.zeros(5, 3, 8)).shape
    torch.Size([5])
    """

    def __init__(self, layers: int, width: int, hidden: int, depth: int):
        super().__init__()
        self.importance = nn.Parameter(torch.zeros(layers, hidden))
        self.project = _maps([width, *[hidden] * depth])
        self.refine = _maps([hidden] * (depth + 1))
        self.decide = _maps([*[hidden] * DECISION, 1])
        self.eval().requires_grad_(False)

    @property
    def shape(self) -> tuple[int, int]:
        """(layers, width) of the tokens it reads."""
        first: nn.Linear = self.project[0]  # type: ignore[assignment]
        return len(self.importance), first.in_features

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Log-odds of a fake, (n,), from the second LayerNorm's class tokens (n, l, D).

        Each of the d' features has its own weights over blocks: a softmax of the learnt importances.
        """
        projected = _through(self.project, tokens)
        mixed = (functional.softmax(self.importance, dim=0) * projected).sum(dim=1)
        hidden = _through(self.decide[:-1], _through(self.refine, mixed))
        return self.decide[-1](hidden).squeeze(-1)

    @classmethod
    def from_checkpoint(cls, tensors: Mapping[str, torch.Tensor], where: object = "checkpoint") -> RineHead:
        """Build the head from the tensors of a published file: alpha, proj1.*, proj2.*, head.*.

        Args:
            tensors: by their published names; those below `clip.` are the frozen encoder's and are left.
            where: the file, for messages.

        Raises:
            InputError: a tensor is missing, unexpected or of another shape.
        """
        trained = {name: value for name, value in tensors.items() if not name.startswith("clip.")}
        alpha = _of_axes(trained, "alpha", 3, where)
        first = _of_axes(trained, "proj1.1.weight", 2, where)
        layers, hidden = alpha.shape[1:]
        depth = sum(name.startswith("proj1.") and name.endswith(".weight") for name in trained)
        head = cls(layers, first.shape[1], hidden, depth)
        own = head.state_dict()
        names = _published_names(depth)
        expected = {published: tuple(own[name].shape) for published, name in names.items()}
        expected["alpha"] = (1, layers, hidden)
        found = strictly(trained, expected, where)
        found["alpha"] = found["alpha"][0]
        head.load_state_dict({name: found[published] for published, name in names.items()})
        return head

    def published(self) -> dict[str, np.ndarray]:
        """The weights by their published names, which `from_checkpoint` reads back."""
        own = {name: value.detach().numpy().copy() for name, value in self.state_dict().items()}
        found = {public: own[name] for public, name in _published_names(len(self.project)).items()}
        return {**found, "alpha": found["alpha"][None]}


def rine_scores(head: RineHead, store: FeatureStore, encoder: Encoder) -> np.ndarray:
    """Log-odds of every image of a store, (n,) float64; NaN where an image could not be read.

    The tokens follow from the store, shard by shard; what a store does not hold is each block's second LayerNorm,
    which is taken from the encoder.

    Raises:
        InputError: another encoder than the one that made the store, or one without such LayerNorms.
    """
    if encoder.weight_hash != store.key["encoder"]["weights"]:
        raise InputError(
            f"the encoder {encoder.name} has other weights than {store.key['encoder']['name']}, which made "
            f"{store.folder}; load the same one"
        )
    with torch.inference_mode():
        return np.concatenate([head(t).double().numpy() for t in mlp_inputs(store, second_norms(encoder))])


def second_norms(encoder: Encoder) -> list[nn.LayerNorm]:
    """The LayerNorm before each block's MLP, in float32 on the CPU.

    Raises:
        InputError: the encoder is no CLIP.
    """
    if encoder.family != "clip":
        raise InputError(f"RINE reads CLIP blocks; {encoder.name} is of the family {encoder.family!r}")
    norms = []
    for block in encoder.recorder.parts.blocks:
        given: nn.LayerNorm = block.layer_norm2  # type: ignore[assignment]
        norm = nn.LayerNorm(list(given.normalized_shape), eps=given.eps)
        norm.load_state_dict({name: value.float().cpu() for name, value in given.state_dict().items()})
        norms.append(norm.eval().requires_grad_(False))
    return norms


def mlp_inputs(store: FeatureStore, norms: Sequence[nn.LayerNorm]) -> Iterator[torch.Tensor]:
    """The class token behind each block's second LayerNorm, (n, l, D), float32, one shard after the other.

    It is the token after the block, minus what the block's MLP added, normalised: exact but for the precision
    that the store was written in.
    """
    folder = store.folder / "shards"
    for number in sorted(int(shard.name) for shard in folder.glob("[0-9]*")):
        arrays = {name: torch.from_numpy(read_shards(folder, [number], name)) for name in RECORDED}
        record = HeadRecord(**arrays)
        before_mlp = store.readout.class_tokens(record)[:, 1:] - record.mlp_values.float()
        yield torch.stack([norm(before_mlp[:, layer]) for layer, norm in enumerate(norms)], dim=1)


def _of_axes(tensors: Mapping[str, torch.Tensor], name: str, axes: int, where: object) -> torch.Tensor:
    value = tensors.get(name)
    if value is None or value.ndim != axes:
        given = "is missing" if value is None else f"has shape {tuple(value.shape)}"
        raise InputError(
            f"{where} holds no RINE head: {name} {given}, expected {axes} axes; it holds {', '.join(list(tensors)[:8])}"
        )
    return value


def _maps(widths: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))


def _through(maps: Sequence[nn.Module] | nn.ModuleList, values: torch.Tensor) -> torch.Tensor:
    for linear in maps:
        values = functional.relu(linear(values))
    return values


def _published_names(depth: int) -> dict[str, str]:
    """Published name -> own name. Published maps stand in a row with their ReLU and dropout: every third entry."""
    names = {"alpha": "importance"}
    for kind in ("weight", "bias"):
        for i in range(depth):
            names[f"proj1.{3 * i + 1}.{kind}"] = f"project.{i}.{kind}"
            names[f"proj2.{3 * i + 1}.{kind}"] = f"refine.{i}.{kind}"
        for i in range(DECISION):
            names[f"head.{3 * i}.{kind}"] = f"decide.{i}.{kind}"
    return names
