"""Base models: every published format loads as it was published; other kinds are refused by their content."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.plan import catalog, catalog_entries
from tests.pipeline.loading import ON_THE_HUB, SD15, V2, V3, assert_joined, assert_same, refusal_of

_UNET = "model.diffusion_model."


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", ON_THE_HUB)
def test_every_base_model_of_the_hub_loads_as_it_was_published(name, store, bases, adapters):
    components = store.load(name, V2)
    assert_joined(components.unet, bases[name].unet, adapters[V2])
    assert_same(components.vae.state_dict(), bases[name].vae.state_dict())
    assert_same(components.text_encoders[0].state_dict(), bases[name].text_encoder.state_dict())
    words = ["a red circle"]
    assert components.tokenizers[0](words).input_ids == bases[name].tokenizer(words).input_ids
    assert (components.base.id, components.motion.id, components.family.id) == (name, V2, "v2")


@pytest.mark.usefixtures("hub")
def test_a_pickled_checkpoint_of_tensors_loads_as_its_safetensors_twin(store, models_dir, bases):
    torch.save({"epoch": 3, "state_dict": bases[SD15].checkpoint()}, models_dir / "base_models" / "mine.ckpt")
    unet = store.load("mine.ckpt", V3).unet
    assert torch.equal(unet.conv_out.weight, bases[SD15].unet.conv_out.weight)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: {k.replace("_model.transformer", "_model.model"): v for k, v in w.items()}, "Diffusion 2 model"),
        (lambda w: {k: v for k, v in w.items() if k.startswith(_UNET)}, "without its text encoder"),
        (lambda w: w | {f"{_UNET}input_blocks.0.0.weight": torch.ones(16, 9, 3, 3)}, "made for inpainting or editing"),
        (lambda _: {"down_blocks.0.motion_modules.0.x": torch.ones(1)}, "a motion module"),
        (lambda _: {"lora_unet_x.lora_up.weight": torch.ones(1)}, "a LoRA"),
        (lambda _: {"x": torch.ones(1), "y": torch.ones(1)}, "of no kind known here"),
    ],
)
def test_base_files_of_other_kinds_are_refused_by_what_is_in_them(change, reason, store, models_dir, bases, tmp_path):
    weights = {name: tensor.contiguous() for name, tensor in change(bases[SD15].checkpoint()).items()}
    save_file(weights, models_dir / "base_models" / "sd15.safetensors")
    message = refusal_of(store, "sd15.safetensors", V2, secret=tmp_path)
    assert message.startswith(
        "base_model must be a Stable Diffusion 1.5 or XL model, got 'sd15.safetensors', which is "
    )
    assert reason in message


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"addition_embed_type": "text_time"}, "no readable text_encoder_2/config.json"),
        ({"cross_attention_dim": 1024}, "a Stable Diffusion 2 model"),
        ({"cross_attention_dim": 48}, "put together of parts that don't fit"),
        (
            {"cross_attention_dim": [32, 32]},
            "base_model must have one whole number as cross_attention_dim in its unet/config.json, got 'other', which "
            "has [32, 32] there. Install it again or choose another.",
        ),
        (
            {"block_out_channels": "16, 32"},
            "base_model must have a list of whole numbers as block_out_channels in its unet/config.json, got 'other', "
            "which has 16, 32 there. Install it again or choose another.",
        ),
        ({"block_out_channels": [16, None]}, "got 'other', which has [16, None] there"),
        ({"in_channels": 9}, "made for inpainting or editing"),
        ({"_class_name": "SD3Transformer2DModel"}, "built on a SD3Transformer2DModel"),
    ],
)
def test_folders_of_other_kinds_are_refused_by_their_configuration(change, reason, store, models_dir, bases, tmp_path):
    folder = bases[SD15].save_folder(models_dir / "base_models" / "other")
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    assert reason in refusal_of(store, "other", V2, secret=tmp_path)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("missing", ["unet/config.json", "vae/diffusion_pytorch_model.safetensors"])
def test_a_folder_with_something_missing_is_refused(missing, store, models_dir, bases, tmp_path):
    folder = bases[SD15].save_folder(models_dir / "base_models" / "partial")
    (folder / missing).unlink()
    message = refusal_of(store, "partial", V2, secret=tmp_path)
    assert Path(missing).name in message


def test_a_demo_model_that_is_not_there_is_said_so(store, monkeypatch, tmp_path):
    shutil.copy(catalog.ASSETS / "catalog.toml", tmp_path)
    monkeypatch.setattr(catalog_entries, "ASSETS", tmp_path)
    assert refusal_of(store, "demo", "demo", secret=tmp_path) == (
        "base_model must be installed, got 'demo', whose folder is missing. Install the app again."
    )
