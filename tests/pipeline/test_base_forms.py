"""Base models in the forms in which people have them: half precision, shards, older names, marks, parts left out."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.engine.base_models.files import locate_base
from pipelines.engine.models import ModelStore
from pipelines.engine.weights.reading import read_weights
from pipelines.plan import catalog
from pipelines.plan.events import Clip
from pipelines.plan.request import GenerationRequest
from tests.museum import base_models
from tests.pipeline import tiny
from tests.pipeline.loading import SD15, V2, V3, assert_same, refusal_of
from tests.pipeline.sink import run
from tests.stand_in_hub import StandInHub, serving, use_hub

_NETWORK = "diffusion_pytorch_model"


@pytest.fixture
def folder(models_dir) -> Path:
    return models_dir / "base_models"


def saved(path: Path, weights: dict[str, torch.Tensor], **options: object) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path, **options)
    return path


@pytest.mark.usefixtures("hub")
def test_the_text_encoder_of_novelai_s_line_is_read_under_its_older_names(store, folder, bases):
    names = base_models.novelai().tensors.keys()
    weights = {k.replace("transformer.text_model.", "transformer."): v for k, v in bases[SD15].checkpoint().items()}
    assert weights.keys() <= names
    saved(folder / "any.safetensors", weights)
    encoder = store.load("any.safetensors", V3).text_encoders[0]
    assert_same(encoder.state_dict(), bases[SD15].text_encoder.state_dict())


@pytest.mark.usefixtures("hub")
def test_averages_beside_the_weights_are_left_alone(store, folder, bases):
    weights = bases[SD15].checkpoint()
    prefix = "model.diffusion_model."
    beside = {
        f"model_ema.{name.removeprefix('model.').replace('.', '')}": torch.full_like(tensor, float("nan"))
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }
    saved(folder / "pruned.safetensors", weights | beside)
    unet = store.load("pruned.safetensors", V3).unet
    assert torch.equal(unet.conv_out.weight, bases[SD15].unet.conv_out.weight)


@pytest.mark.usefixtures("hub")
def test_a_file_without_a_vae_draws_with_that_of_its_line_and_says_so(store, folder, bases):
    assert not any(name.startswith("first_stage_model.") for name in base_models.without_vae().tensors)
    weights = {k: v for k, v in tiny.TinyBase(7).checkpoint().items() if not k.startswith("first_stage_model.")}
    saved(folder / "noVae.safetensors", weights)
    values = {"num_frames": 1, "num_inference_steps": 1, "width": 64, "height": 64}
    request = GenerationRequest.build(prompt="a", seed=1, base_model="noVae.safetensors", motion_module=V3, **values)
    events = run(request, store=store)[1]
    message = "'noVae.safetensors' has no VAE; that of Stable Diffusion 1.5 draws in its place."
    assert message in next(event for event in events if isinstance(event, Clip)).warnings
    assert_same(store.load("noVae.safetensors", V3).vae.state_dict(), bases[SD15].vae.state_dict())
    assert store.load("noVae.safetensors", V3).weights.keys() == {"checkpoint", "vae", "motion_module"}


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("marked", ["tensors", "note", "yaml", "nothing"])
def test_what_a_file_says_of_its_training_decides_the_noise_schedule(marked, store, folder, bases):
    weights, options = bases[SD15].checkpoint(), {}
    if marked == "tensors":
        weights |= {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    if marked == "note":
        options = {"metadata": {"modelspec.prediction_type": "v"}}
    if marked == "yaml":
        (folder / "v.yaml").write_text('model:\n  params:\n    parameterization: "v"\n    linear_start: 0.00085\n')
    saved(folder / "v.safetensors", weights, **options)
    config = store.load("v.safetensors", V3).scheduler_config
    assert config["prediction_type"] == ("epsilon" if marked == "nothing" else "v_prediction")
    assert config.get("rescale_betas_zero_snr", False) is (marked == "tensors")


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("scheduler", ["ddim", "euler", "euler_a", "dpmpp_2m", "lcm"])
def test_a_clip_comes_of_a_schedule_that_ends_in_pure_noise_with_every_sampler(scheduler, store, folder, bases):
    marks = {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    saved(folder / "v.safetensors", bases[SD15].checkpoint() | marks)
    values = {"num_frames": 1, "num_inference_steps": 3, "width": 64, "height": 64, "scheduler": scheduler}
    names = {"base_model": "v.safetensors", "motion_module": V3}
    frames = run(GenerationRequest.build(prompt="a", seed=1, **names, **values), store=store)[0]
    assert frames.shape == (1, 64, 64, 3)


def test_the_hub_s_half_precision_is_fetched_where_half_is_computed(hub: StandInHub, bases):
    files = locate_base(catalog.find_base_model(SD15), half=True)
    assert {path[0].name for path in files.paths.values()} == {"model.fp16.safetensors", f"{_NETWORK}.fp16.safetensors"}
    weights = [name for name in hub.downloads if name.endswith((".safetensors", ".bin"))]
    assert len(weights) == 3
    half = ModelStore("cpu", torch.bfloat16).load(SD15, V3)
    expected = bases[SD15].unet.conv_in.weight.half().bfloat16()
    assert torch.equal(half.unet.conv_in.weight, expected)
    assert [name for name in hub.downloads if "/unet/" in name] == [
        f"{SD15}/unet/config.json",
        f"{SD15}/unet/{_NETWORK}.fp16.safetensors",
    ]


def test_what_is_in_the_cache_is_not_fetched_in_another_form(hub: StandInHub, store):
    store.load(SD15, V3)
    before = list(hub.downloads)
    ModelStore("cpu", torch.bfloat16).load(SD15, V3)
    assert hub.downloads == before


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("variant", ["fp16", "non_ema"])
def test_a_folder_with_one_variant_alone_is_read(variant, store, folder, bases):
    saved_folder = bases[SD15].save_folder(folder / "only")
    bases[SD15].save_variant(saved_folder, variant)
    for path in saved_folder.rglob("*.safetensors"):
        if variant not in path.name:
            path.unlink()
    unet = store.load("only", V3).unet
    expected = bases[SD15].unet.conv_in.weight
    assert torch.equal(unet.conv_in.weight, expected.half().float() if variant == "fp16" else expected)


@pytest.mark.usefixtures("hub")
def test_the_averages_are_read_where_both_are_there(store, folder, bases):
    saved_folder = bases[SD15].save_folder(folder / "both")
    other = {name: torch.zeros_like(tensor) for name, tensor in bases[SD15].unet.state_dict().items()}
    saved(saved_folder / "unet" / f"{_NETWORK}.non_ema.safetensors", other)
    assert torch.equal(store.load("both", V3).unet.conv_in.weight, bases[SD15].unet.conv_in.weight)


def in_shards(folder: Path, stem: str) -> Path:
    """Cut a component's weights in two, with the index that names them."""
    whole = folder / f"{stem}.safetensors"
    weights = load_file(whole)
    whole.unlink()
    names = sorted(weights)
    parts = {f"{stem}-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for file, inside in parts.items():
        saved(folder / file, {name: weights[name] for name in inside})
    index = {"metadata": {}, "weight_map": {name: file for file, inside in parts.items() for name in inside}}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.usefixtures("hub")
def test_a_folder_in_shards_is_read_and_each_is_named_by_its_content(store, folder, bases):
    saved_folder = bases[SD15].save_folder(folder / "shards")
    in_shards(saved_folder / "unet", _NETWORK)
    in_shards(saved_folder / "text_encoder", "model")
    components = store.load("shards", V3)
    assert torch.equal(components.unet.conv_in.weight, bases[SD15].unet.conv_in.weight)
    assert_same(components.text_encoders[0].state_dict(), bases[SD15].text_encoder.state_dict())
    assert {"unet_1", "unet_2", "text_encoder_1", "text_encoder_2", "vae"} <= components.weights.keys()


@pytest.mark.usefixtures("hub")
def test_a_missing_shard_and_an_index_that_leads_out_are_refused(store, folder, bases, tmp_path):
    unet = in_shards(bases[SD15].save_folder(folder / "shards") / "unet", _NETWORK)
    (unet / f"{_NETWORK}-00002-of-00002.safetensors").unlink()
    message = refusal_of(store, "shards", V3, secret=tmp_path)
    assert f"whose unet lacks {_NETWORK}-00002-of-00002.safetensors" in message
    (unet / f"{_NETWORK}.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../vae/x.safetensors"}}))
    assert f"got '{_NETWORK}.safetensors.index.json'" in refusal_of(store, "shards", V3, secret=tmp_path)


