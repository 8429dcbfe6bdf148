"""The studio: tabs over one set of shared controls."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from pipelines.plan import catalog
from pipelines.plan.request import GenerationRequest
from studio.batch import build_batch
from studio.engine import extend_request
from studio.field_groups import GROUPS
from studio.fields import FIELDS
from studio.job_runs import clips_run
from studio.studio import Studio
from ui.charts.window_chart import windows_html
from ui.drawings import page_events, wire_drawings
from ui.examples import place_examples, wire_examples
from ui.inputs.control_preview import wire_previews
from ui.inputs.control_units import switched_on
from ui.inputs.image_prompts import build_image_prompt
from ui.inputs.loras import LoraPlace, place_loras, wire_loras
from ui.inputs.model_settings import model_line, motion_line, wire_lists, wire_models
from ui.inputs.modes import request_fields
from ui.inputs.presets import place_presets, wire_presets
from ui.parts.events import QUIET
from ui.parts.fields import build_control
from ui.parts.page_request import PageRequest
from ui.parts.page_values import PageValues
from ui.parts.restored_inputs import place_restored_files
from ui.results.estimate_line import place_estimate
from ui.results.gallery_view import GalleryPlace, keeper, place_gallery, wire_gallery
from ui.results.grid_form import GridPlace, grid_handler, place_grid
from ui.results.job_events import Start, start_job, wire_jobs
from ui.results.restore import place_restore, wire_found_again, wire_restore
from ui.results.results import Results, place_results
from ui.tabs import place_tabs, wire_tabs
from ui.words.refusals import renumber_unit
from ui.words.speech import word
from ui.words.tables import heading_key


def build_workspace(
    studio: Studio, queue: Mapping[str, object], page: gr.Blocks
) -> tuple[dict[str, Component], dict[str, Component]]:
    """Lay out and wire the workspace, inside the current Blocks.

    Args:
        studio: What it works with.
        queue: `concurrency_id` and `concurrency_limit` of the events that use the device themselves.
        page: The Blocks.

    Returns:
        The control of every field that words alone need, by its name, in the request's order; and the components
        of the tabs, of control units and of image prompts, by their `elem_id`.
    """
    model = catalog.default_base_model()
    model_line_box = gr.Markdown(model_line(model), elem_id="model_line")
    defaults = catalog.complete({"base_model": model.id})
    components: dict[str, Component] = {}

    def place(name: str) -> None:
        components[name] = build_control(name, defaults.get(name), base_model=model.id)

    with gr.Column(elem_id="studio"):
        with gr.Column(elem_id="ask"):
            tabs = place_tabs(model.id)
            restored_files = place_restored_files()
            place("prompt")
            gr.HTML(elem_id="timeline", visible=False, padding=False)
            buttons = _place_buttons()
            place_estimate(PageValues(defaults))
            gr.HTML(elem_id="advice", visible=False, padding=False)
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
            extras = _place_settings(place, defaults)
            grid = place_grid()
        gallery = place_gallery()
    controls, inputs = {name: components[name] for name in FIELDS}, tabs.inputs | image_prompt
    everything = [*controls.values(), batch_count, *inputs.values()]
    making = _button_handlers(studio, everything, results, (gallery, grid))
    job_id = wire_jobs(studio, results, gallery, making, page.load)
    wire_gallery(gallery, studio.gallery, page)
    wire_previews(tabs.previews, studio.make_preview, queue, everything)
    events = page_events(page)
    wire_drawings(events)
    wire_models(controls, events)
    wire_presets(presets, events)
    wire_loras(extras.loras, controls["prompt"], studio.dropped_dir)
    wire_tabs(tabs, examples, events)
    wire_examples(examples, tabs, controls, events)
    wire_lists(extras.refresh, controls, extras.loras.picker, inputs)
    settable = [*everything, *tabs.restorable, model_line_box, extras.motion_line_box, extras.loras.picker]
    wire_restore(restore, restored_files, results, gallery, settable, events)
    wire_found_again(studio.jobs, job_id, page.load, restore, [*restored_files[:2], *settable], events)
    results.reuse.click(None, results.used_seed, controls["seed"], js="(seed) => String(seed)", **QUIET)
    return controls, inputs


class _MoreSettings(NamedTuple):
    """Widgets of the accordions beside the fields."""

    motion_line_box: gr.Markdown
    loras: LoraPlace
    refresh: gr.Button


def _place_settings(place: Callable[[str], None], defaults: Mapping[str, object]) -> _MoreSettings:
    for title, names in GROUPS.items():
        with gr.Accordion(word(heading_key(title)), open=False):
            for name in names:
                place(name)
            if "context_length" in names:
                gr.HTML(windows_html(PageRequest.of(defaults)), elem_id="windows", padding=False)
            if "base_model" in names:
                motion_line_box = gr.Markdown(motion_line(str(defaults["motion_module"])), elem_id="motion_line")
                loras = place_loras(str(defaults["base_model"]))
                refresh = gr.Button(word("button.refresh"), elem_id="refresh", size="sm")
    return _MoreSettings(motion_line_box, loras, refresh)


def _place_buttons() -> tuple[gr.Button, gr.Button, gr.Button]:
    """Lay out Generate, Draft and Cancel."""
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


def _button_handlers(
    studio: Studio,
    inputs: list[Component],
    results: Results,
    places: tuple[GalleryPlace, GridPlace],
) -> dict[gr.Button, tuple[Start, Sequence[Block]]]:
    """Map each button that makes a clip to handler and inputs.

    The endpoints have clean functions of their own.
    """
    gallery, grid = places
    visitor = gallery.visitor
    names = [str(control.elem_id) for control in (*inputs, visitor)]
    everything = [*inputs, visitor]
    extend = _extender(studio)
    return {
        results.generate: (_handler(studio, names), everything),
        results.draft: (_handler(studio, names, drafts=True), everything),
        results.full: (_in_full(studio), [results.full_recipe, visitor]),
        results.extend: (extend, [results.recipe, results.more_frames, visitor]),
        gallery.extend: (extend, [gallery.recipe, gallery.more_frames, visitor]),
        grid.make: (grid_handler(studio, [*names, *grid.inputs]), [*everything, *grid.inputs.values()]),
    }


def _handler(studio: Studio, names: Sequence[str], *, drafts: bool = False) -> Start:
    """Build the handler of Generate and Draft."""

    def generate(*values: object) -> str:
        page = PageValues.of(names, values)
        relabel = partial(renumber_unit, numbers=switched_on(page))

        def build() -> list[GenerationRequest]:
            most = studio.settings.max_clips
            return build_batch(request_fields(page), batch_count=page.value("batch_count"), most=most)

        run = clips_run(studio.make_clip, build, keeper(studio.gallery, page.value("visitor")), drafts=drafts)
        return start_job(studio.jobs, run, relabel, page.fields(("seed", "batch_count")))

    generate.__name__ = "draft" if drafts else "generate"
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD
    generate.__signature__ = inspect.Signature([inspect.Parameter(name, kinds) for name in names])  # type: ignore[attr-defined]
    return generate


def _in_full(studio: Studio) -> Start:
    """Build the handler that renders the shown draft in full."""

    def in_full(recipe: str, visitor: object) -> str:
        keep = keeper(studio.gallery, visitor)
        return start_job(studio.jobs, clips_run(studio.make_clip, lambda: [GenerationRequest.from_json(recipe)], keep))

    return in_full


def _extender(studio: Studio) -> Start:
    """Build the handler of Extend, which ignores the controls."""

    def extend(recipe: str, frames: int | None, visitor: object) -> str:
        keep = keeper(studio.gallery, visitor)
        return start_job(studio.jobs, clips_run(studio.make_clip, lambda: [extend_request(recipe, frames)], keep))

    return extend
