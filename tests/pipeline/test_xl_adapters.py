"""LoRAs and IP-Adapters for Stable Diffusion XL: kohya's names for it, and the numbering of its layers."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPImageProcessor

from pipelines.engine.cross_attention import cross_attentions
from pipelines.engine.lora.merged import find_loras, load_lora, plan_loras
from pipelines.engine.models import Components, ModelStore, applied
from pipelines.engine.steering.build import build_conditions
from pipelines.plan.clip_inputs import ClipInputs
from pipelines.plan.settings import settings
from tests.clips import noise_clip
from tests.pipeline import tiny
from tests.pipeline.lora import formats
from tests.pipeline.published_names import ldm_unet
from tests.pipeline.stock import our_latents, stock_run
from tests.pipeline.test_image_prompts import halves, unit_for
from tests.pipeline.test_parity_sdxl import request_for, stock_pipe

ATTENTION = r"(?<!motion_modules)\.attentions\..*(attn[12]\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2)|proj_(in|out))$"
UNET = Path(__file__).parents[1] / "museum/configs/stabilityai/stable-diffusion-xl-base-1.0/unet"
TEXT = r"self_attn\.(q|k|v|out)_proj$|mlp\.fc[12]$"


@pytest.fixture(scope="module")
def components(xl_store: ModelStore) -> Components:
    return xl_store.load("xl", "xl-motion")


@pytest.fixture
def folder(xl_store) -> Iterator[Path]:
    """The models folder that `xl_store` reads."""
    assert xl_store
    models_dir = settings().models_dir
    assert models_dir
    return models_dir


def kohya_xl(components: Components) -> tuple[dict[str, torch.Tensor], dict[str, formats.LoraFactors]]:
    """As kohya's trainer saves it for XL: the UNet's layers named as first released, both text encoders."""
    unet = {
        name: pair
        for name, pair in formats.lora_factors(components.unet, ATTENTION).items()
        if "motion_modules" not in name
    }
    texts = [formats.lora_factors(encoder, TEXT, seed=seed) for seed, encoder in enumerate(components.text_encoders)]
    first = {ldm_unet(f"{name}.weight", 1).removesuffix(".weight"): pair for name, pair in unet.items()}
    tensors = formats.kohya_lora(first, alpha=1.5)
    for number, factors in enumerate(texts, 1):
        bare = {name.removeprefix("text_model."): pair for name, pair in factors.items()}
        tensors |= formats.kohya_lora(bare, prefix=f"lora_te{number}_text_model_", alpha=1.5)
    halved = {name: tensor.bfloat16() if name.endswith("alpha") else tensor for name, tensor in tensors.items()}
    return halved, {"unet": unet, "text_encoder": texts[0], "text_encoder_2": texts[1]}


def test_a_lora_for_xl_reaches_the_unet_and_both_text_encoders(components, folder):
    tensors, expected = kohya_xl(components)
    assert "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_k.lora_down.weight" in tensors
    (folder / "loras").mkdir(exist_ok=True)
    header = {"ss_base_model_version": "sdxl_base_v1-0", "ss_network_dim": "3"}
    save_file(tensors, folder / "loras" / "xl.safetensors", metadata=header)
    request = request_for(prompt="a fox <lora:xl:0.5>")
    loras = {name: load_lora(entry) for name, entry in find_loras(request).items()}
    plan = plan_loras(request, loras, models=components.lora_targets, motion_label="xl-motion")
    assert plan.warnings == ()
    assert len(plan.additions) == sum(map(len, expected.values()))
    before = {part: dict(model.state_dict()) for part, model in components.lora_targets.items()}
    with applied(components, request, plan):
        for part, factors in expected.items():
            for layer, (down, up) in factors.items():
                weight = before[part][f"{layer}.weight"]
                delta = 0.5 * 0.5 * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)  # weight · alpha / rank
                found = components.lora_targets[part].get_parameter(f"{layer}.weight")
                torch.testing.assert_close(found, weight + delta, rtol=1e-5, atol=1e-6)
    for part, model in components.lora_targets.items():
        assert all(tensor.data_ptr() == before[part][name].data_ptr() for name, tensor in model.state_dict().items())


def test_the_published_unet_has_seventy_layers_numbered_down_up_middle():
    config = json.loads((UNET / "config.json").read_text("utf-8"))
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    widths = [layer.to_k.weight.shape[0] for layer in cross_attentions(unet)]
    assert widths == [640] * 4 + [1280] * 20 + [1280] * 30 + [640] * 6 + [1280] * 10


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_an_image_prompt_for_xl_is_stock_s(kind, components, xl_store, folder):
    layers = list(cross_attentions(components.unet))
    weights = tiny.ip_adapter([tuple(layer.to_k.weight.shape) for layer in layers], kind)
    encoder = tiny.image_encoder()
    (folder / "ip_adapters").mkdir(exist_ok=True)
    encoder.save_pretrained(folder / "ip_adapters" / "image_encoder")
    save_file(weights, folder / "ip_adapters" / f"{kind}.safetensors")
    request = request_for(image_prompts=[unit_for(kind, weight=0.7)], num_inference_steps=2)
    picture = noise_clip(1, 3, height=48)
    conditions = build_conditions(
        request,
        ClipInputs(image_prompts=((picture,),)),
        controls=(),
        adapters=xl_store.load_adapters(request, components),
        vae=components.vae,
    )
    found = our_latents(components, request, conditions)
    theirs = ModelStore("cpu", torch.float32).load("xl", "xl-motion")  # stock leaves its layers in the UNet
    pipe = stock_pipe(theirs, request)
    pipe.register_modules(image_encoder=encoder, feature_extractor=CLIPImageProcessor(size=32, crop_size=32))
    pipe.load_ip_adapter([halves(weights)], subfolder="", weight_name=[""])
    pipe.set_ip_adapter_scale(0.7)
    stock = stock_run(pipe, theirs, request, "latent", ip_adapter_image=[picture.pictures[0]])
    torch.testing.assert_close(found, stock, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, our_latents(components, request), atol=1e-2)
