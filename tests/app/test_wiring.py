"""Handlers, controls and the request name the same things in the same order."""

import asyncio
import inspect
import re
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

import gradio as gr
import pytest

from api.web.endpoint import clip_endpoint
from api.web.facts import estimate_endpoint
from pipelines.plan.request import INPUT_FIELDS, GenerationRequest
from pipelines.plan.request_fields.units import ControlUnit, ImagePrompt
from studio.examples import EXAMPLES, FOLDER, examples_of
from studio.field_groups import GROUPS, IN_SIGHT, TAB_GROUPS
from studio.fields import FIELDS, MODEL_FIELDS
from studio.modes import Mode
from tests.app.conftest import page_of
from tests.app.fake_engine import FakeEngine
from tests.app.shown import shown
from ui.inputs.control_units import PARTS, UNITS, part
from ui.inputs.img2vid import FADING
from ui.inputs.model_settings import _lists as looked_up
from ui.inputs.modes import SHARED
from ui.page import GPU_QUEUE
from ui.parts.fields import build_control, choice_label

TAB_INPUTS = [
    "mode",
    "kept_inputs",
    "stored_uploads",
    "first_frame",
    "last_frame",
    "latent_scale",
    "latent_power",
    "latent_scale_last",
    "latent_power_last",
    "noise_floor",
    "exact_ends",
    "source_video",
    "source_files",
    "source_start",
    "source_every",
    "keep_audio",
    "mask",
    "mask_feather",
    "strength",
    "image_fit",
]
UNIT_INPUTS = [part(number, name) for number in range(1, UNITS + 1) for name in PARTS]
IMAGE_PROMPT_INPUTS = [
    f"image_prompt_{name}" for name in ("model", "picture", "last_picture", "weight", "start", "end")
]


@pytest.fixture(scope="module")
def page() -> gr.Blocks:
    return page_of(FakeEngine().make_clip)


def generation_events(page: gr.Blocks) -> list:
    return [event for event in page.fns.values() if event.concurrency_id == "gpu"]


def generate_event(page: gr.Blocks):
    (found,) = (event for event in page.fns.values() if event.name == "generate")
    return found


def extend_event(page: gr.Blocks):
    return next(event for event in page.fns.values() if event.name == "extend")


def follow_event(page: gr.Blocks):
    return next(event for event in page.fns.values() if event.name == "follow")


def updates(page: gr.Blocks, event, *values) -> list[dict]:
    """All that the page shows after a press, by the components' ids, until the job has ended."""
    visitor = values[[control.elem_id for control in event.inputs].index("visitor")]

    async def followed() -> None:
        async for update in follow_event(page).fn(event.fn(*values), visitor):
            shown.append({control.elem_id: value for control, value in update.items()})

    shown: list[dict] = []
    asyncio.run(followed())
    return shown


def on_the_page(event, **values) -> list:
    """What the page sends at first, with some of it changed."""
    sent = {control.elem_id: control.value for control in event.inputs} | values
    assert len(sent) == len(event.inputs)
    return list(sent.values())


def answer(page: gr.Blocks, control: str, kind: str, **values) -> dict:
    """What a visitor's change of a control sets, by the components' ids, without what stays as it is."""
    event = event_of(page, control, kind)
    told = zip([out.elem_id for out in event.outputs], event.fn(*on_the_page(event, **values)), strict=True)
    return {name: value for name, value in told if value != gr.skip()}


def event_of(page: gr.Blocks, control: str, kind: str):
    """The one event that a control's change makes."""
    block = next(block for block in page.blocks.values() if getattr(block, "elem_id", None) == control)
    number, kind = block._id, "change" if isinstance(block, gr.Textbox) else kind
    (found,) = (event for event in page.fns.values() if (number, kind) in event.targets and event.fn)
    return found


