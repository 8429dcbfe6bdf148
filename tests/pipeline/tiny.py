"""Tiny random models in the true formats: Stable Diffusion 1.5 and XL as folders and single files, motion modules.

The architectures are the true ones (for 1.5 four blocks, two layers, attention in three of them; for XL three
blocks, attention in two, two text encoders), a twentieth as wide, so converters and name maps meet every
kind of layer they meet in the real files.
"""

import json
import re
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, MotionAdapter, UNet2DConditionModel
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

CHANNELS = (16, 32, 64, 64)
XL_CHANNELS = (16, 32, 64)
_WIDTH = 32  # of the first text encoder
_WIDTH_2 = 48  # of the second
_GROUPS = 8
_TIME_ID_WIDTH = 8
_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
_XL_INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
_OLD_VAE = {
    r"\.to_q\.": ".query.",
    r"\.to_k\.": ".key.",
    r"\.to_v\.": ".value.",
    r"\.to_out\.0\.": ".proj_attn.",
}


class _Tiny(ABC):
    """What both architectures share: files of the components named in `index`."""

    index: dict[str, object]
    unet: UNet2DConditionModel
    vae: AutoencoderKL

    def save_folder(self, folder: Path, *, safetensors: bool = True, old_vae_names: bool = False) -> Path:
        """Write a diffusers folder; with `old_vae_names` as Stable Diffusion 1.5's own VAE is on the Hub."""
        for name in (name for name in self.index if hasattr(self, name)):
            part = getattr(self, name)
            options = {"safe_serialization": safetensors} if name in {"unet", "vae"} else {}
            part.save_pretrained(folder / name, **options)
            if name.startswith("text_encoder") and not safetensors:  # transformers 5 writes no pickles any more
                (folder / name / "model.safetensors").unlink()
                torch.save(part.state_dict(), folder / name / "pytorch_model.bin")
        if old_vae_names:
            renamed = {_replaced(name, _OLD_VAE): tensor for name, tensor in self.vae.state_dict().items()}
            save_file(renamed, folder / "vae" / "diffusion_pytorch_model.safetensors")
        (folder / "model_index.json").write_text(json.dumps(self.index))
        return folder

    def checkpoint(self) -> dict[str, torch.Tensor]:
        """All weights under the names their authors published."""
        weights = self.unet.state_dict()
        upsampler = 2 if any(name.startswith("up_blocks.0.attentions.") for name in weights) else 1
        unet = {f"model.diffusion_model.{_ldm_unet(name, upsampler)}": tensor for name, tensor in weights.items()}
        return unet | dict(_ldm_vae(*item) for item in self.vae.state_dict().items()) | self._checkpoint_text()

    def save_checkpoint(self, path: Path) -> Path:
        """Write the single file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in self.checkpoint().items()}, path)
        return path

    @abstractmethod
    def _checkpoint_text(self) -> dict[str, torch.Tensor]:
        """The text encoders' weights under the names their authors published."""


