"""The request: JSON round trip, and clear words for whatever breaks a rule."""

import json
import math
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.plan.choices import ContextSchedule, OutputFormat, PromptBlend, Scheduler
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.prompt.travel import has_keys
from pipelines.plan.request import GenerationRequest, field_bounds
from pipelines.plan.request_fields.clip import MAX_SEED
from pipelines.plan.version import VERSION

ROOT = Path(__file__).resolve().parents[2]

texts = st.text(max_size=80).filter(lambda text: not has_keys(text)) | st.just("head\n0: a\n-1:: b\ntail")
requests = st.builds(
    GenerationRequest.build,
    prompt=texts,
    negative_prompt=st.text(max_size=20).filter(lambda text: not has_keys(text)),
    prompt_blend=st.sampled_from(PromptBlend),
    prompt_hold=st.floats(0, 1),
    seed=st.integers(0, MAX_SEED),
    num_frames=st.integers(2, 10_000),  # two keys need two frames
    fps=st.fractions(min_value=Fraction(1, 100), max_value=120, max_denominator=2000),
    width=st.integers(8, 128).map(lambda n: 8 * n),
    height=st.integers(8, 128).map(lambda n: 8 * n),
    guidance_scale=st.floats(1, 30),
    scheduler=st.sampled_from(Scheduler),
    context_schedule=st.sampled_from(ContextSchedule),
    context_length=st.integers(8, 32),
    context_overlap=st.integers(-1, 7),
    formats=st.lists(st.sampled_from(OutputFormat), min_size=1, unique=True).filter(lambda kinds: kinds != ["TXT"]),
)


@given(requests)
def test_a_recipe_reads_back_as_the_same_request(request):
    assert GenerationRequest.from_json(request.to_json()) == request


def test_an_exact_rate_stays_exact():
    assert GenerationRequest.build(fps="24000/1001").fps == Fraction(24000, 1001)
    assert GenerationRequest.build(fps=23.976023976023978).fps == Fraction(24000, 1001)


def test_a_seed_of_minus_one_is_drawn():
    seeds = {GenerationRequest.build(seed=-1).seed for _ in range(8)}
    assert len(seeds) > 1
    assert all(0 <= seed <= MAX_SEED for seed in seeds)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_frames": 0}, ("num_frames", "greater than or equal to 1", "got 0", "Frames")),
        ({"num_frames": -3}, ("num_frames", "greater than or equal to 1", "got -3")),
        ({"num_frames": 10_001}, ("num_frames", "10000", "got 10001")),
        ({"num_frames": 1.5}, ("num_frames", "got 1.5")),
        ({"width": 100}, ("width", "multiple of 8", "got 100")),
        ({"height": 2048}, ("height", "1024", "got 2048")),
        ({"guidance_scale": math.nan}, ("guidance_scale", "finite", "got nan")),
        ({"guidance_scale": math.inf}, ("guidance_scale", "finite", "got inf")),
        ({"guidance_scale": 0.5}, ("guidance_scale", "got 0.5")),
        ({"scheduler": "magic"}, ("scheduler", "'euler_a'", "got magic")),
        ({"num_frames": True}, ("num_frames must be a number, got true.",)),
        ({"guidance_scale": False}, ("guidance_scale must be a number, got false.",)),
        ({"steps": 20}, ("steps", "must be a field", "num_inference_steps")),
        ({"context_length": 16, "context_overlap": 16}, ("context_overlap", "below context_length (16)", "got 16")),
        ({"inner_length": 8, "inner_overlap": 8}, ("inner_overlap", "below inner_length (8)", "got 8", "raise 'Inner")),
        ({"prompt": "x" * 1_000_000}, ("prompt", "at most", "1,000,000 characters", "Shorten")),
        ({"prompt": None}, ("prompt", "string", "got null")),
        ({"prompt": "0: a\n16: b"}, ("prompt", "frames of the clip", "got '16'", "line 2, column 1", "'Frames'")),
        ({"negative_prompt": "0: a\n0: b"}, ("negative_prompt", "one key for a frame", "line 2, column 1")),
        ({"prompt_hold": 1.5}, ("prompt_hold", "less than or equal to 1", "got 1.5", "Prompt hold")),
        ({"prompt_blend": "jump"}, ("prompt_blend", "'slerp'", "got jump")),
        ({"seed": -2}, ("seed", "got -2", "-1")),
        ({"seed": 2**40}, ("seed", "4294967295")),
        ({"fps": 0}, ("fps", "greater than 0")),
        ({"fps": "fast"}, ("fps", "24000/1001", "got fast")),
        ({"fps": "1/0"}, ("fps", "got 1/0")),
        ({"formats": []}, ("formats must have at least 1 item, got []. ",)),
        ({"formats": ["AVI"]}, ("formats", "'MP4'", "got AVI")),
        ({"formats": ["GIF", "GIF"]}, ("formats", "not repeat")),
        ({"extended_from": "16; 32"}, ("extended_from", "lengths in frames such as 16, 32", "got 16; 32", "from the")),
        ({"extended_from": 16}, ("extended_from", "ascending and below num_frames (16)", "got 16")),
        ({"extended_from": [16, 14], "num_frames": 20}, ("extended_from", "ascending", "got 16, 14")),
        ({"extended_from": 11, "num_frames": 20}, ("extended_from", "12 of 16 frames", "got 11")),
        ({"extended_from": 1, "context_length": 1, "context_overlap": 0}, ("extended_from", "three quarters")),
        ({"extended_from": 16, "num_frames": 20, "closed_loop": "windows"}, ("closed_loop", "open", "got windows")),
        ({"extended_from": 16, "num_frames": 20, "context_schedule": "looped"}, ("context_schedule", "got looped")),
        ({"extended_from": 16, "num_frames": 20, "free_init_iterations": 2}, ("free_init_iterations", "got 2", "full")),
        ({"extended_from": 16, "num_frames": 20, "prompt": "0: a\n16: b"}, ("prompt", "0 to 15", "got '16'")),
        ({"clip_skip": -1}, ("clip_skip", "got -1")),
        ({"source_video": 5}, ("source_video must be the SHA-256 of a file, 64 hexadecimal digits", "got 5")),
        ({"num_inference_steps": 0}, ("num_inference_steps", "got 0")),
        ({"base_model": ""}, ("base_model", "at least 1 character")),
    ],
)
def test_a_broken_rule_is_told_with_field_rule_value_and_remedy(values, words):
    with pytest.raises(InvalidRequestError) as caught:
        GenerationRequest.build(**values)
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("text", ["", "null", "[1]", "{", '{"prompt": 3}', '{"unknown": 1}'])
def test_a_broken_recipe_is_refused_in_words(text):
    with pytest.raises(InvalidRequestError):
        GenerationRequest.from_json(text)


