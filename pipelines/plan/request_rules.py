"""Rules of a request that concern several fields."""

from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.plan.choices import ClosedLoop, ColorMatch, ContextSchedule, OutputFormat
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request_fields.output import MAX_OUTPUT_SIDE

if TYPE_CHECKING:
    from pipelines.plan.request import GenerationRequest


def check_extension(request: "GenerationRequest") -> None:
    """Refuse an extension of a clip that has no open end."""
    if not request.extended_from:
        return
    got = ", ".join(map(str, request.extended_from))
    if any(before >= after for before, after in pairwise(request.lengths)):
        raise broken(
            "extension.not_ascending",
            "extended_from",
            "be ascending and below {num_frames:name} ({limit})",
            got,
            "Give the lengths that the clip had, or raise {num_frames:label}",
            limit=request.num_frames,
        )
    if not 0 < request.known_frames <= request.extended_from[0]:
        raise broken(
            "extension.too_short_a_clip",
            "extended_from",
            "begin with three quarters of the window ({limit} of {window} frames, at least 2) or more",
            got,
            "Extend a longer clip, or change {context_length:label}",
            limit=max(1, request.known_frames),
            window=request.context_length,
        )
    if request.first_frame or request.source_video:
        raise broken(
            "extension.from_pictures",
            "extended_from",
            "be empty for a clip that begins at pictures or a source clip",
            got,
            "Make it at its full length",
        )
    if request.closed_loop is not ClosedLoop.OFF or request.context_schedule is ContextSchedule.LOOPED:
        name, value = "closed_loop", str(request.closed_loop)
        if request.closed_loop is ClosedLoop.OFF:
            name, value = "context_schedule", str(request.context_schedule)
        raise broken(
            "extension.of_a_loop",
            name,
            "leave the clip open if it is extended",
            value,
            "A loop has no end to go on from: make the clip anew without it",
        )
    if request.iterations > 1:
        raise broken(
            "extension.with_free_init",
            "free_init_iterations",
            "be 0 or 1 for a clip that is extended",
            request.free_init_iterations,
            "Every round makes the whole clip again: make it at its full length",
        )


def check_pictures(request: "GenerationRequest") -> None:
    """Refuse pictures and clips that do not go together."""
    if request.last_frame and not request.first_frame:
        raise broken(
            "inputs.last_frame_alone",
            "last_frame",
            "come with a {first_frame:name}",
            "none",
            "Choose a {first_frame:label}, too",
        )
    if request.source_video and request.first_frame:
        raise broken(
            "inputs.source_and_first_frame",
            "source_video",
            "not come with a {first_frame:name}",
            "both",
            "Remove {first_frame:label} or {source_video:label}",
        )
    if request.mask and not request.source_video:
        raise broken(
            "inputs.mask_alone",
            "mask",
            "come with a {source_video:name}",
            "none",
            "Choose a {source_video:label} to change",
        )
    if request.free_init_iterations and (request.first_frame or (request.source_video and request.strength < 1)):
        raise broken(
            "free_init.from_pictures",
            "free_init_iterations",
            "be 0 where a clip begins at pictures",
            request.free_init_iterations,
            "Set {free_init_iterations:label} to 0",
        )


def check_windows(request: "GenerationRequest") -> None:
    """Refuse windows that overlap by their whole length."""
    if request.context_overlap >= request.context_length:
        raise broken(
            "windows.overlap_too_long",
            "context_overlap",
            "be below {context_length:name} ({limit})",
            request.context_overlap,
            "Lower {context_overlap:label} or raise {context_length:label}",
            limit=request.context_length,
        )
    if 0 < request.inner_length <= request.inner_overlap:
        raise broken(
            "windows.inner_overlap_too_long",
            "inner_overlap",
            "be below {inner_length:name} ({limit})",
            request.inner_overlap,
            "Lower {inner_overlap:label} or raise {inner_length:label}",
            limit=request.inner_length,
        )


def check_output(request: "GenerationRequest") -> None:
    """Refuse files and sizes that cannot be made."""
    if len(set(request.formats)) != len(request.formats):
        raise broken("formats.repeated", "formats", "not repeat", ", ".join(request.formats), "Name each format once")
    if set(request.formats) == {OutputFormat.TXT}:
        raise broken("formats.text_alone", "formats", "have one that holds pictures", "TXT alone", "Add another")
    if max(request.output_size) > MAX_OUTPUT_SIDE:
        name = "upscale_by" if request.upscale_by > 1 else "hires_scale"
        raise broken(
            "output.too_large",
            name,
            "leave both sides at most {limit} pixels",
            f"{getattr(request, name):g}",
            "Lower {field:label} or the size",
            limit=MAX_OUTPUT_SIDE,
            size="x".join(map(str, request.output_size)),
            seen="{got}, which makes {size}",
        )
    if request.color_match is ColorMatch.SOURCE and not request.source_video:
        raise broken(
            "color_match.without_source",
            "color_match",
            "not be source without a {source_video:name}",
            "source",
            "Choose another",
        )
    if request.hires_scale > 1 and int(request.num_inference_steps * request.hires_strength) < 1:
        raise broken(
            "hires.no_step_left",
            "hires_strength",
            "leave at least one of the {steps} steps",
            f"{request.hires_strength:g}",
            "Raise {hires_strength:label}",
            steps=request.num_inference_steps,
        )
    if request.hires_scale > 1 and request.extended_from:
        raise broken(
            "extension.with_hires",
            "hires_scale",
            "be 1 for a clip that is extended",
            f"{request.hires_scale:g}",
            "Make the clip at its full length, or set {hires_scale:label} to 1",
        )


def broken(
    code: str,
    field: str,
    rule: str,
    got: object,
    fix: str,
    *,
    limit: object = None,
    seen: str = "{got}",
    **values: object,
) -> InvalidRequestError:
    """Build the error for a broken rule; arguments are those of `Fault`."""
    fault = Fault(code, field, rule, got, fix, limit=limit, seen=seen, values=values)
    return InvalidRequestError(fault)
