"""Four tools for agents that speak the Model Context Protocol.

An endpoint has eighty parameters, whose help is longer than most tasks. So a tool has the few that every clip needs and
`settings` for the others. Files are texts, not Gradio's file inputs, for which its server would fetch any address.
"""

import binascii
import re
import tempfile
from base64 import b64decode
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import gradio as gr

from api.web.closing import closes_in_thread
from api.web.endpoint import requests_of, with_preset
from api.web.facts import estimate_as_json
from api.web.visitor_limit import GPU_QUEUE
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Clip
from pipelines.plan.faults import Fault
from pipelines.plan.request import FILE_FIELDS
from pipelines.plan.settings import settings
from studio.engine import MakeClip, run_folder
from studio.faults import faults_in_words
from studio.fields import FieldValues
from studio.modes import keep_units
from studio.stored_inputs import keep
from studio.uploads import uploaded_path

TOOLS: tuple[str, ...] = ("make_clip", "estimate_clip", "models", "fields")
"""The endpoints that are tools; no others are."""

_SERVED = re.compile(r"(?:.*/)?gradio_api/file=(?P<path>.+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def publish_tools(make_clip: MakeClip) -> None:
    """Publish the tools' own endpoints in the current Blocks."""
    gr.api(clip_tool(make_clip), api_name="make_clip", **GPU_QUEUE)
    gr.api(estimate_clip, api_name="estimate_clip", concurrency_id="facts")


def offer_tools(page: gr.Blocks) -> None:
    """Restrict a launched page's MCP server, if any, to the tools."""
    server = page.mcp_server_obj
    if server is not None:
        spelt = server.valid_and_unique_tool_name  # a Space's name stands before a tool's, and may have other signs
        server.tool_to_endpoint = {spelt(server.tool_prefix + name, set()): f"/{name}" for name in TOOLS}


def clip_tool(make_clip: MakeClip) -> Callable[..., Iterator[dict[str, object] | None]]:
    """Build the function to publish as `/make_clip`; it reports progress.

    Args:
        make_clip: The engine.
    """

    @closes_in_thread
    def make(
        prompt: str,
        negative_prompt: str = "",
        num_frames: int | None = None,
        seed: int = -1,
        preset: str | None = None,
        first_frame: str | None = None,
        source_video: str | None = None,
        settings: dict[str, object] | None = None,
    ) -> Generator[dict[str, object] | None, None, None]:
        """Make a short animated clip from words; from a first picture, or another clip, too. Takes seconds to minutes.

        Files are the path or URL that an upload to /gradio_api/upload or an earlier call gave, or a data: URL. The
        clip's name begins with its seed, and the file carries all its settings.

        Args:
            prompt: What the clip shows. Lines such as "0: spring" and "8: summer" change it from frame to frame.
            negative_prompt: What it should not show.
            num_frames: Its length; 16 if left out, or the source clip's.
            seed: The same seed and settings give the same clip; -1 draws one.
            preset: A name that the tool models lists, such as draft, best, loop or long.
            first_frame: A picture it begins with.
            source_video: A clip that it is made from.
            settings: Other fields by name, such as {"fps": 12, "width": 256}, last_frame, or controls: [{"model":
                "demo-canny", "preprocessor": "canny", "clip": a file}]; the tool fields lists them.

        Returns:
            The clip's URL.
        """
        with faults_in_words(), run_folder() as folder:
            words = {"prompt": prompt, "negative_prompt": negative_prompt, "num_frames": num_frames, "seed": seed}
            files = {"first_frame": first_frame, "source_video": source_video}
            values = _fields(words | files | {"preset": preset}, settings)
            (request,) = requests_of(_with_files(values))
            progress = gr.Progress()
            with closing(make_clip(request, folder)) as events:
                for event in events:
                    if isinstance(event, Clip):
                        yield gr.FileData(path=str(event.files[0])).model_dump()
                    else:
                        progress((event.units, event.total), desc=str(event.stage))

    make.__name__ = "make_clip"
    make.__annotations__["return"] = gr.FileData
    return make


def estimate_clip(
    num_frames: int | None = None, preset: str | None = None, settings: dict[str, object] | None = None
) -> dict[str, object]:
    """Tell how long a clip would take and whether it fits into memory, and make none.

    Args:
        num_frames: Its length.
        preset: As for make_clip.
        settings: As for make_clip.

    Returns:
        Seconds, gigabytes, whether it fits, and what to change if not.
    """
    with faults_in_words():
        return estimate_as_json(
            requests_of(_with_files(_fields({"num_frames": num_frames, "preset": preset}, settings)))
        )


def _fields(arguments: Mapping[str, object], extra: dict[str, object] | None) -> FieldValues:
    """Merge a tool's arguments and settings, filled by the preset."""
    extra = extra or {}
    if not isinstance(extra, dict):
        fix = 'Send {{"fps": 12}}'
        raise InvalidRequestError(Fault("tools.no_object", "settings", "be an object", "something else", fix))
    if several := extra.keys() & {"batch_count", "preset"}:
        values, fix = {"name": min(several)}, "Call the tool with it or again"
        raise InvalidRequestError(
            Fault("tools.not_a_setting", "settings", "leave out {name}", "it", fix, values=values)
        )
    fields = {name: value for name, value in arguments.items() if value not in (None, "")}
    if twice := (fields.keys() - {"seed"}) & extra.keys():
        values = {"name": min(twice)}
        raise InvalidRequestError(
            Fault("tools.given_twice", "settings", "leave out {name}", "it twice", "Give it once", values=values)
        )
    return with_preset(fields | extra)


def _with_files(values: FieldValues) -> FieldValues:
    """Store the files of the fields and replace them by hashes."""
    files = {name: _store_file(values[name], name) for name in FILE_FIELDS if values.get(name)}
    return values | files | keep_units(values, _store_file)


def _store_file(value: object, field: str) -> str:
    """Store a file named by text; return its hash.

    Nothing is fetched, and nothing read but uploads and clips made here.
    """
    if not isinstance(value, str):
        fix = "Upload the file and send its path"
        raise InvalidRequestError(Fault("tools.no_text", field, "be a text", "something else", fix))
    if _SHA256.fullmatch(value):
        return value
    if value.startswith("data:"):
        return _store_data(value, field)
    match = _SERVED.fullmatch(urlsplit(value).path)
    try:
        path = uploaded_path({"path": unquote(match["path"]) if match else value}, field)
    except InvalidRequestError:
        rule = "be the path or URL of an upload to this server, or a data: URL"
        fix = "Post the file to /gradio_api/upload and send the path that it returns"
        raise InvalidRequestError(Fault("tools.no_upload", field, rule, "another", fix)) from None
    return keep([path], field=field)


def _store_data(value: str, field: str) -> str:
    head, _, packed = value.partition(",")
    most = settings().max_upload_mb
    if len(packed) > most * 1_000_000 * 4 // 3 + 4:
        fix = "Send a smaller file"
        raise InvalidRequestError(Fault("upload.too_large", field, "be at most {limit} MB", "more", fix, limit=most))
    try:
        data = b64decode(packed, validate=True) if head.endswith(";base64") else b""
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        rule = "be base64 after data:…;base64"
        raise InvalidRequestError(Fault("tools.no_base64", field, rule, "something else", "Encode the file"))
    with tempfile.TemporaryDirectory(prefix="data-") as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        return keep([path], field=field)
