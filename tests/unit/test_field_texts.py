"""Texts as the programs of the field write them: read, or named."""

import json
from pathlib import Path

import pytest

from api.recipes.foreign import program_of
from api.recipes.read import is_recipe, restore
from pipelines.plan.choices import HiresMethod
from pipelines.plan.errors import UserError
from pipelines.plan.request import GenerationRequest
from studio.modes import Mode

MUSEUM = Path(__file__).resolve().parents[1] / "museum"
INFOTEXTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((MUSEUM / "infotexts").glob("*.txt"))}
FOREIGN = {path.stem: path.read_text(encoding="utf-8") for path in sorted((MUSEUM / "foreign").glob("*.json"))}
DREAMSHAPER = "Lykon/DreamShaper"
FOX = "a fox in tall grass"
TEXT = (
    f"{FOX}: füchse, 狐\n0: day\n8: night\nNegative prompt: blurry\n"
    "Steps: 20, Sampler: Euler a, Seed: 1234, Size: 512x384"
)

MEANT = {
    "webui-1.6-karras-hires": {
        "prompt": "masterpiece, a lighthouse by the sea, (storm:1.2) <lora:more_waves:0.7>",
        "negative_prompt": "easynegative, lowres,\nbad anatomy",
        "num_inference_steps": 24,
        "scheduler": "dpmpp_2m",
        "seed": 2786411903,
        "width": 512,
        "height": 640,
        "base_model": DREAMSHAPER,
        "clip_skip": 1,
        "hires_scale": 1.5,
        "hires_strength": 0.45,
        "hires_method": HiresMethod.LATENT,
    },
    "webui-1.9-automatic": {"scheduler": "euler_a", "seed": 314159, "num_inference_steps": 20, "hires_scale": 1.0},
    "webui-1.10-karras": {
        "scheduler": "dpmpp_2m",
        "hires_scale": 1.5,
        "hires_strength": 0.55,
        "negative_prompt": "fog",
    },
    "webui-2022-first-pass": {"width": 512, "height": 512, "hires_scale": 2.0, "hires_strength": 0.7},
    "webui-img2img": {"strength": 0.6, "width": 768, "scheduler": "ddim"},
    "webui-quoted-values": {"prompt": "a street: day, rain", "scheduler": "euler", "seed": 8},
    "forge-beta": {"scheduler": "euler", "guidance_scale": 5, "clip_skip": 1, "width": 512, "height": 768},
    "sdnext": {
        "prompt": FOX,
        "negative_prompt": "",
        "seed": 1234,
        "num_inference_steps": 25,
        "scheduler": "euler_a",
        "clip_skip": 1,
        "hires_scale": 2.0,
        "hires_strength": 0.3,
        "base_model": DREAMSHAPER,
    },
    "civitai-resources": {"seed": 1234, "scheduler": "euler_a", "clip_skip": 1, "height": 768},
    "civitai-resources-cut": {"seed": 1234, "scheduler": "euler_a", "clip_skip": 1, "height": 768},
    "fooocus-a1111-scheme": {"seed": 8125, "num_inference_steps": 30, "guidance_scale": 4},
    "draw-things": {"prompt": FOX, "negative_prompt": "blurry, low quality", "scheduler": "dpmpp_2m", "seed": 4021},
    "animatediff-2.0": {
        "prompt": f"{FOX}\n0: spring\n8: winter",
        "num_frames": 24,
        "closed_loop": "windows",
        "interpolation": "film",
        "keep_duration": False,
    },
    "animatediff-1.9-dict": {
        "num_frames": 16,
        "context_overlap": 4,
        "motion_module": "guoyww/animatediff/mm_sd_v15_v2.ckpt",
    },
    "animatediff-1.7-txt": {"prompt": FOX, "num_frames": 16, "motion_module": "guoyww/animatediff/mm_sd_v15_v2.ckpt"},
}
NOTED = {
    "webui-1.6-karras-hires": ["Schedule type (Karras)", "Hires steps (12)", "more_waves"],
    "webui-1.9-automatic": [],
    "webui-1.10-karras": ["Schedule type (Karras)", "Hires steps (10)", "Pad conds (True)"],
    "webui-2022-first-pass": [],
    "webui-img2img": ["First frame", "Mask blur (4)"],
    "webui-quoted-values": [
        "mix, of: two",
        "ControlNet 0 (Module: canny",
        "Refiner (xl: refiner",
        "X Values (1, 2, 3)",
    ],
    "forge-beta": ["Schedule type (Beta)", "Module 1 (vae-ft-mse-840000-ema-pruned)"],
    "sdnext": ["HiRes mode (1)", "Hires force (True)", "Hires steps (10)"],
    "civitai-resources": [],
    "civitai-resources-cut": [],
    "fooocus-a1111-scheme": [
        "'DPM++ 2M SDE' has no counterpart",
        "juggernautXL",
        "Sharpness (2)",
        "ADM Guidance ((1.5, 0.8, 0.3))",
    ],
    "draw-things": ["sd_v1.5_f16.ckpt", "Schedule type (Karras)"],
    "animatediff-2.0": [],
    "animatediff-1.9-dict": [],
    "animatediff-1.7-txt": [],
}


