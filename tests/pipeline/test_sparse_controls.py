"""SparseCtrl in the loop: stock's numbers in one window, its key frames in every other, and one run for the rest."""

from collections.abc import Iterator

import pytest
import torch
from diffusers import AnimateDiffSparseControlNetPipeline, SparseControlNetModel, UNet2DConditionModel
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from pipelines.engine.denoise import build_scheduler
from pipelines.engine.models import Components, ModelStore
from pipelines.engine.steering.build import build_conditions
from pipelines.engine.steering.conditions import Conditions, Control
from pipelines.plan.choices import MotionNorm
from pipelines.plan.clip_inputs import ClipInputs
from pipelines.plan.errors import InvalidRequestError, WeightsError
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import Settings, use_settings
from tests.clips import ArrayClip, noise_clip
from tests.pipeline import tiny
from tests.pipeline.sink import run
from tests.pipeline.stock import our_latents, stock_run
from tests.pipeline.test_controls import call_for, close, request_for

FRAMES = 6
KINDS = ("rgb", "scribble")
of_both_kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


@pytest.fixture(scope="module")
def components(store) -> Components:
    return store.load("demo", "demo")


@pytest.fixture(scope="module", autouse=True)
def encoders(components, tmp_path_factory) -> Iterator[dict[str, SparseControlNetModel]]:
    """The models folder's encoders, made for the demo model, as stock loads them."""
    root = tmp_path_factory.mktemp("models")
    unet = UNet2DConditionModel.from_config(components.unet.built_for[0])
    encoders = {kind: tiny.sparse_control(unet, kind) for kind in KINDS}
    for kind, encoder in encoders.items():
        encoder.save_pretrained(root / "controlnets" / kind)
    tiny.sparse_control(tiny.TinyBase().unet, "rgb").save_pretrained(root / "controlnets" / "other")
    with use_settings(Settings(models_dir=root)):
        yield encoders


def conditions_for(
    store: ModelStore, components: Components, request: GenerationRequest, clip: ArrayClip
) -> Conditions:
    inputs, controls = ClipInputs(controls=(clip,)), store.load_controls(request, components)
    return build_conditions(request, inputs, controls=controls, adapters=(), vae=components.vae)


def control(store: ModelStore, components: Components, request: GenerationRequest, clip: ArrayClip) -> Control:
    return conditions_for(store, components, request, clip).controls[0]


def ours(store: ModelStore, components: Components, request: GenerationRequest, clip: ArrayClip) -> torch.Tensor:
    return our_latents(components, request, conditions_for(store, components, request, clip))


@of_both_kinds
@pytest.mark.parametrize(
    ("unit", "places"), [({}, [0]), ({"key_frames": [0, -1], "weight": 0.7}, [0, FRAMES - 1])], ids=["first", "ends"]
)
def test_one_window_equals_stock(store, components, encoders, kind, unit, places, monkeypatch):
    # Stock draws the latents of pictures from the process's own random numbers, so that no two runs are alike.
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, _=None: self.mode())
    request, clip = request_for({"model": kind} | unit), noise_clip(len(places))
    pipe = AnimateDiffSparseControlNetPipeline(
        vae=components.vae,
        text_encoder=components.text_encoders[0],
        tokenizer=components.tokenizers[0],
        unet=components.unet,
        motion_adapter=None,
        controlnet=encoders[kind],
        scheduler=build_scheduler(request, components.scheduler_config),
    )
    theirs = stock_run(
        pipe,
        components,
        request,
        "latent",
        conditioning_frames=clip.pictures,
        controlnet_frame_indices=places,
        controlnet_conditioning_scale=request.controls[0].weight[0][1],
    )
    found = ours(store, components, request, clip)
    assert not torch.allclose(found, our_latents(components, request), atol=1e-2)
    # Stock encodes all pictures at once, which rounds otherwise: 1e-5 for two.
    limit = 5e-5 if kind == "rgb" and len(places) > 1 else 0
    assert (found - theirs).abs().max() <= limit, f"max |d| = {(found - theirs).abs().max():.2e}"


def test_the_request_s_norm_holds_for_the_encoder_and_leaves_no_trace(store, components):
    norms = {}
    for norm in MotionNorm:
        request = request_for({"model": "rgb"}, motion_norm=norm)
        found = control(store, components, request, noise_clip(1))
        with torch.no_grad():
            norms[norm] = found.residuals(call_for(components, [list(range(FRAMES))]))
        state = store.load_controls(request, components)[0].net.motion_state
        assert state.norm is MotionNorm.ORIGINAL
        assert state.inner_windows == ()
    assert not close(norms[MotionNorm.ORIGINAL][-1], norms[MotionNorm.DIFFUSERS][-1])