def test_handler_parameters_control_ids_and_request_fields_are_the_same_list(page):
    fields = [name for name in GenerationRequest.model_fields if name not in INPUT_FIELDS]
    assert [control.elem_id for control in extend_event(page).inputs] == ["recipe", "more_frames", "visitor"]
    public = {event.name: event for event in generation_events(page) if event.api_visibility == "public"}
    for mode in Mode:
        given = list(inspect.signature(public[mode].fn).parameters)
        assert [name for name in given if name not in ("source_frames", "batch_count", "preset")] == list(mode.fields)
        assert given[: len(fields)] == fields
    private = generate_event(page)
    given = [control.elem_id for control in private.inputs]
    assert list(inspect.signature(private.fn).parameters) == given
    assert given[: len(fields) + 1] == [*fields, "batch_count"]
    assert given[len(fields) + 1 :] == [*TAB_INPUTS, *UNIT_INPUTS, *IMAGE_PROMPT_INPUTS, "visitor"]


def test_previews_send_what_generate_sends(page):
    *given, visitor = [control.elem_id for control in generate_event(page).inputs]
    assert visitor == "visitor"
    previews = [event for event in generation_events(page) if event.name == "preview_unit"]
    assert len(previews) == UNITS
    assert all([control.elem_id for control in event.inputs[1:]] == given for event in previews)
    assert len({event.inputs[0]._id for event in previews}) == UNITS  # what stops it is a unit's own


def test_only_the_clean_endpoints_are_public(page):
    clips = ["/txt2vid", "/img2vid", "/vid2vid", "/preprocess"]
    others = ["/estimate", "/models", "/fields", "/make_clip", "/estimate_clip"]
    assert list(page.get_api_info()["named_endpoints"]) == [*clips, *others]


def test_events_that_use_the_device_themselves_share_one_line_and_jobs_hold_up_no_event(page):
    events = generation_events(page)
    assert len(events) == UNITS + len(Mode) + 3  # previews; an endpoint each; /preprocess; /make_clip; the test clip
    assert all(event.concurrency_limit == GPU_QUEUE["concurrency_limit"] == 1 for event in events)
    presses = ("generate", "draft", "in_full", "extend", "make_grid")
    jobs = [event for event in page.fns.values() if event.name in (*presses, "follow")]
    assert len(jobs) == 2 * (len(presses) + 1) + 1  # Extend is there twice; followed after each, and on load
    assert all(event.concurrency_limit is None for event in jobs)


def test_extend_goes_on_with_the_clip_on_show():
    engine = FakeEngine(step_s=0)
    page = page_of(engine.make_clip)
    event = extend_event(page)
    recipe = GenerationRequest.build(prompt="a star", seed=7).to_json()
    shown = next(shown for shown in updates(page, event, recipe, 8, "") if "recipe" in shown)
    longer = GenerationRequest.from_json(shown["recipe"])
    assert (longer.num_frames, longer.extended_from, longer.prompt, longer.seed) == (24, (16,), "a star", 7)
    assert engine.requests == [longer]
    with pytest.raises(gr.Error, match=r"frames must be at least 1, got 0\."):
        updates(page, event, recipe, None, "")


def test_every_clip_of_a_batch_is_shown_as_it_finishes_and_all_files_stay():
    engine = FakeEngine(step_s=0.2)
    page = page_of(engine.make_clip)
    event = generate_event(page)
    shown = []
    for told in updates(page, event, *on_the_page(event, prompt="x", seed="7, 42", num_inference_steps=2)):
        if "used_seed" in told:
            shown.append(told)
            assert all(Path(name).exists() for name in told["files"]["value"])
        elif "Step" in str(told.get("status")):
            assert f"clip {len(shown) + 1} of 2" in told["status"]
    assert [told["used_seed"] for told in shown] == [7, 42]
    assert [len(told["files"]["value"]) for told in shown] == [1, 2]
    assert [told["generate"]["interactive"] for told in shown] == [False, True]
    assert [told["cancel"]["interactive"] for told in shown] == [True, False]
    assert [request.seed for request in engine.requests] == [7, 42]


NOT_OF_THE_CLIP = {"mode", "kept_inputs", "stored_uploads", "visitor"}
"""Which tab is open, the hashes of files that were restored or uploaded, and who it is."""


def field_of(control: str) -> str:
    """The field that a control of the page sets."""
    of_unit = re.match(r"(control_\d|image_prompt)_", control)
    if of_unit:
        return "image_prompts" if of_unit[1] == "image_prompt" else "controls"
    return "source_frames" if control == "source_files" else control