@pytest.mark.parametrize("name", INFOTEXTS)
def test_an_infotext_of_the_field_is_read(name):
    restored = restore(INFOTEXTS[name])
    request = GenerationRequest.build(**restored.values)
    values = {field: getattr(request, field) for field in MEANT[name]}
    assert values == MEANT[name]
    notes = " | ".join(restored.notes)
    assert [words for words in NOTED[name] if words not in notes] == []
    if not NOTED[name]:
        assert restored.notes == ()
    is_from_picture = name in ("webui-img2img", "draw-things")
    assert restored.mode is (Mode.IMG2VID if is_from_picture else Mode.TXT2VID)


def test_the_settings_of_an_infotext_may_stand_in_any_order():
    *_, line = INFOTEXTS["webui-1.9-automatic"].strip().split("\n")
    settings = line.split(", ")
    expected = restore(f"x\n{line}").values
    for turned in range(1, len(settings)):
        assert restore(f"x\n{', '.join(settings[turned:] + settings[:turned])}").values == expected


SETTINGS = "Sampler: Euler a, CFG scale: 7, Seed: 1234, Size: 512x384"
RUN_ON = {
    "all in one line": f"a fox Negative prompt: blurry Steps: 20, {SETTINGS}",
    "commas for breaks": f"a fox, Negative prompt: blurry, Steps: 20, {SETTINGS}",
    "settings behind the negative prompt": f"a fox\nNegative prompt: blurry Steps: 20, {SETTINGS}",
    "a line for each setting": "a fox\nNegative prompt: blurry\nSteps: 20\n" + SETTINGS.replace(", ", "\n"),
    "a value of two lines": f'a fox\nNegative prompt: blurry\nSteps: 20, Hires prompt: "one,\ntwo", {SETTINGS}',
    "labels of a page": f"parameters\n\na fox\nNegative prompt: blurry\nSteps: 20, {SETTINGS}",
    "a label of the prompt": f"Positive prompt: a fox\nNegative prompt: blurry\nSteps: 20, {SETTINGS}",
    "spaces that don't break": f"a fox\nNegative\xa0prompt:\xa0blurry\nSteps:\xa020,\xa0{SETTINGS}",
    "wide colons": f"a fox\nNegative prompt：blurry\nSteps： 20, {SETTINGS.replace(':', '：')}",
    "quotes around it": f'"a fox\nNegative prompt: blurry\nSteps: 20, {SETTINGS}"',
}


@pytest.mark.parametrize("text", RUN_ON.values(), ids=RUN_ON)
def test_an_infotext_is_read_where_its_lines_are_others(text):
    values = restore(text).values
    assert (values["prompt"].rstrip(","), values["negative_prompt"]) == ("a fox", "blurry")
    assert (values["num_inference_steps"], values["seed"], values["height"]) == (20, 1234, 384)


def test_a_seed_that_is_drawn_each_time_is_not_drawn_on_reading():
    assert restore("x\nSteps: 20, Sampler: Euler, Seed: -1, Size: 512x512").values["seed"] == -1


