"""Motion modules and what is published beside them, as their authors define them: names and shapes of tensors.

Written down from the modules' definitions (guoyww/AnimateDiff `motion_module.py` and `sparse_controlnet.py`,
G-U-N/AnimateLCM `adapter.py`, hehao13/CameraCtrl `pose_adaptor.py`), not from diffusers'.
`python -m tests.museum.authors_motion` writes the lists.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from tests.museum.tensor_lists import TensorList, write_list

Shape = tuple[int, ...]
Tensors = Iterator[tuple[str, Shape]]
CHANNELS = (320, 640, 1280, 1280)
CHANNELS_XL = CHANNELS[:3]
_TEXT = 768


def motion_module(channels: Iterable[int] = CHANNELS, *, positions: int = 32, attentions: int = 2) -> Tensors:
    """The layers over time of a whole UNet: two a down block, three an up block, one in the middle."""
    down = list(channels)
    for block, width in enumerate(down):
        for layer in range(2):
            yield from _temporal(f"down_blocks.{block}.motion_modules.{layer}", width, positions, attentions)
    for block, width in enumerate(reversed(down)):
        for layer in range(3):
            yield from _temporal(f"up_blocks.{block}.motion_modules.{layer}", width, positions, attentions)
    yield from _temporal("mid_block.motion_modules.0", down[-1], positions, attentions)


def motion_lora(rank: int = 64) -> Tensors:
    """The factors beside every projection of attention over time, as published for v2."""
    for name, shape in motion_module():
        if name.endswith((".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight")):
            yield from _factors(name, shape[0], shape[1], rank)


def domain_adapter(rank: int = 128) -> Tensors:
    """The factors beside every projection of attention over space."""
    places = [(f"down_blocks.{i}.attentions.{j}", CHANNELS[i]) for i in range(3) for j in range(2)]
    places.append(("mid_block.attentions.0", CHANNELS[-1]))
    places += [(f"up_blocks.{i}.attentions.{j}", CHANNELS[3 - i]) for i in range(1, 4) for j in range(3)]
    for place, width in places:
        for attention, seen in (("attn1", width), ("attn2", _TEXT)):
            for part, into in (("to_q", width), ("to_k", seen), ("to_v", seen), ("to_out.0", width)):
                name = f"{place}.transformer_blocks.0.{attention}.{part}.weight"
                yield from _factors(name, width, into, rank)


def image_encoder() -> Tensors:
    """AnimateLCM-I2V's encoder of the picture that a clip begins at, a T2I adapter of four latent channels."""
    yield from _layer("img_encoder.conv_in", (CHANNELS[0], 4, 3, 3))
    for level, width in enumerate(CHANNELS):
        for i in range(2):
            name, into = f"img_encoder.body.{2 * level + i}", CHANNELS[level - 1] if level and not i else width
            if into != width:
                yield from _layer(f"{name}.in_conv", (width, into, 1, 1))
            yield from _layer(f"{name}.block1", (width, width, 3, 3))
            yield from _layer(f"{name}.block2", (width, width, 1, 1))


def camera_encoder() -> Tensors:
    """CameraCtrl's encoder of camera poses; each of its layers is followed by attention over time."""
    yield from _layer("encoder_conv_in", (CHANNELS[0], 384, 3, 3))
    for level, width in enumerate(CHANNELS):
        for i in range(2):
            name, into = f"encoder_down_conv_blocks.{level}.{i}", CHANNELS[level - 1] if level and not i else width
            if into != width:
                yield from _layer(f"{name}.in_conv", (width, into, 1, 1))
            yield from _layer(f"{name}.block1", (width, width, 3, 3))
            yield from _layer(f"{name}.block2", (width, width, 1, 1))
    for level, width in enumerate(CHANNELS):
        for i in range(2):
            yield from _block(f"encoder_down_attention_blocks.{level}.{i}", width, positions=16, attentions=1)


def camera_projections() -> Tensors:
    """What CameraCtrl puts beside every attention over time but the middle one's."""
    for name, (width, *_) in motion_module():
        if name.endswith(".to_q.weight") and not name.startswith("mid_block."):
            yield from _layer(name.replace("to_q.weight", "processor.qkv_merge"), (width, width))


def sparse_ctrl(*, simple: bool) -> Tensors:
    """A SparseCtrl encoder: a UNet's way down and its middle, whose layers over time attend once.

    Args:
        simple: Whether pictures come as latents (`rgb`), not through a small network (`scribble`).
    """
    yield from _layer("conv_in", (320, 4, 3, 3))
    for part, into in (("linear_1", 320), ("linear_2", 1280)):
        yield from _layer(f"time_embedding.{part}", (1280, into))
    yield from _condition_embedding(simple=simple)
    widths = [320]
    for block, width in enumerate(CHANNELS):
        for i in range(2):
            yield from _resnet(
                f"down_blocks.{block}.resnets.{i}", CHANNELS[block - 1] if block and not i else width, width
            )
            if block < 3:
                yield from _spatial(f"down_blocks.{block}.attentions.{i}", width)
            yield from _temporal(f"down_blocks.{block}.motion_modules.{i}", width, 32, 1)
            widths.append(width)
        if block < 3:
            yield from _layer(f"down_blocks.{block}.downsamplers.0.conv", (width, width, 3, 3))
            widths.append(width)
    for i in range(2):
        yield from _resnet(f"mid_block.resnets.{i}", 1280, 1280)
    yield from _spatial("mid_block.attentions.0", 1280)
    for i, width in enumerate(widths):
        yield from _layer(f"controlnet_down_blocks.{i}", (width, width, 1, 1))
    yield from _layer("controlnet_mid_block", (1280, 1280, 1, 1))


