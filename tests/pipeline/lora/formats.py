"""Writers of every format of LoRAs, from random factors."""

import re

import torch

from tests.pipeline.published_names import ldm_unet, replaced

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
    return _pairs({replaced(name, names): pair for name, pair in factors.items()}, ".down.weight", ".up.weight")


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
    names = {name: ldm_unet(f"{name}.weight", 1).removesuffix(".weight") for name in factors}
    return kohya_lora({names[name]: pair for name, pair in factors.items()}, alpha=3.0)


def _pairs(factors: LoraFactors, down: str, up: str) -> dict[str, torch.Tensor]:
    by_name = {
        name + end: tensor for name, pair in factors.items() for end, tensor in zip((down, up), pair, strict=True)
    }
    return {name: tensor.contiguous() for name, tensor in by_name.items()}
