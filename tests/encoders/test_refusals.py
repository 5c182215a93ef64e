"""What cannot be taken apart is refused with its class, the reason, what can still be done, and the nearest family."""

from __future__ import annotations

import pytest
import transformers
from tiny_models import PIXELS, SHAPE
from torch import nn
from written_vits import OpenVisionTransformer, TimmVisionTransformer

from interp.encoders.families import Family
from interp.encoders.family import find_parts
from interp.errors import InputError

STILL = "embedding can still be used wherever one vector for each image is read; its heads cannot"
SWIN = {"embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2], "image_size": 32, "patch_size": 4}
BERT = {**SHAPE, "vocab_size": 9}


@pytest.mark.parametrize(
    ("name", "config", "reason"),
    [
        ("SwinModel", SWIN, "merged from stage to stage"),
        ("ConvNextModel", {"hidden_sizes": [8, 8], "depths": [1, 1], "num_stages": 2}, "convolutions"),
        ("ResNetModel", {"hidden_sizes": [8, 8], "depths": [1, 1], "embedding_size": 8}, "convolutions"),
        ("BertModel", BERT, "on the residual stream after every layer"),
        ("ViTMAEModel", {**SHAPE, **PIXELS}, "hides three quarters"),
    ],
)
def test_a_model_without_such_a_sum_is_named_with_its_reason(name, config, reason):
    kind = getattr(transformers, name)
    with pytest.raises(InputError, match=rf"the heads of {name} .*{reason}.*{STILL}"):
        find_parts(kind(kind.config_class(**config)))


def test_a_known_tower_in_an_unknown_shape_says_which_part():
    siglip = transformers.SiglipVisionModel(
        transformers.SiglipVisionConfig(**SHAPE, **PIXELS, vision_use_head=False)
    )
    with pytest.raises(InputError, match=rf"SiglipMultiheadAttentionPoolingHead.*{STILL}.*pooling='mean'"):
        find_parts(siglip)
    with pytest.raises(InputError, match=rf"pool_type='avg', not 'tok'.*{STILL}"):
        find_parts(OpenVisionTransformer("avg"))
    distilled = TimmVisionTransformer()
    distilled.head_dist = nn.Identity()
    with pytest.raises(InputError, match="head_dist=Identity, not None"):
        find_parts(distilled)


def test_an_unknown_model_gets_the_nearest_family_and_what_to_describe():
    class Dinov2ModelOfMine(nn.Module):
        pass

    with pytest.raises(
        InputError, match=r"nearest is 'dinov2' \(Dinov2Model, for your Dinov2ModelOfMine\).*Family"
    ):
        find_parts(Dinov2ModelOfMine())


def described(**changes: str) -> Family:
    names = {
        "tower": "TransformerEncoder",
        "block": "TransformerEncoderLayer",
        "mlp": "",
        "final_norm": "norm",
    }
    names |= {"attention": "MultiheadAttention", "output_projection": "out_proj"}
    return Family("own", **{**names, **changes})


def test_a_description_that_does_not_fit_says_where():
    def encoder(norm_first: bool, norm: nn.Module | None = None) -> nn.Module:
        layer = nn.TransformerEncoderLayer(16, 2, 32, norm_first=norm_first)
        return nn.TransformerEncoder(layer, 1, norm=norm or nn.LayerNorm(16), enable_nested_tensor=False)

    assert len(find_parts(encoder(True), described()).blocks) == 1
    for model, changes, message in [
        (encoder(False), {}, "TransformerEncoderLayer is post-norm"),
        (encoder(True), {"attention": "Linear"}, "holds 3 Linear, expected one"),
        (encoder(True), {"output_projection": "dropout"}, "is no Linear"),
        (encoder(True), {"attention_scale": "linear1"}, "no layer scale of shape"),
        (encoder(True), {"mlp_scale": "ls"}, "no attribute 'ls'"),
        (encoder(True, nn.BatchNorm1d(16)), {}, "BatchNorm1d.*LayerNorm, an RMSNorm"),
        (encoder(True), {"block": "Block"}, "holds no Block"),
        (encoder(True), {"tower": "Encoder"}, "nearest is 'own'"),
    ]:
        with pytest.raises(InputError, match=message):
            find_parts(model, described(**changes))


def test_an_attention_that_adds_keys_of_its_own_is_refused():
    block = nn.TransformerEncoderLayer(16, 2, 32, norm_first=True)
    block.self_attn = nn.MultiheadAttention(16, 2, add_zero_attn=True)
    model = nn.TransformerEncoder(block, 1, norm=nn.LayerNorm(16), enable_nested_tensor=False)
    with pytest.raises(InputError, match="add_zero_attn cannot be recomputed"):
        find_parts(model, described())
