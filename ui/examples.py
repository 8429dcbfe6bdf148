"""Galleries of examples that fill the controls of a tab."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from studio.engine import run_folder
from studio.examples import Example, examples_of
from studio.modes import Mode
from studio.stored_inputs import keep
from ui.inputs.control_units import PARTS, UNITS, part, unit_values
from ui.inputs.vid2vid import source_at_hand
from ui.parts.events import QUIET
from ui.parts.fields import shown_value
from ui.parts.page_events import PageEvents
from ui.parts.restored_inputs import RESTORED_HASHES
from ui.parts.updates import Update, UpdatesById
from ui.tabs import ModeTabs
from ui.words.speech import word

_SHARED = ("prompt", "seed", "num_frames", "fps")


def place_examples() -> dict[Mode, gr.Gallery]:
    """Lay out a gallery per tab; the first one is visible."""
    return {
        mode: gr.Gallery(
            [(str(example.thumbnail), example.label) for example in examples_of(mode)],
            label=word("label.examples"),
            columns=4,
            height="auto",
            object_fit="cover",
            allow_preview=False,
            interactive=False,
            buttons=[],
            visible=mode is Mode.TXT2VID,
            elem_id=f"examples_{mode.value}",
            elem_classes="examples",
        )
        for mode in Mode
    }


def wire_examples(
    galleries: Mapping[Mode, gr.Gallery], tabs: ModeTabs, controls: Mapping[str, Component], events: PageEvents
) -> None:
    """Fill controls on a click.

    Args:
        galleries: By the tabs they belong to.
        tabs: What the tabs hold.
        controls: The control of every field that words alone need.
        events: The page's.
    """
    targets: dict[str, Block] = {str(component.elem_id): component for component in tabs.restorable}
    targets |= {**tabs.inputs, **{name: controls[name] for name in _SHARED}}
    for kind, gallery in galleries.items():
        outputs = [gallery, *(targets[name] for name in _touched(kind))]
        events.after(gallery.select(_filler(kind), controls["base_model"], outputs, preprocess=False, **QUIET))


def _touched(mode: Mode) -> list[str]:
    """List the `elem_id`s that an example of a tab sets."""
    if mode is Mode.TXT2VID:
        return ["prompt", "seed"]
    if mode is Mode.IMG2VID:
        return ["prompt", "seed", "first_frame", RESTORED_HASHES]
    units = [part(number, name) for number in range(1, UNITS + 1) for name in PARTS]
    source = ["source_video", "source_files", RESTORED_HASHES, "source_told", "mask_painting"]
    return [*_SHARED, "strength", *source, *units]


def _filler(mode: Mode) -> Callable[..., Iterator[list[Update]]]:
    examples, touched = examples_of(mode), _touched(mode)

    def fill(base_model: str, event: gr.SelectData) -> Iterator[list[Update]]:
        with run_folder() as folder:  # from where gradio copies the files: it serves none of the app's own
            values = _values(examples[int(event.index)], base_model, folder)
            unselected = gr.update(selected_index=None)  # else a second click would be none
            yield [unselected, *(values.get(name, gr.skip()) for name in touched)]

    return fill


def _values(example: Example, base_model: str, folder: Path) -> UpdatesById:
    values: UpdatesById = {
        name: shown_value(name, value) for name, value in example.fields.items() if name != "controls"
    }
    values |= {name: shutil.copy(path, folder) for name, path in example.files.items()}
    if example.mode is Mode.TXT2VID:
        return values
    values[RESTORED_HASHES] = ""
    if example.mode is Mode.VID2VID:
        source = keep([example.files["source_video"]], field="source_video")
        units, _, _ = unit_values(example.fields["controls"], base_model)
        values |= units | source_at_hand({"source_video": source}) | {"source_files": None}
    return values
