"""Pictures as prompts: stock's numbers for one picture, travel by its algebra, and a UNet left as it was."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AnimateDiffPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from pipelines.engine.cross_attention import TextAttention, cross_attentions
from pipelines.engine.denoise import build_scheduler
from pipelines.engine.models import Components, ModelStore
from pipelines.engine.steering.build import build_conditions, weights_of
from pipelines.engine.steering.conditions import Conditions
from pipelines.engine.steering.image_prompts import PicturePrompt
from pipelines.plan.clip_inputs import ClipInputs
from pipelines.plan.errors import InvalidRequestError, WeightsError
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import Settings, use_settings
from tests.clips import ArrayClip, noise_clip
from tests.pipeline import tiny
from tests.pipeline.sink import run
from tests.pipeline.stock import our_latents, stock_run
from tests.pipeline.test_controls import request_for

KINDS = ("base", "plus")
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


@pytest.fixture(scope="module")
def components(store) -> Components:
    return store.load("demo", "demo")


@pytest.fixture(scope="module")
def adapters(components) -> dict[str, Weights]:
    sizes = [tuple(layer.to_k.weight.shape) for layer in cross_attentions(components.unet)]
    return {kind: tiny.ip_adapter(sizes, kind, seed) for seed, kind in enumerate(KINDS)}


@pytest.fixture(scope="module")
def encoder() -> CLIPVisionModelWithProjection:
    return tiny.image_encoder()


@pytest.fixture(scope="module", autouse=True)
def folder(adapters, encoder, tmp_path_factory) -> Iterator[Path]:
    """The models folder's IP-Adapters, made for the demo model."""
    root = tmp_path_factory.mktemp("models")
    folder = root / "ip_adapters"
    encoder.save_pretrained(folder / "image_encoder")
    for kind, weights in adapters.items():
        save_file(weights, folder / f"{kind}.safetensors")
    with use_settings(Settings(models_dir=root)):
        yield folder


def unit_for(kind: str, *frames: int, **settings: object) -> dict[str, object]:
    pictures = [(frame, f"{number:064x}") for number, frame in enumerate(frames or (0,))]
    return {"model": f"{kind}.safetensors", "pictures": pictures} | settings


def asked(*units: dict[str, object], **settings: object) -> GenerationRequest:
    return request_for(image_prompts=units, **settings)


def conditions_for(
    store: ModelStore, components: Components, request: GenerationRequest, *pictures: tuple[ArrayClip, ...]
) -> Conditions:
    inputs, adapters = ClipInputs(image_prompts=pictures), store.load_adapters(request, components)
    return build_conditions(request, inputs, controls=(), adapters=adapters, vae=components.vae)


def ours(store: ModelStore, components: Components, request: GenerationRequest, *pictures: tuple[ArrayClip, ...]):
    return our_latents(components, request, conditions_for(store, components, request, *pictures))


def halves(weights: Weights) -> dict[str, Weights]:
    """An IP-Adapter as its authors' pickles have it, and as stock takes it."""
    parts = ("image_proj", "ip_adapter")
    return {
        part: {name.removeprefix(f"{part}."): one for name, one in weights.items() if name.startswith(part)}
        for part in parts
    }


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize("kinds", [("base",), ("plus",), ("base", "plus")], ids=" and ".join)
def test_one_window_equals_stock_bit_for_bit(store, components, adapters, encoder, kinds, guidance_scale):
    factors = [0.6, 1.2][: len(kinds)]
    units = [unit_for(kind, weight=factor) for kind, factor in zip(kinds, factors, strict=True)]
    request = asked(*units, guidance_scale=guidance_scale)
    pictures = [noise_clip(1, seed, height=48) for seed in range(len(kinds))]
    found = ours(store, components, request, *((picture,) for picture in pictures))
    theirs = ModelStore("cpu", torch.float32).load("demo", "demo")  # stock leaves its layers in the UNet
    pipe = AnimateDiffPipeline(
        vae=theirs.vae,
        text_encoder=theirs.text_encoders[0],
        tokenizer=theirs.tokenizers[0],
        unet=theirs.unet,
        motion_adapter=None,
        scheduler=build_scheduler(request, theirs.scheduler_config),
        image_encoder=encoder,
        feature_extractor=CLIPImageProcessor(size=32, crop_size=32),
    )
    pipe.load_ip_adapter([halves(adapters[kind]) for kind in kinds], subfolder="", weight_name=[""] * len(kinds))
    pipe.set_ip_adapter_scale(factors)
    shown = [picture.pictures[0] for picture in pictures]
    stock = stock_run(pipe, theirs, request, "latent", ip_adapter_image=shown)
    assert not torch.allclose(found, our_latents(components, request), atol=1e-2)
    assert torch.equal(found, stock), f"max |d| = {(found - stock).abs().max():.2e}"


