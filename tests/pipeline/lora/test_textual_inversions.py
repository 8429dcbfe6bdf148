"""Textual inversions: from every format the very words they stand for."""

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import save_file

from pipelines.models import Components
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
    found = encoded(v2, small("a (big <lora:cat:0.9>:1.2) here", negative_prompt="<lora:cat>, bad"))
    expected = encoded(v2, small("a (big (cat:0.9):1.2) here", negative_prompt="cat, bad"))
    torch.testing.assert_close(found.positive, expected.positive)
    torch.testing.assert_close(found.negative, expected.negative)
    assert encoded(v2, small("a <lora:cat:0> x")).positive.equal(encoded(v2, small("a  x")).positive)


def test_a_textual_inversion_may_stand_in_a_key(models_dir, v2):
    save_file({"emb_params": _letters(v2, "dog")}, models_dir / "embeddings" / "key.safetensors")
    plan = planned(v2, small("0: a <lora:key>\n2: a fox"))
    assert plan.prompt.texts == (f"a {next(iter(plan.tokens))}", "a fox")


def test_two_textual_inversions_keep_apart(models_dir, v2):
    save_file({"emb_params": _letters(v2, "dog")}, models_dir / "embeddings" / "one.safetensors")
    save_file({"emb_params": _letters(v2, "x")[0]}, models_dir / "embeddings" / "other.safetensors")
    found = encoded(v2, small("<lora:one> and <lora:other> <lora:one>"))
    assert torch.allclose(found.positive, encoded(v2, small("dog and x dog")).positive, atol=1e-6)


def test_a_textual_inversion_for_another_text_encoder_isrefusal_of(models_dir, v2):
    save_file({"emb_params": torch.ones(2, 1024)}, models_dir / "embeddings" / "sd2.safetensors")
    assert "got 'sd2.safetensors', with words of 1024 numbers" in refusal_of(v2, "<lora:sd2>")
    save_file({"clip_l": torch.ones(2, 32), "clip_g": torch.ones(2, 40)}, models_dir / "embeddings" / "xl.safetensors")
    assert "with words of 32, 40 numbers" in refusal_of(v2, "<lora:xl>")
