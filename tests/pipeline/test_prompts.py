"""Weights in prompts, long prompts, CLIP skip, prompt travel, on the embedded text encoder."""

from itertools import pairwise

import pytest
import torch

from pipelines.engine.models import Components, ModelStore
from pipelines.engine.prompt_states import encode_prompts, parse_weights
from pipelines.plan.choices import PromptBlend
from pipelines.plan.prompt.travel import plan_travel


@pytest.fixture(scope="module")
def components() -> Components:
    return ModelStore("cpu", torch.float32).load("demo", "demo")


@pytest.mark.parametrize(
    ("prompt", "fragments"),
    [
        ("", []),
        ("a red circle", [("a red circle", 1.0)]),
        ("a (red) circle", [("a ", 1.0), ("red", 1.1), (" circle", 1.0)]),
        ("a ((red)) circle", [("a ", 1.0), ("red", 1.21), (" circle", 1.0)]),
        ("a [red] circle", [("a ", 1.0), ("red", 1 / 1.1), (" circle", 1.0)]),
        ("(a (red:1.5) circle:0.5)", [("a ", 0.5), ("red", 0.75), (" circle", 0.5)]),
        ("(red:-0.5)", [("red", -0.5)]),
        (r"smile \(:\) \[x\]", [("smile (:) [x]", 1.0)]),
        ("time 10:30 (now", [("time 10:30 now", 1.0)]),
        ("a) b] c", [("a) b] c", 1.0)]),
        ("(a:b)", [("a:b", 1.1)]),
    ],
)
def test_weights_are_read_as_people_write_them(prompt: str, fragments: list):
    parsed = parse_weights(prompt)
    assert [f.text for f in parsed] == [text for text, _ in fragments]
    assert [f.weight for f in parsed] == pytest.approx([weight for _, weight in fragments])


def encode(components: Components, prompt: str, negative: str = "", clip_skip: int = 0):
    return encode_prompts(
        components.tokenizers,
        components.text_encoders,
        prompt=prompt,
        negative_prompt=negative,
        clip_skip=clip_skip,
    )


def test_a_plain_prompt_is_what_the_encoder_says(components: Components):
    (tokenizer,), (text_encoder,) = components.tokenizers, components.text_encoders
    ids = tokenizer("a red circle", padding="max_length", max_length=77, return_tensors="pt").input_ids
    assert torch.equal(encode(components, "a red circle").positive, text_encoder(ids)[0])


def test_clip_skip_zero_equals_the_last_layer_and_one_does_not(components: Components):
    last, skipped = encode(components, "a star"), encode(components, "a star", clip_skip=1)
    assert skipped.positive.shape == last.positive.shape
    assert not torch.allclose(skipped.positive, last.positive, atol=1e-2)


def test_a_long_prompt_is_encoded_in_chunks_and_its_partner_padded(components: Components):
    long = "a red circle " * 40 + "moving right"
    states = encode(components, long, negative="green")
    assert states.positive.shape == states.negative.shape
    assert states.positive.shape[1] == 2 * 77
    assert not torch.allclose(states.positive, encode(components, "a red circle " * 40, "green").positive)


def test_a_weight_changes_the_states_of_its_words_most(components: Components):
    plain, heavy = encode(components, "a red circle"), encode(components, "a (red:1.5) circle")
    change = (heavy.positive - plain.positive).norm(dim=-1)[0]
    assert int(change.argmax()) == 2  # start, a, red
    assert encode(components, "a (red:1.0) circle").positive.equal(plain.positive)


def test_states_for_frames_put_the_negative_half_first(components: Components):
    states = encode(components, "a star", negative="green")
    batch = states.for_frames((0, 1, 2), guided=True)
    assert batch.shape[0] == 6
    assert torch.equal(batch[0], states.negative[0])
    assert torch.equal(batch[5], states.positive[0])
    assert states.for_frames((0, 1, 2), guided=False).shape[0] == 3


def travelling(components: Components, prompt: str, negative: str = "", *, num_frames: int = 9, **options):
    blend = options.pop("blend", PromptBlend.LERP)
    return encode_prompts(
        components.tokenizers,
        components.text_encoders,
        prompt=plan_travel(prompt, num_frames=num_frames, **options),
        negative_prompt=plan_travel(negative, num_frames=num_frames, **options),
        blend=blend,
    )


