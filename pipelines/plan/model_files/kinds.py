"""Identify a weights file's kind by its tensors' names.

People keep years of files in one folder, and a file in the wrong place should be told what it is and where it belongs,
before anything is allocated. `wrong_kind` is the one text that says so, for all who read weights.
"""

import re
from collections.abc import Iterable
from enum import StrEnum

from pipelines.plan.errors import WeightsError
from pipelines.plan.faults import Fault


class WeightsKind(StrEnum):
    """Kinds of weights files, in words; below the line unsupported."""

    MOTION_MODULE = "a motion module"
    MOTION_LORA = "a motion LoRA"
    DOMAIN_ADAPTER = "AnimateDiff v3's domain adapter, a LoRA"
    SPATIAL_LORA = "a LoRA for the base model"
    TEXTUAL_INVERSION = "a textual inversion"
    SPARSE_CTRL = "a SparseCtrl encoder"
    CONTROLNET = "a ControlNet"
    IP_ADAPTER = "an IP-Adapter"
    IMAGE_ENCODER = "an image encoder (CLIP vision)"
    CHECKPOINT = "a base model"
    VAE = "a VAE"
    UPSCALER = "a super-resolution network"
    # ------------------------------------------------------------------
    FACE_ADAPTER = "an IP-Adapter that sees faces by their recognition (FaceID, InstantID or full-face)"
    CONTROL_LORA = "a Control-LoRA"
    CONTROL_LLLITE = "a ControlNet-LLLite"
    CONTROLNET_XS = "a ControlNet-XS"
    CONTROLNET_UNION = "a ControlNet Union, one net for several kinds of pictures"
    TRANSFORMER_CONTROL = "a ControlNet for a transformer such as FLUX or Stable Diffusion 3"
    T2I_ADAPTER = "a T2I-Adapter"
    CAMERA_CTRL = "CameraCtrl's encoder of camera poses, made for AnimateDiff and not supported here"
    FANCY_VIDEO = (
        "FancyVideo's motion module, which wants a picture, a rate and a score of motion and is not supported here"
    )
    HELLO_MEME = "HelloMeme's reference adapter, made for AnimateDiff and not supported here"
    IA3 = "an (IA)³, which scales what layers give"
    OFT = "an OFT, which turns weights"
    GLORA = "a GLoRA"
    NUMBERED_LORA = "a LoRA whose layers are numbered, not named"
    FLUX_LORA = "a LoRA for FLUX"
    SD3_LORA = "a LoRA for Stable Diffusion 3"
    WAN_LORA = "a LoRA for Wan"
    HUNYUAN_LORA = "a LoRA for HunyuanVideo"
    TRANSFORMER_LORA = "a LoRA for a transformer such as Stable Diffusion 3, Qwen-Image or LTX-Video"
    TRANSFORMER = "a transformer such as FLUX, Stable Diffusion 3 or Wan"
    UNET = "a UNet without text encoder and VAE"
    TEXT_ENCODER = "a text encoder"
    ANNOTATOR = "a network of a preprocessor"
    UNKNOWN = "of no kind known here"


FOLDERS = {
    WeightsKind.MOTION_MODULE: "motion_modules",
    WeightsKind.MOTION_LORA: "loras",
    WeightsKind.DOMAIN_ADAPTER: "loras",
    WeightsKind.SPATIAL_LORA: "loras",
    WeightsKind.TEXTUAL_INVERSION: "embeddings",
    WeightsKind.SPARSE_CTRL: "controlnets",
    WeightsKind.CONTROLNET: "controlnets",
    WeightsKind.IP_ADAPTER: "ip_adapters",
    WeightsKind.IMAGE_ENCODER: "ip_adapters/image_encoder",
    WeightsKind.CHECKPOINT: "base_models",
    WeightsKind.VAE: "vaes",
    WeightsKind.UPSCALER: "upscalers",
}
"""The folder of the models folder for each kind that is of use."""

