"""Tiny random models in the true formats: Stable Diffusion 1.5 and XL as folders and single files, motion modules.

The architectures are the true ones (for 1.5 four blocks, two layers, attention in three of them; for XL three
blocks, attention in two, two text encoders), a twentieth as wide, so converters and name maps meet every
kind of layer they meet in the real files.
"""

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    MotionAdapter,
    SparseControlNetModel,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from tests.museum import authors
from tests.museum.configs import SD15, SDXL, VOCABULARY, published, write_config, write_tokenizer
from tests.pipeline.published_names import bare, ldm_control, ldm_unet, ldm_vae, open_clip, replaced

CHANNELS = (16, 32, 64, 64)
XL_CHANNELS = (16, 32, 64)
_WIDTH = 32  # of the first text encoder
_WIDTH_2 = 48  # of the second
_GROUPS = 8
_TIME_ID_WIDTH = 8
_INDEX = published(SD15, "model_index.json")
_XL_INDEX = published(SDXL, "model_index.json")
OLD_VAE = {
    r"\.to_q\.": ".query.",
    r"\.to_k\.": ".key.",
    r"\.to_v\.": ".value.",
    r"\.to_out\.0\.": ".proj_attn.",
}


class _Tiny(ABC):
    """What both architectures share: files of the components named in `index`, with the configurations published.

    Attributes:
        configs: Each component's configuration, by its folder.
        repo: Whose scheduler and tokenizers those are.
    """

    index: Mapping[str, object]
    repo: str
    configs: dict[str, dict[str, Any]]
    scheduler_config: dict[str, Any]
    unet: UNet2DConditionModel
    vae: AutoencoderKL

    def save_folder(self, folder: Path, *, safetensors: bool = True, old_vae_names: bool = False) -> Path:
        """Write a diffusers folder; with `old_vae_names` as Stable Diffusion 1.5's own VAE is on the Hub."""
        for name, config in self.configs.items():
            write_config(folder / name / "config.json", config)
            self._save_weights(name, folder / name, safetensors, old_vae_names)
            if name.startswith("text_encoder"):
                tokenizer = name.replace("text_encoder", "tokenizer")
                write_tokenizer(folder / tokenizer, self.repo, tokenizer)
        write_config(folder / "scheduler" / "scheduler_config.json", self.scheduler_config)
        write_config(folder / "model_index.json", dict(self.index))
        return folder

    def save_variant(self, folder: Path, variant: str) -> Path:
        """Write the weights once more as publishers do, "fp16" in half precision or "non_ema", beside the others."""
        for name in self.configs:
            for path in (folder / name).glob("*.safetensors"):
                if path.stem in {"model", "diffusion_pytorch_model"}:
                    weights = load_file(path)
                    if variant == "fp16":
                        weights = {key: t.half() if t.is_floating_point() else t for key, t in weights.items()}
                    save_file(weights, path.with_suffix(f".{variant}.safetensors"), metadata={"format": "pt"})
        return folder

    def _save_weights(self, name: str, folder: Path, safetensors: bool, old_vae_names: bool) -> None:
        weights = getattr(self, name).state_dict()
        file = "diffusion_pytorch_model" if name in {"unet", "vae"} else "model" if safetensors else "pytorch_model"
        if name.startswith("text_encoder"):
            weights = _published_text(weights)
        if name == "vae" and old_vae_names:
            weights = {replaced(key, OLD_VAE): tensor for key, tensor in weights.items()}
        if safetensors:
            save_file(weights, folder / f"{file}.safetensors", metadata={"format": "pt"})
        else:
            torch.save(weights, folder / f"{file}.bin")

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
    """A tiny Stable Diffusion 1.5: all as published but the widths; the same seed gives the same weights.

    Args:
        cross_attention_dim, in_channels, channels: Of the UNet, to be wrong on purpose, or SDXL's three blocks.
        prediction_type: What its scheduler says the UNet predicts.
    """

    index = _INDEX
    repo = SD15

    def __init__(
        self,
        seed: int = 0,
        *,
        cross_attention_dim: int = _WIDTH,
        in_channels: int = 4,
        prediction_type: str = "epsilon",
        channels: tuple[int, ...] = CHANNELS,
    ) -> None:
        unet = {"cross_attention_dim": cross_attention_dim, "in_channels": in_channels}
        self.configs = {
            "text_encoder": published(SD15, "text_encoder/config.json") | _text_sizes(),
            "unet": _unet_config(SD15, channels) | unet,
            "vae": published(SD15, "vae/config.json") | _VAE_SIZES,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.unet = UNet2DConditionModel.from_config(self.configs["unet"]).eval()
            self.vae = AutoencoderKL.from_config(self.configs["vae"]).eval()
            self.text_encoder = CLIPTextModel(CLIPTextConfig(**self.configs["text_encoder"])).eval()
        self.tokenizer = _tokenizer(SD15)
        said = {} if prediction_type == "epsilon" else {"prediction_type": prediction_type}
        self.scheduler_config = published(SD15, "scheduler/scheduler_config.json") | said

    def checkpoint(self) -> dict[str, torch.Tensor]:
        """All tensors of the single file: what both architectures have, and the noise schedule."""
        schedule = {name: torch.ones(1000) for name in authors.SCHEDULE}
        return schedule | super().checkpoint()

    def _checkpoint_text(self) -> dict[str, torch.Tensor]:
        text = _published_text(self.text_encoder.state_dict())
        return {f"cond_stage_model.transformer.{name}": tensor for name, tensor in text.items()}


class TinyXL(_Tiny):
    """A tiny Stable Diffusion XL: all as published but the widths; the same seed gives the same weights."""

    index = _XL_INDEX
    repo = SDXL

    def __init__(self, seed: int = 0) -> None:
        unet = {
            "attention_head_dim": (2, 4, 8),
            "transformer_layers_per_block": (1, 2, 3),
            "cross_attention_dim": _WIDTH + _WIDTH_2,
            "addition_time_embed_dim": _TIME_ID_WIDTH,
            "projection_class_embeddings_input_dim": 6 * _TIME_ID_WIDTH + _WIDTH_2,
        }
        second = published(SDXL, "text_encoder_2/config.json") | _text_sizes(width=_WIDTH_2, layers=4)
        self.configs = {
            "text_encoder": published(SDXL, "text_encoder/config.json") | _text_sizes(layers=3),
            "text_encoder_2": second,
            "unet": _unet_config(SDXL, XL_CHANNELS) | unet,
            "vae": published(SDXL, "vae/config.json") | _VAE_SIZES,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.unet = UNet2DConditionModel.from_config(self.configs["unet"]).eval()
            self.vae = AutoencoderKL.from_config(self.configs["vae"]).eval()
            self.text_encoder = CLIPTextModel(CLIPTextConfig(**self.configs["text_encoder"])).eval()
            self.text_encoder_2 = CLIPTextModelWithProjection(CLIPTextConfig(**second)).eval()
        self.tokenizer = _tokenizer(SDXL)
        self.tokenizer_2 = _tokenizer(SDXL, "tokenizer_2")
        self.scheduler_config = published(SDXL, "scheduler/scheduler_config.json")

    def _checkpoint_text(self) -> dict[str, torch.Tensor]:
        first = {f"0.transformer.{k}": v for k, v in _published_text(self.text_encoder.state_dict()).items()}
        second = open_clip(self.text_encoder_2.state_dict()) | {"logit_scale": torch.tensor(4.6)}
        texts = first | {f"1.model.{name}": tensor for name, tensor in second.items()}
        return {f"conditioner.embedders.{name}": tensor for name, tensor in texts.items()}


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
        # With weights of its own, all of this seed: the UNet's may be anybody's.
        net = ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=(8, 8, 16, 16), load_weights_from_unet=False
        ).eval()
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


_VAE_SIZES = {"block_out_channels": (4, 8, 16, 16), "norm_num_groups": 4, "sample_size": 64}


def _unet_config(repo: str, channels: tuple[int, ...]) -> dict[str, Any]:
    """A UNet's published configuration with narrow blocks; with fewer of them, the innermost ones."""
    config = published(repo, "unet/config.json")
    sizes = {"sample_size": 8, "block_out_channels": channels, "norm_num_groups": _GROUPS}
    down, up = config["down_block_types"], config["up_block_types"]
    return config | sizes | {"down_block_types": down[-len(channels) :], "up_block_types": up[: len(channels)]}


def _text_sizes(*, width: int = _WIDTH, layers: int = 2) -> dict[str, int]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "projection_dim": width,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
    }


def _published_text(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A text encoder's tensors as transformers 4 named and stored them."""
    named = {
        name if name.startswith("text_projection.") else f"text_model.{bare(name)}": tensor
        for name, tensor in weights.items()
    }
    return named | {"text_model.embeddings.position_ids": torch.arange(77)[None]}


def _tokenizer(repo: str, name: str = "tokenizer") -> CLIPTokenizer:
    with tempfile.TemporaryDirectory() as folder:
        return CLIPTokenizer.from_pretrained(write_tokenizer(Path(folder), repo, name), local_files_only=True)
