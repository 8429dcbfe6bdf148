"""The txt2vid tab: words in, a clip out."""

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from api.batch import MAX_CLIPS, build_batch
from api.engine import MakeClip, extend_request, run_folder
from api.faults import faults_in_words
from api.fields import FIELDS, MODEL_FIELDS
from pipelines import catalog
from pipelines.catalog_entries import BaseModel
from pipelines.errors import InvalidRequestError
from pipelines.events import Clip, Progress
from pipelines.motion_families import ADVISED_ON, advise
from pipelines.request import GenerationRequest, field_label
from ui.controls import build_control, model_choices
from ui.loras import build_lora_picker, fitting_loras
from ui.progress import duration_text, message_html, preview_html, progress_html
from ui.timeline_picture import timeline_html
from ui.window_picture import follow_windows, windows_html

EXAMPLES: dict[str, str] = {
    "red circle moving right": "a red circle moving right on a blue background",
    "growing pink heart": "a pink heart growing on a black background",
    "green triangle moving up": "a green triangle moving up on a white background",
    "big yellow cross moving down": "a big yellow cross moving down on a purple background",
    "cyan square moving left": "a cyan square moving left on an orange background",
    "shrinking white cross": "a big white cross shrinking on a red background",
    "blue triangle moving right": "a big blue triangle moving right on a yellow background",
    "purple heart moving down": "a purple heart moving down on a cyan background",
}
"""Prompts that the demo model can draw, by what their buttons say."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "Model": ("base_model", "motion_module", "vae"),
    "Prompt travel": ("prompt_blend", "prompt_hold"),
    "Motion": ("motion_scale", "motion_effect", "motion_norm"),
    "Picture": ("width", "height", "num_inference_steps", "guidance_scale", "scheduler", "clip_skip"),
    "Long clips": (
        "context_schedule",
        "context_length",
        "context_overlap",
        "context_stride",
        "closed_loop",
        "context_fuse",
        "inner_length",
        "inner_overlap",
        "extended_from",
    ),
    "Noise": (
        "noise_layout",
        "free_init_iterations",
        "free_init_filter",
        "free_init_order",
        "free_init_spatial_stop",
        "free_init_temporal_stop",
    ),
    "Output": ("fps", "reverse", "formats"),
}
"""The accordions, closed at first, and the fields in each."""

_TIMELINE_FIELDS = ("num_frames", "prompt_hold", "closed_loop", "context_length")

WAITING = "Waiting for a turn …"
NOT_STARTED = "Not started. The message says why; try again."

Update = dict[Block, Any]


@dataclass(frozen=True)
class _Results:
    """The widgets a generation writes to."""

    status: gr.HTML
    preview: gr.HTML
    video: gr.Video
    picture: gr.Image
    facts: gr.Column
    files: gr.File
    used_seed: gr.Number
    reuse: gr.Button
    more_frames: gr.Number
    extend: gr.Button
    recipe: gr.Code
    generate: gr.Button
    cancel: gr.Button

    def all(self) -> list[Block]:
        return [getattr(self, field.name) for field in fields(self)]


def build_txt2vid(make_clip: MakeClip, queue: dict[str, Any]) -> dict[str, Component]:
    """Lay out the tab and wire it, inside the Blocks that is being built.

    Args:
        make_clip: The engine.
        queue: `concurrency_id` and `concurrency_limit` of everything that makes a clip.

    Returns:
        The control of every field of the request, by its name, in the request's order.
    """
    model = catalog.default_base_model()
    model_line = gr.Markdown(_model_line(model), elem_id="model_line")
    own = catalog.complete({"base_model": model.id})
    found: dict[str, Component] = {}

    def place(name: str) -> None:
        found[name] = build_control(name, own.get(name), base_model=model.id)

    with gr.Column(elem_id="studio"):
        with gr.Column(elem_id="ask"):
            place("prompt")
            timeline = gr.HTML(elem_id="timeline", visible=False, padding=False)
            with gr.Row():
                generate = gr.Button("Generate", variant="primary", elem_id="generate", scale=3, min_width=120)
                cancel = gr.Button("Cancel", variant="stop", elem_id="cancel", interactive=False, scale=1, min_width=80)
            advice = gr.HTML(elem_id="advice", visible=False, padding=False)
            gr.Examples(
                [[words] for words in EXAMPLES.values()],
                inputs=found["prompt"],
                example_labels=list(EXAMPLES),
                label="Try one",
                cache_examples=False,  # else a Space would set it
                api_visibility="private",
                elem_id="examples",
            )
        with gr.Column(elem_id="result"):
            results = _place_results(generate, cancel)
        with gr.Column(elem_id="settings"):
            place("negative_prompt")
            with gr.Row():
                place("num_frames")
                place("seed")
                batch_count = gr.Number(
                    1,
                    label="Clips",
                    info=f"How many clips one press makes, each with the next seed. 1 to {MAX_CLIPS}.",
                    elem_id="batch_count",
                    interactive=True,
                )
            for title, names in SETTINGS.items():
                with gr.Accordion(title, open=False):
                    for name in names:
                        place(name)
                    if "context_length" in names:
                        windows = gr.HTML(windows_html(own), elem_id="windows", padding=False)
                    if "base_model" in names:
                        motion_line = gr.Markdown(_motion_line(own["motion_module"]), elem_id="motion_line")
                        picker = build_lora_picker(found["prompt"], found["base_model"])
                        refresh = gr.Button("Look for new files", elem_id="refresh", size="sm")
    controls = {name: found[name] for name in FIELDS}
    _wire(make_clip, queue, [*controls.values(), batch_count], results)
    results.reuse.click(
        None,
        results.used_seed,
        controls["seed"],
        js="(seed) => String(seed)",
        api_visibility="private",
        show_progress="hidden",
    )
    _wire_models(controls, model_line, motion_line, advice)
    follow_windows(controls, windows)
    _wire_timeline(controls, timeline)
    lists = [controls["base_model"], controls["motion_module"], controls["vae"], picker]
    refresh.click(_lists, lists[:1], lists, api_visibility="private", show_progress="hidden", preprocess=False)
    return controls


def _place_results(generate: gr.Button, cancel: gr.Button) -> _Results:
    hint = message_html("Write a prompt and press Generate (Ctrl+Enter).")
    status = gr.HTML(hint, elem_id="status", padding=False)
    preview = gr.HTML(elem_id="preview", visible=False, padding=False)
    video = gr.Video(label="Clip", elem_id="video", interactive=False, autoplay=True, loop=True, buttons=["download"])
    picture = gr.Image(
        label="Clip", elem_id="picture", interactive=False, visible=False, buttons=["download", "fullscreen"]
    )
    with gr.Column(visible=False) as facts:
        files = gr.File(label="Files", elem_id="files", interactive=False, file_count="multiple")
        with gr.Row(equal_height=True):
            used_seed = gr.Number(label="Seed of this clip", elem_id="used_seed", interactive=False, scale=3)
            reuse = gr.Button("Reuse seed", elem_id="reuse_seed", scale=1, min_width=130)
        with gr.Row(equal_height=True):
            more_frames = gr.Number(
                16, label="Frames to add", elem_id="more_frames", precision=0, minimum=1, scale=3, interactive=True
            )
            extend = gr.Button("Extend", elem_id="extend", scale=1, min_width=130)
        with gr.Accordion("Recipe", open=False):
            recipe = gr.Code(language="json", elem_id="recipe", interactive=False, show_label=False, wrap_lines=True)
    shown = (status, preview, video, picture, facts, files)
    return _Results(*shown, used_seed, reuse, more_frames, extend, recipe, generate, cancel)


def _wire(
    make_clip: MakeClip,
    queue: dict[str, Any],
    inputs: list[Component],
    results: _Results,
) -> None:
    """Connect the buttons. Nothing here is public: the endpoint has its own clean function."""
    plain: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    making = {
        results.generate: (_handler(make_clip, results), inputs),
        results.extend: (_extender(make_clip, results), [results.recipe, results.more_frames]),
    }
    running = []
    for button, (handler, given) in making.items():
        waiting = button.click(lambda: _waiting(results), None, results.all(), queue=False, **plain)
        # Without preprocessing: the request checks the values, and its words name the field.
        running.append(waiting.then(handler, given, results.all(), preprocess=False, **queue, **plain))
        # A call that is refused before it starts, as by a full queue, has no last update.
        running[-1].failure(
            lambda told: _idle(results, NOT_STARTED) if WAITING in told else {results.status: gr.skip()},
            results.status,
            results.all(),
            queue=False,
            **plain,
        )
    # The text comes in a second event: beside `cancels` it loses the race against a last progress update.
    results.cancel.click(None, None, None, cancels=running, **plain).then(
        lambda files: _idle(results, f"Cancelled. {'Finished clips were' if files else 'Nothing was'} kept."),
        results.files,
        results.all(),
        queue=False,
        preprocess=False,
        **plain,
    )


def _wire_models(
    controls: dict[str, Component], model_line: gr.Markdown, motion_line: gr.Markdown, advice: gr.HTML
) -> None:
    """Choosing a model brings its own settings; a setting that is known to fail with it is told at once."""
    # Without preprocessing: it would compare with the lists the page was built with, and they change.
    plain: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "preprocess": False}
    settings = [controls[name] for name in MODEL_FIELDS]
    base, motion = controls["base_model"], controls["motion_module"]
    base.input(_base_settings, base, [model_line, motion_line, controls["vae"], *settings], **plain)
    motion.input(_motion_settings, [base, motion], [motion_line, *settings], **plain)
    judged = [controls[name] for name in ("motion_module", *ADVISED_ON)]
    for control in judged:
        control.change(_advice, judged, advice, **plain)


def _wire_timeline(controls: dict[str, Component], timeline: gr.HTML) -> None:
    """Draw the keys of the prompts as they are typed; a picture on its way is waited for, then the last is drawn."""
    drawn = [controls[name] for name in ("prompt", "negative_prompt", *_TIMELINE_FIELDS)]
    plain: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "preprocess": False}
    gr.on(
        [control.change for control in drawn],
        _timeline,
        drawn,
        timeline,
        queue=False,
        trigger_mode="always_last",
        **plain,
    )


def _timeline(prompt: str | None, negative_prompt: str | None, *values: Any) -> Any:
    """The keys of both prompts; nothing without keys, or while the other values can't be used."""
    pictures = ""
    with suppress(InvalidRequestError):
        request = GenerationRequest.build(seed=0, **dict(zip(_TIMELINE_FIELDS, values, strict=True)))
        pictures = "".join(
            timeline_html(
                text or "",
                num_frames=request.num_frames,
                field=name,
                label=field_label(name),
                hold=request.prompt_hold,
                closed=request.closes_prompts,
            )
            for name, text in (("prompt", prompt), ("negative_prompt", negative_prompt))
        )
    return gr.update(value=pictures, visible=bool(pictures))


