"""Tabs for what a clip starts from, and their shared inputs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from studio.modes import Mode
from ui.inputs.control_preview import UnitPreview, place_preview
from ui.inputs.control_units import UNITS, build_unit, wire_units
from ui.inputs.img2vid import build_img2vid, first_shape
from ui.inputs.modes import SHARED
from ui.inputs.source_size import wire_size_button
from ui.inputs.vid2vid import MaskPainter, build_vid2vid, source_shape, wire_vid2vid
from ui.parts.events import QUIET
from ui.parts.fields import build_control
from ui.parts.page_events import OVERTAKEN, PageEvents
from ui.parts.restored_inputs import RESTORED_HASHES, UPLOADED_HASHES
from ui.words.speech import word

_SHOW_TAB = f"""(mode) => [mode !== "{Mode.TXT2VID}", ...{json.dumps(list(Mode))}.map((kind) => kind === mode)].map(
  (visible) => ({{__type__: "update", visible}})
)"""


@dataclass(frozen=True)
class ModeTabs:
    """Widgets of the tabs.

    Args:
        inputs: The components whose values go into a request, by their `elem_id`; the first is the open tab.
        previews: The preview of each control unit.
        passive: Widgets that are no input.
    """

    inputs: dict[str, Component]
    previews: list[UnitPreview]
    passive: "_PassiveWidgets"

    @property
    def restorable(self) -> list[Block]:
        """List what a restored request changes beside the inputs."""
        parts = self.passive
        return [parts.modes, parts.steering, parts.source_line, parts.painter.editor]


@dataclass(frozen=True)
class _PassiveWidgets:
    modes: gr.Tabs
    tabs: dict[Mode, gr.Tab]
    steering: gr.Column
    first_size: gr.Button
    source_line: gr.HTML
    source_size: gr.Button
    painter: MaskPainter


def place_tabs(base_model: str) -> ModeTabs:
    """Lay out the tabs.

    Args:
        base_model: Id of the one whose control models are listed at first.
    """
    mode = gr.Textbox(Mode.TXT2VID.value, label="Mode", elem_id="mode", visible="hidden")
    restored_hashes = gr.Textbox("", label="Files of a restored request", elem_id=RESTORED_HASHES, visible="hidden")
    uploaded_hashes = gr.Textbox("", label="Files that were uploaded", elem_id=UPLOADED_HASHES, visible="hidden")
    gr.Textbox("0", label="Answers that came late", elem_id=OVERTAKEN, visible="hidden")
    inputs: dict[str, Component] = {
        "mode": mode,
        RESTORED_HASHES: restored_hashes,
        UPLOADED_HASHES: uploaded_hashes,
    }
    tabs: dict[Mode, gr.Tab] = {}

    def tab(kind: Mode) -> gr.Tab:
        tabs[kind] = gr.Tab(word(f"mode.{kind.value}"), id=kind.value, elem_id=f"tab_{kind.value}")
        return tabs[kind]

    with gr.Tabs(elem_id="modes", overflow_behavior="wrap") as modes:
        with tab(Mode.TXT2VID):
            gr.Markdown(word("mode.txt2vid_note"), elem_classes="note")
        with tab(Mode.IMG2VID):
            pictures, first_size = build_img2vid()
        with tab(Mode.VID2VID):
            source, source_line, source_size, painter = build_vid2vid()
    inputs |= pictures | source
    previews = []
    with gr.Column(visible=False, elem_id="steering") as steering:
        with gr.Row():
            inputs |= {name: build_control(name) for name in SHARED}
        with gr.Accordion(word("section.control_units"), open=False, elem_id="control_units"):
            for number in range(1, UNITS + 1):
                with gr.Accordion(word(f"section.unit_{number}"), open=number == 1):
                    inputs |= build_unit(number, base_model)
                    previews.append(place_preview(number))
    return ModeTabs(
        inputs, previews, _PassiveWidgets(modes, tabs, steering, first_size, source_line, source_size, painter)
    )


def wire_tabs(placed: ModeTabs, examples: Mapping[Mode, gr.Gallery], events: PageEvents) -> None:
    """Connect the tabs and the inputs they hold.

    Args:
        placed: The tabs.
        examples: Each tab's gallery, shown while it is open.
        events: The page's.
    """
    mode, parts = placed.inputs["mode"], placed.passive
    for kind, tab in parts.tabs.items():
        # Which tab is open is known in the browser, so that Generate can't come before the answer of a server.
        tab.select(None, None, mode, js=f"() => '{kind.value}'", **QUIET)
    # Restored files open tabs, too.
    mode.change(None, mode, [parts.steering, *(examples[kind] for kind in Mode)], js=_SHOW_TAB, **QUIET)
    wire_vid2vid(placed.inputs, parts.painter, events)
    wire_size_button(parts.source_size, source_shape, events)
    wire_size_button(parts.first_size, first_shape, events)
    wire_units(placed.inputs, events)