def test_shards_are_fetched_from_the_hub(bases, tmp_path, monkeypatch):
    root = tmp_path / "other"
    bases[SD15].save_folder(root / SD15)
    in_shards(root / SD15 / "unet", _NETWORK)
    with serving(root) as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        files = locate_base(catalog.find_base_model(SD15))
    assert [path.name for path in files.paths["unet"]] == [
        f"{_NETWORK}-00001-of-00002.safetensors",
        f"{_NETWORK}-00002-of-00002.safetensors",
    ]


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["model.diffusion_model.joint_blocks.0.x_block.mlp.fc1.weight"], "a Stable Diffusion 3 model"),
        (["double_blocks.0.img_attn.norm.key_norm.scale"], "a FLUX model"),
        (["clip_txt_mapper.weight"], "a Stable Cascade model"),
        (["model.diffusion_model.out.2.bias", "edm_vpred.sigma_max"], "a CosXL model"),
        (["conditioner.embedders.0.model.ln_final.weight", "model.diffusion_model.out.2.bias"], "refiner"),
        (
            ["down_blocks.0.attentions.0.proj_in.weight", "time_embedding.linear_1.weight"],
            "a UNet without text encoder",
        ),
        (["text_model.final_layer_norm.weight"], "a text encoder. Base models bring theirs with them"),
        (["decoder.conv_in.weight"], "a VAE. Put it into the models folder's 'vaes'"),
        (["control_model.input_hint_block.0.weight"], "a ControlNet. Put it into the models folder's 'controlnets'"),
        (["lora_unet_x.lora_up.weight"], "a LoRA for the base model. Put it into the models folder's 'loras'"),
    ],
)
def test_other_kinds_are_told_by_name_with_the_place_where_they_belong(names, words, store, folder, tmp_path):
    saved(folder / "other.safetensors", {name: torch.ones(1) for name in names})
    assert words in refusal_of(store, "other.safetensors", V2, secret=tmp_path)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("listed", [base_models.inpainting, base_models.instruct_pix2pix])
