"""Presets set what they say, for every model that they are offered with."""

from dataclasses import replace

import pytest

from pipelines.plan import catalog
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.presets import PRESETS, preset_values, presets_for, required_lora
from pipelines.plan.request import GenerationRequest

OFFERED = [(model.id, preset.id) for model in catalog.base_models() for preset in presets_for(model.id)]


@pytest.mark.parametrize(("base_model", "preset"), OFFERED)
def test_every_preset_that_is_offered_makes_a_request(base_model, preset):
    values = preset_values(preset, base_model)
    (preset_entry,) = (candidate for candidate in PRESETS if candidate.id == preset)
    assert tuple(values) == preset_entry.sets
    request = GenerationRequest.build(**catalog.complete({"base_model": base_model, "seed": 0} | values))
    assert {name: getattr(request, name) for name in preset_entry.values} == dict(preset_entry.values)


def test_only_models_with_a_distilled_module_are_offered_its_presets():
    offered = {model.id: {preset.id for preset in presets_for(model.id)} for model in catalog.base_models()}
    assert "lcm" in offered["demo"]
    assert "lightning" not in offered["demo"]
    assert {"lcm", "lightning"} <= offered[catalog.STABLE_DIFFUSION]
    assert not {"lcm", "lightning"} & offered[catalog.STABLE_DIFFUSION_XL]
    with pytest.raises(InvalidRequestError, match=r"preset must be one of draft, .* with the base model 'demo', got"):
        preset_values("lightning", "demo")
    with pytest.raises(InvalidRequestError, match="got null"):
        preset_values(None, "demo")


def test_balanced_takes_back_what_the_others_set():
    alone = catalog.complete({"base_model": "demo"})
    plain = GenerationRequest.build(seed=0, **alone).model_dump()
    for preset in presets_for("demo"):
        changed = plain | preset_values(preset.id, "demo")
        assert changed | preset_values("balanced", "demo") == plain


def test_a_chosen_motion_module_stays_unless_it_was_made_for_few_steps():
    assert preset_values("best", "demo", "demo-v3")["motion_module"] == "demo-v3"
    assert preset_values("best", "demo", "demo-lcm")["motion_module"] == "demo"
    assert preset_values("lcm", "demo", "demo-v3")["motion_module"] == "demo-lcm"
    assert "motion_module" not in preset_values("loop", "demo", "demo-v3")


def test_the_lora_that_animatelcm_wants_is_one_of_the_catalog():
    module = preset_values("lcm", catalog.STABLE_DIFFUSION)["motion_module"]
    tag = required_lora(module)
    assert catalog.find_lora(tag.split(":")[1]).family == "sd15"


def test_a_base_model_of_unknown_family_gets_no_module_of_unknown_family(tmp_path, monkeypatch, configure):
    for kind, name in (("base_models", "mine"), ("motion_modules", "mm_sd15_v2_lcm")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / f"{name}.safetensors").touch()
    configure(models_dir=tmp_path)
    local = replace(catalog.find_motion_module("demo-lcm"), id="stranger", family=None)
    monkeypatch.setattr(catalog, "motion_modules", lambda: (local,))
    assert catalog.find_base_model("mine.safetensors").family is None
    assert "lcm" not in {preset.id for preset in presets_for("mine.safetensors")}
