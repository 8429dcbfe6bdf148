"""Textual inversions: from every format the very words they stand for."""

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.models import Components
from pipelines.plan.errors import InvalidRequestError
from tests.pipeline.lora.adding import encoded, planned, refusal_of, small


def _letters(components: Components, word: str) -> torch.Tensor:
    ids = components.tokenizers[0](word, add_special_tokens=False).input_ids
    return components.text_encoders[0].get_input_embeddings().weight[ids].clone()


@pytest.mark.parametrize(
    "write",
    [
        lambda vectors, folder: torch.save(
            {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "cat", "step": 500},
            folder / "cat.pt",
        ),
        lambda vectors, folder: torch.save({"<my-cat>": vectors}, folder / "cat.bin"),
        lambda vectors, folder: save_file({"emb_params": vectors}, folder / "cat.safetensors"),
    ],
)
def test_a_textual_inversion_of_a_word_s_own_vectors_is_that_word(write: Callable, models_dir, v2):
    for old in (models_dir / "embeddings").glob("cat.*"):
        old.unlink()
    write(_letters(v2, "cat"), models_dir / "embeddings")
    embeds = encoded(v2, small("a (big <lora:cat:0.9>:1.2) here", negative_prompt="<lora:cat>, bad"))
    expected = encoded(v2, small("a (big (cat:0.9):1.2) here", negative_prompt="cat, bad"))
    torch.testing.assert_close(embeds.positive, expected.positive)
    torch.testing.assert_close(embeds.negative, expected.negative)
    assert encoded(v2, small("a <lora:cat:0> x")).positive.equal(encoded(v2, small("a  x")).positive)


def test_a_textual_inversion_may_stand_in_a_key(models_dir, v2):
    save_file({"emb_params": _letters(v2, "dog")}, models_dir / "embeddings" / "key.safetensors")
    plan = planned(v2, small("0: a <lora:key>\n2: a fox"))
    assert plan.prompt.texts == (f"a {next(iter(plan.tokens))}", "a fox")


def test_two_textual_inversions_keep_apart(models_dir, v2):
    save_file({"emb_params": _letters(v2, "dog")}, models_dir / "embeddings" / "one.safetensors")
    save_file({"emb_params": _letters(v2, "x")[0]}, models_dir / "embeddings" / "other.safetensors")
    embeds = encoded(v2, small("<lora:one> and <lora:other> <lora:one>"))
    assert torch.allclose(embeds.positive, encoded(v2, small("dog and x dog")).positive, atol=1e-6)


def test_a_textual_inversion_for_another_text_encoder_is_refused(models_dir, v2):
    save_file({"emb_params": torch.ones(2, 1024)}, models_dir / "embeddings" / "sd2.safetensors")
    assert "got 'sd2.safetensors', with words of 1024 numbers" in refusal_of(v2, "<lora:sd2>")
    save_file({"clip_l": torch.ones(2, 32), "clip_g": torch.ones(2, 40)}, models_dir / "embeddings" / "xl.safetensors")
    assert "with words of 32, 40 numbers" in refusal_of(v2, "<lora:xl>")


NO_VECTORS = {
    "empty": ({"emb_params": torch.ones(0, 32)}, "'emb_params' is float32 with the sides 0×32"),
    "thin": ({"emb_params": torch.ones(2, 0)}, "'emb_params' is float32 with the sides 2×0"),
    "whole": ({"emb_params": torch.ones(2, 32, dtype=torch.int64)}, "'emb_params' is int64 with the sides 2×32"),
    "deep": ({"emb_params": torch.ones(1, 2, 32)}, "'emb_params' is float32 with the sides 1×2×32"),
    "number": ({"emb_params": torch.ones(())}, "'emb_params' is float32 with the sides none"),
    "uneven": ({"clip_l": torch.ones(2, 32), "clip_g": torch.ones(3, 40)}, "with 2 in clip_l, 3 in clip_g"),
}


@pytest.mark.parametrize("name", NO_VECTORS)
def test_what_holds_no_vectors_is_refused_with_what_it_holds(name, models_dir, v2):
    tensors, words = NO_VECTORS[name]
    save_file(tensors, models_dir / "embeddings" / f"{name}.safetensors")
    message = refusal_of(v2, f"<lora:{name}>")
    assert f"got '{name}.safetensors'" in message
    assert words in message


def test_float8_is_the_vectors_it_stands_for(models_dir, v2):
    vectors = torch.ones(2, 32).to(torch.float8_e4m3fn)
    save_file({"emb_params": vectors}, models_dir / "embeddings" / "small.safetensors")
    save_file({"emb_params": vectors.float()}, models_dir / "embeddings" / "plain.safetensors")
    assert encoded(v2, small("<lora:small>")).positive.equal(encoded(v2, small("<lora:plain>")).positive)


def test_too_many_vectors_are_told_as_such(models_dir, v2):
    save_file({"emb_params": torch.ones(5000, 32)}, models_dir / "embeddings" / "many.safetensors")
    with pytest.raises(InvalidRequestError) as error:
        encoded(v2, small("a <lora:many> fox"))
    message = str(error.value)
    assert message.startswith("prompt must have at most 1,200 tokens, got 5,")
    assert message.endswith(", 5,000 of them vectors of textual inversions. Leave those out.")