def _handler(make_clip: MakeClip, results: _Results) -> Callable[..., Iterator[Update]]:
    """The function behind Generate; its parameters are the request's fields and how many clips to make."""

    def generate(*values: Any) -> Iterator[Update]:
        *fields, count = values
        given = dict(zip(FIELDS, fields, strict=True))
        yield from _shown(make_clip, results, lambda: build_batch(given, batch_count=count))

    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD
    generate.__signature__ = inspect.Signature([inspect.Parameter(name, kinds) for name in (*FIELDS, "batch_count")])  # type: ignore[attr-defined]
    return generate


def _extender(make_clip: MakeClip, results: _Results) -> Callable[..., Iterator[Update]]:
    """The function behind Extend: goes on with the clip on show, whatever the controls say by now."""

    def extend(recipe: str, frames: int | None) -> Iterator[Update]:
        yield from _shown(make_clip, results, lambda: [extend_request(recipe, frames)])

    return extend


def _shown(make_clip: MakeClip, results: _Results, build: Callable[[], list[GenerationRequest]]) -> Iterator[Update]:
    """Make clips one after the other and show how it goes, then what came of each."""
    try:
        with faults_in_words(), run_folder() as folder:
            requests = build()
            files: list[str] = []
            for number, request in enumerate(requests, start=1):
                place = f"clip {number} of {len(requests)}" if len(requests) > 1 else ""
                with closing(make_clip(request, folder)) as events:
                    for event in events:
                        if not isinstance(event, Clip):
                            yield _on_the_way(results, event, place)
                            continue
                        update = _finished(results, event, request.seed)
                        if place:
                            files += map(str, event.files)
                            update |= _one_of_several(results, files, goes_on=number < len(requests))
                        yield update
    except gr.Error as err:
        yield _idle(results, err.message, is_error=True)
        raise


