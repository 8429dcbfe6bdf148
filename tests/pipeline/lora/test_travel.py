"""LoRAs whose strength changes over the clip: at every frame what merging would give, and nothing left behind."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.generate import generate
from pipelines.engine.lora.merged import find_loras
from pipelines.engine.lora.travel import set_strengths_at_frames
from pipelines.engine.models import Components, applied
from pipelines.engine.motion import layers
from pipelines.engine.motion.modules import set_motion
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Stage
from pipelines.plan.request import GenerationRequest
from tests.pipeline.lora import formats
from tests.pipeline.lora.adding import CONVOLUTIONS, MOTION, SPATIAL, assert_as_before, encoded, planned, small, states
from tests.pipeline.sink import KeptFrames, run

TRAVEL = "0: a fox <lora:mine:0>\n2: a fox <lora:mine:0.7>"
SPATIAL_LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
MOTION_LAYER = "down_blocks.0.motion_modules.0.transformer_blocks.0.attn1.to_v"
CONVOLUTION = "down_blocks.0.downsamplers.0.conv"


def write(models_dir, factors: formats.LoraFactors) -> None:
    save_file(formats.kohya_lora(factors, alpha=2.0), models_dir / "loras" / "mine.safetensors")


def prediction(components: Components, request: GenerationRequest, frames: Sequence[int]) -> torch.Tensor:
    """What the UNet says to a guided window of these frames, the same noise whatever they are."""
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(2, 4, len(frames), 8, 8, generator=generator)
    text = torch.randn(2 * len(frames), 77, 32, generator=generator)
    with torch.no_grad(), applied(components, request, planned(components, request)):
        set_motion(components.unet, request, [frames, frames])
        set_strengths_at_frames(components.unet, [frames, frames])
        return components.unet(sample, 500, encoder_hidden_states=text).sample


def layer_outputs(components: Components, layer: str, x: torch.Tensor, *clips: Sequence[int]) -> torch.Tensor:
    """What a layer makes of its input within windows of these frames."""
    request = small(TRAVEL)
    with torch.no_grad(), applied(components, request, planned(components, request)):
        set_strengths_at_frames(components.unet, clips)
        return components.unet.get_submodule(layer)(x)


@pytest.mark.parametrize("pattern", [MOTION, SPATIAL, CONVOLUTIONS, r"motion_modules.*(proj_in|proj_out|net\.2)$"])
def test_a_travelling_strength_is_the_merged_one_of_its_frames(pattern, models_dir, v2):
    write(models_dir, formats.lora_factors(v2.unet, pattern))
    settings = {"motion_scale": [[0, 0.8], [2, 1.4]], "motion_effect": [[0, 0.9], [2, 1.1]]}
    plain = prediction(v2, small("a fox", **settings), (2, 2, 2))
    merged = prediction(v2, small("a fox <lora:mine:0.7>", **settings), (2, 2, 2))
    torch.testing.assert_close(prediction(v2, small(TRAVEL, **settings), (2, 2, 2)), merged, rtol=1e-5, atol=1e-5)
    assert (merged - plain).abs().max() > 1e-3
    middle = prediction(v2, small("a fox <lora:mine:0.35>", **settings), (1, 1, 1))
    torch.testing.assert_close(prediction(v2, small(TRAVEL, **settings), (1, 1, 1)), middle, rtol=1e-5, atol=1e-5)
    assert prediction(v2, small(TRAVEL), (0, 0, 0)).equal(prediction(v2, small("a fox"), (0, 0, 0)))


def test_a_locon_with_a_core_travels_too(models_dir, v2):
    out, inside, *_ = v2.unet.get_submodule(CONVOLUTION).weight.shape
    name = "lora_unet_" + CONVOLUTION.replace(".", "_")
    down, mid, up = torch.randn(2, inside, 1, 1), torch.randn(2, 2, 3, 3), torch.randn(out, 2, 1, 1)
    tensors = {f"{name}.lora_down.weight": down, f"{name}.lora_mid.weight": mid, f"{name}.lora_up.weight": up}
    save_file(tensors, models_dir / "loras" / "mine.safetensors")
    merged = prediction(v2, small("a fox <lora:mine:0.7>"), (2, 2, 2))
    torch.testing.assert_close(prediction(v2, small(TRAVEL), (2, 2, 2)), merged, rtol=1e-5, atol=1e-5)
    assert not merged.equal(prediction(v2, small("a fox"), (2, 2, 2)))


@pytest.mark.parametrize(
    ("layer", "shape", "over_time"),
    [(SPATIAL_LAYER, (3, 5, 16), False), (MOTION_LAYER, (7, 3, 16), True), (CONVOLUTION, (3, 16, 8, 8), False)],
)
def test_what_a_frame_gets_depends_on_its_number_alone(layer, shape, over_time, models_dir, v2):
    write(models_dir, formats.lora_factors(v2.unet, f"^{layer}$"))
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    order, axis = [2, 0, 1], 1 if over_time else 0
    whole = layer_outputs(v2, layer, x, (0, 1, 2))
    shuffled = layer_outputs(v2, layer, x.index_select(axis, torch.tensor(order)), order)
    torch.testing.assert_close(shuffled, whole.index_select(axis, torch.tensor(order)), rtol=1e-5, atol=1e-6)
    plain = v2.unet.get_submodule(layer)(x)
    assert whole.select(axis, 0).equal(plain.select(axis, 0))
    first, second = ((whole - plain).select(axis, frame) / plain.std() for frame in (1, 2))
    assert min(first.abs().max(), second.abs().max()) > 1e-2
    both = layer_outputs(v2, layer, torch.cat([x, x.index_select(axis, torch.tensor(order))]), (0, 1, 2), order)
    torch.testing.assert_close(both, torch.cat([whole, shuffled]), rtol=1e-5, atol=1e-6)


def test_motion_layers_know_which_frames_an_inner_window_sees(models_dir, v2):
    write(models_dir, formats.lora_factors(v2.unet, f"^{MOTION_LAYER}$"))
    settings = {"context_length": 3, "inner_length": 2, "inner_overlap": 1}
    merged = prediction(v2, small("a fox <lora:mine:0.7>", **settings), (2, 2, 2))
    torch.testing.assert_close(prediction(v2, small(TRAVEL, **settings), (2, 2, 2)), merged, rtol=1e-5, atol=1e-5)
    assert not prediction(v2, small(TRAVEL, **settings), (0, 1, 2)).equal(prediction(v2, small(TRAVEL), (0, 1, 2)))


@pytest.mark.parametrize("rows", [64, 37])
def test_motion_layers_of_a_batch_that_is_split_take_the_strengths_of_their_own_window(
    models_dir, v2, monkeypatch, rows
):
    write(models_dir, formats.lora_factors(v2.unet, f"^{MOTION_LAYER}$"))

    def predicted() -> torch.Tensor:
        """Two windows of other frames, 128 rows at the outermost layers."""
        generator = torch.Generator().manual_seed(0)
        sample, text = torch.randn(2, 4, 2, 8, 8, generator=generator), torch.randn(4, 77, 32, generator=generator)
        request = small(TRAVEL)
        with torch.no_grad(), applied(v2, request, planned(v2, request)):
            set_motion(v2.unet, request, [(0, 0), (2, 2)])
            set_strengths_at_frames(v2.unet, [(0, 0), (2, 2)])
            return v2.unet(sample, 500, encoder_hidden_states=text).sample

    whole = predicted()
    monkeypatch.setattr(layers, "MAX_ROWS", rows)
    torch.testing.assert_close(predicted(), whole, rtol=1e-4, atol=1e-5)


def test_frames_that_were_not_told_are_an_error_and_no_guess(models_dir, v2):
    write(models_dir, formats.lora_factors(v2.unet, f"({SPATIAL_LAYER}|{MOTION_LAYER})$"))
    for layer, x in ((SPATIAL_LAYER, torch.ones(4, 5, 16)), (MOTION_LAYER, torch.ones(3, 2, 16))):
        with pytest.raises(RuntimeError, match=r"strengths were set for \(1, 3\) windows and frames"):
            layer_outputs(v2, layer, x, (0, 1, 2))


@pytest.mark.usefixtures("two")
def test_keys_with_one_strength_and_lines_beside_keys_are_merged(v2, store):
    for prompt in (
        "0: a fox <lora:move:0.5>\n2: a cat <lora:move:0.5>",
        "<lora:move:0.5>\n0: a fox\n2: a cat",
        "0: a fox\n2: a cat\n<lora:move:0.5>",
    ):
        plan = planned(v2, small(prompt))
        assert not plan.travelling
        assert {weight for parts in plan.additions.values() for weight, _ in parts} == {0.5}
    travels, _ = run(small("0: a fox <lora:move:0.5>\n2: a fox <lora:move:0.5>"), store=store)
    assert np.array_equal(travels, run(small("a fox <lora:move:0.5>"), store=store)[0])
    plan = planned(v2, small("<lora:move:0.5>\n0: a fox\n2: a cat <lora:move:0.25>, <lora:style>"))
    assert [list(lora.strengths) for lora in plan.travelling] == [[0.5, 0.75], [0.0, 1.0]]
    assert not plan.additions


@pytest.mark.usefixtures("two")
def test_a_clip_of_keys_that_are_tags_alone(store):
    request = small("a fox\n0: <lora:move:0>\n3: <lora:move:1>", num_frames=6, context_length=4)
    frames, _ = run(request, store=store)
    plain, _ = run(small("a fox", num_frames=6, context_length=4), store=store)
    assert not np.array_equal(frames, plain)
    assert np.array_equal(frames, run(request, store=store)[0])


@pytest.mark.parametrize("ending", ["success", "error", "close"])
def test_no_hook_is_left_however_it_ends(ending, store, v2, two):
    before = states(v2)
    request = small(f"0: a fox\n2: a cat {''.join(two)}")
    if ending == "error":
        with pytest.raises(ZeroDivisionError):
            list(generate(request, open_writer=KeptFrames().opener(), store=store, on_state=lambda _: 1 / 0))
    else:
        for event in (events := generate(request, open_writer=KeptFrames().opener(), store=store)):
            if event.stage is Stage.DENOISE:
                assert _hooks(v2) > 100
                break
        if ending == "close":
            events.close()
        else:
            list(events)
    assert _hooks(v2) == 0
    assert not any(hasattr(model, "travelling_loras") for model in v2.lora_targets.values())
    assert_as_before(v2, before)


def _hooks(components: Components) -> int:
    return sum(len(module._forward_hooks) for module in components.unet.modules())


def test_each_key_is_read_with_its_own_strength(models_dir, v2):
    factors = formats.lora_factors(v2.text_encoders[0], "self_attn")
    save_file(formats.kohya_lora(factors, prefix="lora_te_text_model_"), models_dir / "loras" / "mine.safetensors")
    plain = encoded(v2, small("a fox")).positive
    embeds = encoded(v2, small("0: a fox <lora:mine:0.2>\n2: a fox <lora:mine:1>", negative_prompt="bad"))
    for number, strength in enumerate((0.2, 1)):
        merged = encoded(v2, small(f"a fox<lora:mine:{strength}>", negative_prompt="bad"))
        for states_, expected in ((embeds.positive, merged.positive), (embeds.negative, merged.negative)):
            torch.testing.assert_close(states_[number], expected[0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(embeds.positive[0], embeds.positive[1], atol=1e-3)
    assert encoded(v2, small("a fox")).positive.equal(plain)
    rows = embeds.for_frames((0, 1, 2), guided=True)
    torch.testing.assert_close(rows[1], (rows[0] + rows[2]) / 2)


def test_a_negative_prompt_with_keys_of_its_own_is_read_with_the_average_and_says_so(models_dir, v2):
    factors = formats.lora_factors(v2.text_encoders[0], "self_attn")
    save_file(formats.kohya_lora(factors, prefix="lora_te_text_model_"), models_dir / "loras" / "mine.safetensors")
    request = small("0: a fox <lora:mine:0>\n2: a fox <lora:mine:1>", negative_prompt="0: bad\n1: worse")
    (warning,) = planned(v2, request).warnings
    assert warning == (
        "'mine.safetensors' changes how prompts are read, too. The negative prompt has keys of its own, so it is "
        "read with the average of the LoRA's strengths over the clip."
    )
    merged = encoded(v2, small("a fox <lora:mine:0.5>", negative_prompt="0: bad\n1: worse"))
    torch.testing.assert_close(encoded(v2, request).negative, merged.negative, rtol=1e-5, atol=1e-5)


def test_layers_that_see_no_frames_act_with_the_average_and_say_so(models_dir, v2):
    write(models_dir, formats.lora_factors(v2.unet, rf"time_embedding\.linear_1$|{SPATIAL_LAYER}"))
    plan = planned(v2, small(TRAVEL))
    assert plan.warnings == (
        "1 of the layers of 'mine.safetensors' are the same for all frames and act with the average of its strengths "
        "over the clip.",
    )
    ((parameter, ((weight, _),)),) = plan.additions.items()
    assert parameter is v2.unet.time_embedding.linear_1.weight
    assert weight == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("<lora:mov>", "lora must be one of the catalog, got 'mov' (line 2, column 10). Choose 'move'"),
        ("<lora:move:9>", "prompt must have LoRA weights from -2 to 2, got 9 for 'move' (line 2, column 10). Use"),
        ("<lora:move:a>", "prompt must have LoRA tags like <lora:name:0.8>, got '<lora:move:a>' (line 2, column 10)."),
        ("<lora:move", "prompt must have LoRA tags like <lora:name:0.8>, got '<lora:move' (line 2, column 10)."),
    ],
)
@pytest.mark.usefixtures("two")
def test_what_is_wrong_with_a_tag_in_a_key_is_said_with_its_place(tag, words):
    with pytest.raises(InvalidRequestError) as error:
        find_loras(small(f"0: a fox <lora:move>\n2: a cat {tag}"))
    assert str(error.value).startswith(words)
