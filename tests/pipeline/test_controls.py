"""ControlNets in the loop: stock's numbers in one window, and by algebra where stock has nothing of the kind."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from diffusers import (
    AnimateDiffControlNetPipeline,
    ControlNetModel,
    MultiControlNetModel,
    UNet2DConditionModel,
)

from pipelines.engine.denoise import DenoiseState, build_scheduler
from pipelines.engine.models import Components, ModelStore
from pipelines.engine.steering.build import build_conditions, weights_of
from pipelines.engine.steering.conditions import Conditions, UNetCall
from pipelines.engine.steering.control.dense import DenseControl
from pipelines.engine.steering.control.plan import plan_control
from pipelines.plan.choices import MotionNorm
from pipelines.plan.clip_inputs import ClipInputs
from pipelines.plan.errors import InvalidRequestError, WeightsError
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import Settings, use_settings
from tests.clips import ArrayClip, noise_clip
from tests.pipeline import tiny
from tests.pipeline.sink import run
from tests.pipeline.stock import our_latents, stock_run

FRAMES = 6


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


@pytest.fixture(scope="module")
def components(store) -> Components:
    return store.load("demo", "demo")


@pytest.fixture(scope="module", autouse=True)
def nets(components, tmp_path_factory) -> Iterator[dict[str, ControlNetModel]]:
    """The models folder's control nets, made for the demo model."""
    root = tmp_path_factory.mktemp("models")
    unet = UNet2DConditionModel.from_config(components.unet.built_for[0])
    nets = {name: tiny.control_net(unet, seed) for seed, name in enumerate(("one", "two"))}
    nets["pools"] = tiny.control_net(unet, 2, global_pool_conditions=True)
    for name, net in nets.items():
        net.save_pretrained(root / "controlnets" / name)
    with use_settings(Settings(models_dir=root)):
        yield nets


def request_for(*units: dict[str, object], **settings: object) -> GenerationRequest:
    defaults = {
        "prompt": "a red circle",
        "negative_prompt": "green",
        "seed": 5,
        "num_frames": FRAMES,
        "width": 64,
        "height": 64,
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "motion_norm": MotionNorm.DIFFUSERS,
        "controls": units,
    }
    return GenerationRequest.build(**defaults | settings)


def conditions_for(
    store: ModelStore, components: Components, request: GenerationRequest, *clips: ArrayClip
) -> Conditions:
    controls = store.load_controls(request, components)
    return build_conditions(request, ClipInputs(controls=clips), controls=controls, adapters=(), vae=components.vae)


def ours(store: ModelStore, components: Components, request: GenerationRequest, *clips: ArrayClip) -> torch.Tensor:
    return our_latents(components, request, conditions_for(store, components, request, *clips))


def stock(components: Components, request: GenerationRequest, nets: list[ControlNetModel], *clips: ArrayClip):
    pipe = AnimateDiffControlNetPipeline(
        vae=components.vae,
        text_encoder=components.text_encoders[0],
        tokenizer=components.tokenizers[0],
        unet=components.unet,
        motion_adapter=None,
        controlnet=nets[0] if len(nets) == 1 else MultiControlNetModel(nets),
        scheduler=build_scheduler(request, components.scheduler_config),
    )
    units = request.controls
    options = {
        "conditioning_frames": [clip.pictures for clip in clips],
        "controlnet_conditioning_scale": [unit.weight[0][1] for unit in units],
        "control_guidance_start": [unit.start for unit in units],
        "control_guidance_end": [unit.end for unit in units],
    }
    if len(nets) == 1:
        options = {name: values[0] for name, values in options.items()}
        options["control_guidance_start"], options["control_guidance_end"] = [units[0].start], [units[0].end]
    return stock_run(pipe, components, request, "latent", **options)


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize(
    "units",
    [
        [{"model": "one"}],
        [{"model": "one", "weight": 0.7, "start": 0.25, "end": 0.75}],
        [{"model": "one", "weight": 0.6}, {"model": "two", "weight": 1.3, "end": 0.5}],
    ],
)
def test_one_window_equals_stock_bit_for_bit(store, components, nets, units, guidance_scale):
    request = request_for(*units, guidance_scale=guidance_scale)
    clips = [noise_clip(FRAMES, seed) for seed in range(len(units))]
    theirs = stock(components, request, [nets[unit["model"]] for unit in units], *clips)
    found = ours(store, components, request, *clips)
    assert not torch.allclose(found, our_latents(components, request), atol=1e-2)
    assert torch.equal(found, theirs), f"max |d| = {(found - theirs).abs().max():.2e}"


