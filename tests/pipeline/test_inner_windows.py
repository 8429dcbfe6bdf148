"""Inner windows: attention over time that sees a part of a window, against diffusers' FreeNoise and against itself."""

from copy import deepcopy

import pytest
import torch
from diffusers import UNetMotionModel
from diffusers.models.attention import FreeNoiseTransformerBlock

from pipelines.engine.models import Components, ModelStore
from pipelines.engine.motion.layers import MotionModule
from pipelines.engine.motion.modules import set_motion
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest
from tests.pipeline.sink import run
from tests.pipeline.stock import our_latents

LIMIT = 1e-6  # relative to the largest value
POSITIONS = 32  # of the embedded motion module


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


@pytest.fixture(scope="module")
def components(store: ModelStore) -> Components:
    return store.load("demo", "demo")


@pytest.fixture(scope="module")
def unet(components: Components) -> UNetMotionModel:
    """A copy of its own, so that what a test sets stays here."""
    return deepcopy(components.unet)


def request_for(**settings) -> GenerationRequest:
    defaults = {"prompt": "a red circle moving right on a blue background", "seed": 5, "width": 64, "height": 64}
    return GenerationRequest.build(**defaults | {"num_inference_steps": 2, "guidance_scale": 1.0} | settings)


def free_noise(unet: UNetMotionModel, length: int, hop: int) -> UNetMotionModel:
    """A copy of a UNet whose temporal blocks are diffusers' own, windowed as its pipelines would do."""
    theirs = deepcopy(unet)
    for module in theirs.modules():
        for place, block in enumerate(module.transformer_blocks if isinstance(module, MotionModule) else ()):
            names = ("dim", "num_attention_heads", "attention_head_dim", "activation_fn", "double_self_attention")
            names += ("attention_bias", "positional_embeddings", "num_positional_embeddings")
            settings = {name: getattr(block, name) for name in names}
            windowed = FreeNoiseTransformerBlock(**settings, context_length=length, context_stride=hop)
            windowed.load_state_dict(block.state_dict())
            module.transformer_blocks[place] = windowed
    return theirs.eval()


# The last window of these ends with the clip by itself; where it must be pulled back, diffusers drops most of it.
@pytest.mark.parametrize(("frames", "length", "overlap"), [(40, 16, 4), (12, 4, 2), (9, 5, 3)])
@torch.no_grad()
def test_a_prediction_equals_that_of_free_noise(unet, frames, length, overlap):
    generator = torch.Generator().manual_seed(frames)
    clip = torch.randn(2, 4, frames, 8, 8, generator=generator)
    states = torch.randn(2 * frames, 7, unet.config.cross_attention_dim, generator=generator)
    request = request_for(num_frames=frames, inner_length=length, inner_overlap=overlap)
    set_motion(unet, request, [range(frames)] * 2)
    ours = unet(clip, 500, states).sample
    theirs = free_noise(unet, length, length - overlap)(clip, 500, states).sample
    assert (ours - theirs).abs().max() <= LIMIT * theirs.abs().max()
    set_motion(unet, request_for(num_frames=frames), [range(frames)] * 2)
    if frames <= POSITIONS:
        assert (ours - unet(clip, 500, states).sample).abs().max() > 1e-3


@torch.no_grad()
def test_every_frame_keeps_its_own_amount_and_strength_of_motion(unet):
    # Inner windows that share no frames are clips of their own to a motion module.
    module = next(m for m in unet.modules() if isinstance(m, MotionModule))
    module.norm.num_groups, before = 1, module.norm.num_groups
    keys = {"motion_scale": "0: 0.5, 30: 3", "motion_effect": "0: 1, 30: 0.2"}
    request = request_for(num_frames=31, inner_length=4, inner_overlap=0, **keys)
    clips = [[3, 1, 9, 12, 20, 21, 22, 30], range(8)]
    x = torch.randn(16, module.proj_in.in_features, 2, 3, generator=torch.Generator().manual_seed(1))
    set_motion(unet, request, clips)
    together = module(x, num_frames=8)
    halves = [clip[start : start + 4] for clip in clips for start in (0, 4)]
    set_motion(unet, request, halves)
    apart = module(x, num_frames=4)
    set_motion(unet, request, halves[::-1])
    swapped = module(x, num_frames=4)
    module.norm.num_groups = before
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-6)
    assert (together - swapped).abs().max() > 1e-3


@pytest.mark.parametrize("inner", [{"inner_length": 8}, {"inner_length": 20, "inner_overlap": 3}])
def test_an_inner_window_that_is_no_shorter_changes_nothing(components, inner):
    clip = {"num_frames": 11, "context_length": 8}
    plain = our_latents(components, request_for(**clip))
    assert torch.equal(our_latents(components, request_for(**clip, **inner)), plain)
    shorter = our_latents(components, request_for(**clip, inner_length=4))
    assert not torch.equal(shorter, plain)


def test_a_window_may_be_longer_than_the_positions_of_the_motion_module(store):
    request = request_for(num_frames=72, context_length=70, inner_length=16, num_inference_steps=1)
    frames, _ = run(request, store=store)
    assert len(frames) == 72
    assert frames.reshape(72, -1).std(axis=1).min() > 0


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ({"inner_length": 33}, "inner_length must be at most the 32 positions .* got 33. Lower 'Inner window length'"),
        ({}, "context_length must be at most the 32 positions .* got 64. Lower 'Window length', or set an inner one"),
        ({"inner_length": 64}, "context_length must be at most the 32 positions"),
    ],
)
def test_what_attention_sees_must_have_positions(store, inner, words):
    with pytest.raises(InvalidRequestError, match=words):
        run(request_for(num_frames=64, context_length=64, **inner), store=store)
