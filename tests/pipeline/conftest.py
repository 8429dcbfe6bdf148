"""A stand-in hub with tiny models in the published names and formats, a models folder, and a store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import MotionAdapter

from pipelines.engine.models import ModelStore
from pipelines.plan.settings import Settings, use_settings
from tests.pipeline import tiny
from tests.pipeline.loading import ON_THE_HUB, SD15, V2, V3
from tests.stand_in_hub import StandInHub, serving, use_hub


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def bases() -> dict[str, tiny.TinyBase]:
    return {name: tiny.TinyBase(seed) for seed, name in enumerate(ON_THE_HUB)}


@pytest.fixture(scope="session")
def adapters() -> dict[str, MotionAdapter]:
    return {V2: tiny.motion_adapter(11, mid_block=True), V3: tiny.motion_adapter(12, mid_block=False)}


@pytest.fixture(scope="session")
def repositories(tmp_path_factory, bases, adapters) -> Path:
    """The repositories of the catalog, as published: names, formats, and files that are not wanted."""
    root = tmp_path_factory.mktemp("hub")
    sd15 = bases[SD15].save_folder(root / SD15, old_vae_names=True)
    bases[SD15].save_variant(root / SD15, "fp16")
    for unwanted in ("v1-5-pruned.ckpt", "unet/diffusion_pytorch_model.non_ema.safetensors", "unet/model.bin"):
        (sd15 / unwanted).write_bytes(b"not wanted")
    bases["emilianJR/epiCRealism"].save_folder(root / "emilianJR/epiCRealism", safetensors=False)
    bases["Lykon/DreamShaper"].save_checkpoint(root / "Lykon/DreamShaper" / "DreamShaper_8_pruned.safetensors")
    for name, adapter in adapters.items():
        adapter.save_pretrained(root / name)
    originals = root / "guoyww/animatediff"
    originals.mkdir()
    torch.save(tiny.original_names(adapters[V2]), originals / "mm_sd_v15_v2.ckpt")
    wrapped = {f"module.{name}": tensor for name, tensor in tiny.original_names(adapters[V3]).items()}
    torch.save({"epoch": 1, "global_step": 2, "state_dict": wrapped}, originals / "v3_sd15_mm.ckpt")
    return root


@pytest.fixture
def hub(repositories, tmp_path, monkeypatch) -> Iterator[StandInHub]:
    with serving(repositories) as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        yield hub


@pytest.fixture
def models_dir(tmp_path, configure) -> Path:
    root = tmp_path / "models"
    for kind in ("base_models", "motion_modules"):
        (root / kind).mkdir(parents=True)
    configure(models_dir=root)
    return root


@pytest.fixture
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


@pytest.fixture(scope="module")
def xl_store(tmp_path_factory) -> Iterator[ModelStore]:
    """A store whose models folder has a tiny Stable Diffusion XL, "xl", and a motion module for it, "xl-motion"."""
    root = tmp_path_factory.mktemp("models")
    tiny.TinyXL(3).save_folder(root / "base_models" / "xl")
    adapter = tiny.motion_adapter(4, mid_block=False, channels=tiny.XL_CHANNELS)
    adapter.save_pretrained(root / "motion_modules" / "xl-motion")
    with use_settings(Settings(models_dir=root)):
        yield ModelStore("cpu", torch.float32)