def test_one_picture_is_followed_by_all_frames(store, components, nets):
    # Two steps: the rounding of other batches grows by the step, over four to 4e-5 with some networks.
    request, picture = request_for({"model": "one"}, num_inference_steps=2), noise_clip(1)
    all_frames = ArrayClip(picture.frames([0] * FRAMES))
    theirs = stock(components, request, [nets["one"]], all_frames)
    found = ours(store, components, request, picture)
    assert torch.allclose(found, theirs, atol=1e-5), f"max |d| = {(found - theirs).abs().max():.2e}"


@pytest.mark.parametrize(
    "unit", [{"weight": 0}, {"start": 0.9}, {"key_frames": [0], "weight": "0: 0, 1: 1"}], ids=["weight", "steps", "key"]
)
def test_a_unit_that_counts_nothing_changes_nothing_and_does_not_run(store, components, unit, monkeypatch):
    request, clip = request_for({"model": "one"} | unit), noise_clip(1)
    monkeypatch.setattr(ControlNetModel, "forward", lambda *_, **__: pytest.fail("it ran"))
    assert torch.equal(ours(store, components, request, clip), our_latents(components, request))
    assert clip.reads == []


def call_for(components: Components, clips: list[list[int]], *, guided: bool = True) -> UNetCall:
    """A call of the UNet with random latents and text."""
    generator = torch.Generator().manual_seed(3)
    batch, length = (2 if guided else 1) * len(clips), len(clips[0])
    width = components.unet.config.cross_attention_dim
    return UNetCall(
        sample=torch.randn(batch, 4, length, 8, 8, generator=generator),
        t=torch.tensor(500),
        part=(0.0, 0.25),
        clips=clips,
        guided=guided,
        states=torch.randn(batch * length, 7, width, generator=generator),
        added={},
    )


@torch.no_grad()
def residuals(net: ControlNetModel, call: UNetCall, clip: ArrayClip, unit: dict[str, object], **settings: object):
    """A unit's residuals in one call, each [halves, windows, L, C, h, w]; None where it doesn't run."""
    request = request_for({"model": "one"} | unit, **settings)
    plan = plan_control(request.controls[0], request, pictures=clip.num_frames)
    layers = DenseControl(net, plan, clip).residuals(call)
    return layers and [one.unflatten(0, (call.halves, len(call.clips), -1)) for one in layers]


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(found, expected, atol=1e-5)


def test_a_window_gets_its_own_frames_and_weights(components, nets):
    clip, windows = noise_clip(24), [[4, 5, 6, 7], [22, 23, 0, 1]]
    call = call_for(components, windows)
    plain = residuals(nets["one"], call, clip, {}, num_frames=24)
    found = residuals(nets["one"], call, clip, {"weight": "0: 0, 20: 1"}, num_frames=24)
    factors = torch.tensor([[0.2, 0.25, 0.3, 0.35], [1.0, 1.0, 0.0, 0.05]])[..., None, None, None]
    assert all(close(one, factors * whole) for one, whole in zip(found, plain, strict=True))
    alone = residuals(
        nets["one"],
        replace(
            call_for(components, windows[:1]),
            sample=call.sample[[0, 2]],
            states=call.states[[*range(4), *range(8, 12)]],
        ),
        clip,
        {},
        num_frames=24,
    )
    assert all(close(one, whole[:, :1]) for one, whole in zip(alone, plain, strict=True))


