"""Context windows: which frames the model sees together at a step, and how much each window counts.

A motion module was trained on a fixed number of frames, so a longer clip is denoised in overlapping
windows whose results are averaged (after MultiDiffusion, arXiv:2302.08113). Integers in, integers and
weights out; no torch.
"""

from dataclasses import dataclass
from fractions import Fraction

from pipelines.errors import InvalidRequestError
from pipelines.request import ContextSchedule, field_label

_PHASE_BITS = 64


@dataclass(frozen=True, slots=True)
class Window:
    """One call of the model.

    Args:
        frame_indices: Frames of the clip, ascending, no frame twice.
        weights: What each of them counts, > 0. Over all windows of a step the weights of a frame sum to 1.
    """

    frame_indices: tuple[int, ...]
    weights: tuple[float, ...]


def plan_windows(
    num_frames: int,
    step: int,
    *,
    schedule: ContextSchedule = ContextSchedule.UNIFORM,
    context_length: int = 16,
    context_overlap: int = 4,
    context_stride: int = 1,
) -> list[Window]:
    """Cut an open clip into the windows of one denoising step.

    Every frame is covered, every window has exactly `min(num_frames, context_length)` frames, no window
    runs over the end into the beginning, and no window comes twice. Weights rise to the middle of a
    window and fall again (pyramid), because the model knows least about frames near a seam.

    Args:
        num_frames: Length of the clip, frames, >= 1.
        step: Index of the denoising step, >= 0; the uniform schedule moves its seams with it.
        schedule: Uniform or static.
        context_length: Length of a window, frames, >= 1.
        context_overlap: Frames that neighbours share, 0 <= overlap < context_length; -1 is resolved
            before (`GenerationRequest.effective_overlap`).
        context_stride: Levels of frame spacing 1, 2, 4, ..., >= 1; 1 means neighbouring frames only.
            A level whose windows are longer than the clip is left out. Static windows have one level.

    Raises:
        InvalidRequestError: A number is out of its range.

    Example:
        >>> [(w.frame_indices[0], w.frame_indices[-1]) for w in plan_windows(32, 0)]
        [(0, 15), (12, 27), (16, 31)]
    """
    _check(num_frames, step, context_length, context_overlap, context_stride)
    spans = _spans(num_frames, step, schedule, context_length, context_overlap, context_stride)
    pyramid = _pyramid(min(num_frames, context_length))
    totals = [0] * num_frames
    for span in spans:
        for frame, weight in zip(span, pyramid, strict=True):
            totals[frame] += weight
    return [
        Window(tuple(span), tuple(weight / totals[frame] for frame, weight in zip(span, pyramid, strict=True)))
        for span in spans
    ]


def count_windows(
    num_frames: int,
    num_inference_steps: int,
    *,
    schedule: ContextSchedule = ContextSchedule.UNIFORM,
    context_length: int = 16,
    context_overlap: int = 4,
    context_stride: int = 1,
) -> int:
    """How many windows all steps of a generation have together: the total of its progress.

    Args:
        num_frames, schedule, context_length, context_overlap, context_stride: As in `plan_windows`.
        num_inference_steps: Denoising steps, >= 0.

    Raises:
        InvalidRequestError: A number is out of its range.

    Example:
        >>> count_windows(32, 2)
        6
    """
    _check(num_frames, num_inference_steps, context_length, context_overlap, context_stride)
    return sum(
        len(_spans(num_frames, step, schedule, context_length, context_overlap, context_stride))
        for step in range(num_inference_steps)
    )


def _spans(
    num_frames: int, step: int, schedule: ContextSchedule, length: int, overlap: int, stride: int
) -> list[range]:
    """The windows as ranges, in the order in which they are run."""
    if num_frames <= length:
        return [range(num_frames)]
    if schedule is ContextSchedule.STATIC:
        return _static(num_frames, length, overlap)
    return _uniform(num_frames, step, length, overlap, stride)


def _static(num_frames: int, length: int, overlap: int) -> list[range]:
    last = num_frames - length
    return [range(start, start + length) for start in [*range(0, last, length - overlap), last]]


def _uniform(num_frames: int, step: int, length: int, overlap: int, stride: int) -> list[range]:
    """AnimateDiff's moving windows, laid around a ring of frames and then opened at the end of the clip.

    The first window starts at the bit-reversed fraction of `step` (0, 1/2, 1/4, 3/4, ...) of the ring, so
    that seams do not fall on the same frames twice in a row. A window that runs over the end is replaced
    by the last one before the end and the first one after the beginning, which cover what it covered.
    """
    phase = _bit_reversed(step)
    moved = round(num_frames * phase)
    spans: dict[range, None] = {}  # ordered, no span twice
    for spacing in _spacings(num_frames, length, stride):
        extent = (length - 1) * spacing + 1
        latest = num_frames - extent
        first = int(phase * spacing) + moved
        for begin in range(first, num_frames + moved - overlap, length * spacing - overlap):
            start = begin % num_frames
            wraps = start > latest
            for opened in _opened(start, spacing, num_frames, latest) if wraps else (start,):
                spans[range(opened, opened + extent, spacing)] = None
    return list(spans)


def _opened(start: int, spacing: int, num_frames: int, latest: int) -> tuple[int, int]:
    """Starts of the two windows that stand for one that runs over the end, on its own frames if possible."""
    before = latest - (latest - start) % spacing
    wrapped = (start - num_frames) % spacing
    return (before if before >= 0 else latest), min(wrapped, latest)


def _spacings(num_frames: int, length: int, stride: int) -> list[int]:
    """Frame spacings 1, 2, 4, ...: as many as asked for, as make sense for the clip, and as fit into it."""
    sensible = (-(-num_frames // length) - 1).bit_length() + 1  # ceil(log2(num_frames / length)) + 1
    levels = (1 << level for level in range(min(stride, sensible)))
    return [spacing for spacing in levels if (length - 1) * spacing < num_frames]


def _bit_reversed(step: int) -> Fraction:
    """Van der Corput's sequence: 0, 1/2, 1/4, 3/4, 1/8, ..."""
    return Fraction(int(f"{step:0{_PHASE_BITS}b}"[::-1], 2), 1 << _PHASE_BITS)


def _pyramid(length: int) -> list[int]:
    return [min(i + 1, length - i) for i in range(length)]


def _check(num_frames: int, step: int, length: int, overlap: int, stride: int) -> None:
    for name, value, least, fix in (
        ("num_frames", num_frames, 1, f"Raise '{field_label('num_frames')}'"),
        ("step", step, 0, "Count steps from 0"),
        ("context_length", length, 1, f"Raise '{field_label('context_length')}'"),
        ("context_stride", stride, 1, f"Raise '{field_label('context_stride')}'"),
    ):
        if value < least:
            raise InvalidRequestError(f"{name} must be at least {least}, got {value}. {fix}.")
    if not 0 <= overlap < length:
        raise InvalidRequestError(
            f"context_overlap must be at least 0 and below context_length ({length}), got {overlap}. "
            f"Lower '{field_label('context_overlap')}' or raise '{field_label('context_length')}'."
        )
