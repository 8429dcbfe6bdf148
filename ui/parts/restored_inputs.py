"""Files that a restored request names by hash, used where no other file is chosen.

Whoever has the hash may use the file, as with the endpoint; what the page shows of it is a small picture, never the
file itself, which somebody else may have uploaded.
"""

import base64
import html
import io
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from studio.request_inputs import first_picture
from studio.stored_inputs import is_here
from ui.words.speech import say, visitor_language, word

KEPT = "kept_inputs"
"""The hidden component with the hashes, as JSON by the `elem_id`s of the components that a file is chosen in."""

_SIDE = 96


class KeptPlace(NamedTuple):
    """The line that shows which files these are, in a column that is out of sight at first.

    Args:
        forget: Leaves them out.
    """

    column: gr.Column
    told: gr.HTML
    forget: gr.Button


def place_kept() -> KeptPlace:
    """Lay it out."""
    with gr.Column(visible=False, elem_id="kept") as column:
        told = gr.HTML(elem_id="kept_told", padding=False)
        forget = gr.Button(word("button.forget"), elem_id="forget", size="sm")
    return KeptPlace(column, told, forget)


def kept_hash(values: Mapping[str, Any], name: str) -> str:
    """The hash that a restored request has for a component; empty if it has none.

    Args:
        values: The page's values by `elem_id`.
        name: The component a file would be chosen in.

    Raises:
        InvalidRequestError: What came is nothing that this page sends.

    Example:
        >>> kept_hash({"kept_inputs": '{"mask": "5eed"}'}, "mask"), kept_hash({}, "mask")
        ('5eed', '')
    """
    try:
        found = json.loads(values.get(KEPT) or "{}")
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        rule = "be what a restored file names"
        raise InvalidRequestError(Fault("inputs.not_restored", KEPT, rule, "something else", "Restore it again"))
    return str(found.get(name) or "")


def kept_html(kept: Mapping[str, tuple[str, str]]) -> str:
    """Small pictures of the files that are here, with what they are called; empty if none is.

    Args:
        kept: Label and hash by component.
    """
    items = [
        f'<li><img alt="" src="{picture}">{html.escape(label)}</li>'
        for label, sha256 in kept.values()
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