def test_only_the_frames_of_a_window_are_read(components, nets):
    clip = noise_clip(500)
    residuals(nets["one"], call_for(components, [[400, 402, 404]]), clip, {"weight": "401: 0, 402: 1"}, num_frames=500)
    assert clip.reads == [[402, 404]]


def test_key_frames_fade_to_their_neighbours(components, nets):
    clip, call = noise_clip(2), call_for(components, [list(range(8))])
    unit = {"key_frames": [1, -1], "falloff": [0.5, 0.25]}
    found = residuals(nets["one"], call, clip, unit, num_frames=8)
    nearest = ArrayClip(clip.frames([0, 0, 0, 0, 0, 1, 1, 1]))
    whole = residuals(nets["one"], call, nearest, {}, num_frames=8)
    factors = torch.tensor([0.5, 1, 0.5, 0.25, 0, 0.25, 0.5, 1])[:, None, None, None]
    assert all(close(one, factors * other) for one, other in zip(found, whole, strict=True))


def test_guess_mode_steers_the_prompt_alone_and_fades_towards_the_outside(components, nets):
    clip, call = noise_clip(FRAMES), call_for(components, [list(range(FRAMES))])
    plain = residuals(nets["one"], call, clip, {})
    found = residuals(nets["one"], call, clip, {"guess_mode": True, "weight": 0.5})
    levels = 0.5 * torch.logspace(-1, 0, len(plain))
    for one, whole, level in zip(found, plain, levels, strict=True):
        assert not one[0].any()
        assert close(one[1], level * whole[1])


@torch.no_grad()
def test_guess_mode_equals_that_of_the_model(components, nets):
    clip, call = noise_clip(FRAMES), call_for(components, [list(range(FRAMES))])
    down, middle = nets["one"](
        call.sample[1:].transpose(1, 2).flatten(0, 1),
        call.t,
        encoder_hidden_states=call.states[FRAMES:],
        controlnet_cond=torch.from_numpy(clip.frames(range(FRAMES))).permute(0, 3, 1, 2).float() / 255,
        conditioning_scale=0.5,
        guess_mode=True,
        return_dict=False,
    )
    found = residuals(nets["one"], call, clip, {"guess_mode": True, "weight": 0.5})
    assert all(close(one[1, 0], other) for one, other in zip(found, [*down, middle], strict=True))


def test_a_net_that_pools_steers_the_prompt_alone(components, nets):
    clip, call = noise_clip(FRAMES), call_for(components, [list(range(FRAMES))])
    plain = residuals(nets["one"], call, clip, {})
    pooled = residuals(nets["pools"], call, clip, {"guess_mode": True})
    assert [one.shape[-2:] for one in pooled] == [(1, 1)] * len(plain)
    assert all(not one[0].any() and one[1].any() for one in pooled)


def test_windows_of_a_long_clip_are_steered_and_read_lazily(store, components):
    request = request_for({"model": "one"}, num_frames=24, context_length=8, num_inference_steps=2)
    clip = noise_clip(24)
    found = ours(store, components, request, clip)
    assert not torch.allclose(found, our_latents(components, request), atol=1e-2)
    assert max(map(len, clip.reads)) == 8
    assert {frame for read in clip.reads for frame in read} == set(range(24))


def test_a_clip_comes_out_of_the_engine_steered_and_repeats(store):
    request, clip = request_for({"model": "one"}), noise_clip(FRAMES)
    inputs = ClipInputs(controls=(clip,))
    first, again = (run(request, store=store, inputs=inputs)[0] for _ in range(2))
    free, _ = run(request_for(), store=store)
    assert (first == again).all()
    assert (first != free).any()


def test_a_model_that_is_named_again_is_not_read_again_and_another_is_let_go(store, components):
    request = request_for({"model": "one"}, {"model": "two"}, {"model": "one"})
    first = store.load_controls(request, components)
    assert first[0].net is first[2].net
    assert store.load_controls(request_for({"model": "two"}), components)[0].net is first[1].net
    assert store.load_controls(request_for({"model": "one"}), components)[0].net is not first[0].net