@pytest.mark.parametrize("unit", [{"weight": 0}, {"start": 0.9}, {"weight": "0: 0, 20: 0"}])
def test_a_picture_that_counts_nothing_changes_nothing(store, components, unit):
    request = asked(unit_for("plus", **unit))
    assert torch.equal(ours(store, components, request, (noise_clip(1),)), our_latents(components, request))


def prompt_for(store: ModelStore, components: Components, request: GenerationRequest, *pictures: ArrayClip):
    adapter = store.load_adapters(request, components)[0]
    return PicturePrompt(adapter, request.image_prompts[0], pictures, request)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_travel_straight_from_key_to_key(store, components, kind):
    first, second = noise_clip(1, 1), noise_clip(1, 2)
    request = asked(unit_for(kind, 10, 2), num_frames=16)  # in any order
    found = prompt_for(store, components, request, second, first)
    alone = [prompt_for(store, components, asked(unit_for(kind)), one).tokens_at(0) for one in (first, second)]
    expected = {0: 0.0, 2: 0.0, 4: 0.25, 6: 0.5, 10: 1.0, 15: 1.0}
    for frame, share in expected.items():
        assert torch.allclose(found.tokens_at(frame), (1 - share) * alone[0] + share * alone[1], atol=1e-5)


def test_in_a_loop_the_last_picture_leads_back_to_the_first(store, components):
    request = asked(unit_for("base", 0, 16), num_frames=32, closed_loop="prompts")
    found = prompt_for(store, components, request, noise_clip(1, 1), noise_clip(1, 2))
    assert torch.allclose(found.tokens_at(8), found.tokens_at(24), atol=1e-6)


def test_each_frame_has_its_weight(store, components):
    """Without motion every frame is a picture of its own, so those a picture does not count for are as without it."""
    request = asked(unit_for("base", weight="3: 0, 4: 1"), motion_effect=0)
    found = ours(store, components, request, (noise_clip(1),))
    free = our_latents(components, request)
    differs = (found - free).abs().amax(dim=(0, 1, 3, 4))
    assert (differs[:4] < 1e-4).all()
    assert (differs[4:] > 1e-2).all()


def test_frames_of_a_window_get_their_own_pictures(store, components):
    keys = {"num_frames": 12, "context_length": 4, "context_overlap": 0, "context_schedule": "static"}
    settings = keys | {"motion_effect": 0, "num_inference_steps": 2}
    first, second = noise_clip(1, 1), noise_clip(1, 2)
    travelling = ours(store, components, asked(unit_for("base", 7, 8), **settings), (first, second))
    constant = [ours(store, components, asked(unit_for("base"), **settings), (one,)) for one in (first, second)]
    assert torch.allclose(travelling[:, :, :8], constant[0][:, :, :8], atol=1e-4)
    assert torch.allclose(travelling[:, :, 8:], constant[1][:, :, 8:], atol=1e-4)
    assert not torch.allclose(*constant, atol=1e-2)


