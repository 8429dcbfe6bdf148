"""Loading Stable Diffusion XL and its motion modules: every format by the real path, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.base_models.files import locate_base
from pipelines.engine.models import ModelStore
from pipelines.plan import catalog
from pipelines.plan.errors import InvalidRequestError, WeightsError
from pipelines.plan.request import GenerationRequest
from tests.museum.configs import VOCABULARY
from tests.pipeline import tiny
from tests.pipeline.loading import assert_joined, assert_same
from tests.pipeline.sink import run
from tests.stand_in_hub import serving, use_hub

SD15, XL = catalog.STABLE_DIFFUSION, catalog.STABLE_DIFFUSION_XL
SD15_MOTION = "guoyww/animatediff-motion-adapter-v1-5-3"
BETA, BETA_ORIGINAL = "guoyww/animatediff-motion-adapter-sdxl-beta", "guoyww/animatediff/mm_sdxl_v10_beta.ckpt"
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")


@pytest.fixture(scope="module")
def base() -> tiny.TinyXL:
    return tiny.TinyXL(1)


@pytest.fixture(scope="module")
def adapter():
    return tiny.motion_adapter(2, mid_block=False, channels=tiny.XL_CHANNELS)


@pytest.fixture(scope="module")
def repositories(tmp_path_factory, base, adapter) -> Path:
    root = tmp_path_factory.mktemp("hub")
    base.save_folder(root / XL)
    base.save_checkpoint(root / XL / "sd_xl_base_1.0_0.9vae.safetensors")
    adapter.save_pretrained(root / BETA)
    (root / "guoyww/animatediff").mkdir()
    torch.save(tiny.original_names(adapter), root / BETA_ORIGINAL)
    return root


@pytest.fixture
def hub(repositories, tmp_path, monkeypatch):
    with serving(repositories) as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        yield hub


def _save_all(base: tiny.TinyXL, models_dir: Path) -> dict[str, Path]:
    """The same model in every format: name -> where it is."""
    root = models_dir / "base_models"
    torch.save({"state_dict": base.checkpoint()}, root / "file.ckpt")
    return {
        "folder": base.save_folder(root / "folder"),
        "pickles": base.save_folder(root / "pickles", safetensors=False),
        "file.safetensors": base.save_checkpoint(root / "file.safetensors"),
        "file.ckpt": root / "file.ckpt",
    }


@pytest.mark.usefixtures("hub")
def test_every_format_loads_as_it_was_published(store, models_dir, base, adapter):
    words = "a red circle"
    for name in (XL, *_save_all(base, models_dir)):
        components = store.load(name, BETA)
        assert_joined(components.unet, base.unet, adapter)
        assert_same(components.vae.state_dict(), base.vae.state_dict())
        for encoder, part in zip(components.text_encoders, (base.text_encoder, base.text_encoder_2), strict=True):
            assert_same(encoder.state_dict(), part.state_dict())
        for encoder, part in zip(components.tokenizers, (base.tokenizer, base.tokenizer_2), strict=True):
            assert (encoder(words).input_ids, encoder.pad_token_id) == (part(words).input_ids, part.pad_token_id)
        assert components.zero_empty_negative
        assert components.vae.config.scaling_factor == 0.13025


def test_the_two_tokenizers_pad_with_different_tokens(base):
    assert (base.tokenizer.pad_token_id, base.tokenizer_2.pad_token_id) == (VOCABULARY - 1, 0)


def test_only_one_file_and_the_configurations_are_downloaded(hub, store):
    loaded = store.load(XL, BETA_ORIGINAL)
    weights = [name for name in hub.downloads if name.endswith((".bin", ".ckpt", ".safetensors"))]
    assert sorted(weights) == [BETA_ORIGINAL, f"{XL}/sd_xl_base_1.0_0.9vae.safetensors"]
    assert loaded.weights.keys() == {"checkpoint", "motion_module"}


@pytest.mark.usefixtures("hub")
def test_a_folder_names_the_weights_of_both_text_encoders(store, models_dir, base):
    base.save_folder(models_dir / "base_models" / "mine")
    expected = {"text_encoder", "text_encoder_2", "unet", "vae", "motion_module"}
    assert store.load("mine", BETA).weights.keys() == expected


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("motion_module", [BETA, BETA_ORIGINAL])
def test_the_noise_schedule_is_the_sdxl_module_s_own(motion_module, store, base, adapter):
    components = store.load(XL, motion_module)
    config = components.scheduler_config
    assert (config["beta_schedule"], config["beta_start"], config["beta_end"]) == ("scaled_linear", 0.00085, 0.020)
    assert_joined(components.unet, base.unet, adapter)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_vae_is_float32_and_all_else_of_the_type_asked_for(dtype):
    components = ModelStore("cpu", dtype).load(XL, BETA)
    assert {parameter.dtype for parameter in components.vae.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in components.unet.parameters()} == {dtype}


@pytest.mark.usefixtures("hub")
def test_this_vae_overflows_in_float16_and_one_that_says_nothing_of_it_does_not(models_dir):
    tiny.TinyBase().save_folder(models_dir / "base_models" / "sd15")  # 2022's configuration, without a word of it
    assert locate_base(catalog.find_base_model(XL)).vae_overflows
    assert not locate_base(catalog.find_base_model("sd15")).vae_overflows


@pytest.mark.usefixtures("hub")
def test_what_a_pickle_is_is_known_before_it_is_read(store, models_dir, base):
    torch.save({"state_dict": base.checkpoint()}, models_dir / "base_models" / "mine.ckpt")
    values = {"base_model": "mine.ckpt", "motion_module": BETA, "seed": 1, "num_frames": 1, "num_inference_steps": 1}
    request = GenerationRequest.build(**catalog.complete(values))
    assert (request.width, request.height) == (1024, 1024)
    warnings = run(request.model_copy(update={"width": 512, "height": 512}), store=store)[1][-1].warnings
    assert not any("turned out" in warning for warning in warnings)


@pytest.mark.parametrize(("base_model", "motion_module"), [(XL, SD15_MOTION), (SD15, BETA)])
def test_modules_of_the_other_model_are_refused_before_any_download(base_model, motion_module, hub, store):
    with pytest.raises(InvalidRequestError) as error:
        store.load(base_model, motion_module)
    assert str(error.value).startswith(f"motion_module must be made for the base model '{base_model}'")
    assert catalog.find_base_model(base_model).motion_module in str(error.value)
    assert hub.downloads == []


@pytest.mark.usefixtures("hub")
def test_files_of_the_other_model_are_refused_before_anything_is_read(store, models_dir):
    tiny.TinyBase().save_folder(models_dir / "base_models" / "sd15")
    tiny.motion_adapter(mid_block=False).save_pretrained(models_dir / "motion_modules" / "v3")
    components = store.load(XL, BETA)
    for base_model, motion_module, sizes in (
        (XL, "v3", "(blocks of 16, 32, 64 channels), got 'v3' (16, 32, 64, 64 channels)"),
        ("sd15", BETA, f"(blocks of 16, 32, 64, 64 channels), got '{BETA}' (16, 32, 64 channels)"),
    ):
        with pytest.raises(WeightsError) as error:
            store.load(base_model, motion_module)
        assert str(error.value).startswith(f"motion_module must fit the base model '{base_model}' {sizes}")
        assert store.load(XL, BETA) is components  # nothing gave way for the pair that was refused


_UNET = "model.diffusion_model."


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda w: {
                k.replace("embedders.1", "embedders.0"): v for k, v in w.items() if "embedders.0.transformer" not in k
            },
            "a Stable Diffusion XL refiner",
        ),
        (lambda w: {k: v for k, v in w.items() if "embedders.1" not in k}, "without its text encoder"),
        (lambda w: w | {f"{_UNET}input_blocks.0.0.weight": torch.ones(16, 9, 3, 3)}, "made for inpainting or editing"),
    ],
)
def test_single_files_of_other_kinds_are_refused_by_what_is_in_them(change, reason, store, models_dir, base):
    weights = {name: tensor.contiguous() for name, tensor in change(base.checkpoint()).items()}
    save_file(weights, models_dir / "base_models" / "xl.safetensors")
    with pytest.raises(WeightsError, match=r"must be a Stable Diffusion 1\.5 or XL model, got") as error:
        store.load("xl.safetensors", BETA)
    assert reason in str(error.value)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cross_attention_dim": 48}, "a Stable Diffusion XL refiner"),
        ({"cross_attention_dim": 96}, "put together of parts that don't fit"),
        ({"in_channels": 9}, "made for inpainting or editing"),
    ],
)
def test_folders_of_other_kinds_are_refused_by_their_configuration(change, reason, store, models_dir, base):
    config = base.save_folder(models_dir / "base_models" / "other") / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(WeightsError, match=reason):
        store.load("other", BETA)


@pytest.mark.usefixtures("hub")
def test_a_folder_that_lacks_a_text_encoder_is_refused(store, models_dir, base):
    folder = base.save_folder(models_dir / "base_models" / "partial")
    (folder / "text_encoder_2" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"whose text_encoder_2 lacks model\.safetensors"):
        store.load("partial", BETA)