def test_every_control_of_the_page_is_a_parameter_of_the_endpoints(page):
    controls = {control.elem_id for control in generate_event(page).inputs} - NOT_OF_THE_CLIP
    wanted = {field_of(control) for control in controls}
    assert {"controls", "image_prompts", "source_frames", "batch_count", "noise_floor", "mask"} <= wanted
    taken = {mode: set(inspect.signature(clip_endpoint(FakeEngine().make_clip, mode)).parameters) for mode in Mode}
    of_image, of_video = set(TAB_GROUPS["Image"]), {*TAB_GROUPS["Video"], "source_frames"}
    of_both = set(TAB_GROUPS["Image and video"]) - {"controls", "image_prompts"}
    assert wanted - of_image - of_video - of_both <= taken[Mode.TXT2VID]
    assert wanted - of_video <= taken[Mode.IMG2VID]
    assert wanted - of_image <= taken[Mode.VID2VID]
    assert wanted <= set(inspect.signature(estimate_endpoint()).parameters)
    assert wanted - {"source_frames", "batch_count"} <= set(GenerationRequest.model_fields)  # the agents' settings


def test_every_part_of_a_unit_on_the_page_is_a_part_of_the_endpoints_units(page):
    controls = {control.elem_id for control in generate_event(page).inputs}
    parts = {name.removeprefix("control_1_") for name in controls if name.startswith("control_1_")}
    numbers = {name for name in parts if name.startswith("option_")}  # by their names in `options`
    assert numbers
    assert parts - numbers - {"enabled"} <= set(ControlUnit.model_fields)
    parts = {name.removeprefix("image_prompt_") for name in controls if name.startswith("image_prompt_")}
    assert parts - {"picture", "last_picture"} <= set(ImagePrompt.model_fields)


def test_keys_are_drawn_as_they_are_typed_and_ordinary_prompts_are_not(page):
    names = ("prompt", "negative_prompt", "num_frames", "prompt_hold", "closed_loop", "context_length")
    assert len({event_of(page, name, "input").fn for name in names}) == 1
    assert not event_of(page, "prompt", "input").queue

    def drawn(prompt, negative_prompt, num_frames, prompt_hold, closed_loop="off"):
        values = {"prompt": prompt, "negative_prompt": negative_prompt, "num_frames": num_frames}
        values |= {"prompt_hold": prompt_hold, "closed_loop": closed_loop, "context_length": 16}
        return answer(page, "prompt", "input", **values)["timeline"]

    both = drawn("0: a\n8: b", "0: c", 16, 0.5)
    assert drawn("0: a\n8: b", "0: c", 17, 0.5, "prompts") != drawn("0: a\n8: b", "0: c", 17, 0.5)
    assert both["visible"]
    assert both["value"].count("<svg") == 2
    for values in (("a cat: b", "", 16, 0), ("0: a", "", None, None), ("0: a", "", -1, 0), (None, None, 16, None)):
        assert drawn(*values) == {"value": "", "visible": False, "__type__": "update"}


def test_a_queued_event_draws_again_where_others_were_sent_meanwhile(page):
    for name, kind in (("base_model", "input"), ("mask", "upload"), ("source_video", "upload"), ("width", "input")):
        event = event_of(page, name, kind)
        after = [later for later in page.fns.values() if later.trigger_after == event._id]
        counting = [later for later in after if later.trigger_only_on_success]
        assert len(counting) == event.queue, name
        for later in counting:
            assert ([out.elem_id for out in later.outputs], later.fn) == (["overtaken"], None)
            (sent,) = set(re.findall(r'"\w+"', later.js)) & set(re.findall(r'"\w+"', event.js))  # the event's name
            assert f"window.sent = [{sent}, own]" in event.js
    again, plain = event_of(page, "overtaken", "change"), event_of(page, "width", "input")
    assert (again.inputs, again.outputs, again.queue) == (plain.inputs, plain.outputs, False)


def test_every_parameter_of_the_endpoint_has_a_default_and_none_where_the_model_decides():
    parameters = inspect.signature(clip_endpoint(FakeEngine().make_clip, Mode.TXT2VID)).parameters
    assert parameters["seed"].default == -1
    left_open = {name for name in FIELDS if parameters[name].default is None}
    assert left_open == {"base_model", *MODEL_FIELDS}
    assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters.values())


