"""The store: what is loaded once, shared, swapped, lent to a request and given back."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.engine.models import ModelStore, applied
from pipelines.engine.weights.reading import read_weights
from pipelines.plan import catalog
from pipelines.plan.choices import MotionNorm
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest
from tests.pipeline import tiny
from tests.pipeline.loading import SD15, V2, V3, assert_same, refusal_of
from tests.stand_in_hub import StandInHub, use_hub


@pytest.mark.usefixtures("hub")
def test_components_are_frozen_in_evaluation_mode_and_of_the_dtype_asked_for():
    components = ModelStore("cpu", torch.bfloat16).load(SD15, V3)
    for model in (components.unet, components.vae, *components.text_encoders):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        expected = torch.float32 if model is components.vae else torch.bfloat16
        assert {parameter.dtype for parameter in model.parameters()} == {expected}
        assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


@pytest.mark.usefixtures("hub")
def test_the_noise_schedule_is_animatediff_s_and_the_prediction_the_model_s(store, models_dir):
    tiny.TinyBase(prediction_type="v_prediction").save_folder(models_dir / "base_models" / "mine")
    assert store.load("mine", V3).scheduler_config == {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "linear",
        "timestep_spacing": "leading",
        "steps_offset": 1,
        "clip_sample": False,
        "prediction_type": "v_prediction",
    }
    assert store.load(SD15, V3).scheduler_config["prediction_type"] == "epsilon"


@pytest.mark.usefixtures("hub")
def test_another_motion_module_shares_the_base_model_and_the_last_pair_is_kept(store):
    first, second = store.load(SD15, V2), store.load(SD15, V3)
    assert second.vae is first.vae
    assert second.text_encoders == first.text_encoders
    assert second.unet is first.unet  # filled anew: nothing was built, so nothing need be compiled again
    assert store.load(SD15, V3) is second


@pytest.mark.usefixtures("hub")
def test_after_a_failure_nothing_half_loaded_is_kept(store, models_dir, bases, tmp_path):
    good = store.load(SD15, V2)
    broken = models_dir / "base_models" / "broken"
    bases[SD15].save_folder(broken)
    weights = read_weights(broken / "unet" / "diffusion_pytorch_model.safetensors")
    weights.pop("conv_out.bias")
    save_file(weights, broken / "unet" / "diffusion_pytorch_model.safetensors")
    message = refusal_of(store, "broken", V2, secret=tmp_path)
    assert message == (
        "base_model must be a whole Stable Diffusion 1.5 model, got 'broken': it lacks 1 tensors, the first "
        "conv_out.bias. Download it again or choose another."
    )
    again = store.load(SD15, V2)
    assert (again.base.id, again.motion.id) == (SD15, V2)
    assert_same(again.unet.state_dict(), good.unet.state_dict())


@pytest.mark.usefixtures("hub")
def test_a_local_file_that_was_replaced_is_read_again(store, models_dir):
    path = models_dir / "base_models" / "mine.safetensors"
    tiny.TinyBase(5).save_checkpoint(path)
    before = store.load("mine.safetensors", V2)
    tiny.TinyBase(6).save_checkpoint(path)
    os.utime(path, ns=(1, 1))
    after = store.load("mine.safetensors", V2)
    assert after.weights["checkpoint"] != before.weights["checkpoint"]


def test_files_are_fetched_ahead_but_not_of_what_is_in_memory(hub: StandInHub, store, tmp_path):
    store.fetch(SD15, V2)
    fetched = list(hub.downloads)
    assert {f"{SD15}/unet", f"{SD15}/vae", V2} <= {name.rsplit("/", 1)[0] for name in fetched}
    assert store.loaded == ""
    store.load(SD15, V2)
    assert hub.downloads == fetched
    shutil.rmtree(tmp_path / "cache")  # as ZeroGPU removes files whose weights it has placed
    store.fetch(SD15, V2)
    assert hub.downloads == fetched
    store.load(SD15, V3)
    assert {name.rsplit("/", 1)[0] for name in hub.downloads[len(fetched) :]} == {V3}


def test_a_space_has_the_files_of_its_first_model_before_it_starts(hub: StandInHub, monkeypatch):
    """`preload_from_hub` names them all, and no others."""
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    values = catalog.complete({"base_model": catalog.default_base_model().id})
    ModelStore("cpu", torch.bfloat16).load(values["base_model"], values["motion_module"])  # as its card computes
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    lines = re.search(r"^preload_from_hub:\n(.*?)^\S", readme, re.M | re.S)[1].split("  - ")[1:]
    patterns = [words.replace(">-", "").split() for words in lines]
    files = {f"{repo}/{name}" for repo, names in patterns for name in names.split(",")}
    assert set(hub.downloads) == files


def test_a_pair_the_catalog_knows_not_to_fit_is_refused_before_any_download(hub: StandInHub, store):
    with pytest.raises(InvalidRequestError) as error:
        store.load(SD15, "demo")
    assert str(error.value).startswith(f"motion_module must be made for the base model '{SD15}', got 'demo'. Choose ")
    assert V3 in str(error.value)
    assert hub.downloads == []


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_request_changed_is_undone_after_success_and_failure(store, fails):
    components = store.load(SD15, V2)
    request = GenerationRequest.build(seed=1, base_model=SD15, motion_module=V2, motion_norm=MotionNorm.DIFFUSERS)
    before = replace(components.unet.motion_state)
    try:
        with applied(components, request) as lent:
            assert lent.unet.motion_state.norm is MotionNorm.DIFFUSERS
            if fails:
                raise RuntimeError("in the middle")
    except RuntimeError:
        assert fails
    assert components.unet.motion_state == before
    assert before.norm is MotionNorm.ORIGINAL


@pytest.mark.skipif(not (catalog.ASSETS / "demo" / "model_index.json").exists(), reason="the demo model is not there")
def test_the_demo_model_loads_without_a_hub(store, monkeypatch, tmp_path):
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path)
    components = store.load("demo", "demo")
    assert components.family.max_positions == 32
    assert components.scheduler_config["prediction_type"] == "v_prediction"
