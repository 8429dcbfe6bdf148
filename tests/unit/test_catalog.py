"""The catalog: its entries hold together, ids are found or refused in words, defaults come from the model."""

import json

import pytest

from controlnet.preprocessors import PREPROCESSORS
from pipelines.plan import catalog
from pipelines.plan.architecture import Architecture
from pipelines.plan.choices import Scheduler
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import DROPPED_DIR, HUB_MODELS


@pytest.fixture(autouse=True)
def _no_gpu_no_models(monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("MODELS_DIR", raising=False)


@pytest.fixture
def models_dir(tmp_path, monkeypatch):
    root = tmp_path / "models"
    for kind in ("base_models", "motion_modules", "loras", "embeddings"):
        (root / kind).mkdir(parents=True)
    monkeypatch.setenv("MODELS_DIR", str(root))
    return root


def test_ids_are_unique_and_every_base_model_names_a_motion_module_of_its_family():
    bases, modules = catalog.base_models(), catalog.motion_modules()
    assert len({entry.id for entry in bases}) == len(bases) >= 4
    assert len({entry.id for entry in modules}) == len(modules) >= 3
    for base in bases:
        assert catalog.find_motion_module(base.motion_module).family == base.family


@pytest.mark.parametrize("base", catalog.base_models(), ids=lambda entry: entry.id)
def test_every_base_model_s_own_settings_make_a_request(base):
    request = GenerationRequest.build(**catalog.complete({"base_model": base.id, "seed": 1}))
    assert (request.width, request.height) == (base.width, base.height)
    assert request.motion_module == base.motion_module
    family = catalog.find_motion_module(base.motion_module).known_family
    assert family is not None
    assert request.context_length <= family.max_positions


def test_every_entry_says_in_one_line_what_it_is_and_under_which_licence():
    entries = (*catalog.base_models(), *catalog.motion_modules(), *catalog.loras())
    for entry in (*entries, *catalog.controlnets(), *catalog.ip_adapters()):
        assert "\n" not in entry.description
        assert entry.description.endswith(".")
        assert entry.label
        assert entry.licence


def test_control_models_name_preprocessors_and_ip_adapters_their_image_encoder():
    nets, adapters = catalog.controlnets(), catalog.ip_adapters()
    assert {name for net in nets for name in net.preprocessors} <= PREPROCESSORS.keys()
    assert not any(PREPROCESSORS[net.preprocessors[0]].unavailable for net in nets)
    assert all(net.preprocessors for net in nets)
    assert {adapter.image_encoder for adapter in adapters} == {"models/image_encoder"}
    for entries in (nets, adapters):
        assert len({entry.id for entry in entries}) == len(entries)


def test_control_models_on_this_disk_are_found_and_image_encoders_are_none(models_dir):
    for name in ("controlnets/a.pth", "ip_adapters/b.bin", "ip_adapters/image_encoder/model.safetensors"):
        (models_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (models_dir / name).write_bytes(b"")
    (models_dir / "controlnets" / "folder").mkdir()
    (models_dir / "controlnets" / "folder" / "config.json").write_text("{}")
    assert [entry.id for entry in catalog.controlnets() if entry.source == "local"] == ["a.pth", "folder"]
    assert [entry.id for entry in catalog.ip_adapters() if entry.source == "local"] == ["b.bin"]
    assert catalog.find_controlnet("a.pth").label == "a"
    assert catalog.find_ip_adapter("b.bin").image_encoder is None


def test_the_demo_model_lies_in_the_assets():
    assert catalog.find_base_model("demo").folder == catalog.ASSETS / "demo"
    assert catalog.find_motion_module("demo").folder == catalog.ASSETS / "demo" / "motion_adapter"


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("demmo", "'demo'"),
        ("stable-diffusion-v1-5", f"'{catalog.STABLE_DIFFUSION}'"),
        ("dreamshaper", "'Lykon/DreamShaper'"),
    ],
)
def test_an_unknown_id_is_refused_with_the_nearest_ones(wanted, near):
    with pytest.raises(InvalidRequestError) as error:
        catalog.find_base_model(wanted)
    assert str(error.value).startswith(f"base_model must be one of the catalog, got '{wanted}'. Choose ")
    assert near in str(error.value)


