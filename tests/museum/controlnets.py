"""Published ControlNets for Stable Diffusion 1.5, as lists made from lllyasviel/ControlNet's `cldm.py`."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from diffusers import ControlNetModel

from tests.museum import authors, base_models
from tests.museum.authors import Shapes, layer, placed
from tests.museum.configs import published
from tests.museum.tensor_lists import TensorList

CANNY = "lllyasviel/control_v11p_sd15_canny"


def authors_names(dtype: str = "F32", prefix: str = "control_model.") -> TensorList:
    """`control_v11p_sd15_canny.pth` and its siblings: half of the UNet, a network for the hint, zero convolutions."""
    unet = authors.unet(text=768, depths=(1, 1, 1, 0, 1)).items()
    shapes = {name: shape for name, shape in unet if name.startswith(("time_embed", "input_blocks", "middle_block"))}
    return TensorList(
        {}, {name: (dtype, shape) for name, shape in placed(prefix, shapes | _shapes_beside_unet()).items()}
    )


def half() -> TensorList:
    """`control_v11f1e_sd15_tile_fp16.safetensors`: the same in half precision."""
    facts = {
        "file": "control_v11f1e_sd15_tile_fp16.safetensors",
        "repo": "comfyanonymous/ControlNet-v1-1_fp16_safetensors",
        "bytes": "722601104",
        "source": "a program that checks downloads",
    }
    return TensorList(facts, authors_names("F16").tensors)


def diffusers_names() -> TensorList:
    """`diffusion_pytorch_model.safetensors` of sd-controlnet-canny, whose size is known, and of v1.1's folders."""
    facts = {
        "file": "diffusion_pytorch_model.safetensors",
        "repo": "lllyasviel/sd-controlnet-canny",
        "bytes": "1445157124",
        "source": "a set-up script that checks downloads",
    }
    with torch.device("meta"):
        net = ControlNetModel.from_config(published(CANNY, "config.json"))
    return TensorList(facts, {name: ("F32", tuple(tensor.shape)) for name, tensor in net.state_dict().items()})


def first_release() -> TensorList:
    """`control_sd15_canny.pth` of version 1.0, 5.7 GB: all of Stable Diffusion 1.5 beside the ControlNet."""
    return base_models.v1_5_emaonly().without(r"model_ema\.").with_tensors(authors_names().tensors)


def _shapes_beside_unet() -> Mapping[str, tuple[int, ...]]:
    """What a ControlNet has beside its copy of the UNet."""
    shapes: Shapes = {}
    widths = (3, 16, 16, 32, 32, 96, 96, 256, 320)  # of the hint, from the picture's colours on
    for i, (into, out) in enumerate(pairwise(widths)):
        shapes |= layer(f"input_hint_block.{2 * i}", out, into, 3, 3)
    for i, width in enumerate([320] * 4 + [640] * 3 + [1280] * 5):
        shapes |= layer(f"zero_convs.{i}.0", width, width, 1, 1)
    return shapes | layer("middle_block_out.0", 1280, 1280, 1, 1)