def test_the_unet_is_left_as_it_was_even_after_a_failure(store, components, monkeypatch):
    request, layers = asked(unit_for("base")), list(cross_attentions(components.unet))
    before, names = [layer.processor for layer in layers], set(components.unet.state_dict())
    run(request, store=store, inputs=ClipInputs(image_prompts=((noise_clip(1),),)))
    assert all(layer.processor is processor for layer, processor in zip(layers, before, strict=True))
    monkeypatch.setattr(TextAttention, "__call__", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(request, store=store, inputs=ClipInputs(image_prompts=((noise_clip(1),),)))
    assert all(layer.processor is processor for layer, processor in zip(layers, before, strict=True))
    assert set(components.unet.state_dict()) == names


def test_what_it_was_read_from_belongs_to_the_run_and_is_kept(store, components):
    request = asked(unit_for("base"), unit_for("plus"))
    loaded = store.load_adapters(request, components)
    assert loaded[0].encoder is loaded[1].encoder
    assert len(set(weights_of((), loaded).values())) == 3
    assert store.load_adapters(asked(unit_for("plus")), components)[0] is loaded[1]


@pytest.mark.parametrize(
    ("frames", "given", "reason"),
    [
        ((0, 6), 2, "different frames from 0 to 5, got 0, 6 for 'base.safetensors'"),
        ((3, 3), 2, "different frames from 0 to 5, got 3, 3"),
        ((0, 3), 1, "must have all their pictures, 2, got 1"),
    ],
)
def test_pictures_that_cannot_be_shown_are_refused(store, frames, given, reason):
    with pytest.raises(InvalidRequestError, match=r"^image_prompts must ") as error:
        run(
            asked(unit_for("base", *frames)),
            store=store,
            inputs=ClipInputs(image_prompts=((noise_clip(1),) * given,)),
        )
    assert reason in str(error.value)


def test_a_pickle_gives_the_same(store, components, adapters, folder):
    torch.save(halves(adapters["plus"]), folder / "pickled.bin")
    request = asked(unit_for("plus"), {**unit_for("plus"), "model": "pickled.bin"})
    one, other = store.load_adapters(request, components)
    tokens = [adapter.layers.projection.state_dict() for adapter in (one, other)]
    assert all(torch.equal(tensor, tokens[1][name]) for name, tensor in tokens[0].items())
    pairs = [torch.cat([key for key, _ in adapter.layers.keys_values[:1]]) for adapter in (one, other)]
    assert torch.equal(*pairs)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: {n: t for n, t in w.items() if not n.startswith("ip_adapter.1.")}, "(6 layers, text of 128)"),
        (lambda w: {n: t[:, :8] if n.startswith("ip_adapter") else t for n, t in w.items()}, "text of 8)"),
        (lambda w: {n: t for n, t in w.items() if "image_proj.proj.weight" not in n}, "which is of another"),
        (lambda w: {n: t for n, t in w.items() if n != "image_proj.norm.bias"}, "the first norm.bias"),
        (lambda w: {n: t for n, t in w.items() if n != "image_proj.norm.weight"}, "it lacks image_proj.norm.weight"),
        (
            lambda w: w | {"image_proj.proj.weight": torch.ones(512, 7)},
            "7 wide, got 'broken.safetensors' with one of 40",
        ),
        (lambda _: tiny.motion_adapter().state_dict(), "which is a motion module. Put it into"),
    ],
)
def test_other_files_are_refused_in_words(store, components, adapters, folder, change, reason):
    path = folder / "broken.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in change(adapters["base"]).items()}, path)
    with pytest.raises(WeightsError, match=r"^image_prompts must ") as error:
        store.load_adapters(asked(unit_for("broken")), components)
    assert reason in str(error.value)
    assert str(folder) not in str(error.value)
    path.unlink()


def test_it_goes_together_with_a_control_unit_windows_and_travel(store, components, folder):
    unet = UNet2DConditionModel.from_config(components.unet.built_for[0])
    tiny.control_net(unet).save_pretrained(folder.parent / "controlnets" / "net")
    tiny.sparse_control(unet, "rgb").save_pretrained(folder.parent / "controlnets" / "sparse")
    request = asked(
        unit_for("plus", 0, 11, weight="0: 1, 11: 0.5"),
        controls=[{"model": "net", "guess_mode": True}, {"model": "sparse", "key_frames": [3]}],
        num_frames=12,
        context_length=6,
        num_inference_steps=2,
        prompt="0: a red circle\n8: a blue square",
    )
    inputs = ClipInputs(controls=(noise_clip(12), noise_clip(1)), image_prompts=((noise_clip(1), noise_clip(1, 1)),))
    windows = [run(request, store=store, inputs=inputs)[0]]
    several = ModelStore("cpu", torch.float32, windows_a_call=3)
    windows.append(run(request, store=several, inputs=inputs)[0])
    assert abs(windows[0].astype(int) - windows[1]).max() <= 1
    half, _ = run(request, store=ModelStore("cpu", torch.bfloat16), inputs=inputs)
    without = request.model_copy(update={"image_prompts": ()})
    free, _ = run(without, store=store, inputs=replace(inputs, image_prompts=()))
    assert abs(windows[0].astype(int) - half).mean() < abs(windows[0].astype(int) - free).mean() / 2