def test_models_that_edit_are_refused_by_their_channels(listed, store, folder, tmp_path):
    listed().write_zeros(folder / "edit.safetensors")  # at full size, but sparse: only its header is read
    assert "made for inpainting or editing" in refusal_of(store, "edit.safetensors", V2, secret=tmp_path)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("dtype", "scaled"), [(torch.float8_e4m3fn, False), (torch.float8_e5m2, False), (torch.float8_e4m3fn, True)]
)
def test_a_model_in_float8_is_read_as_what_it_was(dtype, scaled, store, folder, bases):
    weights = bases[SD15].checkpoint()
    name = "model.diffusion_model.out.2.weight"
    whole = weights[name]
    factor = whole.abs().max() / 200 if scaled else torch.tensor(1.0)
    weights[name] = (whole / factor).to(dtype)
    if scaled:
        weights |= {"model.diffusion_model.out.2.scale_weight": factor, "scaled_fp8": torch.tensor([]).to(dtype)}
    saved(folder / "small.safetensors", weights)
    weight = store.load("small.safetensors", V3).unet.conv_out.weight
    assert torch.allclose(weight, weights[name].float() * factor, rtol=1e-6)
    assert (weight - whole).abs().max() < 0.15 * whole.abs().max()


def test_numbers_of_unknown_types_are_refused_by_name(tmp_path):
    header = json.dumps({"w": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(Exception, match=r"got 'odd\.safetensors' with F8_E8M0 in w\. Choose the same model in float16"):
        read_weights(path)
