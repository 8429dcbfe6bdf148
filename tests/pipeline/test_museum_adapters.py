"""Published additions to base models, from the museum's lists: each is told, loads, and is missed if changed."""

import json
import re
from collections.abc import Callable
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pipelines.engine.lora.files import LoraKind, read_lora
from pipelines.engine.lora.fitting import fit_lora
from pipelines.engine.steering.adapter_files import AdapterFiles, locate_adapter, read_adapter, refuse_other_unet
from pipelines.engine.steering.control.files import ControlFiles, load_control_net, locate_control, refuse_other_base
from pipelines.engine.weights.reading import read_shapes
from pipelines.plan.catalog_entries import ControlNet, IPAdapter
from pipelines.plan.errors import WeightsError
from pipelines.plan.model_files.kinds import WeightsKind, tell_kind
from tests.museum import controlnets, ip_adapters, loras
from tests.museum.configs import SD15, SDXL, published, write_config
from tests.museum.embeddings import EMBEDDINGS, Embedding, first_release
from tests.museum.motion import NARROW
from tests.museum.tensor_lists import DTYPES, TensorList
from tests.pipeline import tiny


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
    assert {component: len(layers_of_part) for component, layers_of_part in lora.layers.items()} == layers
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


ADAPTERS = [
    pytest.param(ip_adapters.sd15, SD15, id="sd15"),
    pytest.param(ip_adapters.plus_sd15, SD15, id="plus_sd15"),
    pytest.param(ip_adapters.sdxl_vit_h, SDXL, id="sdxl_vit-h"),
    pytest.param(ip_adapters.plus_sdxl_vit_h, SDXL, id="plus_sdxl_vit-h"),
]
#: Heads are 64 wide, so what is projected stays a multiple of it.
_ADAPTER_WIDTHS = {
    768: 64,
    1536: 128,
    3072: 256,
    2048: 128,
    8192: 512,
    640: 32,
    1024: 48,
    5120: 256,
    1280: 64,
    2560: 128,
}


@pytest.fixture
def image_encoder(tmp_path) -> Path:
    """The folder of an image encoder beside the adapters, of which only its configuration is looked for here."""
    (tmp_path / "image_encoder").mkdir()
    (tmp_path / "image_encoder" / "config.json").write_text("{}")
    return tmp_path


def located(path: Path) -> AdapterFiles:
    entry = IPAdapter(id=path.name, label="", description="", source="local", repo=str(path), licence="")
    return locate_adapter(entry)


@pytest.mark.parametrize("listed", [param.values[0] for param in ADAPTERS])
def test_an_ip_adapter_has_the_published_size(listed: Callable):
    tensors: TensorList = listed()
    assert file_bytes(tensors, {}) == int(tensors.facts["bytes"])


@pytest.mark.parametrize(("listed", "repo"), ADAPTERS)
def test_an_ip_adapter_is_told_fits_its_model_and_no_other(listed: Callable, repo, image_encoder):
    tensors: TensorList = listed()
    assert tell_kind(tensors.tensors) is WeightsKind.IP_ADAPTER
    files = located(tensors.write_zeros(image_encoder / "a.safetensors"))
    refuse_other_unet(files, base_model(repo)["unet"], repo)
    with pytest.raises(WeightsError, match="must fit the base model"):
        refuse_other_unet(files, base_model(SD15 if repo == SDXL else SDXL)["unet"], "other")
    changed = tensors.renamed(r"^ip_adapter\.1\.to_k_ip", "ip_adapter.1.to_q_ip")
    with pytest.raises(WeightsError, match="must fit the base model"):
        refuse_other_unet(located(changed.write_zeros(image_encoder / "b.safetensors")), base_model(repo)["unet"], repo)


@pytest.mark.parametrize("listed", [param.values[0] for param in ADAPTERS])
def test_an_ip_adapter_loads_and_is_missed_with_one_name_changed(listed: Callable, image_encoder):
    weights = listed().narrow(_ADAPTER_WIDTHS)
    save_file(weights, image_encoder / "a.safetensors")
    layers = read_adapter(located(image_encoder / "a.safetensors"), device="cpu", dtype=torch.float32)
    assert len(layers.keys_values) == sum("to_k_ip" in name for name in weights)
    for i, (key, value) in enumerate(layers.keys_values):
        assert torch.equal(key, weights[f"ip_adapter.{2 * i + 1}.to_k_ip.weight"].float())
        assert torch.equal(value, weights[f"ip_adapter.{2 * i + 1}.to_v_ip.weight"].float())
    count = sum(tensor.numel() for tensor in layers.projection.state_dict().values())
    assert count == sum(tensor.numel() for name, tensor in weights.items() if name.startswith("image_proj."))
    changed = next(name for name in weights if re.match(r"image_proj\.(norm|norm_out)\.bias", name))
    weights[changed.replace("norm", "nurm")] = weights.pop(changed)
    save_file(weights, image_encoder / "b.safetensors")
    with pytest.raises(WeightsError, match=r"must be a whole IP-Adapter, got 'b\.safetensors': it lacks 1 tensors"):
        read_adapter(located(image_encoder / "b.safetensors"), device="cpu", dtype=torch.float32)


CONTROLS = [controlnets.authors_names, controlnets.half, controlnets.diffusers_names, controlnets.first_release]
#: Widths of the tiny base model, and fewer words, steps and channels of the VAE where those are beside it.
_CONTROL_WIDTHS = NARROW | {960: 48, 1920: 96, 49408: 8, 1000: 4, 512: 8, 256: 8, 128: 8}
TINY_UNET = {"block_out_channels": tiny.CHANNELS, "cross_attention_dim": 32, "norm_num_groups": 8}