@torch.no_grad()
def test_windows_without_key_frames_are_computed_once_a_step(store, components, monkeypatch):
    request = request_for({"model": "rgb", "key_frames": [2]}, num_frames=40)
    found = control(store, components, request, noise_clip(1))
    lengths = []
    forward = SparseControlNetModel.forward
    monkeypatch.setattr(
        SparseControlNetModel, "forward", lambda *args, **options: lengths.append(1) or forward(*args, **options)
    )
    windows = [list(range(start, start + 4)) for start in (0, 4, 8, 12)]
    calls = [call_for(components, [window]) for window in windows]
    layers = [found.residuals(call) for call in calls]
    assert len(lengths) == 2
    assert torch.equal(layers[1][-1], layers[3][-1])
    assert not close(layers[0][-1], layers[1][-1])


@torch.no_grad()
def test_windows_that_go_through_together_get_what_each_gets_alone(store, components):
    request = request_for({"model": "scribble", "key_frames": [1, 6], "weight": "0: 0, 8: 2"}, num_frames=8)
    found = control(store, components, request, noise_clip(2))
    call = call_for(components, [[0, 1, 2, 3], [4, 5, 6, 7]])
    together = [layer.unflatten(0, (2, 2, 4)) for layer in found.residuals(call)]
    for place in range(2):
        states = call.states.unflatten(0, (2, 2, 4))[:, place].flatten(0, 1)
        one = call_for(components, [call.clips[place]])
        alone = found.residuals(type(call)(one.sample, one.t, one.part, one.clips, True, states, {}))
        assert all(
            close(layer.unflatten(0, (2, 4)), both[:, place]) for layer, both in zip(alone, together, strict=True)
        )
    assert not together[-1][:, 0, 0].any()


@torch.no_grad()
def test_guess_mode_leaves_the_negative_half_alone(store, components):
    call, clip = call_for(components, [list(range(FRAMES))]), noise_clip(1)
    plain = control(store, components, request_for({"model": "rgb"}), clip).residuals(call)
    found = control(store, components, request_for({"model": "rgb", "guess_mode": True}), clip).residuals(call)
    levels = torch.logspace(-1, 0, len(plain))
    for one, whole, level in zip(found, plain, levels, strict=True):
        assert not one[:FRAMES].any()
        assert close(one[FRAMES:], level * whole[FRAMES:])


def test_a_long_clip_with_inner_windows_is_steered_like_a_short_one(store):
    request = request_for(
        {"model": "rgb", "key_frames": [0, 30], "end": 0.5},
        num_frames=40,
        context_length=36,
        inner_length=16,
        num_inference_steps=2,
    )
    steered, _ = run(request, store=store, inputs=ClipInputs(controls=(noise_clip(2),)))
    free, _ = run(request.model_copy(update={"controls": ()}), store=store)
    assert (steered != free).any()


def test_a_unit_that_counts_nothing_does_not_run(store, components, monkeypatch):
    monkeypatch.setattr(SparseControlNetModel, "forward", lambda *_, **__: pytest.fail("it ran"))
    for unit in ({"weight": 0}, {"start": 0.9}):
        request = request_for({"model": "rgb"} | unit)
        assert torch.equal(ours(store, components, request, noise_clip(1)), our_latents(components, request))


@pytest.mark.parametrize(
    ("unit", "settings", "error", "reason"),
    [
        ({"falloff": [0.5]}, {}, InvalidRequestError, "controls must have no falloff for 'rgb'"),
        (
            {},
            {"num_frames": 40, "context_length": 36, "inner_length": 33, "motion_module": "big"},
            InvalidRequestError,
            "context_length must be at most the 32 positions of the SparseCtrl 'rgb', got 33",
        ),
        ({"model": "other"}, {}, WeightsError, "controls must fit the base model 'demo' (blocks of 32, 96, 128"),
    ],
)
def test_what_an_encoder_cannot_do_is_refused(store, components, unit, settings, error, reason):
    request = request_for({"model": "rgb"} | unit, **settings)
    with pytest.raises(error) as refused:
        control(store, components, request, noise_clip(1))
    assert reason in str(refused.value)