def _on_the_way(results: _Results, progress: Progress, place: str) -> Update:
    update: Update = {results.status: progress_html(progress, clip=place)}
    if progress.preview is not None:  # it takes the place of the empty video
        update[results.preview] = gr.update(value=preview_html(progress.preview), visible=True)
        update[results.video] = gr.update(visible=False)
    return update


def _one_of_several(results: _Results, files: list[str], *, goes_on: bool) -> Update:
    """What differs from a single clip: all files of the clips so far are there, and buttons wait for the last."""
    return {
        results.files: gr.update(value=list(files), visible=True),
        results.generate: gr.update(interactive=not goes_on),
        results.extend: gr.update(interactive=not goes_on),
        results.cancel: gr.update(interactive=goes_on),
    }


def _waiting(results: _Results) -> Update:
    return {
        results.status: message_html(WAITING),
        results.preview: gr.update(value="", visible=False),
        results.video: gr.update(value=None, visible=True),
        results.picture: gr.update(value=None, visible=False),
        results.facts: gr.update(visible=False),
        results.files: None,
        results.generate: gr.update(interactive=False),
        results.cancel: gr.update(interactive=True),
    }


def _idle(results: _Results, text: str, *, is_error: bool = False) -> Update:
    return {
        results.status: message_html(text, is_error=is_error),
        results.preview: gr.update(value="", visible=False),
        results.video: gr.update(visible=True),
        results.generate: gr.update(interactive=True),
        results.extend: gr.update(interactive=True),
        results.cancel: gr.update(interactive=False),
    }


