"""What the networks cost, counted: `python -m scripts.count_flops` writes `assets/flops.toml`.

The true architectures are built without weights (torch's meta device) and called at a few sizes. A polynomial is fitted
to their floating point operations, which holds exactly where sizes halve evenly; and the most values that live at
once are counted, with attention computed as fused kernels do, which keep no table of all pairs.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch
from weakref import finalize

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    MotionAdapter,
    SparseControlNetModel,
    UNet2DConditionModel,
    UNetMotionModel,
)
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from pipelines.plan.catalog_entries import ASSETS

FILE = ASSETS / "flops.toml"
HEAD = """\
# What the networks cost, counted by scripts/count_flops.py; pipelines/plan/planner/costs.py says what the terms mean.
"""
TERMS = ("image", "picture", "cell", "pair", "time")
TOKENS = 77
SIDES = (16, 32, 48, 64)  # cells
FRAMES = (8, 16, 24)
EXACT = 1e-6

_SDXL_UNET: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_SD15_UNET: dict[str, Any] = {"attention_head_dim": 8, "cross_attention_dim": 768}
_VAE: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
}
_CLIP_L: dict[str, int] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
_CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
_CLIP_H = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FILE)
    args = parser.parse_args()
    with torch.device("meta"):
        tables = {"demo": _demo(), "sd15": _sd15(), "sdxl": _sdxl()}
    args.out.write_text(HEAD + "".join(_toml(kind, networks) for kind, networks in tables.items()))


def _demo() -> dict[str, dict[str, float]]:
    demo = ASSETS / "demo"
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(demo / "unet"))
    adapter = MotionAdapter.from_config(MotionAdapter.load_config(demo / "motion_adapter"))
    vae = AutoencoderKL.from_config(AutoencoderKL.load_config(demo / "vae"))
    text = CLIPTextModel(CLIPTextConfig.from_pretrained(demo / "text_encoder"))
    return _networks(unet, adapter, vae, [text])


def _sd15() -> dict[str, dict[str, float]]:
    adapter = MotionAdapter(motion_num_attention_heads=8, use_motion_mid_block=True)
    text = CLIPTextModel(CLIPTextConfig(**_CLIP_L))
    return _networks(UNet2DConditionModel(**_SD15_UNET), adapter, AutoencoderKL(**_VAE), [text])


def _sdxl() -> dict[str, dict[str, float]]:
    adapter = MotionAdapter(block_out_channels=(320, 640, 1280), motion_num_attention_heads=8)
    texts = [
        CLIPTextModel(CLIPTextConfig(**_CLIP_L)),
        CLIPTextModelWithProjection(CLIPTextConfig(**_CLIP_G, projection_dim=1280)),
    ]
    return _networks(UNet2DConditionModel(**_SDXL_UNET), adapter, AutoencoderKL(**_VAE), texts)


def _networks(
    image: UNet2DConditionModel, adapter: MotionAdapter, vae: AutoencoderKL, texts: Sequence[torch.nn.Module]
) -> dict[str, dict[str, float]]:
    """Every network of an architecture with its terms."""
    unet = UNetMotionModel.from_unet2d(image, adapter, load_weights=False)
    control = ControlNetModel.from_unet(image, load_weights_from_unet=False)
    found = {
        "unet": _fitted(unet, lambda f, c: _unet_call(unet, f, c)),
        "vae_decoder": _fitted(vae.decoder, lambda f, c: vae.decode(torch.empty(f, 4, *c))),
        "vae_encoder": _fitted(vae.encoder, lambda f, c: vae.encode(torch.empty(f, 3, 8 * c[0], 8 * c[1]))),
        "controlnet": _fitted(control, lambda f, c: _control_call(control, f, c)),
        "text": _text(texts),
    }
    if not hasattr(unet, "add_embedding"):  # Stable Diffusion XL has no SparseCtrl
        sparse = _sparse_ctrl(image)
        found["sparse_ctrl"] = _fitted(sparse, lambda f, c: _control_call(sparse, f, c))
    if image.config.cross_attention_dim > 128:  # the demo model has no image prompts
        encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**_CLIP_H, patch_size=14, projection_dim=1024))
        flops, _ = _count(lambda: encoder(torch.empty(1, 3, 224, 224)))
        found["image_encoder"] = {"parameters": _parameters(encoder)} | _named({"picture": flops})
    return found


def _sparse_ctrl(image: UNet2DConditionModel) -> SparseControlNetModel:
    own = image.config
    blocks = tuple(name.replace("2D", "Motion") for name in own.down_block_types)
    names = ("block_out_channels", "layers_per_block", "norm_num_groups", "cross_attention_dim", "attention_head_dim")
    return SparseControlNetModel(down_block_types=blocks, **{name: own[name] for name in names})


def _added(model: torch.nn.Module, rows: int) -> dict[str, torch.Tensor]:
    if not getattr(model, "add_embedding", None):
        return {}
    return {"text_embeds": torch.empty(rows, 1280), "time_ids": torch.empty(rows, 6)}


def _unet_call(unet: UNetMotionModel, frames: int, cells: tuple[int, int]) -> Any:
    states = torch.empty(frames, TOKENS, unet.config.cross_attention_dim)
    sample = torch.empty(1, 4, frames, *cells)
    return unet(sample, torch.empty(1), states, added_cond_kwargs=_added(unet, 1))


def _control_call(net: torch.nn.Module, frames: int, cells: tuple[int, int]) -> Any:
    states = torch.empty(frames, TOKENS, net.config.cross_attention_dim)
    pixels = 8 * cells[0], 8 * cells[1]
    if isinstance(net, SparseControlNetModel):
        sample = torch.empty(1, 4, frames, *cells)  # the pictures' latents look the same
        return net(sample, torch.empty(1), states, controlnet_cond=sample, conditioning_mask=sample[:, :1])
    picture = torch.empty(frames, 3, *pixels)
    added = _added(net, frames)
    return net(torch.empty(frames, 4, *cells), torch.empty(1), states, picture, added_cond_kwargs=added)


def _text(texts: Sequence[torch.nn.Module]) -> dict[str, float]:
    ids = torch.zeros(1, TOKENS, dtype=torch.long)
    flops = sum(_count(lambda one=one: one(ids))[0] for one in texts)
    return {"parameters": sum(map(_parameters, texts))} | _named({"picture": flops})


def _fitted(model: torch.nn.Module, call: Callable[[int, tuple[int, int]], Any]) -> dict[str, float]:
    """Parameters, the polynomial of the operations, and the values that live at once."""
    rows, counts, live = [], [], 0.0
    for frames, side in product(FRAMES, SIDES):
        flops, values = _count(lambda frames=frames, side=side: call(frames, (side, side)))
        cells = float(side * side)
        rows.append([1.0, frames, frames * cells, frames * cells**2, frames**2 * cells])
        counts.append(flops)
        live = max(live, values / (frames * side * side))
    scale = np.max(rows, axis=0)
    solved = np.linalg.lstsq(np.array(rows) / scale, np.array(counts), rcond=None)[0] / scale
    missed = np.abs(rows @ solved / counts - 1).max()
    if missed > EXACT:
        raise SystemExit(f"The operations of {type(model).__name__} are no such polynomial: {missed:.2e} off")
    whole = {"parameters": _parameters(model), "live": math.ceil(live)}
    return whole | _named(dict(zip(TERMS, solved, strict=True)))


def _named(flops: dict[str, float]) -> dict[str, int]:
    return {name: round(value) for name, value in flops.items() if round(value) > 0}


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _count(call: Callable[[], Any]) -> tuple[float, int]:
    """Operations of a call, and the most values that lived at once in it."""
    attention = 0.0

    def fused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        nonlocal attention
        attention += 2 * math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])
        return q.new_empty((*q.shape[:-1], v.shape[-1]))

    alive = _Alive()
    counter = FlopCounterMode(display=False)
    with patch.object(functional, "scaled_dot_product_attention", fused), torch.no_grad(), counter, alive:
        call()
    return counter.get_total_flops() + attention, alive.most


class _Alive(TorchDispatchMode):
    """Counts the values of tensors made inside, as long as they are held."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors(args):  # from outside, as weights are
            self._known.add(tensor.untyped_storage()._cdata)
        result = function(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            key, values = storage._cdata, storage.nbytes() // tensor.element_size()
            if key not in self._known:
                self._known.add(key)
                self.now += values
                finalize(storage, self._freed, key, values)
        self.most = max(self.most, self.now)
        return result

    def _freed(self, key: int, values: int) -> None:
        self._known.discard(key)
        self.now -= values


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    for one in result if isinstance(result, (tuple, list)) else [result]:
        if isinstance(one, torch.Tensor):
            yield one


def _toml(kind: str, networks: dict[str, dict[str, float]]) -> str:
    lines = [f"\n[{kind}]"]
    for name, counts in networks.items():
        lines.append(f"{name} = {{ {', '.join(f'{term} = {value}' for term, value in counts.items())} }}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
