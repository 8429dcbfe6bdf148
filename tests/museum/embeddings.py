"""Textual inversions in the forms in which programs save them: what is around the vectors, and how those are called.

The web UI's training, diffusers' example, kohya's trainer, and both encoders of
Stable Diffusion XL; vectors have the published encoders' widths.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Embedding:
    """A form of a textual inversion.

    Attributes:
        file: What such files are called.
        vectors: Shape of each tensor, by its name.
        beside: What a pickle holds beside `string_to_param`; None if the tensors are all there is.
    """

    file: str
    vectors: Mapping[str, tuple[int, ...]]
    beside: Mapping[str, Any] | None = None

    def payload(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """What the file holds, around these tensors."""
        return dict(tensors) if self.beside is None else {"string_to_param": dict(tensors), **self.beside}


_WEB_UI = {
    "string_to_token": {"*": 265},
    "name": "style",
    "step": 8000,
    "sd_checkpoint": "7460a6fa",
    "sd_checkpoint_name": "sd-v1-4",
}
EMBEDDINGS = {
    "web UI": Embedding("style.pt", {"*": (8, 768)}, _WEB_UI),
    "kohya": Embedding("style.safetensors", {"emb_params": (8, 768)}),
    "diffusers, pickle": Embedding("learned_embeds.bin", {"<cat-toy>": (768,)}),
    "diffusers, dotted token": Embedding("learned_embeds.safetensors", {"<style.v2>": (768,)}),
    "XL": Embedding("style_xl.safetensors", {"clip_l": (8, 768), "clip_g": (8, 1280)}),
}
"""Forms by the programs that write them."""


def first_release() -> dict[str, Any]:
    """`embeddings_gs-5000.pt` of rinongal/textual_inversion, the first trainer: vectors in a module."""
    vectors = nn.ParameterDict({"*": nn.Parameter(torch.ones(1, 768))})
    return {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": vectors}