def _finished(results: _Results, clip: Clip, seed: int) -> Update:
    """Show the clip: a video if one was written, else the moving picture, else only the files."""
    by_suffix = {path.suffix.lower(): str(path) for path in clip.files}
    video = by_suffix.pop(".mp4", None)
    picture = None if video else by_suffix.get(".gif")
    done = f"Done: {clip.num_frames} frames in {duration_text(clip.seconds)}."
    return {
        **_idle(results, " ".join([done, *clip.warnings])),
        results.video: gr.update(value=video, visible=video is not None),
        results.picture: gr.update(value=picture, visible=picture is not None),
        results.files: gr.update(value=list(by_suffix.values()), visible=bool(by_suffix)),
        results.used_seed: seed,
        results.facts: gr.update(visible=True),
        results.recipe: json.dumps(json.loads(clip.recipe), indent=2, ensure_ascii=False),
    }


def _base_settings(base_model: str) -> list[Any]:
    """What changes when another base model is chosen: the lines about the models, and all they decide."""
    with faults_in_words():
        own = catalog.complete({"base_model": base_model})
        model = catalog.find_base_model(base_model)
    modules = gr.update(value=own["motion_module"], choices=model_choices("motion_module", base_model))
    return [
        _model_line(model),
        _motion_line(own["motion_module"]),
        gr.update(value="", choices=model_choices("vae", base_model)),
        *(modules if name == "motion_module" else _setting(own, name) for name in MODEL_FIELDS),
    ]


def _lists(base_model: str) -> list[Any]:
    """The lists of models and LoRAs, looked up again; what is chosen stays."""
    with faults_in_words():
        modules = model_choices("motion_module", base_model)
    return [
        gr.update(choices=model_choices("base_model")),
        gr.update(choices=modules),
        gr.update(choices=model_choices("vae", base_model)),
        fitting_loras(base_model),
    ]


def _motion_settings(base_model: str, motion_module: str) -> list[Any]:
    """What changes when another motion module is chosen: its line, and what it or the base model decides."""
    with faults_in_words():
        own = catalog.complete({"base_model": base_model, "motion_module": motion_module})
    picture = ("width", "height")  # may have been set on purpose, and no motion module has an opinion on them
    return [
        _motion_line(motion_module),
        *(gr.skip() if name in picture else _setting(own, name) for name in MODEL_FIELDS),
    ]


def _setting(own: dict[str, Any], name: str) -> Any:
    return own.get(name, GenerationRequest.model_fields[name].default)


def _advice(motion_module: str, *settings: Any) -> Any:
    """What is known to fail with these settings, or nothing."""
    with faults_in_words():
        family = catalog.find_motion_module(motion_module).known_family
    told = advise(family, dict(zip(ADVISED_ON, settings, strict=True))) if family else []
    return gr.update(value=message_html(" ".join(told), is_error=True), visible=bool(told))


def _motion_line(motion_module: str) -> str:
    entry = catalog.find_motion_module(motion_module)
    family = entry.known_family
    known = f"{family.name}: {family.in_words}." if family else "What it is, is found out when it is loaded."
    return f"{entry.description} {known}"


def _model_line(model: BaseModel) -> str:
    return f"**{model.label}**: {model.description}"