def test_lengths_are_read_as_people_write_them():
    for written in ("16, 20", " 16,20 ", [16, 20], (16, 20)):
        assert GenerationRequest.build(num_frames=24, extended_from=written).lengths == (16, 20, 24)
    for nothing in ("", " ", []):
        assert GenerationRequest.build(extended_from=nothing).lengths == (16,)


def test_an_extended_clip_knows_the_one_it_came_from():
    clip = GenerationRequest.build(seed=1, prompt="0: a\n-1: b")
    longer = clip.extended_by(4).extended_by(9)
    assert longer.lengths == (16, 20, 29)
    assert longer.first_clip == clip == clip.first_clip
    with pytest.raises(InvalidRequestError, match=r"^num_frames must .* 10000, got 10016\."):
        clip.extended_by(10_000)


def test_requests_are_frozen():
    request = GenerationRequest.build(seed=1)
    with pytest.raises(ValueError, match="frozen"):
        request.seed = 2


def test_bounds_are_read_from_the_field():
    assert field_bounds("num_frames") == (1, 10_000)
    assert field_bounds("prompt") == (None, None)


@pytest.mark.parametrize(
    ("closed_loop", "long_clip", "short_clip"),
    [
        ("off", (False, False), (False, False)),
        ("windows", (False, False), (False, False)),
        ("prompts", (True, False), (False, False)),
        ("full", (True, False), (False, True)),
    ],
)
def test_a_closed_loop_closes_prompts_of_long_clips_and_plays_short_ones_back(closed_loop, long_clip, short_clip):
    for num_frames, expected in ((17, long_clip), (16, short_clip)):
        request = GenerationRequest.build(num_frames=num_frames, closed_loop=closed_loop)
        assert (request.closes_prompts, len(request.frames_played_back) > 0) == expected


@pytest.mark.parametrize(
    ("reverse", "lengths"),
    [
        ("off", (1, 2, 16)),
        ("append", (2, 4, 32)),
        ("drop_head", (1, 3, 31)),
        ("drop_tail", (1, 3, 31)),
        ("drop_both", (1, 2, 30)),
    ],
)
def test_a_boomerang_is_as_long_as_it_says(reverse, lengths):
    for num_frames, expected in zip((1, 2, 16), lengths, strict=True):
        request = GenerationRequest.build(num_frames=num_frames, reverse=reverse)
        assert num_frames + len(request.frames_played_back) == expected


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"controls": [{"model": "x"}, {"model": "x", "weight": 9}]}, "controls 2 weight must be from 0 to 4"),
        (
            {"controls": [{"model": "x", "start": 0.5, "end": 0.2}]},
            "controls 1 end must be above start (0.5), got 0.2.",
        ),
        ({"controls": [{"model": "x", "falloff": [3]}]}, "controls 1 falloff must be less than or equal to 1, got 3."),
        ({"controls": [{"model": "x", "wait": 3}]}, "controls 1 must have known fields, got wait. They are model,"),
        ({"controls": [3]}, "controls 1 must have known fields, got 3. They are model,"),
        ({"image_prompts": [{"model": "x", "pictures": []}]}, "image_prompts 1 pictures must have at least 1 item"),
    ],
)
def test_a_refusal_of_a_part_says_which_and_what_of_it(fields, words):
    with pytest.raises(InvalidRequestError) as refused:
        GenerationRequest.build(seed=0, **fields)
    assert str(refused.value).startswith(words)