class TinyBase(_Tiny):
    """A tiny Stable Diffusion 1.5; the same seed gives the same weights.

    Args:
        cross_attention_dim, in_channels, channels: Of the UNet, to be wrong on purpose, or SDXL's three blocks.
        prediction_type: What its scheduler says the UNet predicts.
    """

    index = _INDEX

    def __init__(
        self,
        seed: int = 0,
        *,
        cross_attention_dim: int = _WIDTH,
        in_channels: int = 4,
        prediction_type: str = "epsilon",
        channels: tuple[int, ...] = CHANNELS,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.unet = _unet(cross_attention_dim, in_channels, channels)
            self.vae = _vae(force_upcast=False)
            self.text_encoder = CLIPTextModel(_text_config()).eval()
        self.tokenizer = _tokenizer()
        self.scheduler = _scheduler(prediction_type)

    def _checkpoint_text(self) -> dict[str, torch.Tensor]:
        text = self.text_encoder.state_dict()
        return {f"cond_stage_model.transformer.text_model.{_bare(name)}": tensor for name, tensor in text.items()}


class TinyXL(_Tiny):
    """A tiny Stable Diffusion XL; the same seed gives the same weights."""

    index = _XL_INDEX

    def __init__(self, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.unet = _xl_unet()
            self.vae = _vae(force_upcast=True, scaling_factor=0.13025)
            self.text_encoder = CLIPTextModel(_text_config(layers=3)).eval()
            # As published: its end token is told wrongly, and the right one found as the highest number.
            second = _text_config(width=_WIDTH_2, layers=4, bos_token_id=0, eos_token_id=2, pad_token_id=1)
            self.text_encoder_2 = CLIPTextModelWithProjection(second).eval()
        self.tokenizer = _tokenizer()
        self.tokenizer_2 = _tokenizer(pad_token="!")
        self.scheduler = _scheduler("epsilon")

    def _checkpoint_text(self) -> dict[str, torch.Tensor]:
        first = {f"0.transformer.text_model.{_bare(k)}": v for k, v in self.text_encoder.state_dict().items()}
        second = {f"1.model.{name}": tensor for name, tensor in _open_clip(self.text_encoder_2.state_dict()).items()}
        return {f"conditioner.embedders.{name}": tensor for name, tensor in (first | second).items()}


def motion_adapter(
    seed: int = 1, *, mid_block: bool = True, positions: int = 32, channels: tuple[int, ...] = CHANNELS
) -> MotionAdapter:
    """A tiny motion module: v2 with a mid block, v3 without, v1 with 24 positions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MotionAdapter(
            block_out_channels=channels,
            motion_layers_per_block=2,
            motion_num_attention_heads=8,
            motion_norm_num_groups=_GROUPS,
            motion_max_seq_length=positions,
            use_motion_mid_block=mid_block,
        ).eval()


def original_names(adapter: MotionAdapter) -> dict[str, torch.Tensor]:
    """A motion module under the names AnimateDiff's authors publish, the position table twice a block."""
    names = {
        r"(motion_modules\.\d+)\.": r"\1.temporal_transformer.",
        r"\.attn1\.": ".attention_blocks.0.",
        r"\.attn2\.": ".attention_blocks.1.",
        r"\.pos_embed\.": ".attention_blocks.0.pos_encoder.",
        r"\.norm1\.": ".norms.0.",
        r"\.norm2\.": ".norms.1.",
        r"\.norm3\.": ".ff_norm.",
    }
    weights = {_replaced(name, names): tensor.clone() for name, tensor in adapter.state_dict().items()}
    tables = {name: tensor for name, tensor in weights.items() if name.endswith("pos_encoder.pe")}
    return weights | {name.replace("blocks.0.pos", "blocks.1.pos"): table.clone() for name, table in tables.items()}


def hotshot_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A motion module in the authors' names under those of HotShot-XL."""
    names = {
        r"temporal_transformer\.": "",
        "motion_modules": "temporal_attentions",
        r"pos_encoder\.pe$": "pos_encoder.positional_encoding",
    }
    return {_replaced(name, names): tensor for name, tensor in weights.items()}


def tiny_decoder(seed: int = 7) -> AutoencoderTiny:
    """A TAESD smaller than the real one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            num_encoder_blocks=(1, 1, 1, 1),
            num_decoder_blocks=(1, 1, 1, 1),
        ).eval()


def vae_checkpoint(base: TinyBase) -> dict[str, torch.Tensor]:
    """A base model's VAE as a single file, under the names of the first Stable Diffusion release."""
    prefix = "first_stage_model."
    weights = base.checkpoint().items()
    return {name.removeprefix(prefix): tensor.contiguous() for name, tensor in weights if name.startswith(prefix)}


LoraFactors = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""diffusers' layer name -> (down [r, in, ...], up [out, r, ...])."""


def lora_factors(model: torch.nn.Module, pattern: str, *, rank: int = 3, seed: int = 5) -> LoraFactors:
    """Random factors for every linear layer or convolution whose name matches."""
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for name, module in model.named_modules():
        if re.search(pattern, name) and isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            out, *inside = module.weight.shape
            kernel = [1] * (len(inside) - 1)
            down = torch.randn(rank, *inside, generator=generator) * 0.3
            factors[name] = down, torch.randn(out, rank, *kernel, generator=generator) * 0.3
    return factors


def authors_lora(factors: LoraFactors) -> dict[str, torch.Tensor]:
    """A motion LoRA or domain adapter under the names AnimateDiff's authors publish."""
    names = {
        r"(motion_modules\.\d+)\.": r"\1.temporal_transformer.",
        r"(temporal_transformer.*)\.attn1\.": r"\1.attention_blocks.0.",
        r"(temporal_transformer.*)\.attn2\.": r"\1.attention_blocks.1.",
        r"\.to_out\.0$": ".to_out",
        r"\.to_(q|k|v|out)$": r".processor.to_\1_lora",
    }
    return _pairs({_replaced(name, names): pair for name, pair in factors.items()}, ".down.weight", ".up.weight")


def diffusers_lora(factors: LoraFactors, *, prefix: str = "unet.", peft: bool = True) -> dict[str, torch.Tensor]:
    """As diffusers saves it, with or without peft."""
    ends = (".lora_A.weight", ".lora_B.weight") if peft else (".lora.down.weight", ".lora.up.weight")
    return _pairs({f"{prefix}{name}": pair for name, pair in factors.items()}, *ends)


def kohya_lora(factors: LoraFactors, *, prefix: str = "lora_unet_", alpha: float = 1.0) -> dict[str, torch.Tensor]:
    """As kohya's trainer saves it; convolutions make it a LoCon."""
    flat = {prefix + name.replace(".", "_"): pair for name, pair in factors.items()}
    alphas = {f"{name}.alpha": torch.tensor(alpha) for name in flat}
    return _pairs(flat, ".lora_down.weight", ".lora_up.weight") | alphas


def first_release_lora(factors: LoraFactors) -> dict[str, torch.Tensor]:
    """As kohya's format has it for models named as in the first Stable Diffusion release."""
    names = {name: _ldm_unet(f"{name}.weight", 1).removesuffix(".weight") for name in factors}
    return kohya_lora({names[name]: pair for name, pair in factors.items()}, alpha=3.0)


def _pairs(factors: LoraFactors, down: str, up: str) -> dict[str, torch.Tensor]:
    named = {name + end: tensor for name, pair in factors.items() for end, tensor in zip((down, up), pair, strict=True)}
    return {name: tensor.contiguous() for name, tensor in named.items()}


def _unet(cross_attention_dim: int, in_channels: int, channels: tuple[int, ...]) -> UNet2DConditionModel:
    with_attention = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        block_out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D",) * with_attention + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * with_attention,
        layers_per_block=2,
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=8,
        norm_num_groups=_GROUPS,
    ).eval()


def _xl_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=XL_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        transformer_layers_per_block=(1, 2, 3),
        attention_head_dim=(2, 4, 8),
        use_linear_projection=True,
        cross_attention_dim=_WIDTH + _WIDTH_2,
        addition_embed_type="text_time",
        addition_time_embed_dim=_TIME_ID_WIDTH,
        projection_class_embeddings_input_dim=6 * _TIME_ID_WIDTH + _WIDTH_2,
        norm_num_groups=_GROUPS,
    ).eval()


