"""Every row of the catalog: its tiny twin is published under the true names, found, recognised, and makes a clip.

Of preprocessors only the names are met here; `test_control_networks` has the networks.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from controlnet.fetching import built_with_weights
from controlnet.preprocessor import MODEL_CONFIG, MODEL_WEIGHTS, Setting
from controlnet.preprocessors import PREPROCESSORS
from pipelines.engine.models import ModelStore
from pipelines.plan import catalog
from pipelines.plan.catalog_entries import BaseModel, ControlNet, Entry, IPAdapter, Lora, MotionModule, Vae
from pipelines.plan.clip_inputs import NO_INPUTS, ClipInputs
from pipelines.plan.errors import WeightsError
from pipelines.plan.motion_families import Architecture
from pipelines.plan.request import GenerationRequest
from tests.clips import noise_clip
from tests.pipeline import tiny
from tests.pipeline.lora import formats
from tests.pipeline.sink import run
from tests.stand_in_hub import StandInHub, serving, use_hub

BASES = [entry for entry in catalog.base_models() if entry.source == "hub"]
MODULES = [entry for entry in catalog.motion_modules() if entry.source == "hub"]
LORAS = [entry for entry in catalog.loras() if entry.source == "hub"]
VAES = [entry for entry in catalog.vaes() if entry.source == "hub"]
CONTROLS = [entry for entry in catalog.controlnets() if entry.source == "hub"]
ADAPTERS = [entry for entry in catalog.ip_adapters() if entry.source == "hub"]
FETCHED = [
    preprocessor for preprocessor in PREPROCESSORS.values() if preprocessor.weights and not preprocessor.unavailable
]
FILES = {
    "lllyasviel/Annotators": {
        *("ControlNetHED.pth", "table5_pidinet.pth", "sk_model.pth", "sk_model2.pth", "netG.pth"),
        *("mlsd_large_512_fp32.pth", "body_pose_model.pth", "hand_pose_model.pth", "facenet.pth"),
        *("dpt_hybrid-midas-501f0c75.pt", "ZoeD_M12_N.pt", "res101.pth", "scannet.pt"),
    },
    "bdsqlsz/qinglong_controlnet-lllite": {"Annotators/7_model.pth"},
    "depth-anything/Depth-Anything-V2-Small-hf": {MODEL_CONFIG, MODEL_WEIGHTS[0]},
    "openmmlab/upernet-convnext-small": {MODEL_CONFIG, MODEL_WEIGHTS[1]},
    "yzd-v/DWPose": {"yolox_l.onnx", "dw-ll_ucoco_384.onnx"},
}
"""What the publishers of preprocessors call their files."""

BASE_OF = {"sd15": catalog.STABLE_DIFFUSION, "sdxl": catalog.STABLE_DIFFUSION_XL}
BASE_MODULES = {family: catalog.find_base_model(base).motion_module for family, base in BASE_OF.items()}


def by_id(entry: Entry) -> str:
    return entry.id


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[StandInHub]:
    """The whole catalog, tiny, as its publishers have it."""
    root = tmp_path_factory.mktemp("hub")
    sd15, xl = tiny.TinyBase(1), tiny.TinyXL(1)
    for base in BASES:
        _publish_base(base, sd15 if base.family == "sd15" else xl, root / base.repo)
    for module in MODULES:
        _publish_module(module, root / module.repo)
    motion = formats.lora_factors(tiny.motion_adapter(), r"attn\d\.to_(q|k|v|out\.0)$")
    spatial = formats.lora_factors(sd15.unet, r"attn\d\.to_(q|k|v|out\.0)$")
    for lora in LORAS:
        _publish_lora(lora, motion, spatial, root / lora.repo)
    for vae in VAES:
        if vae.file:
            _write(root / vae.repo / vae.file, tiny.vae_checkpoint(tiny.TinyBase(9)))
        else:
            (tiny.tiny_decoder() if "tae" in vae.id else tiny.TinyBase(9).vae).save_pretrained(root / vae.repo)
    for control in CONTROLS:
        _publish_control(control, sd15 if control.family == "sd15" else xl, root / control.repo)
    for adapter in ADAPTERS:
        _publish_adapter(adapter, sd15, root / adapter.repo)
    for repo, names in FILES.items():
        for name in names:
            path = root / repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"no weights, {name}")  # files of one content are fetched once
    with serving(root) as hub, pytest.MonkeyPatch.context() as patch:
        use_hub(patch, hub.url, tmp_path_factory.mktemp("hub-cache"))
        yield hub


@pytest.fixture(scope="module")
def store(hub) -> ModelStore:
    assert hub.root.is_dir()
    return ModelStore("cpu", torch.float32)


@pytest.fixture(scope="module")
def plain(store) -> Callable[..., np.ndarray]:
    """A base model's clip with nothing added, made once."""

    @cache
    def make_plain(**settings) -> np.ndarray:
        return clip(store, **settings)

    return make_plain


