"""The studio: tabs for what a clip is made from, over one set of controls that all of them share."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from pipelines.plan import catalog
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import settings
from studio.batch import build_batch
from studio.control_preview import MakePreview
from studio.engine import MakeClip, extend_request
from studio.field_groups import GROUPS
from studio.fields import FIELDS
from studio.job_runs import clips_run
from studio.jobs import Jobs
from studio.modes import Mode
from ui.charts.prompt_timeline import follow_timeline
from ui.charts.window_chart import follow_windows, windows_html
from ui.examples import place_examples, wire_examples
from ui.inputs.control_preview import wire_previews
from ui.inputs.control_units import switched_on
from ui.inputs.image_prompts import build_image_prompt, wire_image_prompt
from ui.inputs.loras import build_lora_picker
from ui.inputs.model_settings import model_line, motion_line, wire_lists, wire_models
from ui.inputs.modes import request_fields
from ui.inputs.presets import place_presets, wire_presets
from ui.parts.events import QUIET
from ui.parts.fields import build_control
from ui.parts.restored_inputs import place_kept
from ui.redraw_on_load import redraw_on_load
from ui.results.estimate_line import follow_estimate, place_estimate
from ui.results.gallery_view import GalleryPlace, keeper, place_gallery, wire_gallery
from ui.results.grid_form import GridPlace, grid_handler, place_grid
from ui.results.job_events import Start, started, wire_jobs
from ui.results.restore import place_restore, wire_found_again, wire_restore
from ui.results.results import Results, place_results
from ui.tabs import ModeTabs, place_tabs, wire_tabs
from ui.words.refusals import as_numbered
from ui.words.speech import word
from ui.words.tables import heading_key


def build_studio(
    make_clip: MakeClip, make_preview: MakePreview, jobs: Jobs, queue: dict[str, Any], page: gr.Blocks
) -> tuple[dict[str, Component], dict[str, Component]]:
    """Lay out the studio and wire it, inside the Blocks that is being built.

    Args:
        make_clip: The engine.
        make_preview: Makes what a control unit follows.
        jobs: Where clips are made.
        queue: `concurrency_id` and `concurrency_limit` of the events that use the device themselves.
        page: The Blocks.

    Returns:
        The control of every field that words alone need, by its name, in the request's order; and the components
        of the tabs, of control units and of image prompts, by their `elem_id`.
    """
    model = catalog.default_base_model()
    model_told = gr.Markdown(model_line(model), elem_id="model_line")
    own = catalog.complete({"base_model": model.id})
    found: dict[str, Component] = {}

    def place(name: str) -> None:
        found[name] = build_control(name, own.get(name), base_model=model.id)

    with gr.Column(elem_id="studio"):
        with gr.Column(elem_id="ask"):
            tabs = place_tabs(model.id)
            kept = place_kept()
            place("prompt")
            timeline = gr.HTML(elem_id="timeline", visible=False, padding=False)
            buttons = _place_buttons()
            estimated = place_estimate(own)
            advice = gr.HTML(elem_id="advice", visible=False, padding=False)
            examples = place_examples()
        with gr.Column(elem_id="result"):
            results = place_results(*buttons)
        with gr.Column(elem_id="settings"):
            restore = place_restore()
            presets = place_presets(model.id)
            place("negative_prompt")
            with gr.Row():
                place("num_frames")
                place("seed")
                batch_count = _place_batch_count()
            image_prompt = build_image_prompt(model.id)
            more = _place_settings(place, found, own)
            grid = place_grid()
        gallery = place_gallery()
    controls, inputs = {name: found[name] for name in FIELDS}, tabs.inputs | image_prompt
    everything = [*controls.values(), batch_count, *inputs.values()]
    making = _making(make_clip, jobs, everything, results, (gallery, grid))
    job_id = wire_jobs(jobs, results, gallery, making, page.load)
    wire_gallery(gallery, page)
    wire_previews(tabs.previews, make_preview, queue, everything)
    wire_models(controls, model_told, more.motion_told, advice)
    wire_presets(presets, controls, more.motion_told)
    beside = {"batch_count": batch_count, **inputs, **grid.inputs}
    follow_estimate(controls, beside, (*estimated, grid.estimate), results)
    follow_windows(controls, more.windows)
    follow_timeline(controls, timeline)
    _wire_inputs(tabs, inputs, examples, controls)
    redraw_on_load(page, controls | inputs, [model_told, more.motion_told, more.windows, tabs.others.hold, *estimated])
    wire_lists(more.refresh, controls, more.picker, inputs)
    settable = [*everything, *tabs.shown, model_told, more.motion_told, more.picker]
    wire_restore(restore, kept, results, gallery, settable)
    wire_found_again(jobs, job_id, page.load, restore, [kept.column, kept.told, *settable])
    results.reuse.click(None, results.used_seed, controls["seed"], js="(seed) => String(seed)", **QUIET)
    return controls, inputs


class _MoreSettings(NamedTuple):
    """What the accordions hold beside the fields."""

    windows: gr.HTML
    motion_told: gr.Markdown
    picker: gr.Dropdown
    refresh: gr.Button


def _place_settings(
    place: Callable[[str], None], found: Mapping[str, Component], own: Mapping[str, Any]
) -> _MoreSettings:
    for title, names in GROUPS.items():
        with gr.Accordion(word(heading_key(title)), open=False):
            for name in names:
                place(name)
            if "context_length" in names:
                windows = gr.HTML(windows_html(own), elem_id="windows", padding=False)
            if "base_model" in names:
                motion_told = gr.Markdown(motion_line(own["motion_module"]), elem_id="motion_line")
                picker = build_lora_picker(found["prompt"], found["base_model"])
                refresh = gr.Button(word("button.refresh"), elem_id="refresh", size="sm")
    return _MoreSettings(windows, motion_told, picker, refresh)


def _place_buttons() -> tuple[gr.Button, gr.Button, gr.Button]:
    """Generate, Draft and Cancel."""
    with gr.Row():
        return (
            gr.Button(word("button.generate"), variant="primary", elem_id="generate", scale=3, min_width=120),
            gr.Button(word("button.draft"), elem_id="draft_button", scale=1, min_width=80),
            gr.Button(
                word("button.cancel"), variant="stop", elem_id="cancel", interactive=False, scale=1, min_width=80
            ),
        )


def _place_batch_count() -> gr.Number:
    return gr.Number(
        1,
        label=word("label.clips"),
        info=word("label.clips_help"),
        elem_id="batch_count",
        interactive=True,
    )


def _making(
    make_clip: MakeClip,
    jobs: Jobs,
    inputs: list[Component],
    results: Results,
    places: tuple[GalleryPlace, GridPlace],
) -> dict[gr.Button, tuple[Start, Sequence[Block]]]:
    """What each button that makes a clip calls, and with what. The endpoints have clean functions of their own."""
    gallery, grid = places
    visitor = gallery.visitor
    names = [str(control.elem_id) for control in (*inputs, visitor)]
    everything = [*inputs, visitor]
    extend = _extender(make_clip, jobs)
    return {
        results.generate: (_handler(make_clip, jobs, names), everything),
        results.draft: (_handler(make_clip, jobs, names, drafts=True), everything),
        results.full: (_in_full(make_clip, jobs), [results.full_recipe, visitor]),
        results.extend: (extend, [results.recipe, results.more_frames, visitor]),
        gallery.extend: (extend, [gallery.recipe, gallery.more_frames, visitor]),
        grid.make: (grid_handler(make_clip, jobs, [*names, *grid.inputs]), [*everything, *grid.inputs.values()]),
    }


def _wire_inputs(
    tabs: ModeTabs, inputs: dict[str, Component], examples: dict[Mode, gr.Gallery], controls: dict[str, Component]
) -> None:
    """Connect what a clip is made from beside words."""
    wire_tabs(tabs, controls)
    wire_examples(examples, tabs, controls)
    wire_image_prompt(inputs, controls["base_model"])


def _requests(given: Mapping[str, Any]) -> list[GenerationRequest]:
    return build_batch(request_fields(given), batch_count=given["batch_count"], most=settings().max_clips)


def _handler(make_clip: MakeClip, jobs: Jobs, names: Sequence[str], *, drafts: bool = False) -> Start:
    """What is behind Generate and Draft; parameters are the fields of the request and what inputs are made from."""

    def generate(*values: Any) -> str:
        given = dict(zip(names, values, strict=True))
        keep = keeper(given["visitor"])
        as_seen = partial(as_numbered, numbers=switched_on(given))
        run = clips_run(make_clip, partial(_requests, given), keep, drafts=drafts)
        return started(jobs, run, as_seen, {name: given[name] for name in ("seed", "batch_count")})

    generate.__name__ = "draft" if drafts else "generate"
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD
    generate.__signature__ = inspect.Signature([inspect.Parameter(name, kinds) for name in names])  # type: ignore[attr-defined]
    return generate


def _in_full(make_clip: MakeClip, jobs: Jobs) -> Start:
    """The function behind 'Render this in full': makes the clip that the one on show is a draft of."""

    def in_full(recipe: str, visitor: object) -> str:
        return started(jobs, clips_run(make_clip, lambda: [GenerationRequest.from_json(recipe)], keeper(visitor)))

    return in_full


def _extender(make_clip: MakeClip, jobs: Jobs) -> Start:
    """The function behind Extend: goes on with the clip on show, whatever the controls say by now."""

    def extend(recipe: str, frames: int | None, visitor: object) -> str:
        return started(jobs, clips_run(make_clip, lambda: [extend_request(recipe, frames)], keeper(visitor)))

    return extend
