"""Open a request's images and clips, named by hash, for the engine."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from controlnet.control_cache import ControlCache
from controlnet.control_clip import prepare_control
from controlnet.preprocessors import options_of
from media.audio import add_audio
from media.frame_file import FrameFile
from media.input_facts import WHOLE, Cut, InputFacts, cut_beside
from media.inputs import Decoded
from pipelines.plan.choices import ColorMatch
from pipelines.plan.clip_inputs import NO_INPUTS, ClipInputs, FrameClip
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Progress, Stage
from pipelines.plan.faults import Fault
from pipelines.plan.image_fit import Frames, ImageFit
from pipelines.plan.notes import Note
from pipelines.plan.planner.tasks import READ
from pipelines.plan.request import GenerationRequest
from pipelines.plan.request_fields.units import ControlUnit
from studio.engine_start import import_engine
from studio.open_fields import source_cut
from studio.stored_inputs import input_store, inputs_folder

if TYPE_CHECKING:
    from controlnet.control_cache import ControlClip


_READING = {
    "first_frame": ("progress.reading_first", "Reading the first frame"),
    "last_frame": ("progress.reading_last", "Reading the last frame"),
    "source_video": ("progress.reading_source", "Reading the source clip"),
    "mask": ("progress.reading_mask", "Reading the mask"),
}
_READING_ANOTHER = ("progress.reading_control", "Reading the clip to follow")


def _control_cache() -> ControlCache:
    return ControlCache(inputs_folder() / "controls")


def source_facts(source: str, *, field: str = "source_video") -> InputFacts:
    """Probe a source clip, or the input of another field."""
    return input_store().probe(source, field=field)


def first_picture(source: str, *, start: int = 0) -> Frames:
    """Decode the first used frame of a source, in its own size.

    Args:
        source: Its hash.
        start: Frames left out before it.

    Returns:
        uint8 [h, w, 3].

    Raises:
        InvalidRequestError: It is not here any more, or has no such frame.
    """
    clip = input_store().open(source, Cut(start=start, max_frames=1), field="source_video")
    return clip.frames([0])[0]


def open_inputs(request: GenerationRequest) -> Generator[Progress, None, ClipInputs]:
    """Open a request's inputs and preprocess the clips of control units.

    Closing the generator cancels; nothing half-made stays.

    Yields:
        How many frames of an input are decoded, and how far what is made of them is.

    Raises:
        InvalidRequestError: An input is not here any more or can't be used, the mask has another length than the
            source, or a unit has nothing to follow.
        WeightsError: A preprocessor's weights can't be had.
    """
    for number, unit in enumerate(request.controls, start=1):
        options_of(unit, number=number)
    if request.source_video or request.first_frame or request.controls or request.image_prompts:
        yield Progress(Stage.PREPROCESS, 0, 1, note=Note("progress.reading_inputs", "Reading pictures and clips"))
    mask_cut = _mask_cut(request) if request.mask else WHOLE  # refused before anything is decoded
    source = yield from _source(request)
    controls = []
    for number, unit in enumerate(request.controls, start=1):
        controls.append((yield from _control(request, unit, source, number)))
    return ClipInputs(
        first_frame=(yield from _read(request, request.first_frame, Cut(max_frames=1), "first_frame")),
        last_frame=(yield from _read(request, request.last_frame, Cut(max_frames=1), "last_frame")),
        source=source,
        mask=(yield from _read(request, request.mask, replace(mask_cut, grey=True), "mask")),
        controls=tuple(controls),
        image_prompts=tuple(
            tuple(input_store().open(sha256, Cut(max_frames=1), field="image_prompts") for _, sha256 in unit.pictures)
            for unit in request.image_prompts
        ),
    )


def open_compared(request: GenerationRequest) -> Generator[Progress, None, ClipInputs]:
    """Open the references for colour matching: source clip and mask.

    Raises:
        InvalidRequestError: As `open_inputs`.
    """
    if request.color_match is ColorMatch.OFF or not request.source_video:
        return NO_INPUTS
    mask_cut = _mask_cut(request) if request.mask else WHOLE
    return ClipInputs(
        source=(yield from _source(request)),
        mask=(yield from _read(request, request.mask, replace(mask_cut, grey=True), "mask")),
    )


def complaints(inputs: ClipInputs) -> list[str]:
    """Describe defects of files that could be used all the same."""
    clips = {
        "First frame": inputs.first_frame,
        "Last frame": inputs.last_frame,
        "Source clip": inputs.source,
        "Mask": inputs.mask,
    }
    complaint_by_name = {name: clip.complaint for name, clip in clips.items() if isinstance(clip, FrameFile)}
    return [f"{name}: {complaint}" for name, complaint in complaint_by_name.items() if complaint]


def put_sound(request: GenerationRequest, clip: Path) -> str:
    """Mux the source clip's audio into an MP4 made from it.

    Returns:
        Why there is none, in words for people; empty if there is.
    """
    facts = source_facts(request.source_video)
    if request.fps != facts.fps_of(source_cut(request.model_dump())):
        return "The sound was left out: it fits only at the source's own frame rate."
    if request.inserted_frames and not request.keep_duration:
        return "The sound was left out: frames in between make the clip slower than its source."
    with_sound = clip.with_suffix(".sound.mp4")
    path = input_store().path(request.source_video, field="source_video")
    if not add_audio(
        clip,
        path,
        with_sound,
        listing=facts.listing,
        start=request.source_start,
        num_frames=request.num_frames,
        fps=request.fps,
    ):
        return "The source clip has no sound."
    with_sound.replace(clip)
    return ""


def preview_control(request: GenerationRequest, number: int = 1) -> "Generator[Progress, None, ControlClip]":
    """Preprocess the clip of one control unit; generation reuses the cache.

    Args:
        number: Which unit, from 1.
    """
    unit = request.controls[number - 1]
    options_of(unit, number=number)
    source = None if unit.clip else (yield from _source(request))
    return (yield from _control(request, unit, source, number))


def _control(
    request: GenerationRequest, unit: ControlUnit, source: FrameFile | None, number: int
) -> "Generator[Progress, None, ControlClip]":
    clip: FrameClip | None = source
    digest = f"{request.source_video} {request.source_start} {request.source_every} {request.image_fit}"
    if unit.clip:
        cut, field = Cut(max_frames=request.num_frames), f"controls {number}"
        clip = yield from _report_decoding(input_store().decoding(unit.clip, cut, field=field), field)
        digest = unit.clip
    if clip is None:
        rule, fix = "have a clip to follow", "Give it its own, or a source clip"
        raise InvalidRequestError(Fault("control.no_clip", "controls", rule, "none", fix, place=(number,)))
    return (
        yield from prepare_control(
            unit,
            clip,
            width=request.clip_size[0],
            height=request.clip_size[1],
            seed=request.seed,
            cache=_control_cache(),
            device=_device(),
            digest=f"{digest} {clip.num_frames} {clip.width} {clip.height}",
        )
    )


def _device() -> str:
    import_engine()
    from pipelines.engine.generate import default_store

    return default_store().device


def _mask_cut(request: GenerationRequest) -> Cut:
    """Cut the mask so that it stays beside the source."""
    return cut_beside(
        source_facts(request.source_video),
        source_cut(request.model_dump()),
        input_store().probe(request.mask, field="mask"),
        num_frames=request.num_frames,
        field="mask",
    )


def _source(request: GenerationRequest) -> Generator[Progress, None, FrameFile | None]:
    return (yield from _read(request, request.source_video, source_cut(request.model_dump()), "source_video"))


def _read(request: GenerationRequest, sha256: str, cut: Cut, field: str) -> Generator[Progress, None, FrameFile | None]:
    """Decode an input at the clip's size; None if not named."""
    if not sha256:
        return None
    sized_cut = replace(
        cut,
        max_frames=min(cut.max_frames, request.num_frames),
        width=request.clip_size[0],
        height=request.clip_size[1],
        fit=ImageFit(request.image_fit),
    )
    return (yield from _report_decoding(input_store().decoding(sha256, sized_cut, field=field), field))


def _report_decoding(work: Generator[Decoded, None, FrameFile], field: str) -> Generator[Progress, None, FrameFile]:
    """Report the decoding of an input as progress."""
    with closing(work):
        while True:
            try:
                done, total = next(work)
            except StopIteration as end:
                frames: FrameFile = end.value
                return frames
            code, words = _READING.get(field, _READING_ANOTHER)
            note = Note(code, f"{words}, frame {{done:,}} of {{total:,}}", done=done, total=total)
            yield Progress(Stage.PREPROCESS, done, total, note=note, task=READ)
