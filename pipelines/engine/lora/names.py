"""Normalise LoRA layer names to diffusers' paths with `_` for `.`."""

import re

_COMPONENTS = (  # how files begin the names of a component's layers; the longer one first
    ("lora_unet_", "unet"),
    ("unet_", "unet"),
    ("base_model_model_text_model_", "text_encoder"),
    ("base_model_model_", "unet"),
    ("lycoris_", "unet"),
    ("diffusion_model_", "unet"),
    ("text_model_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("text_encoder_2_", "text_encoder_2"),
    ("clip_g_", "text_encoder_2"),
    ("lora_te1_", "text_encoder"),
    ("lora_te_", "text_encoder"),
    ("text_encoder_", "text_encoder"),
    ("clip_l_", "text_encoder"),
)
_RENAMES = (
    ("_processor_", "_"),
    ("_temporal_transformer_", "_"),
    ("_attention_blocks_0_", "_attn1_"),
    ("_attention_blocks_1_", "_attn2_"),
)
_TEXT_RENAMES = tuple((f"_self_attn_to_{part}", f"_self_attn_{part}_proj") for part in ("q", "k", "v", "out"))
_FIRST_RELEASE_RESNET = {
    "in_layers_0": "norm1",
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_0": "norm2",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}
_FIRST_RELEASE_ENDS = {
    "input_blocks_0_0": "conv_in",
    "out_0": "conv_norm_out",
    "out_2": "conv_out",
    "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2",
    "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2",
}


def flatten_name(name: str) -> tuple[str, str]:
    """Return component and flattened name of a layer.

    Example:
        >>> flatten_name("mid_block.motion_modules.0.temporal_transformer.proj_in")
        ('unet', 'mid_block_motion_modules_0_proj_in')
        >>> flatten_name("lora_te2_text_model_encoder_layers_0_mlp_fc1")
        ('text_encoder_2', 'encoder_layers_0_mlp_fc1')
    """
    flat = name.replace(".", "_")
    prefix, component = next(((start, kind) for start, kind in _COMPONENTS if flat.startswith(start)), ("", "unet"))
    flat = flat.removeprefix(prefix)
    for old, new in _RENAMES if component == "unet" else _TEXT_RENAMES:
        flat = flat.replace(old, new)
    return component, _from_first_release(flat) if component == "unet" else flat.removeprefix("text_model_")


def _from_first_release(name: str) -> str:
    """Convert a first-release UNet layer name to diffusers'; leave others.

    There a block is three entries of one list, the third its down- or upsampler (two layers a block, as in
    Stable Diffusion 1.5 and XL).

    Example:
        >>> _from_first_release("input_blocks_4_1_proj_in"), _from_first_release("output_blocks_5_0_in_layers_2")
        ('down_blocks_1_attentions_0_proj_in', 'up_blocks_1_resnets_2_conv1')
    """
    if end := _FIRST_RELEASE_ENDS.get(name):
        return end
    if match := re.fullmatch(r"middle_block_([012])_(.+)", name):
        part, rest = ("resnets_0", "attentions_0", "resnets_1")[int(match[1])], match[2]
        return f"mid_block_{part}_{_FIRST_RELEASE_RESNET.get(rest, rest)}"
    if not (match := re.fullmatch(r"(input|output)_blocks_(\d+)_(\d)_(.+)", name)):
        return name
    side, index, part, rest = match[1], int(match[2]), match[3], match[4]
    if rest == "op":
        return f"down_blocks_{index // 3 - 1}_downsamplers_0_conv"
    if rest == "conv":
        return f"up_blocks_{index // 3}_upsamplers_0_conv"
    block, layer = divmod(index - (side == "input"), 3)
    kind = "resnets" if part == "0" else "attentions"
    rest = _FIRST_RELEASE_RESNET.get(rest, rest)
    return f"{'down' if side == 'input' else 'up'}_blocks_{block}_{kind}_{layer}_{rest}"