@pytest.mark.parametrize(
    ("fields", "loops", "frames", "fps"),
    [
        ({}, False, 16, 8),
        ({"interpolation_frames": 3}, False, 16, 8),  # without an interpolation it says nothing
        ({"interpolation": "flow", "interpolation_frames": 1}, False, 32, 16),
        ({"interpolation": "flow", "interpolation_frames": 1, "keep_duration": False}, False, 31, 8),
        ({"interpolation": "film", "interpolation_frames": 10}, False, 176, 88),
        ({"interpolation": "flow", "reverse": "append"}, False, 64, 16),  # the first frame is there again
        ({"interpolation": "flow", "reverse": "drop_both"}, True, 60, 16),
        ({"interpolation": "flow", "num_frames": 32, "closed_loop": "windows"}, True, 64, 16),
        ({"interpolation": "flow", "closed_loop": "windows"}, False, 32, 16),  # one window is left open
        ({"interpolation": "flow", "num_frames": 1}, False, 2, 16),
    ],
)
def test_frames_in_between_change_how_many_there_are_and_how_fast_they_play(fields, loops, frames, fps):
    request = GenerationRequest.build(seed=0, **fields)
    assert (request.loops, request.output_frames, request.output_fps) == (loops, frames, fps)


@pytest.mark.parametrize("between", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("fps", ["8", "24000/1001", "25/2"])
@pytest.mark.parametrize(
    "fields",
    [{}, {"num_frames": 1}, {"reverse": "append"}, {"reverse": "drop_both"}, {"num_frames": 33, "closed_loop": "full"}],
)
def test_frames_in_between_leave_the_duration_to_the_frame(fields, fps, between):
    plain = GenerationRequest.build(seed=0, fps=fps, **fields)
    smooth = GenerationRequest.build(
        seed=0, fps=fps, interpolation="flow", interpolation_frames=between, **fields, keep_duration=True
    )
    if smooth.output_fps <= 120:
        assert smooth.output_frames / smooth.output_fps == plain.output_frames / plain.output_fps
    slow = smooth.model_copy(update={"keep_duration": False})
    assert (slow.output_fps, slow.held_frames) == (plain.fps, 0)


def test_what_a_file_says_beside_the_request_is_no_part_of_it():
    request = GenerationRequest.build(seed=3, prompt="a é\n")
    text = request.to_json(made_with={"app": "Ω", "weights": {"unet": "00"}})
    assert json.loads(text)["made_with"] == {"app": "Ω", "weights": {"unet": "00"}}
    assert GenerationRequest.from_json(text) == request
    assert request.to_json() == GenerationRequest.from_json(text).to_json()


@pytest.mark.parametrize(
    ("fields", "size", "output"),
    [
        ({}, (512, 512), (512, 512)),
        ({"width": 504, "hires_scale": 1.5}, (752, 768), (752, 768)),
        ({"hires_scale": 2, "upscale_by": 1.5}, (1024, 1024), (1536, 1536)),
    ],
)
def test_a_clip_is_as_large_as_its_passes_make_it(fields, size, output):
    request = GenerationRequest.build(seed=0, **fields)
    assert (request.clip_size, request.output_size) == (size, output)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 1024, "hires_scale": 2, "upscale_by": 2.25}, "upscale_by must leave both sides at most 4096 pixels"),
        ({"formats": ["TXT"]}, "formats must have one that holds pictures, got TXT alone."),
        ({"color_match": "source"}, "color_match must not be source without a source_video, got source."),
        (
            {"hires_scale": 2, "num_frames": 24, "extended_from": [16]},
            "hires_scale must be 1 for a clip that is extended",
        ),
    ],
)
def test_an_output_that_cannot_be_is_refused(fields, words):
    with pytest.raises(InvalidRequestError) as refused:
        GenerationRequest.build(seed=0, **fields)
    assert str(refused.value).startswith(words)


def test_the_version_is_the_package_s():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