SAMPLERS = {
    "dpmpp_2m": [
        "DPM++ 2M",
        "DPM++ 2M Karras",
        "k_dpmpp_2m",
        "k_dpmpp_2m_ka",
        "dpmpp_2m_k",
        "DPMSolverMultistepScheduler",
    ],
    "euler_a": [
        "Euler a",
        "Euler A",
        "k_euler_a",
        "k_euler_ancestral",
        "euler_ancestral",
        "Euler a Karras",
        "Euler A Trailing",
    ],
    "euler": ["Euler", "k_euler", "euler"],
    "ddim": ["DDIM", "ddim", "DDIM Trailing", "ddim_v3"],
    "lcm": ["LCM", "lcm", "LCM Karras"],
    None: [
        "UniPC",
        "DPM++ SDE Karras",
        "DPM++ 2M SDE",
        "Heun",
        "DPM2 a Karras",
        "PLMS",
        "LMS Karras",
        "k_lms",
        "DDIM CFG++",
        "",
    ],
}


@pytest.mark.parametrize(
    ("sampler", "name"), [(sampler, name) for sampler, names in SAMPLERS.items() for name in names]
)
def test_a_sampler_is_the_same_by_its_old_and_its_new_name(sampler, name):
    restored = restore(f"x\nSteps: 20, Sampler: {name}, Seed: 5, Size: 512x512")
    default = restore("x\nSteps: 20, Seed: 5, Size: 512x512").values["scheduler"]
    assert restored.values["scheduler"] == (sampler or default)
    assert (sampler is None and name != "") == any(note.startswith("Sampler:") for note in restored.notes)
    has_schedule = "Karras" in name or "Trailing" in name or name.endswith(("_ka", "_k"))
    assert has_schedule == any("Schedule type (" in note for note in restored.notes)


@pytest.mark.parametrize("schedule", ["Automatic", "automatic", "Uniform", "normal"])
def test_a_schedule_that_changes_nothing_is_not_told(schedule):
    assert restore(f"x\nSteps: 20, Sampler: Euler, Schedule type: {schedule}, Seed: 5, Size: 512x512").notes == ()


