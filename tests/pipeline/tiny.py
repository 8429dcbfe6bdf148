"""Tiny random models in the true formats: Stable Diffusion 1.5 and XL as folders and single files, motion modules.

The architectures are the true ones (for 1.5 four blocks, two layers, attention in three of them; for XL three
blocks, attention in two, two text encoders), a twentieth as wide, so converters and name maps meet every
kind of layer they meet in the real files.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    MotionAdapter,
    SparseControlNetModel,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from tests.pipeline.published_names import bare, ldm_control, ldm_unet, ldm_vae, open_clip, replaced

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
            renamed = {replaced(name, _OLD_VAE): tensor for name, tensor in self.vae.state_dict().items()}
            save_file(renamed, folder / "vae" / "diffusion_pytorch_model.safetensors")
        (folder / "model_index.json").write_text(json.dumps(self.index))
        return folder

    def checkpoint(self) -> dict[str, torch.Tensor]:
        """All weights under the names their authors published."""
        weights = self.unet.state_dict()
        upsampler = 2 if any(name.startswith("up_blocks.0.attentions.") for name in weights) else 1
        unet = {f"model.diffusion_model.{ldm_unet(name, upsampler)}": tensor for name, tensor in weights.items()}
        return unet | dict(ldm_vae(*item) for item in self.vae.state_dict().items()) | self._checkpoint_text()

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
        return {f"cond_stage_model.transformer.text_model.{bare(name)}": tensor for name, tensor in text.items()}


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
        first = {f"0.transformer.text_model.{bare(k)}": v for k, v in self.text_encoder.state_dict().items()}
        second = {f"1.model.{name}": tensor for name, tensor in open_clip(self.text_encoder_2.state_dict()).items()}
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
    weights = _original_motion(adapter.state_dict())
    tables = {name: tensor for name, tensor in weights.items() if name.endswith("pos_encoder.pe")}
    return weights | {name.replace("blocks.0.pos", "blocks.1.pos"): table.clone() for name, table in tables.items()}


def published_encoder(encoder: SparseControlNetModel) -> dict[str, torch.Tensor]:
    """A SparseCtrl encoder under the names its authors publish; its motion layers attend once, not twice."""
    weights = encoder.state_dict()
    motion = {name: tensor for name, tensor in weights.items() if "motion_modules" in name}
    spatial = {name: tensor.clone() for name, tensor in weights.items() if name not in motion}
    return {f"module.{name}": tensor for name, tensor in (spatial | _original_motion(motion)).items()}


def _original_motion(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = {
        r"(motion_modules\.\d+)\.": r"\1.temporal_transformer.",
        r"\.attn1\.": ".attention_blocks.0.",
        r"\.attn2\.": ".attention_blocks.1.",
        r"\.pos_embed\.": ".attention_blocks.0.pos_encoder.",
        r"\.norm1\.": ".norms.0.",
        r"\.norm2\.": ".norms.1.",
        r"\.norm3\.": ".ff_norm.",
    }
    return {replaced(name, names): tensor.clone() for name, tensor in weights.items()}


def hotshot_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A motion module in the authors' names under those of HotShot-XL."""
    names = {
        r"temporal_transformer\.": "",
        "motion_modules": "temporal_attentions",
        r"pos_encoder\.pe$": "pos_encoder.positional_encoding",
    }
    return {replaced(name, names): tensor for name, tensor in weights.items()}


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


def control_net(unet: UNet2DConditionModel, seed: int = 20, **config: object) -> ControlNetModel:
    """A small ControlNet for a UNet, whose last layers are no zeros any more, as in a trained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16, 16)).eval()
        for layer in (net.controlnet_cond_embedding.conv_out, *net.controlnet_down_blocks, net.controlnet_mid_block):
            torch.nn.init.normal_(layer.weight, std=0.1)
            torch.nn.init.normal_(layer.bias, std=0.1)
    net.register_to_config(**config)
    return net


def sparse_control(unet: UNet2DConditionModel, kind: str, seed: int = 21) -> SparseControlNetModel:
    """A small SparseCtrl encoder for a UNet, "rgb" or "scribble", whose last layers are no zeros any more."""
    names = ("block_out_channels", "cross_attention_dim", "layers_per_block", "norm_num_groups", "attention_head_dim")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = SparseControlNetModel(
            **{name: unet.config[name] for name in names},
            down_block_types=[name.replace("2D", "Motion") for name in unet.config.down_block_types],
            conditioning_channels=4 if kind == "rgb" else 3,
            use_simplified_condition_embedding=kind == "rgb",
            conditioning_embedding_out_channels=(8, 8, 16, 16),
        ).eval()
        for name, parameter in encoder.named_parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3 if "motion" in name else 0.1)
    return encoder


def image_encoder(seed: int = 30, *, width: int = 40) -> CLIPVisionModelWithProjection:
    """A small CLIP for pictures of 32×32; `width` is that of its one vector a picture."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = CLIPVisionConfig(
            hidden_size=48,
            intermediate_size=64,
            projection_dim=width,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
        )
        return CLIPVisionModelWithProjection(config).eval()


def ip_adapter(layers: Sequence[tuple[int, int]], kind: str, seed: int = 31) -> dict[str, torch.Tensor]:
    """A small IP-Adapter, "base" or "plus", under the names its authors publish.

    Args:
        layers: Width and text width of each cross-attention layer of the UNet.
    """
    generator = torch.Generator().manual_seed(seed)
    width, inner, seen = layers[0][1], 64, 48

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) / shape[-1] ** 0.5

    def norm(name: str, size: int) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": 1 + random(size), f"{name}.bias": random(size)}

    def linear(name: str, out: int, into: int) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": random(out, into), f"{name}.bias": random(out)}

    if kind == "base":
        weights = linear("proj", 4 * width, 40) | norm("norm", width)
    else:
        weights = {"latents": random(1, 6, inner)} | linear("proj_in", inner, seen) | linear("proj_out", width, inner)
        weights |= norm("norm_out", width)
        for i in range(4):
            weights |= norm(f"layers.{i}.0.norm1", inner) | norm(f"layers.{i}.0.norm2", inner)
            weights |= norm(f"layers.{i}.1.0", inner)
            sizes = {"0.to_q": (64, 64), "0.to_kv": (128, 64), "0.to_out": (64, 64), "1.1": (256, 64), "1.3": (64, 256)}
            weights |= {f"layers.{i}.{name}.weight": random(*size) for name, size in sizes.items()}
    own = {f"image_proj.{name}": tensor for name, tensor in weights.items()}
    for i, size in enumerate(layers):
        own |= {f"ip_adapter.{2 * i + 1}.to_{part}_ip.weight": random(*size) for part in "kv"}
    return own


def published_control(net: ControlNetModel) -> dict[str, torch.Tensor]:
    """A ControlNet under the names its authors publish."""
    return {f"control_model.{ldm_control(name)}": tensor.clone() for name, tensor in net.state_dict().items()}


def vae_checkpoint(base: TinyBase) -> dict[str, torch.Tensor]:
    """A base model's VAE as a single file, under the names of the first Stable Diffusion release."""
    prefix = "first_stage_model."
    weights = base.checkpoint().items()
    return {name.removeprefix(prefix): tensor.contiguous() for name, tensor in weights if name.startswith(prefix)}


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