def control_at(path: Path) -> ControlFiles:
    entry = ControlNet(id=path.name, label="", description="", source="local", repo=str(path), licence="")
    return locate_control(entry)


@pytest.mark.parametrize("listed", [controlnets.half, controlnets.diffusers_names])
def test_a_controlnet_has_the_published_size(listed: Callable):
    """But for padding, which has changed with safetensors' versions."""
    tensors: TensorList = listed()
    sizes = [file_bytes(tensors, metadata) for metadata in ({}, {"format": "pt"})]
    assert min(abs(size - int(tensors.facts["bytes"])) for size in sizes) < 8


@pytest.mark.parametrize("listed", CONTROLS)
def test_a_controlnet_is_told_and_is_what_diffusers_network_holds(listed: Callable, tmp_path):
    tensors: TensorList = listed()
    assert tell_kind(tensors.tensors) is WeightsKind.CONTROLNET
    files = control_at(tensors.write_zeros(tmp_path / "a.safetensors"))
    assert files.shapes == {name: shape for name, (_, shape) in controlnets.diffusers_names().tensors.items()}
    refuse_other_base(files, published(SD15, "unet/config.json"), SD15)
    with pytest.raises(WeightsError, match="must fit the base model"):
        refuse_other_base(files, published(SDXL, "unet/config.json"), SDXL)


@pytest.mark.parametrize("listed", CONTROLS)
def test_a_controlnet_loads_and_is_missed_with_one_name_changed(listed: Callable, tmp_path):
    weights = listed().narrow(_CONTROL_WIDTHS)
    unet = published(SD15, "unet/config.json") | TINY_UNET
    files = control_at(saved(weights, tmp_path / "a.safetensors"))
    net = load_control_net(files, unet, device="cpu", dtype=torch.float32)
    assert all(torch.equal(net.state_dict()[new], weights[old].float()) for new, old in files.names.items())
    changed = next(name for name in weights if re.search(r"(zero_convs\.3\.0|controlnet_down_blocks\.3)\.bias$", name))
    weights[changed.replace(".3.", ".30.")] = weights.pop(changed)
    with pytest.raises(WeightsError, match=r"must be a whole ControlNet, got 'b\.safetensors'"):
        load_control_net(
            control_at(saved(weights, tmp_path / "b.safetensors")), unet, device="cpu", dtype=torch.float32
        )


def test_a_controlnet_s_folder_with_the_configuration_of_its_time_loads(tmp_path):
    """diffusers 0.16 wrote fewer settings than today's ControlNet has."""
    config = published(controlnets.CANNY, "config.json")
    assert "conditioning_channels" not in config
    write_config(tmp_path / "net" / "config.json", config | TINY_UNET)
    weights = controlnets.diffusers_names().without("controlnet_cond_embedding").narrow(_CONTROL_WIDTHS)
    weights |= controlnets.diffusers_names().only("controlnet_cond_embedding").narrow(NARROW)
    saved(weights, tmp_path / "net" / "diffusion_pytorch_model.safetensors")
    net = load_control_net(control_at(tmp_path / "net"), {}, device="cpu", dtype=torch.float32)
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in weights.items())


def saved(tensors: dict[str, torch.Tensor], path: Path) -> Path:
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("form", EMBEDDINGS)
def test_a_textual_inversion_is_told_and_read_from_every_form(form, tmp_path):
    embedding = EMBEDDINGS[form]
    tensors = {name: torch.randn(shape) for name, shape in embedding.vectors.items()}
    lora = read_lora(write_embedding(embedding, tensors, tmp_path / embedding.file))
    assert tell_kind(read_shapes(tmp_path / embedding.file)) is WeightsKind.TEXTUAL_INVERSION
    assert lora.kind is LoraKind.TEXTUAL_INVERSION
    encoders = {"clip_g": "text_encoder_2"}
    expected = {encoders.get(name, "text_encoder"): tensor for name, tensor in tensors.items()}
    assert lora.vectors.keys() == expected.keys()
    for encoder, tensor in expected.items():
        assert torch.equal(lora.vectors[encoder], tensor.reshape(-1, tensor.shape[-1]))


def write_embedding(embedding: Embedding, tensors: dict[str, torch.Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        return saved(tensors, path)
    torch.save(embedding.payload(tensors), path)
    return path


def test_a_textual_inversion_with_one_name_changed_is_missed(tmp_path):
    """Where the names are no words of people's: those of the two encoders."""
    tensors = {name.replace("clip_g", "clip_h"): torch.ones(shape) for name, shape in EMBEDDINGS["XL"].vectors.items()}
    with pytest.raises(WeightsError, match="which is of no kind known here"):
        read_lora(saved(tensors, tmp_path / "a.safetensors"))


def test_a_textual_inversion_of_the_first_trainer_is_refused_in_words(tmp_path):
    """Its vectors are in an object, not in a dict, so that a reader of tensors alone can't open it."""
    torch.save(first_release(), tmp_path / "embeddings_gs-5000.pt")
    with pytest.raises(
        WeightsError, match=r"must hold nothing but tensors, got 'embeddings_gs-5000\.pt'.*ParameterDict"
    ):
        read_lora(tmp_path / "embeddings_gs-5000.pt")