def test_what_a_run_was_steered_by_belongs_to_its_key(store, components):
    controls = store.load_controls(request_for({"model": "one"}, {"model": "two"}), components)
    weights = weights_of(controls, ())
    assert weights.keys() == {"control one", "control two"}
    assert len(set(weights.values())) == 2


def test_a_run_goes_on_where_it_ended(store):
    request, inputs = request_for({"model": "one", "start": 0.25}), ClipInputs(controls=(noise_clip(FRAMES),))
    states: list[DenoiseState] = []
    whole, _ = run(request, store=store, inputs=inputs, on_state=states.append)
    resumed, _ = run(request, store=store, inputs=inputs, resume_from=states[1])
    assert (resumed == whole).all()


@pytest.mark.parametrize(
    ("unit", "pictures", "reason"),
    [
        ({}, 5, "must have a clip of 1 or 6 frames for 'one', got 5"),
        ({"key_frames": [0, 3]}, 3, "must have a clip of 1 or 2 or 6 frames for 'one', got 3"),
        ({"key_frames": [6]}, 1, "must have key frames from -6 to 5, got 6"),
        ({"key_frames": [0, -6]}, 1, "must name each key frame once, got 0, -6"),
        ({"model": "on"}, 1, "must be one of the catalog, got 'on'. Choose 'one'"),
        ({"model": "lllyasviel/control_v11p_sd15_canny"}, 1, "must be made for the base model 'demo'"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(store, unit, pictures, reason, monkeypatch):
    monkeypatch.setattr("pipelines.engine.generate.denoise_extended", lambda *_, **__: pytest.fail("it began"))
    request = request_for({"model": "one"} | unit)
    with pytest.raises(InvalidRequestError, match=r"^controls must ") as error:
        run(request, store=store, inputs=ClipInputs(controls=(noise_clip(pictures),)))
    assert reason in str(error.value)


def test_a_unit_without_anything_to_follow_is_refused(store):
    with pytest.raises(InvalidRequestError, match="clip or picture for each of the 1 units, got 0"):
        run(request_for({"model": "one"}), store=store)


def test_stable_diffusion_xl_is_steered_by_its_own_and_refuses_others(xl_store, tmp_path, configure):
    components = xl_store.load("xl", "xl-motion")
    configure(models_dir=tmp_path)
    tiny.control_net(tiny.TinyXL(3).unet).save_pretrained(tmp_path / "controlnets" / "one")
    tiny.control_net(tiny.TinyBase().unet).save_pretrained(tmp_path / "controlnets" / "two")
    prompt = "0: a red circle\n4: a blue square"
    request = request_for({"model": "one", "weight": "0: 0, 1: 1"}, prompt=prompt)
    assert not torch.allclose(ours(xl_store, components, request, noise_clip(1)), our_latents(components, request))
    with pytest.raises(WeightsError, match="must fit the base model 'xl'"):
        xl_store.load_controls(request_for({"model": "two"}), components)


def test_added_conditions_reach_a_net_row_by_row(xl_store):
    """Stable Diffusion XL's rows belong to windows, or to frames where a prompt travels."""
    net, clip = tiny.control_net(tiny.TinyXL(3).unet), noise_clip(4)
    call = call_for(xl_store.load("xl", "xl-motion"), [[0, 1], [2, 3]])
    rows = {"text_embeds": torch.randn(4, 48), "time_ids": torch.ones(4, 6)}
    frames = {name: values.repeat_interleave(2, dim=0) for name, values in rows.items()}
    by_window, by_frame = (
        residuals(net, replace(call, added=added), clip, {}, num_frames=4) for added in (rows, frames)
    )
    other = residuals(net, replace(call, added=rows | {"text_embeds": torch.zeros(4, 48)}), clip, {}, num_frames=4)
    assert all(torch.equal(one, same) for one, same in zip(by_window, by_frame, strict=True))
    assert not close(by_window[-1], other[-1])
