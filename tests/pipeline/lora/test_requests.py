"""LoRAs of a request: in its clip alone, everything undone, nothing left out in silence."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.generate import generate
from pipelines.engine.models import ModelStore, applied
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Clip, Stage
from pipelines.plan.request import GenerationRequest
from tests.pipeline.lora import formats
from tests.pipeline.lora.adding import MOTION, assert_added, assert_as_before, planned, small, states
from tests.pipeline.sink import KeptFrames, run
from tests.stand_in_hub import serving, use_hub


def test_two_requests_in_turn_give_the_clips_of_each_alone(store, two):
    plain, move, style = (small(f"a fox {tag}") for tag in ("", *two))
    alone = [run(request, store=ModelStore("cpu", torch.float32))[0] for request in (plain, move, style)]
    in_turn = [run(request, store=store)[0] for request in (move, style, plain, style, move)]
    for frames, expected in zip(in_turn, (alone[1], alone[2], alone[0], alone[2], alone[1]), strict=True):
        assert np.array_equal(frames, expected)
    assert not np.array_equal(alone[0], alone[1])
    assert not np.array_equal(alone[1], alone[2])


def test_the_plan_knows_what_was_read_by_its_content(v2, two, models_dir):
    file = models_dir / "loras" / "move.safetensors"
    plan = planned(v2, small(two[0]))
    assert plan.weights == {"lora move": hashlib.sha256(file.read_bytes()).hexdigest()}


def test_a_weight_of_zero_gives_the_clip_without(store, two):
    without, _ = run(small("a fox running"), store=store)
    with_zero, _ = run(small(f"a fox <lora:move:0> running {two[1].replace('>', ':0>')}"), store=store)
    assert np.array_equal(with_zero, without)


@pytest.mark.parametrize("ending", ["success", "error", "close"])
def test_the_very_tensors_of_before_are_back_however_it_ends(ending, store, v2, two, models_dir):
    save_file({"emb_params": torch.randn(2, 32)}, models_dir / "embeddings" / "word.safetensors")
    request = small(f"a <lora:word> fox {''.join(two)}")
    before = states(v2)
    if ending == "error":
        with pytest.raises(ZeroDivisionError):
            list(generate(request, open_writer=KeptFrames().opener(), store=store, on_state=lambda _: 1 / 0))
    else:
        for event in (events := generate(request, open_writer=KeptFrames().opener(), store=store)):
            if event.stage is Stage.DENOISE:
                unet = store.load("base", "v2.safetensors").unet
                assert any(p.data_ptr() != before["unet"][n].data_ptr() for n, p in unet.named_parameters())
                break
        if ending == "close":
            events.close()
        else:
            assert isinstance(list(events)[-1], Clip)
    assert_as_before(v2, before)


def test_a_failure_while_merging_is_undone_too(v2, two):
    plan = planned(v2, small("".join(two)))
    broken = next(reversed(plan.additions))
    plan.additions[broken].append((1.0, None))
    before = states(v2)
    with pytest.raises(AttributeError), applied(v2, small(), plan):
        pass
    assert_as_before(v2, before)


def test_a_motion_lora_on_a_module_without_a_middle_block_warns_with_the_reason(store, two):
    frames, events = run(small(f"a fox {two[0]}", motion_module="v3.safetensors"), store=store)
    (warning,) = events[-1].warnings
    assert warning == (
        "'move.safetensors' was made for AnimateDiff v2. The motion module 'v3' has no middle block, so "
        "8 of the 168 layers do nothing here and the motion may be weaker."
    )
    assert any(warning == event.note for event in events[:-1])
    plain, _ = run(small("a fox", motion_module="v3.safetensors"), store=store)
    assert not np.array_equal(frames, plain)


def test_a_middle_block_that_adds_nothing_counts_as_none(v2, two):
    projection = v2.unet.mid_block.motion_modules[0].proj_out
    originals = [parameter.data for parameter in projection.parameters()]
    try:
        for parameter in projection.parameters():
            parameter.data = torch.zeros_like(parameter)
        assert "has no middle block" in planned(v2, small(two[0])).warnings[0]
    finally:
        for parameter, data in zip(projection.parameters(), originals, strict=True):
            parameter.data = data


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prompt": "<lora:mov>"}, "lora must be one of the catalog, got 'mov'. Choose 'move'"),
        (
            {"prompt": "<lora:v2_lora_Zoomin:0.5>"},
            "lora must be one of the catalog, got 'v2_lora_Zoomin'. Choose 'v2_lor",
        ),
        ({"prompt": "<lora:move:9>"}, "prompt must have LoRA weights from -2 to 2, got 9 for 'move'"),
        ({"prompt": "<lora:move:a>"}, "prompt must have LoRA tags like <lora:name:0.8>, got '<lora:move:a>'"),
        ({"negative_prompt": "<lora:move>"}, "negative_prompt must have no tags but those of textual inversions"),
        (
            {"prompt": "<lora:v2_lora_ZoomIn>", "base_model": "demo", "motion_module": "demo"},
            "lora must be made for the base model 'demo', got 'v2_lora_ZoomIn'",
        ),
    ],
)
@pytest.mark.usefixtures("two")
def test_what_is_wrong_with_a_tag_is_said_before_any_frame(settings, words, store):
    sink = KeptFrames()
    with pytest.raises(InvalidRequestError) as error:
        list(generate(small(**settings), open_writer=sink.opener(), store=store))
    assert str(error.value).startswith(words)
    assert not sink.parts


def test_the_catalog_s_loras_come_from_the_hub_and_only_when_asked_for(v2, tmp_path, monkeypatch):
    repository = tmp_path / "hub" / "guoyww" / "animatediff"
    repository.mkdir(parents=True)
    factors = formats.lora_factors(v2.unet, MOTION)
    torch.save(formats.authors_lora(factors), repository / "v2_lora_PanLeft.ckpt")
    torch.save({}, repository / "v2_lora_ZoomIn.ckpt")
    with serving(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        plan = planned(v2, small("<lora:v2_lora_PanLeft:0.8> <lora:v2_lora_ZoomIn:0>"))
        assert hub.downloads == ["guoyww/animatediff/v2_lora_PanLeft.ckpt"]
    assert_added(v2, plan, {"unet": factors}, 0.8)


def test_the_recipe_carries_the_tags(store, two):
    request = small(f"a fox {two[0]}")
    frames, events = run(request, store=store)
    assert GenerationRequest.from_json(events[-1].recipe) == request
    again, _ = run(GenerationRequest.from_json(events[-1].recipe), store=store)
    assert np.array_equal(frames, again)
