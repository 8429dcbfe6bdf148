"""Published IP-Adapters (h94/IP-Adapter), as lists made from tencent-ailab/IP-Adapter's modules.

Sizes are those of the Hub as several programs that check downloads state them; the lists make them to the byte.
"""

from tests.museum.authors import Shapes, layer, placed
from tests.museum.tensor_lists import TensorList

_SEEN, _PATCH = 1024, 1280  # CLIP ViT-H: its one vector a picture, and what it says of a patch
#: Widths of the cross-attention layers in the order of their numbers: down, up, middle.
_SD15 = [320] * 2 + [640] * 2 + [1280] * 2 + [1280] * 3 + [640] * 3 + [320] * 3 + [1280]
_SDXL = [640] * 4 + [1280] * 20 + [1280] * 30 + [640] * 6 + [1280] * 10


def sd15() -> TensorList:
    """`models/ip-adapter_sd15.safetensors`: four tokens of a picture's one vector."""
    return _adapter(_vector(768), _SD15, 768, "models/ip-adapter_sd15.safetensors", 44_642_768)


def plus_sd15() -> TensorList:
    """`models/ip-adapter-plus_sd15.safetensors`: 16 queries look at a picture's patches; plus-face has the same."""
    return _adapter(_patches(768, 768), _SD15, 768, "models/ip-adapter-plus_sd15.safetensors", 98_183_288)


def sdxl_vit_h() -> TensorList:
    """`sdxl_models/ip-adapter_sdxl_vit-h.safetensors`: for Stable Diffusion XL with the image encoder of 1.5's."""
    return _adapter(_vector(2048), _SDXL, 2048, "sdxl_models/ip-adapter_sdxl_vit-h.safetensors", 698_391_064)


def plus_sdxl_vit_h() -> TensorList:
    """`sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors`."""
    return _adapter(
        _patches(2048, 1280), _SDXL, 2048, "sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors", 847_517_512
    )


def _adapter(projection: Shapes, widths: list[int], text: int, file: str, size: int) -> TensorList:
    shapes = placed("image_proj.", projection)
    for i, width in enumerate(widths):
        shapes |= {f"ip_adapter.{2 * i + 1}.to_{part}_ip.weight": (width, text) for part in "kv"}
    facts = {"file": file, "repo": "h94/IP-Adapter", "bytes": str(size), "source": "programs that check downloads"}
    return TensorList(facts, {name: ("F16", shape) for name, shape in shapes.items()})


def _vector(text: int) -> Shapes:
    return layer("proj", 4 * text, _SEEN) | layer("norm", text)


def _patches(text: int, inner: int) -> Shapes:
    shapes: Shapes = {"latents": (1, 16, inner)} | layer("proj_in", inner, _PATCH)
    shapes |= layer("proj_out", text, inner) | layer("norm_out", text)
    for i in range(4):
        block = layer("0.norm1", inner) | layer("0.norm2", inner) | layer("1.0", inner)
        sizes = {"0.to_q": (inner, inner), "0.to_kv": (2 * inner, inner), "0.to_out": (inner, inner)}
        for name, size in (sizes | {"1.1": (4 * inner, inner), "1.3": (inner, 4 * inner)}).items():
            block |= layer(name, *size, bias=False)
        shapes |= placed(f"layers.{i}.", block)
    return shapes
