"""Published motion modules, and what is published beside them, by what they are called.

All are made from a few written lists (`tensors/motion`). A list is right only if its bytes, and a header of its names,
make the published size (`tests/pipeline/test_motion_museum.py`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tests.museum.repositories import KnownFile, repositories
from tests.museum.tensor_lists import TensorList, tensor_list

#: A twentieth of the published widths: what `tests.pipeline.tiny` builds base models of.
NARROW = {320 * 2**i: 16 * 2**i for i in range(6)} | {768: 32}
Payload = Callable[[Mapping[str, torch.Tensor]], dict[str, Any]]


@dataclass(frozen=True)
class MotionFile:
    """A published motion module.

    Attributes:
        repo: Where it is on the Hub.
        listed: Its tensors.
        family: The product's id of its family.
        positions: Frames that it has places for.
        mid_block: Whether it has layers in the UNet's middle.
        window_norms: Whether its authors' ResNet norms see the whole window.
    """

    repo: str
    listed: TensorList
    family: str
    positions: int = 32
    mid_block: bool = False
    window_norms: bool = False

    @property
    def is_xl(self) -> bool:
        return not any(name.startswith("down_blocks.3.") for name in self.listed.tensors)


def known(repo: str, name: str) -> KnownFile:
    """What is known of a file's length and content."""
    return repositories().get(repo, {}).get(name, KnownFile())


def module(*, positions: int | None = 32, mid_block: bool = True, xl: bool = False, dtype: str = "F32") -> TensorList:
    """A motion module under AnimateDiff's names; without a table of positions if they are None."""
    listed = tensor_list("motion/motion_module_xl" if xl else "motion/motion_module")
    tensors = {}
    for name, (_, shape) in listed.tensors.items():
        is_table = name.endswith(".pos_encoder.pe")
        if (mid_block or not name.startswith("mid_block.")) and not (is_table and positions is None):
            tensors[name] = dtype, (1, positions or 0, shape[2]) if is_table else shape
    return TensorList({}, tensors)


def joined(*lists: TensorList) -> TensorList:
    """All tensors of some lists."""
    return TensorList({}, {name: what for listed in lists for name, what in listed.tensors.items()})


def hotshot_names(listed: TensorList) -> TensorList:
    """The same layers as HotShot-XL calls them."""
    return _renamed(
        listed,
        (r"motion_modules\.(\d)\.temporal_transformer\.", r"temporal_attentions.\1."),
        (r"pos_encoder\.pe$", "pos_encoder.positional_encoding"),
    )


def diffusers_names(listed: TensorList) -> TensorList:
    """The same layers as diffusers calls them; the table of positions, which the authors store twice, once."""
    once = {name: what for name, what in listed.tensors.items() if "attention_blocks.1.pos_encoder" not in name}
    return _renamed(
        TensorList({}, once),
        (r"\.temporal_transformer\.", "."),
        (r"\.attention_blocks\.0\.pos_encoder\.", ".pos_embed."),
        (r"\.attention_blocks\.0\.", ".attn1."),
        (r"\.attention_blocks\.1\.", ".attn2."),
        (r"\.norms\.0\.", ".norm1."),
        (r"\.norms\.1\.", ".norm2."),
        (r"\.ff_norm\.", ".norm3."),
    )


def _renamed(listed: TensorList, *changes: tuple[str, str]) -> TensorList:
    tensors = {}
    for old, what in listed.tensors.items():
        name = old
        for pattern, replacement in changes:
            name = re.sub(pattern, replacement, name)
        tensors[name] = what
    return TensorList({}, tensors)


def _linear(name: str, out: int, into: int) -> TensorList:
    return TensorList({}, {f"{name}.weight": ("F32", (out, into)), f"{name}.bias": ("F32", (out,))})


_AUTHORS, _LIGHTNING_REPO, _LONG_REPO = (
    "guoyww/animatediff",
    "ByteDance/AnimateDiff-Lightning",
    "Lightricks/LongAnimateDiff",
)
_V1, _V2, _V3 = module(positions=24, mid_block=False), module(), module(mid_block=False)
_XL, _HALF = module(xl=True, mid_block=False), module(dtype="F16")
#: The first convolution of PIA and FancyVideo: latents, a picture's latents, and its mask.
_CONV_IN = TensorList({}, {"conv_in.weight": ("F32", (320, 9, 3, 3)), "conv_in.bias": ("F32", (320,))})


def _hotshot(dtype: str) -> MotionFile:
    listed = hotshot_names(module(positions=24, mid_block=False, xl=True, dtype=dtype))
    return MotionFile("hotshotco/Hotshot-XL", listed, "hotshot-xl", 24, window_norms=True)


