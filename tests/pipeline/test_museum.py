"""The museum holds what diffusers' networks hold at the published configurations, and what the files' sizes say."""

import json
import re
from math import prod

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.museum import authors, base_models
from tests.museum.configs import SD15, SDXL, published
from tests.museum.tensor_lists import DTYPES, TensorList, tensor_list
from tests.pipeline import tiny
from tests.pipeline.published_names import bare, ldm_unet, ldm_vae, open_clip

#: In the order of the libraries that wrote the files.
_ORDER = ["I64", "F32", "I32", "F16"]


def shapes_of(weights) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def network(kind, repo: str, name: str) -> dict[str, torch.Tensor]:
    """The tensors of a network at its published configuration, without memory."""
    config = published(repo, f"{name}/config.json")
    with torch.device("meta"):
        net = kind(CLIPTextConfig(**config)) if kind.__module__.startswith("transformers") else kind.from_config(config)
    return net.state_dict()


def unet_names(repo: str, first_upsampler: int) -> dict[str, tuple[int, ...]]:
    unet = network(UNet2DConditionModel, repo, "unet")
    return shapes_of({f"model.diffusion_model.{ldm_unet(k, first_upsampler)}": v for k, v in unet.items()})


def vae_names(repo: str) -> dict[str, tuple[int, ...]]:
    return shapes_of(dict(ldm_vae(*item) for item in network(AutoencoderKL, repo, "vae").items()))


def clip_names(repo: str, prefix: str) -> dict[str, tuple[int, ...]]:
    text = network(CLIPTextModel, repo, "text_encoder")
    stored = {f"{prefix}text_model.{bare(name)}": tensor for name, tensor in text.items()}
    return shapes_of(stored) | {f"{prefix}text_model.embeddings.position_ids": (1, 77)}


def listed(tensors: TensorList) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, (_, shape) in tensors.tensors.items()}


def test_the_single_file_of_stable_diffusion_1_5_is_what_diffusers_networks_hold():
    listed_tensors = listed(base_models.v1_5_pruned().without(r"model_ema\."))
    schedule = dict.fromkeys(authors.SCHEDULE, (1000,))
    parts = unet_names(SD15, 1) | vae_names(SD15) | clip_names(SD15, "cond_stage_model.transformer.")
    assert listed_tensors == schedule | parts


def test_its_averages_are_those_of_the_unet():
    averages = listed(base_models.v1_5_pruned().only(r"model_ema\.diffusion_model"))
    names = {name.replace("model.", "", 1).replace(".", ""): shape for name, shape in unet_names(SD15, 1).items()}
    assert averages == {f"model_ema.{name}": shape for name, shape in names.items()}


def test_the_single_file_of_stable_diffusion_xl_is_what_diffusers_networks_hold():
    second = open_clip(network(CLIPTextModelWithProjection, SDXL, "text_encoder_2"))
    prefix = "conditioner.embedders."
    texts = {f"{prefix}1.model.{name}": shape for name, shape in shapes_of(second).items()}
    texts |= {f"{prefix}1.model.logit_scale": ()} | clip_names(SDXL, f"{prefix}0.transformer.")
    assert listed(base_models.sd_xl_base()) == unet_names(SDXL, 2) | vae_names(SDXL) | texts


@pytest.mark.parametrize(
    ("listed", "metadata", "exactly"),
    [
        (base_models.dreamshaper, None, True),
        (base_models.vae_ft_mse, {"format": "pt"}, True),
        (base_models.v1_5_pruned, {"format": "pt"}, False),
        (base_models.v1_5_emaonly, {"format": "pt"}, False),
        (base_models.trained_vae, {"format": "pt"}, False),
        (base_models.text_encoder, {"format": "pt"}, False),
        (base_models.sd_xl_base, None, None),  # its header holds a thumbnail
    ],
)
def test_the_lists_make_files_of_the_published_size(listed, metadata, exactly):
    """To the byte where the writer's padding is known; else to a tenth of one tensor's line in the header."""
    listed_tensors = listed()
    size = int(listed_tensors.facts["bytes"])
    plain, padded = _file_bytes(listed_tensors, metadata)
    if exactly is None:
        assert padded < size < padded + 100 * len(listed_tensors.tensors)
    elif exactly:
        assert size in (plain, padded)
    else:
        assert abs(size - plain) < 64


@pytest.mark.parametrize("safetensors", [True, False])
def test_tiny_stand_ins_are_the_published_files_but_for_their_widths(tmp_path, safetensors):
    base = tiny.TinyBase()
    assert _kinds(base.checkpoint()) == _kinds(base_models.v1_5_pruned().without(r"model_ema\.").tensors)
    assert _kinds(tiny.TinyXL().checkpoint()) == _kinds(base_models.sd_xl_base().tensors)
    folder = base.save_folder(tmp_path / "folder", safetensors=safetensors)
    for name in ("model_index.json", "scheduler/scheduler_config.json"):
        assert json.loads((folder / name).read_text()) == published(SD15, name)
    for name in ("unet", "vae", "text_encoder"):
        config = json.loads((folder / name / "config.json").read_text())
        assert config.keys() - {"_name_or_path"} == published(SD15, f"{name}/config.json").keys() - {"_name_or_path"}


@pytest.mark.parametrize("name", ["base_models/v1-5-pruned", "base_models/sd_xl_base_1.0", "vae/trained"])
def test_lists_are_what_their_authors_definitions_give(name, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.museum.tensor_lists._FOLDER", tmp_path)
    written = tensor_list.__wrapped__
    authors.write_lists()
    assert written(name) == tensor_list(name)


def _kinds(names) -> set[str]:
    """Names of tensors without the numbers of layers, of which small networks have fewer."""
    return {re.sub(r"(layers|resblocks|transformer_blocks)\.\d+", r"\1", name) for name in names}


def _file_bytes(listed_tensors: TensorList, metadata: dict[str, str] | None) -> tuple[int, int]:
    """Bytes of the file as the safetensors library writes it: with its header as it is, and padded to 8 bytes."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name in sorted(listed_tensors.tensors, key=lambda key: (_ORDER.index(listed_tensors.tensors[key][0]), key)):
        dtype, shape = listed_tensors.tensors[name]
        begin, end = end, end + DTYPES[dtype].itemsize * prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": (begin, end)}
    length = len(json.dumps(header, separators=(",", ":")))
    return 8 + length + end, 8 + length + -length % 8 + end
