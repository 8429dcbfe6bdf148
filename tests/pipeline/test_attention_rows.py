"""Attention over time in several calls, where one would be larger than a GPU's grid."""

import pytest
import torch

from pipelines.engine.models import ModelStore
from pipelines.engine.motion import layers
from pipelines.plan.context import Window


@pytest.fixture(scope="module")
def unet():
    return ModelStore("cpu", torch.float32).load("demo", "demo").unet


def called(unet, **state: object) -> torch.Tensor:
    """Two windows of six frames of 16 × 16 latents: 512 rows at the outermost layers."""
    before = {name: getattr(unet.motion_state, name) for name in state}
    draw = torch.Generator().manual_seed(1)
    sample = torch.randn(2, 4, 6, 16, 16, generator=draw)
    states = torch.randn(12, 7, unet.config.cross_attention_dim, generator=draw)
    try:
        vars(unet.motion_state).update(state)
        with torch.no_grad():
            return unet(sample, torch.tensor(500), encoder_hidden_states=states).sample
    finally:
        vars(unet.motion_state).update(before)


KEYS = torch.linspace(0.5, 1.5, 12).reshape(2, 6)  # another factor for every frame of both windows
INNER = (Window((0, 1, 2, 3), (1.0, 1.0, 0.5, 0.5)), Window((2, 3, 4, 5), (0.5, 0.5, 1.0, 1.0)))


@pytest.mark.parametrize("state", [{}, {"scale": KEYS}, {"effect": KEYS}, {"scale": KEYS, "inner_windows": INNER}])
@pytest.mark.parametrize("rows", [511, 256, 37])
def test_several_calls_give_what_one_gives(unet, monkeypatch, state, rows):
    whole = called(unet, **state)
    seen: list[int] = []
    original = layers.MotionModule._through_blocks
    monkeypatch.setattr(layers, "MAX_ROWS", rows)
    monkeypatch.setattr(
        layers.MotionModule, "_through_blocks", lambda self, x: seen.append(len(x)) or original(self, x)
    )
    parts = called(unet, **state)
    assert max(seen) <= rows
    assert whole.std() > 0.01
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)


def test_the_limit_is_that_of_cuda_s_grids():
    assert layers.MAX_ROWS == 2**16 - 1


def test_a_middle_block_that_a_module_does_not_have_takes_no_memory():
    unet = ModelStore("cpu", torch.float32).load("demo", "demo-v3").unet
    idle = [parameter for name, parameter in unet.named_parameters() if name.startswith("mid_block.motion_modules.")]
    assert idle
    assert {parameter.untyped_storage().nbytes() for parameter in idle} == {4}
    assert called(unet).isfinite().all()