READ = {"swarmui", "fooocus", "novelai", "invokeai", "draw-things", "civitai-meta", "easy-diffusion", "sdapi-body"}
CALLED = {
    "comfyui-api": "a workflow of ComfyUI",
    "comfyui-ui": "a workflow of ComfyUI",
    "comfyui-videohelpersuite": "a workflow of ComfyUI",
    "comfyui-civitai": "a workflow of ComfyUI",
    "animatediff-cli": "a project of animatediff-cli",
    "deforum": "Deforum's settings",
    "unknown-program": "JSON of another program (keys: prompt, engine, temperature, seed)",
    "list-of-objects": "JSON that is no recipe",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_json_of_other_programs_is_never_a_recipe(name):
    assert not is_recipe(json.loads(FOREIGN[name]))


@pytest.mark.parametrize("name", sorted(READ))
def test_plain_settings_of_other_programs_are_read(name):
    restored = restore(FOREIGN[name])
    request = GenerationRequest.build(**restored.values)
    assert (request.prompt, request.negative_prompt, request.seed) == ("a fox", "blurry", 528021513)
    assert (request.num_inference_steps, request.guidance_scale) == (25, 6.5)
    assert (request.width, request.height, request.scheduler) == (512, 640, "dpmpp_2m")
    if name not in ("sdapi-body", "novelai"):  # whose model stands elsewhere
        assert request.base_model == DREAMSHAPER
    assert restored.mode is Mode.TXT2VID
    assert restored.notes[0].startswith(f"Read from {program_of(json.loads(FOREIGN[name])).name}")


@pytest.mark.parametrize("name", sorted(CALLED))
def test_json_that_cannot_be_read_is_named_for_what_it_is(name):
    with pytest.raises(UserError) as refused:
        restore(FOREIGN[name])
    assert f"got {CALLED[name]}" in str(refused.value)
    assert "by hand" in str(refused.value)
    assert len(str(refused.value)) < 400


NAMED = {
    "a workflow of ComfyUI": [
        {"a-run": {"prompt": [0, "a-run", {"3": {"class_type": "KSampler", "inputs": {}}}, {}], "outputs": {}}},
        {"nodes": [{"id": 1, "type": "KSampler", "widgets_values": [5]}], "config": {}, "extra": {}},
        [{"id": 1, "type": "KSampler", "widgets_values": [5]}],
    ],
    "SwarmUI's parameters": [{"prompt": "x", "seed": 1, "steps": 20, "swarm_version": "0.9"}],
    "a preset of Fooocus": [{"default_model": "x", "default_loras": [], "default_prompt": ""}],
    "Draw Things' settings": [{"seed": -1, "steps": 20, "guidanceScale": 5, "batchCount": 1, "width": 512}],
    "NovelAI's parameters": [{"Description": "x", "Software": "NovelAI", "Comment": "{}"}],
    "a workflow of InvokeAI": [{"name": "x", "nodes": [{"id": "a", "data": {}}], "edges": []}],
    "Deforum's settings": [{"W": 512, "H": 512, "prompts": {"0": "x"}, "seed": 2}],
    "an answer of the web UI's API": [{"images": ["…"], "parameters": {"prompt": "x"}, "info": "{}"}],
    "the web UI's settings": [
        {"samples_save": True, "sd_model_checkpoint": "x"},
        {"customscript/x": 1, "txt2img/Prompt/value": "a fox"},
    ],
    "styles for prompts": [
        [{"name": "ink", "prompt": "ink {prompt}", "negative_prompt": "photo"}],
        {"ink": {"prompt": "ink {prompt}", "negative_prompt": "photo"}},
        {"name": "ink", "prompt": "ink {prompt}", "negative_prompt": "photo"},
    ],
    "a configuration of a network": [{"_class_name": "UNet2DConditionModel", "in_channels": 4}],
    "a package.json of Node.js": [{"name": "x", "version": "1.0.0", "scripts": {}}],
}


@pytest.mark.parametrize(("name", "expected"), [(name, expected) for name, them in NAMED.items() for expected in them])
def test_settings_and_graphs_of_every_form_are_named(name, expected):
    with pytest.raises(UserError, match=f"got {name}"):
        restore(json.dumps(expected))


@pytest.mark.parametrize(
    "prompt",
    [
        {"nodes": [{"id": 1, "type": "Note", "widgets_values": ["TEXT"]}], "links": []},
        {"3": {"class_type": "SaveText", "inputs": {"text": "TEXT"}}},
        [{"role": "user", "content": "TEXT"}],
        {"metadata": {"text": "TEXT"}},
    ],
)
@pytest.mark.parametrize("written", [json.dumps, str], ids=["json", "python"])
def test_an_infotext_quoted_inside_of_a_graph_is_not_the_graphs_prompt(written, prompt):
    text = written(json.loads(json.dumps(prompt).replace("TEXT", TEXT.replace("\n", "\\n"))))
    with pytest.raises(UserError, match=r"^file must carry a recipe "):
        restore(text)


def test_the_infotext_in_an_answer_of_the_web_ui_is_read():
    info = {"prompt": "another", "seed": 1, "infotexts": [TEXT]}
    for answer in (info, {"images": ["…"], "parameters": {}, "info": json.dumps(info)}, {"info": TEXT, "items": {}}):
        values = restore(json.dumps(answer)).values
        assert (values["prompt"].split("\n")[0], values["seed"]) == (f"{FOX}: füchse, 狐", 1234)


def test_the_settings_in_fooocus_log_are_read():
    log = {"Prompt": "a fox", "Negative Prompt": "blurry", "Performance": "Speed", "Resolution": "(896, 512)"}
    restored = restore(json.dumps(log | {"Seed": "123", "Guidance Scale": 4, "Version": "Fooocus v2.5.0"}))
    values = restored.values
    assert (values["prompt"], values["negative_prompt"], values["seed"]) == ("a fox", "blurry", 123)
    assert (values["width"], values["height"], values["guidance_scale"]) == (896, 512, 4)


def test_every_foreign_piece_is_tried():
    assert {*READ, *CALLED} == set(FOREIGN)
    assert set(MEANT) == set(NOTED) == set(INFOTEXTS)


@pytest.mark.parametrize(
    "document",
    [
        {"app_id": "invoke-ai/InvokeAI", "image": {"prompt": [{"prompt": "a", "weight": 1}], "steps": 50}},
        {"Prompt": "a", "steps": 30, "software": "RuinedFooocus"},
        {},
    ],
)
def test_settings_of_an_unknown_version_are_not_half_read(document):
    with pytest.raises(UserError, match=r"^file must carry a recipe of this app or an infotext, got "):
        restore(json.dumps(document))


def test_a_size_that_is_no_multiple_of_8_becomes_one_and_is_told():
    restored = restore("x\nSteps: 20, Sampler: DDIM, Seed: 5, Size: 1000x563")
    assert (restored.values["width"], restored.values["height"]) == (1000, 560)
    assert restored.notes == ("Size: 1000x563 is no multiple of 8; it becomes 1000x560.",)
