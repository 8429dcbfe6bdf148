"""Kinds of weights files, told by names that published files have."""

import pytest

from pipelines.plan.model_files.kinds import BELONGS, FOLDERS, READERS, WeightsKind, tell_kind, wrong_kind

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
        ("something.else.weight", WeightsKind.UNKNOWN),
    ],
)
def test_a_kind_is_told_by_one_typical_name(name, kind):
    assert tell_kind([name]) is kind


def test_a_sparse_ctrl_encoder_is_no_motion_module():
    assert tell_kind(["controlnet_cond_embedding.weight", f"{T}.norm.weight"]) is WeightsKind.SPARSE_CTRL


def test_an_ip_adapter_is_told_by_its_two_halves():
    assert tell_kind(["image_proj.latents", "ip_adapter.1.to_k_ip.weight"]) is WeightsKind.IP_ADAPTER


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["lora_unet_a.diff", "lora_unet_a.diff_b"], WeightsKind.SPATIAL_LORA),
        (["lora_unet_a.hada_w1_a"], WeightsKind.SPATIAL_LORA),
        (["base_model.model.down_blocks.0.attentions.0.proj_in.lokr_w1"], WeightsKind.SPATIAL_LORA),
        (["unet.down_blocks.0.attentions.0.proj_in.lora_A.default_0.weight"], WeightsKind.SPATIAL_LORA),
        (["lora_unet_a.weight", "lora_unet_a.on_input"], WeightsKind.IA3),
        (["lora_unet_a.oft_blocks"], WeightsKind.OFT),
        (["lora_unet_a.a1.weight", "lora_unet_a.b1.weight"], WeightsKind.GLORA),
        (["unet:0:up", "unet:0:down"], WeightsKind.NUMBERED_LORA),
        (["lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight"], WeightsKind.FLUX_LORA),
        (["transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"], WeightsKind.FLUX_LORA),
        (["lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight"], WeightsKind.SD3_LORA),
        (["diffusion_model.blocks.0.self_attn.q.lora_A.weight"], WeightsKind.WAN_LORA),
        (["lora_unet_blocks_0_cross_attn_k.lora_down.weight"], WeightsKind.WAN_LORA),
        (["lora_unet_double_blocks_0_img_mlp_fc1.lora_down.weight"], WeightsKind.HUNYUAN_LORA),
        (["transformer.transformer_blocks.0.attn.add_k_proj.lora_A.weight"], WeightsKind.TRANSFORMER_LORA),
        (["lora_controlnet", "input_hint_block.0.weight", "input_blocks.1.0.in_layers.2.up"], WeightsKind.CONTROL_LORA),
        (["lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.down.0.weight"], WeightsKind.CONTROL_LLLITE),
        (["body.0.block1.weight", "body.4.in_conv.weight", "conv_in.weight"], WeightsKind.T2I_ADAPTER),
        (["adapter.conv_in.weight", "adapter.body.0.resnets.0.block1.weight"], WeightsKind.T2I_ADAPTER),
        (["controlnet_cond_embedding.conv_in.weight", "task_embedding"], WeightsKind.CONTROLNET_UNION),
        (["down_blocks.0.base_to_ctrl.0.weight"], WeightsKind.CONTROLNET_XS),
        (["controlnet_blocks.0.weight", "transformer_blocks.0.attn.to_q.weight"], WeightsKind.TRANSFORMER_CONTROL),
        (["image_proj.proj.0.weight", "ip_adapter.1.to_k_ip.weight"], WeightsKind.FACE_ADAPTER),
        (["image_proj.perceiver_resampler.latents", "ip_adapter.0.to_q_lora.down.weight"], WeightsKind.FACE_ADAPTER),
        (["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"], WeightsKind.IP_ADAPTER),
        (["vision_model.embeddings.class_embedding"], WeightsKind.IMAGE_ENCODER),
        (["text_model.encoder.layers.0.mlp.fc1.weight"], WeightsKind.TEXT_ENCODER),
        (["conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.0.resnets.0.norm1.bias"], WeightsKind.UNET),
        (["double_blocks.0.img_attn.qkv.weight"], WeightsKind.TRANSFORMER),
        (["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"], WeightsKind.TRANSFORMER),
        (["first_stage_model.decoder.conv_in.weight"], WeightsKind.VAE),
        (["conv_first.weight", "body.0.rdb1.conv1.weight"], WeightsKind.UPSCALER),
        (["model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"], WeightsKind.UPSCALER),
        (["body.0.weight", "body.0.bias", "body.1.weight"], WeightsKind.UPSCALER),
        (["pretrained.model.cls_token", "scratch.layer1_rn.weight"], WeightsKind.ANNOTATOR),
        (["<style.v2>"], WeightsKind.TEXTUAL_INVERSION),
        (["Gute Farbe, 2.0"], WeightsKind.TEXTUAL_INVERSION),
        (["clip_g", "clip_l"], WeightsKind.TEXTUAL_INVERSION),
        (["clip_g", "other.weight"], WeightsKind.UNKNOWN),
        ([], WeightsKind.UNKNOWN),
    ],
)  # fmt: skip
def test_a_kind_is_told_by_typical_names(names, kind):
    assert tell_kind(names) is kind


def test_every_kind_has_a_place_or_what_to_choose_instead():
    assert BELONGS.keys() == set(WeightsKind)
    assert set(FOLDERS.values()) >= {folder for _, folders in READERS.values() for folder in folders}


@pytest.mark.parametrize("field", READERS)
@pytest.mark.parametrize("kind", WeightsKind)
def test_no_refusal_sends_a_file_where_it_was_read_from(field, kind):
    words, folders = READERS[field]
    text = str(wrong_kind(kind, field=field, name="some.safetensors"))
    assert text.startswith(f"{field} must be {words}, got 'some.safetensors', which is {kind}")
    assert not any(f"'{folder}'" in text for folder in folders)
    assert ("in a form that is not known here" in text) == (FOLDERS.get(kind) in folders)


def test_a_part_of_what_a_field_takes_can_be_wanted():
    text = str(wrong_kind(WeightsKind.CONTROLNET, field="controls", name="a", expected=WeightsKind.SPARSE_CTRL))
    assert text == "controls must be a SparseCtrl encoder, got 'a', which is a ControlNet. Choose another file."
