"""Kinds of weights files, told by names that published files have."""

import pytest

from pipelines.weights.kinds import BELONGS, WeightsKind, tell_kind

T = "down_blocks.0.motion_modules.0.temporal_transformer"
S = "up_blocks.1.attentions.0.transformer_blocks.0"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"{T}.norm.weight", WeightsKind.MOTION_MODULE),
        ("down_blocks.0.temporal_attentions.0.norm.weight", WeightsKind.MOTION_MODULE),
        (f"{T}.transformer_blocks.0.attention_blocks.0.processor.to_q_lora.down.weight", WeightsKind.MOTION_LORA),
        (
            "up_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight",
            WeightsKind.DOMAIN_ADAPTER,
        ),
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", WeightsKind.SPATIAL_LORA),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.alpha", WeightsKind.SPATIAL_LORA),
        ("unet.down_blocks.0.attentions.0.proj_in.lora_A.weight", WeightsKind.SPATIAL_LORA),
        ("model.diffusion_model.input_blocks.0.0.weight", WeightsKind.CHECKPOINT),
        ("control_model.input_blocks.0.0.weight", WeightsKind.CONTROLNET),
        ("emb_params", WeightsKind.TEXTUAL_INVERSION),
        ("<my-cat>", WeightsKind.TEXTUAL_INVERSION),
        ("decoder.conv_in.weight", WeightsKind.VAE),
        ("something.else", WeightsKind.UNKNOWN),
    ],
)
def test_a_kind_is_told_by_one_typical_name(name, kind):
    assert tell_kind([name]) is kind


def test_a_sparse_ctrl_encoder_is_no_motion_module():
    assert tell_kind(["controlnet_cond_embedding.weight", f"{T}.norm.weight"]) is WeightsKind.SPARSE_CTRL


def test_an_ip_adapter_is_told_by_its_two_halves():
    assert tell_kind(["image_proj.latents", "ip_adapter.1.to_k_ip.weight"]) is WeightsKind.IP_ADAPTER


def test_every_kind_has_a_place():
    assert BELONGS.keys() == set(WeightsKind)
