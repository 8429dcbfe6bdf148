"""LoRA list and drop zone, which write tags into the prompt.

The prompt is the only place a LoRA is asked for, so page, endpoint, command line and recipe say it alike.
"""

from pathlib import Path
from typing import NamedTuple

import gradio as gr
from gradio.components import Component

from pipelines.plan import catalog
from pipelines.plan.model_files.models_folder import WEIGHTS_FILES
from pipelines.plan.prompt.travel import has_keys
from studio.dropped_loras import keep_dropped
from studio.faults import faults_in_words
from ui.parts.events import QUIET
from ui.parts.updates import Choices, Update
from ui.words.refusals import page_words
from ui.words.speech import word

# A prompt with keys gets the tag on a line of its own, where it acts on the whole clip.
_APPEND = r"""(tag, prompt) => {
  if (!tag || !prompt) return [null, tag || prompt];
  return [null, prompt.trimEnd() + (/^\s*[-.\d]+::?(\s|$)/m.test(prompt) ? "\n" : " ") + tag];
}"""


class LoraPlace(NamedTuple):
    """List of LoRAs, and their drop zone."""

    picker: gr.Dropdown
    drop: gr.File


def place_loras(base_model: str) -> LoraPlace:
    """Lay out drop zone and list of what fits a base model."""
    tags = lora_tags(base_model)
    picker = gr.Dropdown(
        label=word("label.lora"),
        info=word("label.lora_help"),
        choices=tags,
        value=None,
        elem_id="lora_picker",
        visible=bool(tags),
        interactive=True,
    )
    drop = gr.File(label=word("label.lora_file"), file_types=list(WEIGHTS_FILES), elem_id="lora_file", height=120)
    return LoraPlace(picker, drop)


def wire_loras(place: LoraPlace, prompt: Component, dropped_dir: Path) -> None:
    """Write the tag of what is picked or dropped into the prompt.

    Args:
        dropped_dir: The folder of dropped files.
    """
    picker, drop = place

    def add_dropped(path: str, prompt: str) -> tuple[None, str]:
        with faults_in_words(page_words()):
            tag = f"<lora:{keep_dropped(Path(path), dropped_dir)}:1>"
        joint = "\n" if has_keys(prompt) else " "
        return None, f"{prompt.rstrip()}{joint}{tag}".lstrip()

    picker.input(None, [picker, prompt], [picker, prompt], js=_APPEND, **QUIET)
    drop.upload(add_dropped, [drop, prompt], [drop, prompt], api_visibility="private")


def lora_tags(base_model: str) -> Choices:
    """List label and tag of the LoRAs for a base model."""
    family = catalog.find_base_model(base_model).family
    return [
        (entry.label, f"<lora:{entry.names[0]}:{entry.weight:g}>")
        for entry in catalog.loras()
        if None in (family, entry.family) or family == entry.family
    ]


def fitting_loras(base_model: str) -> Update:
    """Build the update of the list for a base model."""
    tags = lora_tags(base_model)
    return gr.update(choices=tags, value=None, visible=bool(tags))