def _vae(*, force_upcast: bool, scaling_factor: float = 0.18215) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=scaling_factor,
        force_upcast=force_upcast,
    ).eval()


def _text_config(*, width: int = _WIDTH, layers: int = 2, **token_ids: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=514,
        hidden_size=width,
        projection_dim=width,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        **{"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513} | token_ids,
    )


def _tokenizer(**options: str) -> CLIPTokenizer:
    """CLIP's tokenizer with letters only, no merges."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=77, **options)


def _scheduler(prediction_type: str) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        clip_sample=False,
        prediction_type=prediction_type,
    )


def _replaced(name: str, replacements: dict[str, str]) -> str:
    for pattern, replacement in replacements.items():
        name = re.sub(pattern, replacement, name)
    return name


def _bare(name: str) -> str:
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


def _ldm_unet(name: str, first_upsampler: int) -> str:
    """The published name; `first_upsampler` is the first up block's one's place, which depends on attention there."""
    for new, old in _UNET_ENDS.items():
        if name.startswith(new + "."):
            return name.replace(new, old, 1)
    if "resnets" in name:
        name = _replaced(name, _RESNET)
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


def _open_clip(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A text encoder under OpenCLIP's names: queries, keys and values in one, the projection the other way round."""
    renamed = {_replaced(name, _OPEN_CLIP): tensor for name, tensor in weights.items()}
    named = {name: tensor for name, tensor in renamed.items() if ".self_attn." not in name}
    named["text_projection"] = named["text_projection"].T
    for name in weights:
        if match := re.match(r"text_model\.encoder\.layers\.(\d+)\.self_attn\.q_proj\.(\w+)", name):
            parts = [weights[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            named[f"transformer.resblocks.{match[1]}.attn.in_proj_{match[2]}"] = torch.cat(parts)
    return named


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


def _ldm_vae(name: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor]:
    is_matrix = "attentions" in name and tensor.ndim == 2
    old = _replaced(name, _VAE)
    old = re.sub(r"\bup\.(\d)", lambda match: f"up.{3 - int(match[1])}", old)  # counted from the other end
    return f"first_stage_model.{old}", tensor[:, :, None, None] if is_matrix else tensor
