"""Numbers that leave the range of their type: drawn again in float32, or refused in words."""

from copy import deepcopy

import pytest
import torch

from pipelines.engine.base_models.vae_files import AnyVae
from pipelines.engine.decode import decode_frames
from pipelines.engine.encode import encode_pictures
from pipelines.engine.number_range import in_range
from pipelines.plan.errors import GenerationError
from pipelines.plan.request import GenerationRequest
from tests.pipeline import tiny
from tests.pipeline.sink import run

LATENTS = torch.randn(1, 4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def overflowing() -> AnyVae:
    """A float16 VAE whose last but one activations are beyond 65,504, as anime models' are; its pictures are not.

    The last norm takes any scale out again, so in float32 the pictures are those of the plain VAE but for rounding.
    """
    vae = tiny.TinyBase(3).vae
    for side in (vae.decoder, vae.encoder):
        last = side.up_blocks[-1].resnets[-1] if side is vae.decoder else side.mid_block.resnets[-1]
        last.conv2.weight.data *= 1e5
        last.conv2.bias.data *= 1e5
    return vae.half().requires_grad_(False)


def decode(vae: AnyVae, latents: torch.Tensor = LATENTS) -> torch.Tensor:
    return torch.cat([torch.from_numpy(frames) for frames in decode_frames(vae, latents)])


def test_pictures_that_overflow_in_float16_are_drawn_in_float32():
    vae = overflowing()
    with torch.no_grad():
        plain = vae.decode((LATENTS[0].transpose(0, 1) / vae.config.scaling_factor).half()).sample
    assert not torch.isfinite(plain).all()  # a true overflow: every weight is finite
    frames = decode(vae)
    assert torch.equal(frames, decode(deepcopy(vae).float()))
    assert frames.float().std() > 1


def test_the_vae_is_what_it_was_and_other_pictures_stay_in_its_own_type():
    vae = overflowing()
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    decode(vae)
    assert all(
        torch.equal(tensor, before[name]) and tensor.dtype is torch.float16 for name, tensor in vae.state_dict().items()
    )
    types = []
    in_range(vae, lambda: types.append(vae.dtype) or torch.zeros(1))
    assert types == [torch.float16]


def test_pictures_are_read_in_float32_too_where_float16_overflows():
    vae, pictures = overflowing(), (torch.rand(2, 64, 64, 3) * 255).byte().numpy()
    assert torch.equal(encode_pictures(vae, pictures), encode_pictures(deepcopy(vae).float(), pictures))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_vae_that_is_broken_in_float32_too_is_refused(dtype):
    vae = tiny.TinyBase(3).vae.to(dtype)
    vae.decoder.conv_in.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(GenerationError, match=r"^The VAE must give finite numbers, got NaN or infinity even in"):
        decode(vae)
    assert vae.dtype is dtype


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_latents_that_are_not_finite_are_refused(value):
    latents = LATENTS.clone()
    latents[0, 0, 2, 0, 0] = value
    with pytest.raises(GenerationError, match=r"^The clip must be finite numbers, got NaN or infinity where it was"):
        decode(tiny.TinyBase(3).vae, latents)


def test_the_first_step_whose_numbers_are_not_finite_is_named(store):
    """A UNet that overflows after some good steps, as in float16 with a strong LoRA."""
    unet, calls = store.load("demo", "demo").unet, []

    def spoil(_module, _inputs, output):
        calls.append(output)
        if len(calls) > 1:
            output.sample.fill_(float("inf"))

    values = {"num_frames": 2, "num_inference_steps": 4, "width": 64, "height": 64, "guidance_scale": 1.0}
    request = GenerationRequest.build(prompt="a red circle", seed=1, base_model="demo", motion_module="demo", **values)
    hook = unet.register_forward_hook(spoil)
    try:
        with pytest.raises(GenerationError, match=r"got NaN or infinity after step 2 of 4\. "):
            run(request, store=store)
    finally:
        hook.remove()
    assert len(calls) == 2