READERS = {
    "base_model": ("a Stable Diffusion 1.5 or XL model", ("base_models",)),
    "motion_module": (str(WeightsKind.MOTION_MODULE), ("motion_modules",)),
    "lora": ("a LoRA or a textual inversion", ("loras", "embeddings")),
    "vae": (str(WeightsKind.VAE), ("vaes",)),
    "controls": (f"{WeightsKind.CONTROLNET} or {WeightsKind.SPARSE_CTRL}", ("controlnets",)),
    "image_prompts": (str(WeightsKind.IP_ADAPTER), ("ip_adapters",)),
    "upscaler": ("a super-resolution network for colour pictures", ("upscalers",)),
}
"""What each field of a request that names weights wants, and the folders its files lie in."""

TEXT_WIDTHS = {768: "Stable Diffusion 1.5", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
"""Models by the width of the text that their UNets read."""

_USE = {
    "motion_modules": " and choose it as motion module",
    "loras": " and name it in the prompt: <lora:name:1>",
    "embeddings": " and name it in the prompt: <lora:name:1>",
    "ip_adapters/image_encoder": ", with its config.json",
    "base_models": " and choose it as base model",
}
_CONTROL = "Choose a ControlNet for Stable Diffusion 1.5 or XL"
_LORA = "Choose a LoRA, LoCon, LoHa, LoKr or DoRA for Stable Diffusion 1.5 or XL"
_INSTEAD = {
    WeightsKind.FACE_ADAPTER: "Choose an IP-Adapter of the kind base, plus or plus-face",
    WeightsKind.CONTROL_LORA: _CONTROL,
    WeightsKind.CONTROL_LLLITE: _CONTROL,
    WeightsKind.CONTROLNET_XS: _CONTROL,
    WeightsKind.CONTROLNET_UNION: f"{_CONTROL}, made for one kind of pictures",
    WeightsKind.TRANSFORMER_CONTROL: _CONTROL,
    WeightsKind.T2I_ADAPTER: _CONTROL,
    WeightsKind.CAMERA_CTRL: "Choose a motion LoRA to move the camera",
    WeightsKind.FANCY_VIDEO: "Choose another motion module",
    WeightsKind.HELLO_MEME: "Choose an IP-Adapter to show a picture",
    WeightsKind.IA3: _LORA,
    WeightsKind.OFT: _LORA,
    WeightsKind.GLORA: _LORA,
    WeightsKind.NUMBERED_LORA: _LORA,
    WeightsKind.FLUX_LORA: _LORA,
    WeightsKind.SD3_LORA: _LORA,
    WeightsKind.WAN_LORA: _LORA,
    WeightsKind.HUNYUAN_LORA: _LORA,
    WeightsKind.TRANSFORMER_LORA: _LORA,
    WeightsKind.TRANSFORMER: "Choose a Stable Diffusion 1.5 or XL model",
    WeightsKind.UNET: "Choose a whole Stable Diffusion 1.5 or XL model",
    WeightsKind.TEXT_ENCODER: "Base models bring theirs with them; choose another file",
    WeightsKind.ANNOTATOR: "Preprocessors fetch theirs by themselves; choose another file",
    WeightsKind.UNKNOWN: "Choose another file",
}
BELONGS = {
    kind: f"Put it into the models folder's '{FOLDERS[kind]}'{_USE.get(FOLDERS[kind], '')}"
    if kind in FOLDERS
    else _INSTEAD[kind]
    for kind in WeightsKind
}
"""What to do with a file of each kind."""

_MOTION = r"(motion_modules|temporal_attentions|temporal_transformer)\."
_ADDED = (
    r"(_lora\.(down|up)|\.lora_[AB]\.|\.lora\.(down|up)|\.lora_(down|up)\.|\.lora_linear_layer\."
    r"|\.(hada_w|lokr_w)|\.(diff|diff_b|w_norm|b_norm)$)"
)
_NAMED = r"^((base_model\.model|transformer|diffusion_model|lora_unet|lora_transformer|lycoris)[._])*"
_LAYERS_END = (
    r"\.(weight|bias|alpha|scale|pe|diff|diff_b|w_norm|b_norm|running_mean|position_ids|(hada|lokr|lora)_\w+)$"
)
_WORD = rf"(?!lora_)(?!.*{_LAYERS_END}).*"

_K = WeightsKind
#: Kind, patterns that some name must have, one that no name may have; the first row that applies counts.
_RULES: tuple[tuple[WeightsKind, tuple[str, ...], str | None], ...] = (
    (_K.CONTROL_LLLITE, (r"^lllite_",), None),
    (_K.FACE_ADAPTER, (r"^ip_adapter\.", r"^image_proj\.(perceiver_resampler|proj\.\d)"), None),
    (_K.IP_ADAPTER, (r"^image_proj\.", r"^ip_adapter\."), None),
    (_K.CONTROL_LORA, (r"^lora_controlnet$",), None),
    (_K.NUMBERED_LORA, (r"^(unet|text_encoder):\d+:(up|down)$",), None),
    (_K.HUNYUAN_LORA, (_ADDED, r"(double_blocks[._]\d+[._](img|txt)_mlp[._]fc|individual_token_refiner)"), None),
    (_K.FLUX_LORA, (_ADDED, r"((double|single)_blocks|single_transformer_blocks)[._]\d"), None),
    (_K.SD3_LORA, (_ADDED, r"joint_blocks[._]\d"), None),
    (_K.WAN_LORA, (_ADDED, _NAMED + r"blocks[._]\d+[._](self|cross)_attn[._][qkvo][._]"), None),
    (_K.TRANSFORMER_LORA, (_ADDED, _NAMED + r"(transformer_blocks|blocks|layers)[._]\d"), None),
    (_K.IA3, (r"\.on_input$",), None),
    (_K.OFT, (r"\.(oft_blocks|oft_diag|oft_R|boft_[a-z]+)",), None),
    (_K.GLORA, (r"^(lora|lycoris)_.*\.(a1|b1)\.weight$",), None),
    (_K.SPATIAL_LORA, (r"^lora_(unet|te\d?)_",), _MOTION),
    (_K.MOTION_LORA, (_ADDED, r"(motion_modules|temporal)"), None),
    (_K.DOMAIN_ADAPTER, (r"processor\..*_lora\.(down|up)",), None),
    (_K.SPATIAL_LORA, (_ADDED,), None),
    (_K.SPATIAL_LORA, (r"^lora_",), None),
    (_K.CAMERA_CTRL, (r"(encoder_down_conv_blocks|processor\.qkv_merge)\.",), None),
    (_K.FANCY_VIDEO, (_MOTION, r"^(fps|motion)_embedding\."), None),
    (_K.HELLO_MEME, (r"^reference_modules_(down|mid|up)\.",), None),
    (_K.SPARSE_CTRL, ("controlnet_cond_embedding", _MOTION), None),
    (_K.MOTION_MODULE, (_MOTION,), r"^model\.diffusion_model\."),
    (_K.CONTROLNET_XS, (r"(base_to_ctrl|^(down|up)_connections\.|(enc|dec)_zero_convs)",), None),
    (_K.CONTROLNET_UNION, (r"^(control_add_embedding\.|task_embedding$|spatial_ch_projs\.)",), None),
    (_K.TRANSFORMER_CONTROL, (r"^controlnet_(blocks|single_blocks|x_embedder|add_embedder)\.",), None),
    (_K.CONTROLNET, (r"controlnet_(cond_embedding|down_blocks)|^control_model|input_hint_block",), None),
    (_K.T2I_ADAPTER, (r"^(adapter\.)?body\.\d+\.(in_conv|block1|resnets\.\d+\.block1)",), None),
    (_K.TRANSFORMER, (r"(double_blocks|joint_blocks|single_transformer_blocks)\.\d",), None),
    (_K.CHECKPOINT, (r"^model\.diffusion_model\.(input|output)_blocks\.",), None),
    (_K.TRANSFORMER, (r"^(model\.)?(diffusion_model\.)?(blocks|transformer_blocks|layers)\.\d+\.\w*att",), None),
    (_K.CHECKPOINT, (r"^model\.diffusion_model\.",), None),
    (_K.UNET, (r"^(unet\.)?(down_blocks|input_blocks)\.\d", r"^(unet\.)?(time_embedding|time_embed)\."), None),
    (_K.VAE, (r"^(first_stage_model\.)?(encoder|decoder)\.(conv_in|down_blocks|down|up_blocks|up|layers)\.",), None),
    (_K.IMAGE_ENCODER, (r"^(vision_model|visual)\.",), None),
    (_K.TEXT_ENCODER, (r"^(text_model|cond_stage_model|transformer\.resblocks|encoder\.block\.\d+\.layer)\.",), None),
    (_K.UPSCALER, (r"^conv_first\.|\.(RDB1|rdb1)\.",), None),
    (_K.UPSCALER, (r"^body\.\d+\.(weight|bias)$",), r"^(?!body\.\d+\.(weight|bias)$)"),
    (_K.ANNOTATOR, (r"^((core\.core\.)?(pretrained\.model|scratch)|block1(_1|\.convs)|model0\.1|conv1_1)\.",), None),
    (_K.TEXTUAL_INVERSION, (r"^(clip_[lg]|text_encoders_[01])$",), r"^(?!(clip_[lg]|text_encoders_[01])$)"),
)  # fmt: skip


def tell_kind(names: Iterable[str]) -> WeightsKind:
    """Tell a file's kind by its tensors' names.

    Example:
        >>> tell_kind(["down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"]).value
        'a motion module'
    """
    names = list(names)
    text = "\n".join(names)

    def has(pattern: str) -> bool:
        return re.search(pattern, text, re.MULTILINE) is not None

    for kind, required, forbidden in _RULES:
        if all(map(has, required)) and not (forbidden and has(forbidden)):
            return kind
    return WeightsKind.TEXTUAL_INVERSION if is_word(names) else WeightsKind.UNKNOWN


def is_word(names: Iterable[str]) -> bool:
    """Tell whether these are the names in a textual inversion.

    Example:
        >>> is_word(["<style.v2>"]), is_word(["decoder.conv_in.weight"])
        (True, False)
    """
    match list(names):
        case [name]:
            return re.fullmatch(_WORD, name, re.DOTALL) is not None
    return False


def wrong_kind(kind: WeightsKind, *, field: str, name: str, expected: str | None = None) -> WeightsError:
    """Build the error for a file of another kind than required.

    Args:
        found: What it is.
        field: The request's field that names it, of `READERS`.
        name: What to call it.
        wanted: What it must be, where that is less than all that the field takes.

    Example:
        >>> print(wrong_kind(WeightsKind.VAE, field="image_prompts", name="ema.pt"))
        image_prompts must be an IP-Adapter, got 'ema.pt', which is a VAE. Put it into the models folder's 'vaes'.
    """
    words, folders = READERS[field]
    code, what, remedy = f"weights.is_{kind.name.lower()}", "{found:s}", BELONGS[kind]
    if FOLDERS.get(kind) in folders:
        code = "weights.other_of_its_folder" if expected else "weights.unknown_form"
        what = what if expected else f"{what} in a form that is not known here"
        remedy = BELONGS[WeightsKind.UNKNOWN]
    return WeightsError(
        Fault(
            code=code,
            field=field,
            rule="be {wanted:s}",
            got=name,
            seen=f"'{{got:s}}', which is {what}",
            fix=remedy,
            values={"wanted": str(expected or words), "found": str(kind)},
        )
    )
