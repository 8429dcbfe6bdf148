"""SDXL's added conditions per frame; diffusers repeats one for the clip."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from diffusers import UNetMotionModel
from torch import nn


@contextmanager
def frame_conditions(unet: UNetMotionModel, *, per_frame: bool) -> Iterator[None]:
    """Let `text_embeds` and `time_ids` have rows per frame, for one call.

    The UNet adds their embedding to the timestep's before it repeats that for the frames. Here it is kept
    back and added behind, where the blocks take the embedding in. The sums are the same ones.

    Args:
        unet: Without such conditions, as Stable Diffusion 1.5's, it is left alone.
        per_frame: Whether the rows are those of frames; if not, nothing is changed.
    """
    embedding = getattr(unet, "add_embedding", None)
    if not per_frame or embedding is None:
        yield
        return
    rows: list[torch.Tensor] = []

    def keep_back(_: nn.Module, __: tuple[object, ...], embedded: torch.Tensor) -> torch.Tensor:
        rows.append(embedded)
        return torch.zeros_like(embedded[:1])

    def add(
        _: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        if "temb" in kwargs:
            return args, kwargs | {"temb": kwargs["temb"] + rows[0]}
        sample, temb, *rest = args  # so the middle block is called
        return (sample, temb + rows[0], *rest), kwargs

    with ExitStack() as hooks:
        hooks.callback(embedding.register_forward_hook(keep_back).remove)
        for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
            hooks.callback(block.register_forward_pre_hook(add, with_kwargs=True).remove)
        yield