def test_an_id_like_no_other_is_refused_with_all_there_are():
    with pytest.raises(InvalidRequestError, match="Choose 'demo', 'demo-v3', 'demo-lcm', 'guoyww/") as error:
        catalog.find_motion_module("#" * 5000)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("device", "expected"), [({}, "demo"), ({"SPACES_ZERO_GPU": "true"}, catalog.STABLE_DIFFUSION)]
)
def test_the_default_is_the_demo_model_unless_there_is_a_gpu(device, expected, monkeypatch):
    for name, value in device.items():
        monkeypatch.setenv(name, value)
    assert catalog.default_base_model().id == expected


def test_what_was_left_open_is_filled_from_the_model_and_what_was_given_stays():
    values = catalog.complete({"prompt": "a star", "width": None, "guidance_scale": 5.0, "fps": None})
    assert values == {
        "prompt": "a star",
        "base_model": "demo",
        "motion_module": "demo",
        "width": 128,
        "height": 128,
        "num_inference_steps": 20,
        "guidance_scale": 5.0,
        "scheduler": Scheduler.DDIM,
        "context_length": 16,
    }


def test_unknown_fields_are_kept_for_the_request_to_refuse():
    with pytest.raises(InvalidRequestError, match="colour must be a field of the request"):
        GenerationRequest.build(**catalog.complete({"colour": None}))


def test_a_model_id_that_is_no_text_is_left_for_the_request_to_refuse():
    with pytest.raises(InvalidRequestError, match="base_model must be a valid string, got 5"):
        GenerationRequest.build(**catalog.complete({"base_model": 5}))


def test_files_and_folders_of_the_operator_are_found_as_soon_as_they_are_there(models_dir):
    assert "mine.safetensors" not in {entry.id for entry in catalog.base_models()}
    (models_dir / "base_models" / "mine.safetensors").touch()
    (models_dir / "base_models" / "notes.txt").touch()
    (models_dir / "base_models" / "whole").mkdir()
    (models_dir / "base_models" / "whole" / "model_index.json").touch()
    (models_dir / "motion_modules" / "move.ckpt").touch()
    local = [entry for entry in catalog.base_models() if entry.source == "local"]
    assert [entry.id for entry in local] == ["mine.safetensors", "whole"]
    assert local[0].folder == models_dir / "base_models" / "mine.safetensors"
    assert catalog.complete({"base_model": "mine.safetensors"})["width"] == 512
    assert catalog.find_motion_module("move.ckpt").source == "local"