def _condition_embedding(*, simple: bool) -> Tensors:
    name = "controlnet_cond_embedding"
    if simple:
        yield from _layer(name, (320, 5, 3, 3))
        return
    yield from _layer(f"{name}.conv_in", (16, 4, 3, 3))
    widths = (16, 16, 32, 32, 96, 96, 256)
    for i, (into, out) in enumerate(pairwise(widths)):
        yield from _layer(f"{name}.blocks.{i}", (out, into, 3, 3))
    yield from _layer(f"{name}.conv_out", (320, 256, 3, 3))


def _temporal(name: str, width: int, positions: int, attentions: int) -> Tensors:
    start = f"{name}.temporal_transformer"
    yield from _layer(f"{start}.norm", (width,))
    yield from _layer(f"{start}.proj_in", (width, width))
    yield from _block(f"{start}.transformer_blocks.0", width, positions=positions, attentions=attentions)
    yield from _layer(f"{start}.proj_out", (width, width))


def _block(name: str, width: int, *, positions: int, attentions: int) -> Tensors:
    for i in range(attentions):
        start = f"{name}.attention_blocks.{i}"
        for part in ("to_q", "to_k", "to_v"):
            yield f"{start}.{part}.weight", (width, width)
        yield from _layer(f"{start}.to_out.0", (width, width))
        yield f"{start}.pos_encoder.pe", (1, positions, width)
    for i in range(attentions):
        yield from _layer(f"{name}.norms.{i}", (width,))
    yield from _layer(f"{name}.ff.net.0.proj", (8 * width, width))
    yield from _layer(f"{name}.ff.net.2", (width, 4 * width))
    yield from _layer(f"{name}.ff_norm", (width,))


def _resnet(name: str, into: int, out: int) -> Tensors:
    yield from _layer(f"{name}.norm1", (into,))
    yield from _layer(f"{name}.conv1", (out, into, 3, 3))
    yield from _layer(f"{name}.time_emb_proj", (out, 1280))
    yield from _layer(f"{name}.norm2", (out,))
    yield from _layer(f"{name}.conv2", (out, out, 3, 3))
    if into != out:
        yield from _layer(f"{name}.conv_shortcut", (out, into, 1, 1))


def _spatial(name: str, width: int) -> Tensors:
    yield from _layer(f"{name}.norm", (width,))
    yield from _layer(f"{name}.proj_in", (width, width, 1, 1))
    block = f"{name}.transformer_blocks.0"
    for attention, seen in (("attn1", width), ("attn2", _TEXT)):
        for part, into in (("to_q", width), ("to_k", seen), ("to_v", seen)):
            yield f"{block}.{attention}.{part}.weight", (width, into)
        yield from _layer(f"{block}.{attention}.to_out.0", (width, width))
    yield from _layer(f"{block}.ff.net.0.proj", (8 * width, width))
    yield from _layer(f"{block}.ff.net.2", (width, 4 * width))
    for i in (1, 2, 3):
        yield from _layer(f"{block}.norm{i}", (width,))
    yield from _layer(f"{name}.proj_out", (width, width, 1, 1))


def _factors(name: str, out: int, into: int, rank: int) -> Tensors:
    layer, _, part = name.removesuffix(".weight").replace(".to_out.0", ".to_out").rpartition(".")
    yield f"{layer}.processor.{part}_lora.down.weight", (rank, into)
    yield f"{layer}.processor.{part}_lora.up.weight", (out, rank)


def _layer(name: str, weight: Shape) -> Tensors:
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]


def _write(name: str, tensors: Tensors, **facts: str) -> None:
    listed = {key: ("F32", shape) for key, shape in tensors}
    write_list(f"motion/{name}", TensorList(facts, listed))


if __name__ == "__main__":
    _write("motion_module", motion_module(), source="guoyww/AnimateDiff animatediff/models/motion_module.py")
    _write("motion_module_xl", motion_module(CHANNELS_XL), source="guoyww/AnimateDiff, branch sdxl, the same")
    _write("motion_lora", motion_lora(), source="guoyww/AnimateDiff animatediff/utils/util.py")
    _write("domain_adapter", domain_adapter(), source="guoyww/AnimateDiff animatediff/utils/util.py")
    _write("image_encoder", image_encoder(), source="G-U-N/AnimateLCM animatelcm/models/adapter.py")
    _write("camera_encoder", camera_encoder(), source="hehao13/CameraCtrl cameractrl/models/pose_adaptor.py")
    _write("camera_projections", camera_projections(), source="hehao13/CameraCtrl attention_processor.py")
    for kind in ("rgb", "scribble"):
        listed = sparse_ctrl(simple=kind == "rgb")
        _write(f"sparsectrl_{kind}", listed, source="guoyww/AnimateDiff animatediff/models/sparse_controlnet.py")
