"""Loading: every format by the real path, from a stand-in hub or the models folder, and what is refused."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import MotionAdapter, UNetMotionModel
from safetensors.torch import save_file

from pipelines import catalog
from pipelines.errors import InvalidRequestError, WeightsError
from pipelines.models import ModelStore, applied
from pipelines.motion import PerFrameMotionModule
from pipelines.request import GenerationRequest
from pipelines.weights import read_weights, sha256_of
from tests.pipeline import tiny
from tests.stand_in_hub import StandInHub, serving, use_hub

SD15 = catalog.STABLE_DIFFUSION
V2, V3 = "guoyww/animatediff-motion-adapter-v1-5-2", "guoyww/animatediff-motion-adapter-v1-5-3"
ORIGINALS = {V2: "guoyww/animatediff/mm_sd_v15_v2.ckpt", V3: "guoyww/animatediff/v3_sd15_mm.ckpt"}
ON_THE_HUB = [entry.id for entry in catalog.base_models() if entry.family == "sd15"]


@pytest.fixture(scope="module")
def bases() -> dict[str, tiny.TinyBase]:
    return {name: tiny.TinyBase(seed) for seed, name in enumerate(ON_THE_HUB)}


@pytest.fixture(scope="module")
def adapters() -> dict[str, MotionAdapter]:
    return {V2: tiny.motion_adapter(11, mid_block=True), V3: tiny.motion_adapter(12, mid_block=False)}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory, bases, adapters) -> Path:
    """The repositories of the catalog, as published: names, formats, and files that are not wanted."""
    root = tmp_path_factory.mktemp("hub")
    sd15 = bases[SD15].save_folder(root / SD15, old_vae_names=True)
    for unwanted in ("v1-5-pruned.ckpt", "unet/diffusion_pytorch_model.fp16.safetensors", "unet/model.bin"):
        (sd15 / unwanted).write_bytes(b"not wanted")
    bases["emilianJR/epiCRealism"].save_folder(root / "emilianJR/epiCRealism", safetensors=False)
    bases["Lykon/DreamShaper"].save_checkpoint(root / "Lykon/DreamShaper" / "DreamShaper_8_pruned.safetensors")
    for name, adapter in adapters.items():
        adapter.save_pretrained(root / name)
    originals = root / "guoyww/animatediff"
    originals.mkdir()
    torch.save(tiny.original_names(adapters[V2]), originals / "mm_sd_v15_v2.ckpt")
    wrapped = {f"module.{name}": tensor for name, tensor in tiny.original_names(adapters[V3]).items()}
    torch.save({"epoch": 1, "global_step": 2, "state_dict": wrapped}, originals / "v3_sd15_mm.ckpt")
    return root


@pytest.fixture
def hub(repositories, tmp_path, monkeypatch):
    with serving(repositories) as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        yield hub


@pytest.fixture
def models_dir(tmp_path, monkeypatch) -> Path:
    root = tmp_path / "models"
    for kind in ("base_models", "motion_modules"):
        (root / kind).mkdir(parents=True)
    monkeypatch.setenv("MODELS_DIR", str(root))
    return root


@pytest.fixture
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


def _assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def _refusal(store: ModelStore, base_model: str, motion_module: str, *, secret: Path) -> str:
    """The text of the refusal, which must not tell where files are on this disk."""
    with pytest.raises(WeightsError) as error:
        store.load(base_model, motion_module)
    assert str(secret) not in str(error.value)
    return str(error.value)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", ON_THE_HUB)
def test_every_base_model_of_the_hub_loads_as_it_was_published(name, store, bases, adapters):
    components = store.load(name, V2)
    stock = UNetMotionModel.from_unet2d(bases[name].unet, adapters[V2])
    _assert_same(components.unet.state_dict(), stock.state_dict())
    _assert_same(components.vae.state_dict(), bases[name].vae.state_dict())
    _assert_same(components.text_encoders[0].state_dict(), bases[name].text_encoder.state_dict())
    words = ["a red circle"]
    assert components.tokenizers[0](words).input_ids == bases[name].tokenizer(words).input_ids
    assert (components.base.id, components.motion.id, components.max_positions) == (name, V2, 32)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", [V2, V3])
def test_a_motion_module_is_the_same_from_its_folder_and_its_original_file(name, store, bases, adapters):
    stock = UNetMotionModel.from_unet2d(bases[SD15].unet, adapters[name]).eval()
    inputs = {
        "sample": torch.randn(1, 4, 5, 8, 8, generator=torch.Generator().manual_seed(3)),
        "timestep": torch.tensor(500),
        "encoder_hidden_states": torch.randn(5, 7, 32, generator=torch.Generator().manual_seed(4)),
    }
    with torch.no_grad():
        expected = stock(**inputs).sample
        for motion_module in (name, ORIGINALS[name]):
            unet = store.load(SD15, motion_module).unet
            _assert_same(unet.state_dict(), stock.state_dict())
            assert torch.equal(unet(**inputs).sample, expected)


@pytest.mark.usefixtures("hub")
def test_components_are_frozen_in_evaluation_mode_and_of_the_dtype_asked_for():
    components = ModelStore("cpu", torch.bfloat16).load(SD15, V3)
    for model in (components.unet, components.vae, *components.text_encoders):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
        assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


@pytest.mark.usefixtures("hub")
def test_the_noise_schedule_is_animatediff_s_and_the_prediction_the_model_s(store, models_dir):
    tiny.TinyBase(prediction_type="v_prediction").save_folder(models_dir / "base_models" / "mine")
    assert store.load("mine", V3).scheduler_config == {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "linear",
        "steps_offset": 1,
        "clip_sample": False,
        "prediction_type": "v_prediction",
    }
    assert store.load(SD15, V3).scheduler_config["prediction_type"] == "epsilon"


def test_only_what_is_needed_is_downloaded_and_only_once(hub: StandInHub, store):
    store.load(SD15, V2)
    first = list(hub.downloads)
    assert len(first) == len(set(first))
    weights = [name for name in first if name.endswith((".bin", ".ckpt", ".safetensors"))]
    assert sorted(weights) == [
        f"{V2}/diffusion_pytorch_model.safetensors",
        f"{SD15}/text_encoder/model.safetensors",
        f"{SD15}/unet/diffusion_pytorch_model.safetensors",
        f"{SD15}/vae/diffusion_pytorch_model.safetensors",
    ]
    ModelStore("cpu", torch.float32).load(SD15, V2)
    assert hub.downloads == first


def test_the_weights_are_named_by_their_content(hub: StandInHub, store):
    unet = hub.root / SD15 / "unet" / "diffusion_pytorch_model.safetensors"
    weights = store.load(SD15, V2).weights
    assert weights.keys() == {"text_encoder", "unet", "vae", "motion_module"}
    assert weights["unet"] == hashlib.sha256(unet.read_bytes()).hexdigest()
    assert store.load("Lykon/DreamShaper", V2).weights.keys() == {"checkpoint", "motion_module"}


def test_a_changed_file_has_another_name(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    before = sha256_of(path)
    path.write_bytes(b"another")
    assert sha256_of(path) != before


def test_offline_the_way_out_is_named_at_once(hub: StandInHub, store, tmp_path):
    hub.stop()
    assert _refusal(store, SD15, V2, secret=tmp_path) == (
        f"base_model must be downloadable, got '{SD15}': the Hub can't be reached. "
        "Choose the base model 'demo', which ships with the app, or connect to the internet."
    )
    assert "got 'Lykon/DreamShaper/DreamShaper_8_pruned" in _refusal(store, "Lykon/DreamShaper", V2, secret=tmp_path)


def test_what_was_downloaded_once_loads_offline(hub: StandInHub, store):
    online = store.load("Lykon/DreamShaper", ORIGINALS[V3])
    hub.stop()
    offline = ModelStore("cpu", torch.float32).load("Lykon/DreamShaper", ORIGINALS[V3])
    assert offline.weights == online.weights


def test_half_a_model_in_the_cache_is_not_taken_for_a_whole_one_offline(hub: StandInHub, store, tmp_path):
    store.load("Lykon/DreamShaper", V2)  # brings the configurations of SD 1.5, but not its weights
    hub.stop()
    assert f"got '{SD15}': the Hub can't be reached" in _refusal(store, SD15, V2, secret=tmp_path)


def test_a_repository_or_file_that_is_gone_is_said_so(tmp_path, monkeypatch, store):
    (tmp_path / "hub" / "Lykon" / "DreamShaper").mkdir(parents=True)
    with serving(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        assert _refusal(store, SD15, V2, secret=tmp_path).startswith("base_model must be open to all on the Hub, got")
        gone = _refusal(store, "Lykon/DreamShaper", V2, secret=tmp_path)
        assert gone.startswith("base_model must be a file on the Hub, got 'Lykon/DreamShaper/DreamShaper_8_pruned")


@pytest.mark.usefixtures("hub")
def test_another_motion_module_shares_the_base_model_and_the_last_pair_is_kept(store):
    first, second = store.load(SD15, V2), store.load(SD15, V3)
    assert second.vae is first.vae
    assert second.text_encoders == first.text_encoders
    assert second.unet.conv_in.weight.data_ptr() == first.unet.conv_in.weight.data_ptr()
    assert hasattr(first.unet.mid_block, "motion_modules")
    assert store.load(SD15, V3) is second


@pytest.mark.usefixtures("hub")
def test_after_a_failure_nothing_half_loaded_is_kept(store, models_dir, bases, tmp_path):
    good = store.load(SD15, V2)
    broken = models_dir / "base_models" / "broken"
    bases[SD15].save_folder(broken)
    weights = read_weights(broken / "unet" / "diffusion_pytorch_model.safetensors")
    weights.pop("conv_out.bias")
    save_file(weights, broken / "unet" / "diffusion_pytorch_model.safetensors")
    message = _refusal(store, "broken", V2, secret=tmp_path)
    assert message.startswith("base_model must hold a whole Stable Diffusion 1.5 model, got 'broken'")
    again = store.load(SD15, V2)
    assert (again.base.id, again.motion.id) == (SD15, V2)
    _assert_same(again.unet.state_dict(), good.unet.state_dict())


@pytest.mark.usefixtures("hub")
def test_a_local_file_that_was_replaced_is_read_again(store, models_dir):
    path = models_dir / "base_models" / "mine.safetensors"
    tiny.TinyBase(5).save_checkpoint(path)
    before = store.load("mine.safetensors", V2)
    tiny.TinyBase(6).save_checkpoint(path)
    os.utime(path, ns=(1, 1))
    after = store.load("mine.safetensors", V2)
    assert after.weights["checkpoint"] != before.weights["checkpoint"]


@pytest.mark.usefixtures("hub")
def test_a_pickled_checkpoint_of_tensors_loads_as_its_safetensors_twin(store, models_dir, bases):
    torch.save({"epoch": 3, "state_dict": bases[SD15].checkpoint()}, models_dir / "base_models" / "mine.ckpt")
    unet = store.load("mine.ckpt", V3).unet
    assert torch.equal(unet.conv_out.weight, bases[SD15].unet.conv_out.weight)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _garbage(path: Path) -> None:
    path.write_bytes(b"no weights at all" * 100)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("damage", [_cut, _garbage, _empty])
@pytest.mark.parametrize("name", ["base.safetensors", "motion.safetensors", "motion.ckpt"])
def test_damaged_files_are_refused_in_words(name, damage, store, models_dir, bases, adapters, tmp_path):
    base_model, motion_module = (name, V2) if name.startswith("base") else (SD15, name)
    path = models_dir / ("base_models" if name.startswith("base") else "motion_modules") / name
    if name.startswith("base"):
        bases[SD15].save_checkpoint(path)
    elif name.endswith(".ckpt"):
        torch.save(tiny.original_names(adapters[V2]), path)
    else:
        save_file(tiny.original_names(adapters[V2]), path)
    damage(path)
    message = _refusal(store, base_model, motion_module, secret=tmp_path)
    kind = "file of tensors" if name.endswith(".ckpt") else "safetensors file"
    field = "base_model" if name.startswith("base") else "motion_module"
    assert message == (
        f"{field} must be a whole {kind}, got '{name}', which is cut off or not one at all. "
        "Download it again or choose another."
    )


class _Hostile:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return Path.touch, (self.witness,)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("kind", ["base_models", "motion_modules"])
def test_a_pickle_that_asks_to_run_code_is_refused_and_not_run(kind, store, models_dir, tmp_path):
    witness = tmp_path / "it ran"
    torch.save({"state_dict": {"a": _Hostile(witness)}}, models_dir / kind / "hostile.ckpt")
    pair = ("hostile.ckpt", V2) if kind == "base_models" else (SD15, "hostile.ckpt")
    assert "got 'hostile.ckpt', which asks to run code." in _refusal(store, *pair, secret=tmp_path)
    assert not witness.exists()


@pytest.mark.usefixtures("hub")
def test_numbers_that_are_none_are_refused(store, models_dir, bases, adapters, tmp_path):
    weights = tiny.original_names(adapters[V2])
    next(iter(weights.values())).view(-1)[0] = float("nan")
    save_file(weights, models_dir / "motion_modules" / "nan.safetensors")
    assert "got 'nan.safetensors' with NaN or infinity in" in _refusal(store, SD15, "nan.safetensors", secret=tmp_path)
    checkpoint = bases[SD15].checkpoint()
    checkpoint["model.diffusion_model.out.2.bias"] = torch.full((4,), float("inf"))
    save_file(
        {name: tensor.contiguous() for name, tensor in checkpoint.items()},
        models_dir / "base_models" / "inf.safetensors",
    )
    assert "base_model must hold finite numbers" in _refusal(store, "inf.safetensors", V2, secret=tmp_path)


def _sdxl() -> dict[str, torch.Tensor]:
    return tiny.original_names(tiny.motion_adapter(mid_block=False, channels=(16, 32, 64)))


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (lambda: tiny.original_names(tiny.motion_adapter(mid_block=False, positions=24)), "an AnimateDiff v1 module"),
        (lambda: {k: v for k, v in _sdxl().items() if "pos_encoder" not in k}, "a module without positions"),
        (lambda: _sdxl() | {"conv_in.weight": torch.ones(16, 9, 3, 3)}, "PIA, which starts from a picture"),
        (lambda: _sdxl() | {"img_encoder.conv.weight": torch.ones(1)}, "AnimateLCM-I2V"),
        (lambda: {k.replace("motion_modules", "temporal_attentions"): v for k, v in _sdxl().items()}, "HotShot-XL"),
        (lambda: {"lora_unet_down_blocks_0.lora_up.weight": torch.ones(1)}, "a LoRA"),
        (lambda: {"something.weight": torch.ones(1)}, "a file without motion layers"),
        (lambda: {"model.diffusion_model.out.2.bias": torch.ones(4)}, "a base model"),
    ],
)
def test_motion_files_of_other_kinds_are_refused_by_what_is_in_them(weights, reason, store, models_dir, tmp_path):
    save_file(weights(), models_dir / "motion_modules" / "v3_sd15_mm.safetensors")
    message = _refusal(store, SD15, "v3_sd15_mm.safetensors", secret=tmp_path)
    assert message.startswith("motion_module must be an AnimateDiff v2 or v3 module, got 'v3_sd15_mm.safetensors'")
    assert reason in message


@pytest.mark.usefixtures("hub")
def test_a_motion_module_for_another_unet_is_refused_naming_both(store, models_dir, tmp_path):
    tiny.motion_adapter(mid_block=False, channels=(16, 32, 64)).save_pretrained(models_dir / "motion_modules" / "xl")
    save_file(_sdxl(), models_dir / "motion_modules" / "xl.safetensors")
    for name in ("xl", "xl.safetensors"):
        assert _refusal(store, SD15, name, secret=tmp_path) == (
            f"motion_module must fit the base model '{SD15}' (blocks of 16, 32, 64, 64 channels), "
            f"got '{name}' (16, 32, 64 channels). Choose a motion module made for it."
        )


@pytest.mark.usefixtures("hub")
def test_a_motion_module_that_lacks_a_layer_is_refused(store, models_dir, adapters, tmp_path):
    weights = tiny.original_names(adapters[V2])
    weights.pop("up_blocks.3.motion_modules.2.temporal_transformer.proj_out.bias")
    save_file(weights, models_dir / "motion_modules" / "holes.safetensors")
    assert "must be a whole motion module" in _refusal(store, SD15, "holes.safetensors", secret=tmp_path)


def test_a_pair_the_catalog_knows_not_to_fit_is_refused_before_any_download(hub: StandInHub, store):
    with pytest.raises(InvalidRequestError) as error:
        store.load(SD15, "demo")
    assert str(error.value).startswith(f"motion_module must be made for the base model '{SD15}', got 'demo'. Choose ")
    assert V3 in str(error.value)
    assert hub.downloads == []


_UNET = "model.diffusion_model."


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: {k.replace("_model.transformer", "_model.model"): v for k, v in w.items()}, "Diffusion 2 model"),
        (lambda w: {k: v for k, v in w.items() if k.startswith(_UNET)}, "without its text encoder"),
        (lambda w: {k: v for k, v in w.items() if not k.startswith("first_stage")}, "without its VAE"),
        (lambda w: w | {f"{_UNET}input_blocks.0.0.weight": torch.ones(16, 9, 3, 3)}, "made for inpainting or editing"),
        (lambda _: {"down_blocks.0.motion_modules.0.x": torch.ones(1)}, "a motion module"),
        (lambda _: {"lora_unet_x.lora_up.weight": torch.ones(1)}, "a LoRA"),
        (lambda _: {"x": torch.ones(1)}, "no Stable Diffusion checkpoint"),
    ],
)
def test_base_files_of_other_kinds_are_refused_by_what_is_in_them(change, reason, store, models_dir, bases, tmp_path):
    weights = {name: tensor.contiguous() for name, tensor in change(bases[SD15].checkpoint()).items()}
    save_file(weights, models_dir / "base_models" / "sd15.safetensors")
    message = _refusal(store, "sd15.safetensors", V2, secret=tmp_path)
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
        ({"in_channels": 9}, "made for inpainting or editing"),
        ({"_class_name": "SD3Transformer2DModel"}, "built on a SD3Transformer2DModel"),
    ],
)
def test_folders_of_other_kinds_are_refused_by_their_configuration(change, reason, store, models_dir, bases, tmp_path):
    folder = bases[SD15].save_folder(models_dir / "base_models" / "other")
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    assert reason in _refusal(store, "other", V2, secret=tmp_path)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("missing", ["unet/config.json", "vae/diffusion_pytorch_model.safetensors"])
def test_a_folder_with_something_missing_is_refused(missing, store, models_dir, bases, tmp_path):
    folder = bases[SD15].save_folder(models_dir / "base_models" / "partial")
    (folder / missing).unlink()
    message = _refusal(store, "partial", V2, secret=tmp_path)
    assert Path(missing).name in message


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_request_changed_is_undone_after_success_and_failure(store, fails):
    components = store.load(SD15, V2)
    request = GenerationRequest.build(seed=1, base_model=SD15, motion_module=V2)
    before = [type(module) for module in components.unet.modules()]
    try:
        with applied(components, request) as lent:
            assert any(isinstance(module, PerFrameMotionModule) for module in lent.unet.modules())
            if fails:
                raise RuntimeError("in the middle")
    except RuntimeError:
        assert fails
    assert [type(module) for module in components.unet.modules()] == before


@pytest.mark.skipif(not (catalog.ASSETS / "demo" / "model_index.json").exists(), reason="the demo model is not there")
def test_the_demo_model_loads_without_a_hub(store, monkeypatch, tmp_path):
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path)
    components = store.load("demo", "demo")
    assert components.max_positions == 32
    assert components.scheduler_config["prediction_type"] == "v_prediction"


def test_a_demo_model_that_is_not_there_is_said_so(store, monkeypatch, tmp_path):
    shutil.copy(catalog.ASSETS / "catalog.toml", tmp_path)
    monkeypatch.setattr(catalog, "ASSETS", tmp_path)
    assert _refusal(store, "demo", "demo", secret=tmp_path) == (
        "base_model must be installed, got 'demo', whose folder is missing. Install the app again."
    )
