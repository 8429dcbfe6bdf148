"""Files of a restored request, used where none is chosen.

Whoever has the hash may use the file, as with the endpoint; what the page shows of it is a small picture, never the
file itself, which somebody else may have uploaded.
"""

import base64
import html
import io
import json
from collections.abc import Mapping
from typing import NamedTuple

import gradio as gr
from PIL import Image

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from studio.request_inputs import first_picture
from studio.stored_inputs import is_here
from ui.words.speech import say, visitor_language, word

RESTORED_HASHES = "kept_inputs"
"""The hidden component with the hashes, as JSON by the `elem_id`s of the components that a file is chosen in."""

_SIDE = 96


class RestoredFiles(NamedTuple):
    """Widgets that show restored files, hidden at first.

    Args:
        forget: Leaves them out.
    """

    column: gr.Column
    line: gr.HTML
    forget: gr.Button


def place_restored_files() -> RestoredFiles:
    """Lay out the column."""
    with gr.Column(visible=False, elem_id="kept") as column:
        line = gr.HTML(elem_id="kept_told", padding=False)
        forget = gr.Button(word("button.forget"), elem_id="forget", size="sm")
    return RestoredFiles(column, line, forget)


def restored_hash(sent: object, name: str) -> str:
    """Read a component's hash from a restored request; empty without.

    Args:
        sent: The hidden component's value.
        name: The component a file would be chosen in.

    Raises:
        InvalidRequestError: What came is nothing that this page sends.

    Example:
        >>> restored_hash('{"mask": "5eed"}', "mask"), restored_hash(None, "mask")
        ('5eed', '')
    """
    try:
        hashes = json.loads(str(sent or "{}"))
    except (ValueError, RecursionError):
        hashes = None
    if not isinstance(hashes, dict):
        rule = "be what a restored file names"
        raise InvalidRequestError(
            Fault("inputs.not_restored", RESTORED_HASHES, rule, "something else", "Restore it again")
        )
    return str(hashes.get(name) or "")


def restored_html(files: Mapping[str, tuple[str, str]]) -> str:
    """Render thumbnails and labels of the restored files; empty without.

    Args:
        files: Label and hash by component.
    """
    items = [
        f'<li><img alt="" src="{picture}">{html.escape(label)}</li>'
        for label, sha256 in files.values()
        if (picture := _small_picture(sha256))
    ]
    if not items:
        return ""
    used = say(visitor_language(), "told.kept.used")
    return f'<div class="kept"><p>{html.escape(used)}</p><ul>{"".join(items)}</ul></div>'


def _small_picture(sha256: str) -> str:
    if not is_here(sha256):
        return ""
    try:
        picture = Image.fromarray(first_picture(sha256))
    except InvalidRequestError:
        return ""
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