@pytest.mark.parametrize("entry", BASES, ids=by_id)
def test_every_base_model_makes_a_clip(entry: BaseModel, store):
    assert clip_shape(store, base_model=entry.id) == (2, 64, 64, 3)
    assert store.load(entry.id, entry.motion_module).family.base is Architecture(entry.family)


@pytest.mark.parametrize("entry", MODULES, ids=by_id)
def test_every_motion_module_is_recognised_as_what_its_row_says_and_makes_a_clip(entry: MotionModule, store):
    base = BASE_OF[entry.family]
    components = store.load(base, entry.id)
    family = components.family
    assert family.id == entry.motion_family
    assert family.base is Architecture(entry.family)
    assert family.max_positions == entry.known_family.max_positions
    assert clip_shape(store, base_model=base, motion_module=entry.id) == (2, 64, 64, 3)


@pytest.mark.parametrize("entry", LORAS, ids=by_id)
def test_every_lora_fits_its_base_model_and_changes_the_clip(entry: Lora, store, plain):
    settings = {"base_model": BASE_OF[entry.family], "motion_module": "guoyww/animatediff-motion-adapter-v1-5-2"}
    changed = clip(store, prompt=f"a red circle <lora:{entry.id}:1>", **settings)
    assert (plain(**settings) != changed).any()


@pytest.mark.parametrize("entry", VAES, ids=by_id)
def test_every_vae_takes_the_place_of_the_base_model_s_own(entry: Vae, store, plain):
    settings = {"base_model": BASE_OF[entry.family]}
    assert (plain(**settings) != clip(store, vae=entry.id, **settings)).any()
    assert "vae" in store.load(settings["base_model"], BASE_MODULES[entry.family], entry.id).weights


@pytest.mark.parametrize("entry", CONTROLS, ids=by_id)
def test_every_control_model_fits_its_base_model_and_steers_the_clip(entry: ControlNet, store, plain):
    settings = {"base_model": BASE_OF[entry.family]}
    steered = clip(store, ClipInputs(controls=(noise_clip(1),)), controls=[{"model": entry.id}], **settings)
    assert (plain(**settings) != steered).any()
    assert all(name in PREPROCESSORS for name in entry.preprocessors)


@pytest.mark.parametrize("entry", ADAPTERS, ids=by_id)
def test_every_image_prompt_fits_its_base_model_and_changes_the_clip(entry: IPAdapter, store, plain):
    settings = {"base_model": BASE_OF[entry.family]}
    unit = {"model": entry.id, "pictures": [(0, "1" * 64)]}
    frames = clip(store, ClipInputs(image_prompts=((noise_clip(1),),)), image_prompts=[unit], **settings)
    assert (plain(**settings) != frames).any()


@pytest.mark.parametrize("record", FETCHED, ids=by_id)
def test_every_preprocessor_s_files_are_found_and_looked_at_before_they_are_used(record, hub):
    options = {option.name: option.default for option in record.options} | {
        weights.wanted_by: 1 for weights in record.weights
    }
    with pytest.raises(WeightsError, match=r"^controls must "):
        built_with_weights(record, Setting(options, 64, 64))
    fetched = {name for name in hub.downloads if name.startswith(tuple(weights.repo for weights in record.weights))}
    assert {f"{weights.repo}/{weights.name}" for weights in record.weights if weights.name} <= fetched
    assert fetched


