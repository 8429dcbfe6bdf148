"""Names of tensors: from diffusers' back to those that authors published single files under."""

import re

import torch


def replaced(name: str, replacements: dict[str, str]) -> str:
    """The name with every pattern replaced, in order."""
    for pattern, replacement in replacements.items():
        name = re.sub(pattern, replacement, name)
    return name


def bare(name: str) -> str:
    """The name of a text encoder's tensor without the model's part, which some versions of it have."""
    return name.removeprefix("text_model.")


_RESNET = {
    r"\.norm1\.": ".in_layers.0.",
    r"\.conv1\.": ".in_layers.2.",
    r"\.time_emb_proj\.": ".emb_layers.1.",
    r"\.norm2\.": ".out_layers.0.",
    r"\.conv2\.": ".out_layers.3.",
    r"\.conv_shortcut\.": ".skip_connection.",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def ldm_unet(name: str, first_upsampler: int) -> str:
    """The published name; `first_upsampler` is the first up block's one's place, which depends on attention there."""
    for new, old in _UNET_ENDS.items():
        if name.startswith(new + "."):
            return name.replace(new, old, 1)
    if "resnets" in name:
        name = replaced(name, _RESNET)
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        return f"middle_block.{1 if match[1] == 'attentions' else 2 * int(match[2])}.{match[3]}"
    match = re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", name)
    assert match
    side, block, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if kind == "downsamplers":
        return f"input_blocks.{3 * block + 3}.0.{rest.replace('conv', 'op', 1)}"
    if kind == "upsamplers":
        return f"output_blocks.{3 * block + 2}.{first_upsampler if block == 0 else 2}.{rest}"
    part = 0 if kind == "resnets" else 1
    return f"{'input' if side == 'down' else 'output'}_blocks.{3 * block + layer + (side == 'down')}.{part}.{rest}"


def ldm_control(name: str) -> str:
    """The published name of a ControlNet's tensor, without its prefix."""
    if match := re.match(r"controlnet_down_blocks\.(\d+)\.(.*)", name):
        return f"zero_convs.{match[1]}.0.{match[2]}"
    if match := re.match(r"controlnet_cond_embedding\.blocks\.(\d+)\.(.*)", name):
        return f"input_hint_block.{2 * int(match[1]) + 2}.{match[2]}"
    ends = {
        r"^controlnet_mid_block\.": "middle_block_out.0.",
        r"^controlnet_cond_embedding\.conv_in\.": "input_hint_block.0.",
        r"^controlnet_cond_embedding\.conv_out\.": "input_hint_block.14.",
    }
    renamed = replaced(name, ends)
    return renamed if renamed != name else ldm_unet(name, 1)


_OPEN_CLIP = {
    r"^text_model\.": "",
    r"^embeddings\.token_embedding\.": "token_embedding.",
    r"^embeddings\.position_embedding\.weight": "positional_embedding",
    r"^encoder\.layers\.": "transformer.resblocks.",
    r"^final_layer_norm\.": "ln_final.",
    r"^text_projection\.weight": "text_projection",
    r"\.layer_norm(\d)\.": r".ln_\1.",
    r"\.mlp\.fc1\.": ".mlp.c_fc.",
    r"\.mlp\.fc2\.": ".mlp.c_proj.",
    r"\.self_attn\.out_proj\.": ".attn.out_proj.",
}


def open_clip(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A text encoder under OpenCLIP's names: queries, keys and values in one, the projection the other way round."""
    renamed = {replaced(name, _OPEN_CLIP): tensor for name, tensor in weights.items()}
    by_name = {name: tensor for name, tensor in renamed.items() if ".self_attn." not in name}
    by_name["text_projection"] = by_name["text_projection"].T
    for name in weights:
        if match := re.match(r"text_model\.encoder\.layers\.(\d+)\.self_attn\.q_proj\.(\w+)", name):
            parts = [weights[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            by_name[f"transformer.resblocks.{match[1]}.attn.in_proj_{match[2]}"] = torch.cat(parts)
    return by_name


_VAE = {
    r"mid_block\.resnets\.0": "mid.block_1",
    r"mid_block\.resnets\.1": "mid.block_2",
    r"mid_block\.attentions\.0": "mid.attn_1",
    r"down_blocks\.(\d)\.resnets": r"down.\1.block",
    r"down_blocks\.(\d)\.downsamplers\.0": r"down.\1.downsample",
    r"up_blocks\.(\d)\.resnets": r"up.\1.block",
    r"up_blocks\.(\d)\.upsamplers\.0": r"up.\1.upsample",
    r"\.group_norm\.": ".norm.",
    r"\.to_([qkv])\.": r".\1.",
    r"\.to_out\.0\.": ".proj_out.",
    "conv_shortcut": "nin_shortcut",
    "conv_norm_out": "norm_out",
}


def ldm_vae(name: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor]:
    """The published name of a VAE's tensor, and its shape there: attention's matrices are convolutions."""
    is_matrix = "attentions" in name and tensor.ndim == 2
    old = replaced(name, _VAE)
    old = re.sub(r"\bup\.(\d)", lambda match: f"up.{3 - int(match[1])}", old)  # counted from the other end
    return f"first_stage_model.{old}", tensor[:, :, None, None] if is_matrix else tensor
