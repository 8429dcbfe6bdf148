"""VAEs of their own: every format gives the frames the same VAE gives inside a base model; others are refused."""

import json

import pytest
import torch
from safetensors.torch import save_file

from pipelines.errors import InvalidRequestError, WeightsError
from pipelines.models import ModelStore
from pipelines.request import GenerationRequest
from tests.pipeline import tiny
from tests.pipeline.loading import SD15, V3
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
    own = frames(store, "")
    for name in ("folder", "file.safetensors", "file.ckpt"):
        assert (frames(store, name) == own).all(), name


@pytest.mark.usefixtures("hub")
def test_another_vae_changes_the_frames_and_leaves_the_base_model_s_own_alone(store, vaes_dir):
    tiny.tiny_decoder().save_pretrained(vaes_dir / "tiny")
    before = frames(store, "")
    assert (frames(store, "tiny") != before).any()
    assert (frames(store, "") == before).all()


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(("said", "expected"), [(None, torch.float16), (False, torch.float16), (True, torch.float32)])
def test_a_vae_is_float32_in_place_of_float16_only_where_its_configuration_says_so(said, expected, vaes_dir, bases):
    bases[SD15].vae.save_pretrained(vaes_dir / "folder")
    config = vaes_dir / "folder" / "config.json"
    values = json.loads(config.read_text())
    del values["force_upcast"]
    config.write_text(json.dumps(values if said is None else values | {"force_upcast": said}))
    assert ModelStore("cpu", torch.float16).load(SD15, V3, "folder").vae.dtype is expected


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"down_blocks.0.motion_modules.0.proj_in.weight": torch.ones(1)}, "a motion module"),
        ({"x": torch.ones(1)}, "of no kind known here"),
        ({"decoder.conv_in.weight": torch.ones(1)}, "weights are not what its configuration says"),
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
