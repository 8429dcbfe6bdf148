"""What a weights file is, told by the names of its tensors. No torch.

People keep years of files in one folder, and a file in the wrong place should be told what it is and where
it belongs, before anything is allocated.
"""

import re
from collections.abc import Iterable
from enum import StrEnum


class WeightsKind(StrEnum):
    """Kinds of weights files, each with its name in words."""

    MOTION_MODULE = "a motion module"
    MOTION_LORA = "a motion LoRA"
    DOMAIN_ADAPTER = "AnimateDiff v3's domain adapter, a LoRA"
    SPATIAL_LORA = "a LoRA for the base model"
    TEXTUAL_INVERSION = "a textual inversion"
    SPARSE_CTRL = "a SparseCtrl encoder"
    CONTROLNET = "a ControlNet"
    IP_ADAPTER = "an IP-Adapter"
    CHECKPOINT = "a base model"
    VAE = "a VAE"
    UNKNOWN = "of no kind known here"


BELONGS: dict[WeightsKind, str] = {
    WeightsKind.MOTION_MODULE: "Put it into the models folder's 'motion_modules' and choose it as motion module",
    WeightsKind.MOTION_LORA: "Put it into the models folder's 'loras' and name it in the prompt: <lora:name:1>",
    WeightsKind.DOMAIN_ADAPTER: "Put it into the models folder's 'loras' and name it in the prompt: <lora:name:1>",
    WeightsKind.SPATIAL_LORA: "Put it into the models folder's 'loras' and name it in the prompt: <lora:name:1>",
    WeightsKind.TEXTUAL_INVERSION: "Put it into the models folder's 'embeddings' and name it in the prompt",
    WeightsKind.SPARSE_CTRL: "Put it into the models folder's 'controlnets'",
    WeightsKind.CONTROLNET: "Put it into the models folder's 'controlnets'",
    WeightsKind.IP_ADAPTER: "Put it into the models folder's 'ip_adapters'",
    WeightsKind.CHECKPOINT: "Put it into the models folder's 'base_models' and choose it as base model",
    WeightsKind.VAE: "Put it into the models folder's 'vaes'",
    WeightsKind.UNKNOWN: "Choose another file",
}
"""What to do with a file of each kind."""

_MOTION = r"(motion_modules|temporal_attentions|temporal_transformer)\."
_LORA = r"(_lora\.(down|up)|\.lora_[AB]\.|\.lora\.(down|up)|\.lora_(down|up)\.)"


def tell_kind(names: Iterable[str]) -> WeightsKind:
    """Tell a file's kind by its tensors' names.

    Example:
        >>> tell_kind(["down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"]).value
        'a motion module'
    """
    text = "\n".join(names)

    def has(pattern: str) -> bool:
        return re.search(pattern, text, re.MULTILINE) is not None

    rules = (
        (has(r"^image_proj\.") and has(r"^ip_adapter\."), WeightsKind.IP_ADAPTER),
        (has(r"^lora_(unet|te\d?)_") and not has(_MOTION), WeightsKind.SPATIAL_LORA),
        (has(_LORA) and has(r"(motion_modules|temporal)"), WeightsKind.MOTION_LORA),
        (has(r"processor\..*_lora\.(down|up)"), WeightsKind.DOMAIN_ADAPTER),
        (has(_LORA) or has(r"^lora_"), WeightsKind.SPATIAL_LORA),
        (has("controlnet_cond_embedding") and has(_MOTION), WeightsKind.SPARSE_CTRL),
        (has(_MOTION) and not has(r"^model\.diffusion_model\."), WeightsKind.MOTION_MODULE),
        (has("controlnet_cond_embedding|^control_model|input_hint_block"), WeightsKind.CONTROLNET),
        (has(r"^model\.diffusion_model\."), WeightsKind.CHECKPOINT),
        (has(r"^(emb_params|string_to_param|\*|<.*>|clip_[lg])$"), WeightsKind.TEXTUAL_INVERSION),
        (has(r"^(encoder|decoder)\.(conv_in|down_blocks|down\.|up_blocks|up\.)"), WeightsKind.VAE),
    )
    return next((kind for applies, kind in rules if applies), WeightsKind.UNKNOWN)
