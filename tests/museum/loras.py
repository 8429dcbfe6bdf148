"""Published forms of LoRAs, as lists made from their authors' networks.

Layers are those that trainers train, named as they flatten the names: kohya's sd-scripts (`networks/lora.py`) with
diffusers' names for Stable Diffusion 1.5 and with the authors' own for XL; the LCM-LoRA as
latent-consistency publishes it.
"""

import re

from tests.museum import authors
from tests.museum.authors import Shapes
from tests.museum.tensor_lists import TensorList

_ATTENTION = r".*(attn[12]\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2)|proj_(in|out))$"
_TEXT = r".*(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])$"
_RESNET = {
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_CONVOLUTIONS = r"|.*(\.conv[12]|conv_shortcut|time_emb_proj|samplers\.0\.conv)$"


def kohya(rank: int = 32) -> TensorList:
    """A LoRA for Stable Diffusion 1.5: 192 layers of the UNet, 72 of the text encoder, each with its alpha."""
    text = _matching(_layers(authors.clip_text()), _TEXT)
    return _pairs("lora_unet_", _matching(_unet(), _ATTENTION), rank).with_tensors(
        _pairs("lora_te_text_model_", text, rank).tensors
    )


def kohya_xl(rank: int = 32) -> TensorList:
    """A LoRA for Stable Diffusion XL: 722 layers of the UNet under its authors' names, 72 and 192 of the encoders."""
    unet = _layers(authors.unet(text=2048, depths=(0, 2, 10, 10), linear=True, label=2816))
    listed = _pairs("lora_unet_", _matching(unet, _ATTENTION), rank)
    # kohya's trainer loads OpenCLIP's encoder under the names of transformers.
    for number, (width, layers) in enumerate(((768, 12), (1280, 32)), 1):
        text = _matching(_layers(authors.clip_text(width, layers)), _TEXT)
        listed = listed.with_tensors(_pairs(f"lora_te{number}_text_model_", text, rank).tensors)
    return listed


def lcm(rank: int = 64) -> TensorList:
    """`pytorch_lora_weights.safetensors` of lcm-lora-sdv1-5, whose header of 834 tensors takes 116,544 bytes.

    Its layers are the attention's and the convolutions' of the UNet, none of the text encoder.
    """
    facts = {
        "file": "pytorch_lora_weights.safetensors",
        "repo": "latent-consistency/lcm-lora-sdv1-5",
        "bytes": "134621556",
        "sha256": "8f90d840e075ff588a58e22c6586e2ae9a6f7922996ee6649a7f01072333afe4",
        "source": "programs that check downloads, which state its size, tensors and header at revision cf2fced5",
    }
    listed = _pairs("lora_unet_", _matching(_unet(), _ATTENTION + _CONVOLUTIONS), rank)
    return TensorList(facts if rank == 64 else {}, listed.tensors)


def _layers(shapes: Shapes) -> Shapes:
    """Weights of layers and convolutions, by the layers' names."""
    return {name.removesuffix(".weight"): shape for name, shape in shapes.items() if len(shape) > 1}


def _matching(layers: Shapes, pattern: str) -> Shapes:
    return {name: shape for name, shape in layers.items() if re.match(pattern, name)}


def _unet() -> Shapes:
    """The layers of Stable Diffusion 1.5's UNet as diffusers names them."""
    return {
        _in_diffusers(name): shape for name, shape in _layers(authors.unet(text=768, depths=(1, 1, 1, 0, 1))).items()
    }


def _in_diffusers(name: str) -> str:
    """An authors' block in diffusers' terms: three entries of the list a block, the third with its sampler."""
    if match := re.fullmatch(r"middle_block\.(\d)\.(.*)", name):
        return (
            f"mid_block.{('resnets.0', 'attentions.0', 'resnets.1')[int(match[1])]}.{_RESNET.get(match[2], match[2])}"
        )
    match = re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)", name)
    if not match or name == "input_blocks.0.0":
        return name
    is_down, index, rest = match[1] == "input", int(match[2]), match[4]
    if rest == "op":
        return f"down_blocks.{index // 3 - 1}.downsamplers.0.conv"
    if rest == "conv":
        return f"up_blocks.{index // 3}.upsamplers.0.conv"
    block, layer = divmod(index - is_down, 3)
    kind = "resnets" if match[3] == "0" else "attentions"
    return f"{'down' if is_down else 'up'}_blocks.{block}.{kind}.{layer}.{_RESNET.get(rest, rest)}"


def _pairs(prefix: str, layers: Shapes, rank: int) -> TensorList:
    """Of each layer alpha, and down and up in half precision; a convolution's kernel is down's."""
    tensors = {}
    for name, (out, *inside) in layers.items():
        flat = prefix + name.replace(".", "_")
        tensors[f"{flat}.alpha"] = ("F16", ())
        tensors[f"{flat}.lora_down.weight"] = ("F16", (rank, *inside))
        tensors[f"{flat}.lora_up.weight"] = ("F16", (out, rank, *[1] * (len(inside) - 1)))
    return TensorList({}, tensors)
