"""From head values to the embedding: the exact decomposition of an image's token behind a final norm.

With the final LayerNorm's mean and standard deviation taken as each image's own constants, the embedding is
linear in everything that was added to the residual stream (Gandelsman, Efros & Steinhardt 2024, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from interp.encoders.family import Parts
from interp.encoders.layout import HeadLayout
from interp.encoders.recorder import HeadRecord
from interp.errors import unknown_name

if TYPE_CHECKING:
    Centering = Literal["own", "shared"]


@dataclass(frozen=True)
class Decomposition:
    """An embedding as a sum: heads + MLPs + first residual + bias, for each of n images.

    Attributes:
        embedding: (n, P), float32: the model's own embedding.
        heads: (n, l, h, P): what each head adds to it.
        mlps: (n, l, P): what each MLP adds.
        first: (n, P): what the residual stream brought into the first block adds.
        bias: (n, P): the attention output biases and the final LayerNorm's and projection's biases. It
            depends on the image, because the biases pass through its LayerNorm's standard deviation.
    """

    embedding: torch.Tensor
    heads: torch.Tensor
    mlps: torch.Tensor
    first: torch.Tensor
    bias: torch.Tensor

    def total(self) -> torch.Tensor:
        """The sum of all parts, (n, P)."""
        return self.heads.sum((1, 2)) + self.mlps.sum(1) + self.first + self.bias

    def error(self) -> torch.Tensor:
        """‖sum of parts − embedding‖ / ‖embedding‖ of each image, (n,)."""
        return (self.total() - self.embedding).norm(dim=-1) / self.embedding.norm(dim=-1)


@dataclass(frozen=True)
class Readout:
    """The weights that carry what was recorded into the embedding, all float32.

    Attributes:
        output_weight: (l, h, d, D): W_O of each head.
        output_bias: (l, D): bias of each attention output.
        norm_weight, norm_bias: (D,): the final LayerNorm's gamma and beta.
        projection: (D, P): into the joint space; the identity where the model has none.
        projection_bias: (P,).
        centred: whether the final norm subtracts the mean, as LayerNorm does; not so behind an RMSNorm or none.

    Layer scale is folded in: it multiplies the last axis of output_weight and output_bias.
    """

    output_weight: torch.Tensor
    output_bias: torch.Tensor
    norm_weight: torch.Tensor
    norm_bias: torch.Tensor
    projection: torch.Tensor
    projection_bias: torch.Tensor
    centred: bool = True

    @classmethod
    def of(cls, parts: Parts) -> Readout:
        """Copy the weights out of a model's parts, as float32 on the CPU."""

        def copy(tensor: torch.Tensor | None, *zeros: int) -> torch.Tensor:
            return torch.zeros(*zeros) if tensor is None else tensor.detach().float().cpu().clone()

        norm, outputs, linear = parts.final_norm, parts.output_projections, parts.projection
        wide = int(outputs[0].out_features)  # type: ignore[arg-type]
        scales = torch.stack(
            [torch.ones(wide) if s is None else copy(s).expand(wide) for s in parts.attention_scales]
        )
        if isinstance(linear, torch.nn.Parameter):
            projection = copy(linear)
        else:
            projection = torch.eye(wide) if linear is None else copy(linear.weight).T  # type: ignore[arg-type]
        per_head = (parts.heads, parts.width)
        weight = torch.stack([copy(o.weight).T.unflatten(0, per_head) for o in outputs])  # type: ignore[arg-type]
        gamma = None if norm is None else norm.weight
        return cls(
            output_weight=weight * scales[:, None, None],
            output_bias=torch.stack([copy(o.bias, wide) for o in outputs]) * scales,  # type: ignore[arg-type]
            norm_weight=torch.ones(wide) if gamma is None else copy(gamma),  # type: ignore[arg-type]
            norm_bias=copy(getattr(norm, "bias", None), wide),
            projection=projection.contiguous(),
            projection_bias=copy(getattr(linear, "bias", None), projection.shape[1]),
            centred=parts.centred,
        )

    @property
    def layout(self) -> HeadLayout:
        """How many layers and heads there are, and how wide a head is."""
        layers, heads, width, _ = self.output_weight.shape
        return HeadLayout(layers, heads, width)

    @cached_property
    def outward(self) -> torch.Tensor:
        """(D, P): final norm's centring (if it has one), gamma and the projection in one matrix, before ÷ std."""
        carried = self.norm_weight[:, None] * self.projection
        return carried - carried.mean(0) if self.centred else carried

    @cached_property
    def folded(self) -> torch.Tensor:
        """(l, h, d, P): one matrix for each head; head values ÷ norm_std times it are the head embedding."""
        return self.output_weight @ self.outward

    def heads(self, head_values: torch.Tensor, norm_std: torch.Tensor) -> torch.Tensor:
        """Head embeddings (n, l, h, P) from head values (n, l, h, d) and LayerNorm std (n,)."""
        folded = self.folded.to(head_values.device)
        return torch.einsum("nlhd,lhdp->nlhp", head_values.float(), folded) / norm_std[:, None, None, None]

    def residual(self, terms: torch.Tensor, norm_std: torch.Tensor) -> torch.Tensor:
        """What any terms of the residual stream (n, …, D) add to the embedding, (n, …, P)."""
        std = norm_std.reshape(-1, *[1] * (terms.ndim - 1))
        return terms.float() @ self.outward.to(terms.device) / std

    def bias(self, norm_std: torch.Tensor) -> torch.Tensor:
        """The part of the embedding (n, P) that no head, MLP or input wrote."""
        attention = self.output_bias.sum(0) @ self.outward
        constant = self.norm_bias @ self.projection + self.projection_bias
        return attention.to(norm_std.device) / norm_std[:, None] + constant.to(norm_std.device)

    def decompose(self, record: HeadRecord, centering: Centering = "own") -> Decomposition:
        """Split each embedding of a record into its parts; they sum to it exactly.

        Args:
            record: what a `HeadRecorder` took.
            centering: LayerNorm's mean is linear, so with "own" each term loses its own mean; with
                "shared" the total's mean is shared out equally over attention layers, MLPs and the first
                residual, and an attention layer's share equally over its heads, as the original CLIP
                decomposition does. Behind a norm that does not centre, the two are the same.

        Raises:
            InputError: another centering.
        """
        if centering not in ("own", "shared"):
            raise unknown_name("centering", centering, ["own", "shared"])
        std = record.norm_std
        heads = self.heads(record.head_values, std)
        mlps = self.residual(record.mlp_values, std)
        first = self.residual(record.first, std)
        bias = self.bias(std)
        if centering == "shared" and self.centred:
            layers, n_heads = heads.shape[1:3]
            ones = (self.norm_weight @ self.projection).to(std.device) / std[
                :, None
            ]  # image of 1 · (1, …, 1)
            share = record.norm_mean / (2 * layers + 1)
            written = torch.einsum(
                "nlhd,lhd->nlh", record.head_values.float(), self.output_weight.mean(-1).to(std.device)
            )
            excess = written - share[:, None, None] / n_heads
            heads = heads + excess[..., None] * ones[:, None, None]
            mlps = mlps + (record.mlp_values.float().mean(-1) - share[:, None])[..., None] * ones[:, None]
            first = first + (record.first.float().mean(-1) - share)[:, None] * ones
            bias = bias + self.output_bias.sum(0).mean().to(std.device) * ones
        return Decomposition(record.embedding, heads, mlps, first, bias)

    def class_tokens(self, record: HeadRecord) -> torch.Tensor:
        """The class token as it enters the first block and after each block, (n, l + 1, D)."""
        weight = self.output_weight.to(record.first.device)
        attention = torch.einsum("nlhd,lhdm->nlm", record.head_values.float(), weight)
        steps = attention + self.output_bias.to(attention.device) + record.mlp_values.float()
        return torch.cat([record.first.float()[:, None], steps], dim=1).cumsum(1)

    def next_to_last(self, record: HeadRecord) -> torch.Tensor:
        """The class token behind the final LayerNorm and before the projection, (n, D)."""
        token = self.class_tokens(record)[:, -1]
        centred = (token - record.norm_mean[:, None]) / record.norm_std[:, None]
        return centred * self.norm_weight.to(token.device) + self.norm_bias.to(token.device)

    def save(self, path: Path) -> None:
        """Write the weights as one safetensors file."""
        from safetensors.torch import save_file

        save_file({f.name: torch.as_tensor(getattr(self, f.name)).contiguous() for f in fields(self)}, path)

    @classmethod
    def load(cls, path: Path) -> Readout:
        """Read the weights back from `save`'s file; one written before `centred` was kept is a LayerNorm's."""
        from safetensors.torch import load_file

        found = load_file(path)
        return cls(**{**found, "centred": bool(found.get("centred", True))})
