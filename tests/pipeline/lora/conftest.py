"""A models folder with a tiny base model and two motion modules, and LoRAs in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.models import Components, ModelStore
from pipelines.plan.settings import Settings, use_settings
from tests.pipeline import tiny
from tests.pipeline.lora import formats
from tests.pipeline.lora.adding import MOTION, SPATIAL


@pytest.fixture(scope="package", autouse=True)
def models_dir(tmp_path_factory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("models")
    tiny.TinyBase().save_folder(root / "base_models" / "base")
    (root / "motion_modules").mkdir()
    for name, mid_block in (("v2", True), ("v3", False)):
        weights = tiny.original_names(tiny.motion_adapter(mid_block=mid_block))
        save_file(weights, root / "motion_modules" / f"{name}.safetensors")
    for kind in ("loras", "embeddings"):
        (root / kind).mkdir()
    with use_settings(Settings(models_dir=root)):
        yield root


@pytest.fixture(scope="package")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


@pytest.fixture
def v2(store) -> Components:
    return store.load("base", "v2.safetensors")


@pytest.fixture(scope="package")
def two(models_dir, store) -> tuple[str, str]:
    """Tags of a motion LoRA and of a spatial one."""
    unet = store.load("base", "v2.safetensors").unet
    save_file(formats.authors_lora(formats.lora_factors(unet, MOTION)), models_dir / "loras" / "move.safetensors")
    save_file(formats.kohya_lora(formats.lora_factors(unet, SPATIAL)), models_dir / "loras" / "style.safetensors")
    return "<lora:move:0.8>", "<lora:style>"