def positions(rows: torch.Tensor, start: torch.Tensor, end: torch.Tensor) -> list[float]:
    """Where rows lie on the line between two of them, 0 to 1."""
    line = (end - start).flatten()
    return [float((row - start).flatten() @ line / (line @ line)) for row in rows]


def test_a_prompt_without_keys_is_encoded_as_it_was(components: Components):
    plain, planned = encode(components, "photo: a star\n"), travelling(components, "photo: a star\n")
    batch = planned.for_frames((0, 4, 2), guided=True)
    assert torch.equal(batch, torch.cat([plain.negative, plain.positive]).repeat_interleave(3, dim=0))
    assert planned.is_constant


def test_key_frames_get_the_states_of_their_own_text(components: Components):
    states = travelling(components, "big\n0: a red star\n4: a blue star\n-1: a red star\nmoving up")
    assert len(states.positive) == 2  # each text once
    rows = states.for_frames(range(9), guided=False)
    red, blue = (encode(components, f"big, a {colour} star, moving up").positive[0] for colour in ("red", "blue"))
    for frame, separate in ((0, red), (4, blue), (8, red)):
        assert torch.equal(rows[frame], separate)


@pytest.mark.parametrize("blend", PromptBlend)
def test_between_keys_one_text_turns_steadily_into_the_other(components: Components, blend: PromptBlend):
    states = travelling(components, "0: a red star\n8: a blue heart", blend=blend)
    rows = states.for_frames(range(9), guided=False)
    way = positions(rows, rows[0], rows[8])
    assert way == sorted(way)
    assert way[0] == 0
    assert way[8] == pytest.approx(1)
    assert way[4] == pytest.approx(0.5, abs=1e-3)
    assert all(0.05 < step < 0.2 for step in (after - before for before, after in pairwise(way)))


def test_lerp_goes_straight_and_slerp_keeps_the_length(components: Components):
    prompt = "0: a red star\n8: black"
    straight, arc = (
        travelling(components, prompt, blend=blend).for_frames(range(9), guided=False)
        for blend in (PromptBlend.LERP, PromptBlend.SLERP)
    )
    assert torch.allclose(straight[4], (straight[0] + straight[8]) / 2, atol=1e-5)
    assert torch.equal(straight[0], arc[0])
    lengths = arc.flatten(1).norm(dim=1)
    assert straight[4].norm() < lengths[4]
    assert min(lengths[0], lengths[8]) * 0.999 <= lengths[4] <= max(lengths[0], lengths[8]) * 1.01


@pytest.mark.parametrize(("prompt", "options"), [("0:: red\n8: blue", {}), ("0: red\n8: blue", {"hold": 1.0})])
def test_a_held_key_keeps_its_states(components: Components, prompt: str, options: dict):
    rows = travelling(components, prompt, **options).for_frames(range(9), guided=False)
    assert all(torch.equal(row, rows[0]) for row in rows[:8])
    assert not torch.equal(rows[8], rows[0])


def test_a_loop_comes_back_to_its_first_key(components: Components):
    rows = travelling(components, "0: red\n4: blue", num_frames=8, closed=True).for_frames(range(8), guided=False)
    way = positions(rows, rows[0], rows[4])
    assert way == pytest.approx([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25], abs=1e-4)


def test_the_negative_prompt_travels_by_itself(components: Components):
    states = travelling(components, "a star", "0: red\n8: blue")
    rows = states.for_frames(range(9), guided=True)
    negative, positive = rows.chunk(2)
    assert torch.equal(negative[0], states.negative[0])
    assert torch.equal(negative[8], states.negative[1])
    assert not torch.equal(negative[4], negative[0])
    assert all(torch.equal(row, positive[0]) for row in positive)


@pytest.mark.parametrize("blend", PromptBlend)
def test_a_frame_gets_the_same_states_in_every_window(components: Components, blend: PromptBlend):
    states = travelling(components, "0: a red star\n8: blue", "2: green\n5: black", blend=blend)
    whole = states.for_frames(range(9), guided=True)
    window = [7, 0, 3, 3]
    assert torch.equal(states.for_frames(window, guided=True), whole[[*window, *(9 + frame for frame in window)]])


def test_all_texts_of_a_travel_are_as_long_as_the_longest(components: Components):
    states = travelling(components, f"0: a star\n8: {'a red circle ' * 40}", "green")
    assert states.positive.shape[:2] == (2, 2 * 77)
    assert states.negative.shape[:2] == (1, 2 * 77)
