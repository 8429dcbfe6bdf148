"""VAEs of their own: every format gives the frames the same VAE gives inside a base model; others are refused."""

import json

import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.base_models import vae_files
from pipelines.engine.base_models.vae_files import vae_dtype
from pipelines.engine.models import ModelStore
from pipelines.plan.errors import InvalidRequestError, WeightsError
from pipelines.plan.request import GenerationRequest
from tests.pipeline import tiny
from tests.pipeline.loading import SD15, V3, assert_same
from tests.pipeline.sink import run


@pytest.fixture
def vaes_dir(models_dir):
    (models_dir / "vaes").mkdir()
    return models_dir / "vaes"


def frames(store, vae: str):
    values = {"num_frames": 2, "num_inference_steps": 1, "width": 64, "height": 64}
    request = GenerationRequest.build(prompt="a fox", seed=1, base_model=SD15, motion_module=V3, vae=vae, **values)
    return run(request, store=store)[0]


@pytest.mark.usefixtures("hub")
def test_the_same_vae_gives_the_same_frames_from_every_format(store, vaes_dir, bases):
    base = bases[SD15]
    base.vae.save_pretrained(vaes_dir / "folder")
    save_file(tiny.vae_checkpoint(base), vaes_dir / "file.safetensors")
    torch.save({"state_dict": tiny.vae_checkpoint(base)}, vaes_dir / "file.ckpt")
    own_frames = frames(store, "")
    for name in ("folder", "file.safetensors", "file.ckpt"):
        assert (frames(store, name) == own_frames).all(), name


@pytest.mark.usefixtures("hub")
def test_another_vae_changes_the_frames_and_leaves_the_base_model_s_own_alone(store, vaes_dir):
    tiny.tiny_decoder().save_pretrained(vaes_dir / "tiny")
    before = frames(store, "")
    assert (frames(store, "tiny") != before).any()
    assert (frames(store, "") == before).all()


@pytest.mark.parametrize(
    ("device", "dtype", "overflows", "expected"),
    [
        ("cuda", torch.bfloat16, False, torch.float16),
        ("cuda", torch.float16, False, torch.float16),
        ("cuda", torch.float16, True, torch.float32),
        ("cuda", torch.bfloat16, True, torch.float32),
        ("cuda", torch.float32, False, torch.float32),
        ("cpu", torch.bfloat16, False, torch.float32),
    ],
)
def test_a_vae_has_the_type_that_draws_well_where_it_computes(device, dtype, overflows, expected):
    assert vae_dtype(device, dtype, overflows=overflows) is expected


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(("text", "expected"), [(None, False), (False, False), (True, True)])
def test_a_vae_overflows_only_where_its_configuration_says_so(text, expected, vaes_dir, bases, monkeypatch):
    bases[SD15].vae.save_pretrained(vaes_dir / "folder")
    config = vaes_dir / "folder" / "config.json"
    values = json.loads(config.read_text())
    del values["force_upcast"]
    config.write_text(json.dumps(values if text is None else values | {"force_upcast": text}))
    calls = []
    monkeypatch.setattr(vae_files, "vae_dtype", lambda *_, overflows: calls.append(overflows) or torch.float32)
    ModelStore("cpu", torch.float32).load(SD15, V3, "folder")
    assert calls == [expected]


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
@pytest.mark.parametrize("names", ["authors", "2022", "today"])
def test_vae_files_of_every_naming_are_read(prefix, names, store, vaes_dir, bases):
    vae = bases[SD15].vae
    weights = tiny.vae_checkpoint(bases[SD15]) if names == "authors" else vae.state_dict()
    if names == "2022":
        weights = {tiny.replaced(name, tiny.OLD_VAE): tensor for name, tensor in weights.items()}
    beside = {"loss.logvar": torch.zeros(()), "model_ema.decay": torch.zeros(())}
    by_name = {f"{prefix}{name}": tensor.contiguous() for name, tensor in weights.items()}
    save_file(by_name | beside, vaes_dir / "one.safetensors")
    assert_same(store.load(SD15, V3, "one.safetensors").vae.state_dict(), vae.state_dict())


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"down_blocks.0.motion_modules.0.proj_in.weight": torch.ones(1)}, "a motion module"),
        ({"x": torch.ones(1), "y": torch.ones(1)}, "of no kind known here"),
        ({"decoder.conv_in.weight": torch.ones(1)}, r"must be a whole VAE, got 'other.safetensors': it lacks"),
    ],
)
def test_other_files_are_refused_in_words(weights, words, store, vaes_dir):
    save_file(weights, vaes_dir / "other.safetensors")
    with pytest.raises(WeightsError, match=words) as error:
        store.load(SD15, V3, "other.safetensors")
    assert str(error.value).startswith("vae must ")


def test_an_unknown_vae_is_refused_with_those_there_are(store):
    with pytest.raises(InvalidRequestError, match=r"^vae must be one of the catalog, got 'none'"):
        store.load(SD15, V3, "none")
