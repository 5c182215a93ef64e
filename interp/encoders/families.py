"""What each model family calls its parts, and how it makes one vector of many tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from interp.errors import unknown_name

Pooling = Literal["class", "mean", "mean then norm", "attention"]
POOLINGS = ("class", "mean", "mean then norm", "attention")


@dataclass(frozen=True)
class Family:
    """The names that one family of pre-norm vision transformers gives its parts: all that a model of your own needs.

    Parts are found by class name inside the tower (several names for one part: `"A|B"`), and by attribute
    name where a class says too little. Attributes may be dotted.

    Attributes:
        name: what the family is called in messages and stores.
        tower: class of the module that holds the blocks and the final norm.
        block: class of one pre-norm transformer block; with attention pooling, of the pooling head.
        attention: class of the attention inside a block; `torch.nn.MultiheadAttention` too.
        output_projection: attribute of the attention: the Linear that reads all heads side by side (W_O).
        mlp: class of the MLP inside a block, whose output is added to the residual stream; empty if none.
        final_norm: attribute of the tower: the LayerNorm or RMSNorm behind the last block; empty if none.
        projection: attribute, on the tower or on a module around it, of the Linear, or of the (D, P)
            parameter, into the joint image-text space; empty where the family has none.
        attention_scale, mlp_scale: attributes of the block: layer scale on the attention's and on the MLP's
            output, a parameter or a module with one; empty where the family has none.
        pooling: how the tokens become one vector. "class": token 0. "mean": the final norm of each token,
            then the mean. "mean then norm": the mean, then the final norm. "attention": a pooling head whose
            own query reads all tokens; its heads are then the ones recorded.
        prefix_tokens: how many leading tokens (class, registers) a mean leaves out: a number, or the tower's
            attribute that holds it.
        only_if: (attribute, value) pairs: what the tower's attributes must be, where it has them.

    Example: a transformer written by hand, with one query-key-value Linear and layer scale.

    >>> import torch
    >>> from torch import nn
    >>> from interp import Encoder, Family, Preprocessing
    >>> class SelfAttention(nn.Module):
    ...     def __init__(self, width, heads):
    ...         super().__init__()
    ...         self.num_heads = heads
    ...         self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
    ...     def forward(self, x):
    ...         q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
    ...         return self.proj(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    >>> class FeedForward(nn.Sequential):
    ...     def __init__(self, width):
    ...         super().__init__(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
    >>> class Layer(nn.Module):
    ...     def __init__(self, width, heads):
    ...         super().__init__()
    ...         self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
    ...         self.attention, self.mlp = SelfAttention(width, heads), FeedForward(width)
    ...         self.scale1, self.scale2 = nn.Parameter(torch.rand(width)), nn.Parameter(torch.rand(width))
    ...     def forward(self, x):
    ...         x = x + self.scale1 * self.attention(self.norm1(x))
    ...         return x + self.scale2 * self.mlp(self.norm2(x))
    >>> class MyViT(nn.Module):
    ...     def __init__(self, width=24, heads=3, layers=2):
    ...         super().__init__()
    ...         self.patches = nn.Conv2d(3, width, 8, stride=8)
    ...         self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
    ...         self.norm = nn.LayerNorm(width)
    ...     def forward(self, x):
    ...         return self.norm(self.layers(self.patches(x).flatten(2).transpose(1, 2))).mean(1)
    >>> mine = Family("mine", tower="MyViT", block="Layer", attention="SelfAttention", output_projection="proj",
    ...               mlp="FeedForward", final_norm="norm", attention_scale="scale1", mlp_scale="scale2",
    ...               pooling="mean")

    Check it: the parts must sum to the model's own embedding.

    >>> encoder = Encoder(MyViT(), Preprocessing.clip(32), name="my-vit", family=mine)
    >>> images = torch.rand(2, 3, 32, 32)
    >>> parts = encoder.decompose(images)
    >>> bool(parts.error().max() < 1e-5), torch.allclose(parts.embedding, encoder.model(images), atol=1e-6)
    (True, True)
    """

    name: str
    tower: str
    block: str
    attention: str
    output_projection: str
    mlp: str
    final_norm: str
    projection: str = ""
    attention_scale: str = ""
    mlp_scale: str = ""
    pooling: Pooling = "class"
    prefix_tokens: int | str = 0
    only_if: tuple[tuple[str, object], ...] = ()

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise unknown_name("pooling", self.pooling, POOLINGS)


def _like_clip(name: str, prefix: str, attention: str = "Attention") -> Family:
    return Family(
        name,
        tower=f"{prefix}VisionModel",
        block=f"{prefix}EncoderLayer",
        attention=prefix + attention,
        output_projection="out_proj",
        mlp=f"{prefix}MLP",
        final_norm="post_layernorm",
        projection="visual_projection",
    )


def _like_vit(name: str, prefix: str, **more: object) -> Family:
    names = {"mlp": f"{prefix}MLP", "final_norm": "layernorm", **more}
    return Family(
        name,
        f"{prefix}Model",
        f"{prefix}Layer",
        f"{prefix}Attention",
        "o_proj",
        **names,  # type: ignore[arg-type]
    )


def _like_siglip(name: str, prefix: str) -> Family:
    return Family(
        name,
        tower=f"{prefix}VisionModel",
        block=f"{prefix}MultiheadAttentionPoolingHead",
        attention="MultiheadAttention",
        output_projection="out_proj",
        mlp=f"{prefix}MLP",
        final_norm="",
        pooling="attention",
    )


def _like_timm(tower: str, block: str, attention: str, scales: tuple[str, str]) -> tuple[Family, ...]:
    """One description for each way in which `timm` pools: by class token, mean or attention."""
    trunk = {"tower": tower, "block": block, "attention": attention, "output_projection": "proj"}
    trunk |= {"mlp": "Mlp|GluMlp|SwiGLU", "attention_scale": scales[0], "mlp_scale": scales[1]}
    pool = {"tower": tower, "block": "AttentionPoolLatent", "attention": "AttentionPoolLatent"}
    pool |= {"output_projection": "proj", "mlp": "Mlp", "final_norm": "", "pooling": "attention"}
    pool |= {"projection": "head" if tower == "Eva" else ""}  # Perception Encoder; elsewhere a classifier
    token = {"only_if": (("global_pool", "token"), ("head_dist", None))}  # distilled: two tokens averaged
    mean = {"prefix_tokens": "num_prefix_tokens"}
    mean |= {"only_if": (("global_pool", "avg"), ("pool_include_prefix", False))}
    return (
        Family("timm", final_norm="norm", **trunk, **token),  # type: ignore[arg-type]
        Family("timm", final_norm="fc_norm", **trunk, **token),  # type: ignore[arg-type]
        Family("timm", final_norm="fc_norm", pooling="mean then norm", **trunk, **mean),  # type: ignore[arg-type]
        Family("timm", final_norm="norm", pooling="mean", **trunk, **mean),  # type: ignore[arg-type]
        Family("timm", only_if=(("global_pool", "map"),), **pool),  # type: ignore[arg-type]
    )


_LAYER_SCALE = {"attention_scale": "layer_scale1", "mlp_scale": "layer_scale2"}
_BEIT_SCALE = {"attention_scale": "lambda_1", "mlp_scale": "lambda_2"}

FAMILIES: tuple[Family, ...] = (
    _like_clip("clip", "CLIP"),
    _like_clip("metaclip_2", "MetaClip2"),
    _like_vit("vit", "ViT"),
    _like_vit("deit", "DeiT"),
    _like_vit("vit_msn", "ViTMSN"),
    _like_vit("beit", "Beit", **_BEIT_SCALE),
    _like_vit(
        "beit",
        "Beit",
        **_BEIT_SCALE,
        pooling="mean then norm",
        final_norm="pooler.layernorm",
        prefix_tokens=1,
    ),
    _like_vit("dinov2", "Dinov2", mlp="Dinov2MLP|Dinov2SwiGLUFFN", **_LAYER_SCALE),
    _like_vit(
        "dinov2_with_registers",
        "Dinov2WithRegisters",
        mlp="Dinov2WithRegistersMLP|Dinov2WithRegistersSwiGLUFFN",
        **_LAYER_SCALE,
    ),
    _like_vit("dinov3", "DINOv3ViT", mlp="DINOv3ViTMLP|DINOv3ViTGatedMLP", final_norm="norm", **_LAYER_SCALE),
    _like_vit("ijepa", "IJepa", pooling="mean"),
    _like_siglip("siglip", "Siglip"),
    _like_siglip("siglip2", "Siglip2"),
    Family(
        "aimv2",
        tower="Aimv2VisionModel",
        block="Aimv2AttentionPoolingHead",
        attention="Aimv2AttentionPoolingHead",
        output_projection="output_proj",
        mlp="",
        final_norm="",
        projection="visual_projection",
        pooling="attention",
    ),
    *_like_timm("VisionTransformer", "Block", "Attention", ("ls1", "ls2")),
    *_like_timm("Beit", "Block", "Attention", ("gamma_1", "gamma_2")),
    *_like_timm("Eva", "EvaBlock", "EvaAttention|AttentionRope", ("gamma_1", "gamma_2")),
    Family(
        "perception-encoder",
        tower="VisionTransformer",
        block="AttentionPooling",
        attention="MultiheadAttention",
        output_projection="out_proj",
        mlp="Sequential",
        final_norm="",
        projection="proj",
        pooling="attention",
    ),
    Family(
        "open_clip",
        tower="VisionTransformer",
        block="ResidualAttentionBlock",
        attention="MultiheadAttention",
        output_projection="out_proj",
        mlp="Sequential",
        final_norm="ln_post",
        projection="proj",
        attention_scale="ls_1",
        mlp_scale="ls_2",
        only_if=(("pool_type", "tok"), ("attn_pool", None)),
    ),
    Family(
        "torchvision",
        tower="VisionTransformer",
        block="EncoderBlock",
        attention="MultiheadAttention",
        output_projection="out_proj",
        mlp="MLPBlock",
        final_norm="encoder.ln",
    ),
)
"""Every family that is known by name; the first one that fits a model is taken."""


def family(name: str) -> Family:
    """A known family by its name, to change a field of it with `dataclasses.replace`.

    Raises:
        InputError: no such family; the nearest one is named.

    The mean over the patches of a DINOv2, in place of its class token:

    >>> from dataclasses import replace
    >>> replace(family("dinov2"), pooling="mean", prefix_tokens=1).final_norm
    'layernorm'
    """
    found = next((known for known in FAMILIES if known.name == name), None)
    if found is None:
        raise unknown_name("family", name, {known.name for known in FAMILIES})
    return found