MOTION_FILES: dict[str, MotionFile] = {
    "mm_sd_v14.ckpt": MotionFile(_AUTHORS, _V1, "v1", 24, window_norms=True),
    "mm_sd_v15.ckpt": MotionFile(_AUTHORS, _V1, "v1", 24, window_norms=True),
    "mm_sd_v15_v2.ckpt": MotionFile(_AUTHORS, _V2, "v2", mid_block=True),
    "v3_sd15_mm.ckpt": MotionFile(_AUTHORS, _V3, "v3"),
    "mm-Stabilized_high.pth": MotionFile("manshoety/AD_Stabilized_Motion", _V1, "v1", 24, window_norms=True),
    "mm-Stabilized_mid.pth": MotionFile("manshoety/AD_Stabilized_Motion", _V1, "v1", 24, window_norms=True),
    "temporaldiff-v1-animatediff.safetensors": MotionFile("CiaraRowles/TemporalDiff", _V1, "v1", 24, window_norms=True),
    "mm_sd_v15_v2.fp16.safetensors": MotionFile("conrevo/AnimateDiff-A1111", _HALF, "v2", mid_block=True),
    "AnimateLCM_sd15_t2v.ckpt": MotionFile(
        "wangfuyun/AnimateLCM", module(positions=None), "animate-lcm", 64, mid_block=True
    ),
    "AnimateLCM_sd15_i2v.ckpt": MotionFile(
        "wangfuyun/AnimateLCM-I2V",
        joined(module(positions=None), tensor_list("motion/image_encoder")),
        "animate-lcm-i2v",
        64,
        mid_block=True,
    ),
    "lt_long_mm_16_64_frames.ckpt": MotionFile(
        _LONG_REPO, module(positions=128), "long-animate-diff", 128, mid_block=True
    ),
    "lt_long_mm_16_64_frames_v1.1.ckpt": MotionFile(
        _LONG_REPO, module(positions=128), "long-animate-diff", 128, mid_block=True
    ),
    "lt_long_mm_32_frames.ckpt": MotionFile(
        _LONG_REPO, module(positions=64), "long-animate-diff-32", 64, mid_block=True
    ),
    "pia.ckpt": MotionFile("Leoxing/PIA", joined(_V3, _CONV_IN), "pia", window_norms=True),
    "mm_sdxl_v10_beta.ckpt": MotionFile(_AUTHORS, _XL, "sdxl-beta"),
    "hsxl_temporal_layers.f16.safetensors": _hotshot("F16"),
    "hsxl_temporal_layers.safetensors": _hotshot("F32"),
    **{
        f"animatediff_lightning_{steps}step_{layout}.safetensors": MotionFile(
            _LIGHTNING_REPO, listed, f"lightning-{steps}", mid_block=True
        )
        for steps in (1, 2, 4, 8)
        for layout, listed in {"diffusers": diffusers_names(_HALF), "comfyui": _HALF}.items()
    },
}
"""Motion modules by the names of their files."""

PAYLOADS: dict[str, Payload] = {
    "plain": dict,
    "beside its configuration": lambda tensors: {**tensors, "animatediff_config": {"use_motion_module": True}},
    "of a training": lambda tensors: {
        "epoch": 0,
        "global_step": 9,
        "state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()},
    },
    "of CameraCtrl's training": lambda tensors: {"global_step": 9, "motion_module_state_dict": dict(tensors)},
}
"""What pickles hold around the tensors, as the authors' own programs save and read them."""

_LORA = tensor_list("motion/motion_lora")
_CAMERA = "ZoomIn ZoomOut PanLeft PanRight TiltUp TiltDown RollingClockwise RollingAnticlockwise"
MOTION_LORAS: dict[str, tuple[str, TensorList]] = {
    f"v2_lora_{name}.ckpt": (_AUTHORS, _LORA) for name in _CAMERA.split()
} | {
    # The same as diffusers converted them, a folder each.
    "diffusion_pytorch_model.safetensors": (
        "guoyww/animatediff-motion-lora-zoom-in",
        _renamed(diffusers_names(_LORA), ("^", "unet.")),
    )
}
"""Repository and tensors of motion LoRAs, by the names of their files."""

DOMAIN_ADAPTER = tensor_list("motion/domain_adapter")
"""`v3_sd15_adapter.ckpt`."""


def _hello_meme() -> TensorList:
    """HelloMeme's reference adapter: attention over a picture in every block."""
    widths = (320, 640, 1280, 1280)
    places = {f"reference_modules_down.{i}": width for i, width in enumerate(widths)}
    places |= {"reference_modules_mid": 1280} | {
        f"reference_modules_up.{i}": width for i, width in enumerate((1280, 1280, 640))
    }
    parts = [
        _linear(f"{place}.{part}", width, width) for place, width in places.items() for part in ("attn1.to_q", "proj")
    ]
    return joined(*parts)


_EMBEDDINGS = [_linear(f"{name}.linear", 1280, 320) for name in ("fps_embedding", "motion_embedding")]
UNSUPPORTED: dict[str, tuple[TensorList, str]] = {
    "fancyvideo.ckpt": (joined(_V2, _CONV_IN, *_EMBEDDINGS), "FancyVideo"),
    "camera_encoder.ckpt": (tensor_list("motion/camera_encoder"), "CameraCtrl"),
    "CameraCtrl_pruned.safetensors": (
        joined(tensor_list("motion/camera_encoder"), tensor_list("motion/camera_projections")),
        "CameraCtrl",
    ),
    "hm_reference.safetensors": (_hello_meme(), "HelloMeme"),
}
"""What is made for AnimateDiff and does not run here, with the name that a refusal must tell."""