def test_preprocessors_need_no_other_files_than_these():
    expected = {(weights.repo, weights.name) for record in FETCHED for weights in record.weights}
    assert {repo for repo, _ in expected} == FILES.keys()
    for repo, names in FILES.items():
        assert {name for where, name in expected if where == repo} in (names, {""})


def clip(store: ModelStore, inputs: ClipInputs = NO_INPUTS, **settings) -> np.ndarray:
    values = {"prompt": "a red circle", "seed": 1, "num_frames": 2, "num_inference_steps": 1, "width": 64, "height": 64}
    request = GenerationRequest.build(**catalog.complete(values | settings))
    return run(request, store=store, inputs=inputs)[0]


def clip_shape(store: ModelStore, **settings) -> tuple[int, ...]:
    return clip(store, **settings).shape


def _publish_base(entry: BaseModel, model: tiny.TinyBase | tiny.TinyXL, folder: Path) -> None:
    model.save_folder(folder)  # a single file's configurations lie beside it, or in the repository it is like
    if entry.file:
        model.save_checkpoint(folder / entry.file)


def _publish_module(entry: MotionModule, folder: Path) -> None:
    family = entry.known_family
    adapter = tiny.motion_adapter(
        2,
        mid_block=family.id == "v2" or family.id.startswith(("lightning", "animate-lcm", "long-animate")),
        positions=family.max_positions,
        channels=tiny.XL_CHANNELS if family.base is Architecture.SDXL else tiny.CHANNELS,
    )
    if entry.file is None:
        adapter.save_pretrained(folder)
        return
    weights = dict(adapter.state_dict()) if family.id.startswith("lightning") else tiny.original_names(adapter)
    if family.id.startswith("animate-lcm"):
        weights = {name: tensor for name, tensor in weights.items() if "pos_encoder" not in name}
    if family.id == "animate-lcm-i2v":
        weights["img_encoder.conv_in.weight"] = torch.ones(2, 2)
    if family.id == "pia":
        weights |= {"conv_in.weight": torch.zeros(tiny.CHANNELS[0], 9, 3, 3), "conv_in.bias": torch.zeros(16)}
    if family.id == "hotshot-xl":
        weights = tiny.hotshot_names(weights)
    _write(folder / entry.file, weights)


def _publish_lora(entry: Lora, motion: formats.LoraFactors, spatial: formats.LoraFactors, folder: Path) -> None:
    if entry.id.startswith("v2_lora_"):
        weights = formats.authors_lora(motion)
    elif entry.id == "v3_sd15_adapter":
        weights = formats.authors_lora(spatial)
    else:
        weights = formats.kohya_lora(spatial)
    _write(folder / entry.file, weights)


def _publish_control(entry: ControlNet, model: tiny.TinyBase | tiny.TinyXL, folder: Path) -> None:
    if entry.file:
        encoder = tiny.sparse_control(model.unet, "rgb" if "rgb" in entry.id else "scribble")
        torch.save({"controlnet": tiny.published_encoder(encoder)}, folder / entry.file)
    else:
        pools = {"global_pool_conditions": True} if "shuffle" in entry.id else {}
        tiny.control_net(model.unet, **pools).save_pretrained(folder)


def _publish_adapter(entry: IPAdapter, model: tiny.TinyBase, folder: Path) -> None:
    layers = [layer for name, layer in model.unet.named_modules() if name.endswith("attn2")]
    sizes = [tuple(layer.to_k.weight.shape) for layer in layers]
    _write(folder / entry.file, tiny.ip_adapter(sizes, "plus" if "plus" in entry.id else "base"))
    tiny.image_encoder().save_pretrained(folder / entry.image_encoder)


def _write(path: Path, weights: dict[str, torch.Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)
    else:
        torch.save({"state_dict": weights}, path)
