"""What the tests of loading share: the names they load by, and how they look at what came of it."""

from pathlib import Path

import pytest
import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel

from pipelines.engine.models import ModelStore
from pipelines.plan import catalog
from pipelines.plan.errors import WeightsError

SD15 = catalog.STABLE_DIFFUSION
V2, V3 = "guoyww/animatediff-motion-adapter-v1-5-2", "guoyww/animatediff-motion-adapter-v1-5-3"
ORIGINALS = {V2: "guoyww/animatediff/mm_sd_v15_v2.ckpt", V3: "guoyww/animatediff/v3_sd15_mm.ckpt"}
ON_THE_HUB = [SD15, "emilianJR/epiCRealism", "Lykon/DreamShaper"]  # one of each format


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def assert_joined(joined: UNetMotionModel, spatial: UNet2DConditionModel, adapter: MotionAdapter) -> None:
    """The joint UNet holds both models' weights; what the motion module lacks is idle or never reached."""
    parts = spatial.state_dict() | adapter.state_dict()
    found = joined.state_dict()
    assert parts.keys() <= found.keys()
    for name, expected in parts.items():
        rows = expected.shape[1] if "pos_embed" in name else None
        assert torch.equal(found[name][:, :rows] if rows else found[name], expected), name
    assert all("motion_modules" in name and not found[name].any() for name in found.keys() - parts.keys())


def refusal_of(store: ModelStore, base_model: str, motion_module: str, *, secret: Path) -> str:
    """The text of the refusal, which must not tell where files are on this disk."""
    with pytest.raises(WeightsError) as error:
        store.load(base_model, motion_module)
    assert str(secret) not in str(error.value)
    return str(error.value)