def test_the_endpoint_explains_every_parameter(page):
    described = page.get_api_info()["named_endpoints"]["/txt2vid"]
    assert "Make a clip" in described["description"]
    doc = clip_endpoint(FakeEngine().make_clip, Mode.TXT2VID).__doc__
    assert all(f"    {name}: " in doc for name in FIELDS)


def test_callers_of_the_endpoints_see_words_and_no_keys_of_the_page(page):
    marker = "__i18n__"
    own = {control.elem_id for control in generate_event(page).inputs}
    components = page.get_config_file()["components"]
    assert any(marker in str(one["props"]) for one in components if one["props"].get("elem_id") in own)
    assert marker not in str(page.get_api_info())
    public = [event for event in page.fns.values() if event.api_visibility == "public"]
    assert len(public) == 9
    blocks = {block._id for event in public for block in (*event.inputs, *event.outputs)}
    assert not [one for one in components if one["id"] in blocks and marker in str(one["props"])]
    assert not [event for event in public if marker in str(event.fn.__doc__)]


def test_every_field_has_one_place_on_the_page():
    placed = [*IN_SIGHT, *(name for names in GROUPS.values() for name in names)]
    assert sorted(placed) == sorted(FIELDS)
    on_tabs = {"controls", "image_prompts", *TAB_INPUTS} - {"mode", "kept_inputs", "stored_uploads", "source_files"}
    assert on_tabs == set(INPUT_FIELDS)
    assert sorted(name for names in TAB_GROUPS.values() for name in names) == sorted(INPUT_FIELDS)


@pytest.mark.parametrize("name", [*FIELDS, *FADING, *SHARED, "source_start", "source_every", "mask_feather"])
def test_a_control_says_what_the_request_says(name):
    control = build_control(name)
    field = GenerationRequest.model_fields[name]
    assert control.elem_id == name
    assert shown(control.label) == field.json_schema_extra["label"]
    assert shown(control.info).startswith(field.description)
    if isinstance(control, gr.Slider):
        for end in (control.minimum, control.maximum):
            given = (
                {"context_length": 128, name: end} if name != "context_length" else {name: end, "context_overlap": 0}
            )
            assert GenerationRequest.build(**given)


def test_upscalers_are_a_list_that_new_files_join(tmp_path, configure):
    configure(models_dir=tmp_path)
    control = build_control("upscaler")
    assert isinstance(control, gr.Dropdown)
    assert control.value == "lanczos"
    assert control.choices[0] == ("Lanczos", "lanczos")
    (tmp_path / "upscalers").mkdir()
    (tmp_path / "upscalers" / "sharp.pth").write_bytes(b"")
    new = ("sharp", "sharp.pth")
    assert new not in control.choices
    assert any(new in update.get("choices", ()) for update in looked_up("demo"))


def test_every_choice_has_a_label():
    kinds = [field.annotation for field in GenerationRequest.model_fields.values()]
    choices = [choice for kind in kinds if isinstance(kind, type) and issubclass(kind, StrEnum) for choice in kind]
    assert len(choices) > 30
    assert all(choice_label(choice) for choice in choices)


def test_examples_use_only_words_the_demo_model_knows():
    shapes = {"circle", "square", "triangle", "star", "heart", "cross"}
    colours = {"red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "white", "black"}
    motions = {"static", "left", "right", "up", "down", "growing", "shrinking", "rotating"}
    plain = {"a", "an", "on", "background", "moving", "big", "small"}
    assert [len(examples_of(mode)) for mode in Mode] == [8, 2, 2]
    for example in EXAMPLES:
        words = set(example.fields["prompt"].split())
        assert words <= shapes | colours | motions | plain
        assert words & shapes
        assert len(words & colours) == 2


def test_examples_have_their_files_which_are_small():
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    used = {path.name for example in EXAMPLES for path in (example.thumbnail, *example.files.values())}
    assert set(sizes) == used
    assert max(sizes.values()) <= 40_000
    assert sum(sizes.values()) <= 500_000


def test_the_page_is_built_without_torch():
    code = "import sys, ui.page, api.command_line.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
