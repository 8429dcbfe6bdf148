"""Weights in prompts, long prompts, CLIP skip, on the embedded text encoder."""

import pytest
import torch

from pipelines.models import Components, ModelStore
from pipelines.prompts import encode_prompts, parse_weights


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