def test_a_local_model_gets_the_settings_of_what_it_looks_like(models_dir):
    bases = models_dir / "base_models"
    (bases / "folder" / "text_encoder_2").mkdir(parents=True)
    (bases / "folder" / "model_index.json").touch()
    header = b'{"conditioner.embedders.0.x":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}}'
    (bases / "file.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (bases / "other.safetensors").write_bytes(header)  # no list of names at its start
    found = {entry.id: entry for entry in catalog.base_models() if entry.source == "local"}
    like = catalog.find_base_model(catalog.STABLE_DIFFUSION_XL)
    for name in ("folder", "file.safetensors"):
        assert (found[name].width, found[name].motion_module) == (like.width, like.motion_module)
    assert found["other.safetensors"].width == 512


def test_a_local_namesake_does_not_replace_an_entry_of_the_catalog(models_dir):
    (models_dir / "base_models" / "demo").mkdir()
    (models_dir / "base_models" / "demo" / "model_index.json").touch()
    assert catalog.find_base_model("demo").source == "folder"


@pytest.mark.parametrize(
    "path", ["../outside.safetensors", "{root}/outside.safetensors", "base_models/../../outside.safetensors", ".", ".."]
)
def test_paths_are_not_ids(models_dir, path):
    (models_dir.parent / "outside.safetensors").touch()
    with pytest.raises(InvalidRequestError, match="must be one of the catalog"):
        catalog.find_base_model(path.format(root=models_dir.parent))


FOREIGN = {
    "flux-Q4.gguf": "a GGUF file",
    "U.ONNX": "a network in ONNX",
    "unet.engine": "an engine of TensorRT",
    "old.pkl": "Rename it to .pt",
    "all.zip": "Unpack it",
    "half.safetensors.part": "a download without its end",
    "jax.msgpack": "of another library than PyTorch",
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize(
    ("folder", "find", "field"),
    [
        ("base_models", catalog.find_base_model, "base_model"),
        ("motion_modules", catalog.find_motion_module, "motion_module"),
        ("vaes", catalog.find_vae, "vae"),
        ("controlnets", catalog.find_controlnet, "controls"),
        ("ip_adapters", catalog.find_ip_adapter, "image_prompts"),
        ("upscalers", catalog.find_upscaler, "upscaler"),
        ("embeddings", catalog.find_lora, "lora"),
    ],
)
def test_files_that_are_not_read_are_told_what_they_are_when_they_are_asked_for(models_dir, folder, find, field, name):
    (models_dir / folder / "more").mkdir(parents=True, exist_ok=True)
    (models_dir / folder / "more" / name).touch()
    for wanted in (f"more/{name}", f"more\\{name}", name, name.rpartition(".")[0]):
        with pytest.raises(InvalidRequestError) as error:
            find(wanted)
        said = str(error.value)
        assert said.startswith(f"{field} must be a file of weights (.safetensors, .sft, .ckpt, .pth, .pt, .bin), got '")
        assert name in said
        assert FOREIGN[name] in said
        assert str(models_dir) not in said


def test_a_folder_may_be_written_as_on_windows(models_dir):
    (models_dir / "loras" / "style").mkdir(parents=True)
    (models_dir / "loras" / "style" / "ink.safetensors").touch()
    assert catalog.find_lora("style\\ink.safetensors").id == "style/ink.safetensors"
    with pytest.raises(InvalidRequestError, match="must be one of the catalog"):
        catalog.find_lora("..\\..\\ink.safetensors")


def test_a_link_that_leads_out_of_the_models_folder_is_not_offered(models_dir):
    outside = models_dir.parent / "outside.safetensors"
    outside.touch()
    (models_dir / "base_models" / "link.safetensors").symlink_to(outside)
    with pytest.raises(InvalidRequestError, match=r"got 'link.safetensors'"):
        catalog.find_base_model("link.safetensors")


CAMERA = "ZoomIn ZoomOut PanLeft PanRight TiltUp TiltDown RollingClockwise RollingAnticlockwise"


def test_the_eight_motion_loras_and_the_lcm_ones_are_found_by_the_names_people_know():
    for name in CAMERA.split():
        entry = catalog.find_lora(f"v2_lora_{name}")
        assert (entry.repo, entry.file) == ("guoyww/animatediff", f"v2_lora_{name}.ckpt")
    for name in ("v3_sd15_adapter", "lcm-lora-sdv1-5", "AnimateLCM_sd15_t2v_lora"):
        assert catalog.find_lora(name).family == "sd15"
    assert len({entry.id for entry in catalog.loras()}) == len(catalog.loras()) >= 11


def test_local_loras_and_embeddings_are_found_by_file_name_and_by_stem(models_dir):
    (models_dir / "loras" / "mine.v1.safetensors").touch()
    (models_dir / "embeddings" / "bad-hands.pt").touch()
    (models_dir / "loras" / "folder").mkdir()
    for name in ("mine.v1", "mine.v1.safetensors"):
        assert catalog.find_lora(name).folder == models_dir / "loras" / "mine.v1.safetensors"
    assert catalog.find_lora("bad-hands").source == "local"
    with pytest.raises(InvalidRequestError, match=r"lora must be .*, got 'Mine.v2'\. Choose 'mine\.v1'"):
        catalog.find_lora("Mine.v2")
    with pytest.raises(InvalidRequestError, match=r"got '\.\./loras/mine'"):
        catalog.find_lora("../loras/mine")


def test_a_dropped_file_is_found_by_its_exact_name_and_named_to_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv(DROPPED_DIR, str(tmp_path))
    (tmp_path / "secret-0123456789ab.safetensors").touch()
    assert catalog.find_lora("secret-0123456789ab").folder == tmp_path / "secret-0123456789ab.safetensors"
    assert "secret" not in " ".join(entry.id for entry in catalog.loras())
    with pytest.raises(InvalidRequestError) as error:
        catalog.find_lora("secret-0123456789")
    assert "0123456789ab" not in str(error.value)


LIGHTNING = "ByteDance/AnimateDiff-Lightning/animatediff_lightning_4step_diffusers.safetensors"


def test_a_motion_module_brings_its_window_and_a_distilled_one_its_sampling():
    own = catalog.complete({"base_model": catalog.STABLE_DIFFUSION, "motion_module": LIGHTNING})
    assert (own["scheduler"], own["num_inference_steps"], own["guidance_scale"]) == (Scheduler.EULER, 4, 1.0)
    assert own["motion_norm"] == "diffusers"
    hotshot = "hotshotco/Hotshot-XL/hsxl_temporal_layers.f16.safetensors"
    own = catalog.complete({"base_model": catalog.STABLE_DIFFUSION_XL, "motion_module": hotshot})
    assert own["scheduler"] == Scheduler.EULER_A
    assert [own[name] for name in ("context_length", "num_inference_steps", "guidance_scale")] == [8, 30, 5]
    assert (own["width"], own["height"]) == (672, 384)
    given = {"base_model": catalog.STABLE_DIFFUSION_XL, "motion_module": hotshot, "width": 768}
    assert (catalog.complete(given)["width"], catalog.complete(given)["height"]) == (768, 384)


def test_what_people_set_wins_over_what_the_models_would():
    given = {"base_model": catalog.STABLE_DIFFUSION, "motion_module": LIGHTNING, "guidance_scale": 5.0}
    assert catalog.complete(given)["guidance_scale"] == 5.0


def test_the_models_folder_is_looked_through_to_its_bottom_and_headers_tell_families(models_dir):
    positions = "down_blocks.3.motion_modules.0.temporal_transformer.attention_blocks.0.pos_encoder.pe"
    header = json.dumps({positions: {"dtype": "F32", "shape": [1, 24, 8], "data_offsets": [0, 768]}}).encode()
    deep = models_dir / "motion_modules" / "2023" / "old"
    deep.mkdir(parents=True)
    (deep / "mine.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(768))
    (deep / "unknown.ckpt").write_bytes(b"")
    found = catalog.find_motion_module("2023/old/mine.safetensors")
    assert (found.label, found.motion_family) == ("mine", "v1")
    assert catalog.find_motion_module("2023/old/unknown.ckpt").motion_family is None


def test_a_repository_of_the_hub_can_be_named_only_where_the_operator_allows_it(monkeypatch):
    wanted = "someone/their-repo/sub/module.safetensors"
    with pytest.raises(InvalidRequestError):
        catalog.find_motion_module(wanted)
    monkeypatch.setenv(HUB_MODELS, "any")
    found = catalog.find_motion_module(wanted)
    assert (found.source, found.repo, found.file) == ("hub", "someone/their-repo", "sub/module.safetensors")
    assert catalog.find_base_model("someone/their-base").file is None
    assert catalog.find_base_model("xl-lab/their-base").width == 512
    assert catalog.find_base_model("someone/TheirXL-v2").width == 1024
    for bad in ("someone/../etc/passwd.bin", "/etc/passwd", "someone/repo/a*.bin", "someone"):
        with pytest.raises(InvalidRequestError):
            catalog.find_motion_module(bad)


def test_a_size_that_was_guessed_wrongly_is_told(monkeypatch):
    monkeypatch.setenv(HUB_MODELS, "any")
    base, small, large = catalog.find_base_model("someone/their-base"), {"width": 512}, {"width": 1024}
    (told,) = catalog.advise_size(base, Architecture.SDXL, small | {"height": 512})
    assert told == (
        "'their-base' turned out to be built like Stable Diffusion XL, which is best at 1024×1024; "
        "512×512 was a guess. Set Width and Height."
    )
    assert catalog.advise_size(base, Architecture.SD15, small | {"height": 512}) == []
    assert catalog.advise_size(base, Architecture.SDXL, large | {"height": 1024}) == []
    known = catalog.find_base_model(catalog.STABLE_DIFFUSION_XL)
    assert catalog.advise_size(known, Architecture.SDXL, small | {"height": 512}) == []


def test_what_is_known_of_a_file_on_the_hub_is_found_by_its_repository_and_name():
    file = catalog.published_file("guoyww/animatediff", "mm_sd_v15_v2.ckpt")
    assert (file.bytes, file.sha256[:8]) == (1_817_888_431, "69ed0f5f")
    assert catalog.published_file("someone/animatediff", "mm_sd_v15_v2.ckpt") is None
    assert catalog.published_file("guoyww/animatediff", "other.ckpt") is None
