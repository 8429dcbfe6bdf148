"""The engine against the authors' arithmetic (original.py): each family from its published format to the output."""

from dataclasses import dataclass, replace

import pytest
import torch
from diffusers import UNetMotionModel

from pipelines.engine.motion.modules import build_motion_unet, load_motion_module
from pipelines.plan.choices import MotionNorm
from tests.pipeline import original

LIMIT = 2e-6  # relative L2 error in float32; twice what the order of sums is worth
OTHER = 1e-2  # and what is no rounding any more
CHANNELS, FRAMES, STEP = (64, 64, 128, 128), 5, 500
UNET_GROUPS = 16  # not the motion modules' 32; both leave at least two channels a group


@dataclass(frozen=True)
class Family:
    """What a family's file is made of, and whether its ResNet norms see the whole window."""

    positions: int | None
    mid_block: bool = False
    channels: tuple[int, ...] = CHANNELS
    has_window_norms: bool = False


FAMILIES = {
    "v1": Family(24, has_window_norms=True),
    "v2": Family(32, mid_block=True),
    "v3": Family(32),
    "hotshot-xl": Family(24, channels=CHANNELS[:3], has_window_norms=True),
    "animate-lcm": Family(None, mid_block=True),
}


@pytest.fixture(scope="module", params=FAMILIES)
def both(request, tmp_path_factory) -> tuple[UNetMotionModel, original.Original]:
    """One family's module from a file in the authors' format, in our UNet and in theirs."""
    family = FAMILIES[request.param]
    base = original.base_unet(family.channels, UNET_GROUPS)
    weights = original.motion_weights(family.channels, positions=family.positions, mid_block=family.mid_block)
    path = tmp_path_factory.mktemp("weights") / "module.ckpt"
    torch.save({"epoch": 1, "global_step": 2, "state_dict": weights}, path)
    loaded = load_motion_module(path)
    assert loaded.family.id == request.param
    theirs = original.Original(base, weights, has_window_norms=family.has_window_norms)
    return build_motion_unet(base, loaded), theirs


def clip(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents [4, F, h, w] whose frames differ in brightness and contrast, and a text [T, D]."""
    generator = torch.Generator().manual_seed(seed)
    light = torch.linspace(-1, 1, FRAMES)[:, None, None]
    latents = torch.randn(4, FRAMES, 8, 8, generator=generator) * (1 + light / 2) + light
    return latents, torch.randn(7, 24, generator=generator)


def ours_on(unet: UNetMotionModel, *clips: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    latents = torch.stack([latents for latents, _ in clips])
    texts = torch.stack([text for _, text in clips]).repeat_interleave(FRAMES, dim=0)
    with torch.no_grad():
        return unet(latents, torch.tensor(STEP), texts).sample


def theirs_on(theirs: original.Original, clip: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    latents, text = clip
    return theirs.predict(latents, STEP, text)


def test_the_whole_unet_computes_what_the_authors_do(both):
    ours, theirs = both
    assert original.relative_error(ours_on(ours, clip(1))[0], theirs_on(theirs, clip(1))) <= LIMIT


def test_with_guidance_each_half_is_computed_as_if_alone(both):
    ours, theirs = both
    halves = ours_on(ours, clip(1), clip(2))
    for half, seed in zip(halves, (1, 2), strict=True):
        assert original.relative_error(half, theirs_on(theirs, clip(seed))) <= LIMIT


def test_one_motion_module_computes_what_the_authors_do(both):
    ours, theirs = both
    frames = torch.randn(2 * FRAMES, 64, 4, 6, generator=torch.Generator().manual_seed(3))
    frames *= torch.linspace(0.2, 2, 2 * FRAMES)[:, None, None, None]
    start = "down_blocks.1.motion_modules.0.temporal_transformer."
    weights = {name.removeprefix(start): w for name, w in theirs.motion.items() if name.startswith(start)}
    with torch.no_grad():
        output = ours.down_blocks[1].motion_modules[0](frames, num_frames=FRAMES)
    expected = torch.cat([original.motion_module(clip, weights) for clip in frames.split(FRAMES)])
    assert original.relative_error(output, expected) <= LIMIT


def test_any_other_norm_would_be_seen(both, monkeypatch):
    ours, theirs = both
    output = ours_on(ours, clip(1))[0]
    for change in ({"groups": UNET_GROUPS}, {"has_window_norms": not theirs.has_window_norms}):
        assert original.relative_error(output, theirs_on(replace(theirs, **change), clip(1))) > OTHER, change
    monkeypatch.setattr(ours.motion_state, "norm", MotionNorm.DIFFUSERS)
    assert original.relative_error(ours_on(ours, clip(1))[0], theirs_on(theirs, clip(1))) > OTHER
