"""Published additions to base models, from the museum's lists: each is told, loads, and is missed if changed."""

import json
from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pipelines.errors import WeightsError
from pipelines.lora.files import LoraKind, read_lora
from pipelines.lora.fitting import fit_lora
from pipelines.weights.kinds import WeightsKind, tell_kind
from tests.museum import loras
from tests.museum.configs import SD15, SDXL, published
from tests.museum.tensor_lists import DTYPES, TensorList


def file_bytes(listed: TensorList, metadata: dict[str, str]) -> int:
    """Bytes of the file as the safetensors library writes it, its header padded to 8."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, (dtype, shape) in sorted(listed.tensors.items()):
        begin, end = end, end + DTYPES[dtype].itemsize * prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    length = len(json.dumps(header, separators=(",", ":")))
    return 8 + length + -length % 8 + end


def without_weights(repo: str, **classes: type) -> dict[str, nn.Module]:
    """Networks at their published configurations."""
    models = {}
    with torch.device("meta"):
        for name, kind in classes.items():
            config = published(repo, f"{name}/config.json")
            models[name] = kind(CLIPTextConfig(**config)) if name != "unet" else kind.from_config(config)
    return models


@cache
def base_model(repo: str) -> dict[str, nn.Module]:
    second = {"text_encoder_2": CLIPTextModelWithProjection} if repo == SDXL else {}
    return without_weights(repo, unet=UNet2DConditionModel, text_encoder=CLIPTextModel, **second)


LORAS = [
    pytest.param(loras.kohya, SD15, {"unet": 192, "text_encoder": 72}, id="kohya, 1.5"),
    pytest.param(loras.kohya_xl, SDXL, {"unet": 722, "text_encoder": 72, "text_encoder_2": 192}, id="kohya, XL"),
    pytest.param(loras.lcm, SD15, {"unet": 278}, id="LCM"),
]


@pytest.mark.parametrize(("listed", "repo", "layers"), LORAS)
def test_a_lora_is_told_and_every_layer_of_it_fits(listed: Callable, repo, layers, tmp_path):
    """At full width; the rank alone is small."""
    tensors: TensorList = listed(rank=1)
    assert tell_kind(tensors.tensors) is WeightsKind.SPATIAL_LORA
    lora = read_lora(tensors.write_zeros(tmp_path / "a.safetensors"))
    assert lora.kind is LoraKind.SPATIAL
    assert {component: len(own) for component, own in lora.layers.items()} == layers
    fit = fit_lora(lora, base_model(repo), repo, "none")
    assert not fit.warnings
    assert len({parameter for parameter, _ in fit.additions}) == sum(layers.values())


@pytest.mark.parametrize(("listed", "repo", "layers"), LORAS)
def test_a_lora_with_one_name_changed_is_missed(listed: Callable, repo, layers, tmp_path):
    tensors: TensorList = listed(rank=1)
    first = next(iter(tensors.tensors)).removesuffix(".alpha")
    with pytest.raises(WeightsError, match="must hold all parts of what it adds to a layer, got 'half"):
        read_lora(
            tensors.renamed(rf"^{first}\.lora_up", f"{first}x.lora_up").write_zeros(tmp_path / "half.safetensors")
        )
    whole = read_lora(tensors.renamed(rf"^{first}\.", f"{first}x.").write_zeros(tmp_path / "whole.safetensors"))
    fit = fit_lora(whole, base_model(repo), repo, "none")
    assert len(fit.additions) == sum(layers.values()) - 1
    assert "has 1 parts that fit nothing in this model" in fit.warnings[0]


def test_the_lcm_lora_has_the_published_size_and_header():
    listed = loras.lcm()
    size = file_bytes(listed, {"format": "pt"})
    assert size == int(listed.facts["bytes"])
    assert (len(listed.tensors), size - 8 - listed.data_bytes) == (834, 116_544)
