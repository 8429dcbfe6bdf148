"""Files of a restored request, and the hashes of uploads.

Whoever has the hash may use the file, as with the endpoint; what the page shows of it is a small picture, never the
file itself, which somebody else may have uploaded.
"""

import base64
import html
import io
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import gradio as gr
from PIL import Image

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from studio.request_inputs import first_picture
from studio.stored_inputs import is_here
from ui.words.speech import say, visitor_language, word

RESTORED_HASHES = "kept_inputs"
"""The hidden component with those of restored files, as JSON by the `elem_id` of where they would be chosen."""

UPLOADED_HASHES = "stored_uploads"
"""The hidden component with those of uploads, as JSON by their paths: apart, so that no slow upload writes the others
as they were when it was sent."""

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
    return _hashes(sent, RESTORED_HASHES).get(name, "")


def stored_hash(sent: object, value: object) -> str:
    """Read the hash of uploaded files; empty if they aren't stored.

    Args:
        sent: The hidden component's value.
        value: That of the component the files are chosen in.
    """
    sha256 = _hashes(sent, UPLOADED_HASHES).get(_paths(value), "") if value else ""
    return sha256 if sha256 and all(map(is_here, sha256.split())) else ""


def with_stored_hash(sent: object, values: Iterable[object], value: object, sha256: str) -> str:
    """Add the hash of uploaded files to the hidden component's value.

    Args:
        sent: The hidden component's value.
        values: Those of all components: what none of them holds any more is left out.
        value: That of the component the files are chosen in.
        sha256: Their hash, or those of a source and its mask with a space between; empty for none.
    """
    paths = {_paths(each) for each in values} | {_paths(value)}
    hashes = {path: stored for path, stored in _hashes(sent, UPLOADED_HASHES).items() if path in paths}
    return json.dumps(hashes | ({_paths(value): sha256} if sha256 else {}))


def _paths(value: object) -> str:
    """Join the server's paths of an upload, named by content."""
    uploads = value if isinstance(value, list) else [value]
    return "\n".join(str(upload.get("path")) for upload in uploads if isinstance(upload, Mapping))


def _hashes(sent: object, component: str) -> dict[str, str]:
    try:
        hashes = json.loads(str(sent or "{}"))
    except (ValueError, RecursionError):
        hashes = None
    if not isinstance(hashes, dict):
        rule = "be what a restored file names"
        raise InvalidRequestError(Fault("inputs.not_restored", component, rule, "something else", "Restore it again"))
    return {name: str(sha256 or "") for name, sha256 in hashes.items()}


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
