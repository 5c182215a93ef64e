"""Vision transformers written out as other libraries name them: timm, open_clip, torchvision, Perception Encoder."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEADS, PATCH, SIDE, LAYERS = 48, 3, 8, 32, 4
PATCHES = (SIDE // PATCH) ** 2


def split(x: torch.Tensor, parts: int) -> torch.Tensor:
    """(n, t, parts · h · d) as (parts, n, h, t, d)."""
    return x.unflatten(-1, (parts, HEADS, -1)).permute(2, 0, 3, 1, 4)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.num_heads = HEADS
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return self.proj(F.scaled_dot_product_attention(*split(self.qkv(x), 3)).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return x.mul_(self.gamma)  # in place, as both libraries can


class Block(nn.Module):
    def __init__(self, scaled: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn, self.mlp = Attention(), Mlp()
        self.ls1, self.ls2 = (LayerScale(), LayerScale()) if scaled else (nn.Identity(), nn.Identity())

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class AttentionPoolLatent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.num_heads = HEADS
        self.latent = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.q, self.kv = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.proj, self.norm, self.mlp = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), Mlp()

    def forward(self, x):
        (query,) = split(self.q(self.latent.expand(len(x), -1, -1)), 1)
        x = self.proj(F.scaled_dot_product_attention(query, *split(self.kv(x), 2)).transpose(1, 2).flatten(2))
        return (x + self.mlp(self.norm(x)))[:, 0]


class TimmVisionTransformer(nn.Module):
    def __init__(self, pool: str = "token", fc_norm: bool = False, scaled: bool = True, prefix: int = 3):
        super().__init__()
        self.global_pool, self.num_prefix_tokens, self.pool_include_prefix = pool, prefix, False
        self.patch_embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.prefix = nn.Parameter(torch.randn(1, prefix, WIDTH))
        self.pos_embed = nn.Parameter(torch.randn(1, prefix + PATCHES, WIDTH))
        self.blocks = nn.Sequential(*(Block(scaled) for _ in range(LAYERS)))
        norm = nn.LayerNorm(WIDTH)
        self.norm, self.fc_norm = (nn.Identity(), norm) if fc_norm else (norm, nn.Identity())
        self.attn_pool = AttentionPoolLatent() if pool == "map" else None
        self.head = nn.Identity()

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.prefix.expand(len(x), -1, -1), x], 1) + self.pos_embed
        x = self.norm(self.blocks(x))
        patches = x[:, self.num_prefix_tokens :]
        if self.attn_pool is not None:
            x = self.attn_pool(patches)
        else:
            x = x[:, 0] if self.global_pool == "token" else patches.mean(1)
        return self.head(self.fc_norm(x))


TimmVisionTransformer.__name__ = "VisionTransformer"


class ResidualAttentionBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.ls_1, self.ls_2 = LayerScale(), LayerScale()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.ls_1(self.attn(y, y, y, need_weights=False)[0])
        return x + self.ls_2(self.mlp(self.ln_2(x)))


class AttentionPooling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.attn, self.layernorm = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x):
        x = self.attn(self.probe.repeat(len(x), 1, 1), x, x, need_weights=False)[0]
        return x + self.mlp(self.layernorm(x))


class OpenVisionTransformer(nn.Module):
    """open_clip's tower, and with `pool_type="attn"` the Perception Encoder's."""

    def __init__(self, pool_type: str = "tok"):
        super().__init__()
        self.pool_type = pool_type
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn(1 + PATCHES, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.resblocks = nn.ModuleList(ResidualAttentionBlock() for _ in range(LAYERS))
        self.attn_pool = AttentionPooling() if pool_type == "attn" else None
        self.proj = nn.Parameter(WIDTH**-0.5 * torch.randn(WIDTH, 20))

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.resblocks:
            x = block(x)
        x = self.ln_post(x)
        return (x[:, 0] if self.attn_pool is None else self.attn_pool(x).squeeze(1)) @ self.proj


OpenVisionTransformer.__name__ = "VisionTransformer"


class MLPBlock(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))


class EncoderBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.self_attention, self.mlp = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), MLPBlock()

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class TorchvisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.encoder = nn.ModuleDict(
            {"layers": nn.Sequential(*(EncoderBlock() for _ in range(LAYERS))), "ln": nn.LayerNorm(WIDTH)}
        )

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)
        return self.encoder["ln"](self.encoder["layers"](x))[:, 0]


TorchvisionTransformer.__name__ = "VisionTransformer"


class MeanOfNormed(nn.Module):
    """RMSNorm of each token, then the mean: no known family; it needs a `Family` of the user's."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.blocks = nn.ModuleList(ResidualAttentionBlock() for _ in range(LAYERS))
        self.norm, self.to_joint = nn.RMSNorm(WIDTH, eps=1e-6), nn.Linear(WIDTH, 20)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.to_joint(self.norm(x).mean(1))
