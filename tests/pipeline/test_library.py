"""Every row of the catalog: its tiny twin is published under the true names, found, recognised, and makes a clip."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipelines import catalog
from pipelines.catalog_entries import BaseModel, Entry, Lora, MotionModule, Vae
from pipelines.models import ModelStore
from pipelines.motion_families import Architecture
from pipelines.request import GenerationRequest
from tests.pipeline import tiny
from tests.pipeline.lora import formats
from tests.pipeline.sink import run
from tests.stand_in_hub import serving, use_hub

BASES = [entry for entry in catalog.base_models() if entry.source == "hub"]
MODULES = [entry for entry in catalog.motion_modules() if entry.source == "hub"]
LORAS = [entry for entry in catalog.loras() if entry.source == "hub"]
VAES = [entry for entry in catalog.vaes() if entry.source == "hub"]
BASE_OF = {"sd15": catalog.STABLE_DIFFUSION, "sdxl": catalog.STABLE_DIFFUSION_XL}
BASE_MODULES = {family: catalog.find_base_model(base).motion_module for family, base in BASE_OF.items()}


def by_id(entry: Entry) -> str:
    return entry.id


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Iterator[Path]:
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
        (tiny.tiny_decoder() if "tae" in vae.id else tiny.TinyBase(9).vae).save_pretrained(root / vae.repo)
    with serving(root) as hub, pytest.MonkeyPatch.context() as patch:
        use_hub(patch, hub.url, tmp_path_factory.mktemp("hub-cache"))
        yield root


@pytest.fixture(scope="module")
def store(published) -> ModelStore:
    assert published.is_dir()
    return ModelStore("cpu", torch.float32)


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
def test_every_lora_fits_its_base_model_and_changes_the_clip(entry: Lora, store):
    settings = {"base_model": BASE_OF[entry.family], "motion_module": "guoyww/animatediff-motion-adapter-v1-5-2"}
    plain = clip(store, **settings)
    changed = clip(store, prompt=f"a red circle <lora:{entry.id}:1>", **settings)
    assert (plain != changed).any()


@pytest.mark.parametrize("entry", VAES, ids=by_id)
def test_every_vae_takes_the_place_of_the_base_model_s_own(entry: Vae, store):
    settings = {"base_model": BASE_OF[entry.family]}
    assert (clip(store, **settings) != clip(store, vae=entry.id, **settings)).any()
    assert "vae" in store.load(settings["base_model"], BASE_MODULES[entry.family], entry.id).weights


def clip(store: ModelStore, **settings) -> np.ndarray:
    values = {"prompt": "a red circle", "seed": 1, "num_frames": 2, "num_inference_steps": 1, "width": 64, "height": 64}
    request = GenerationRequest.build(**catalog.complete(values | settings))
    return run(request, store=store)[0]


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
        mid_block=family.id in ("v2", "animate-lcm", "animate-lcm-i2v") or family.id.startswith("lightning"),
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


def _write(path: Path, weights: dict[str, torch.Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)
    else:
        torch.save({"state_dict": weights}, path)
