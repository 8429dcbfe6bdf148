"""Context windows: frames denoised together at a step, and their weights.

A motion module was trained on a fixed number of frames, so a longer clip is denoised in overlapping windows whose
results are averaged (after MultiDiffusion, arXiv:2302.08113).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import NamedTuple

from pipelines.plan.choices import ClosedLoop, ContextFuse, ContextSchedule
from pipelines.plan.request import GenerationRequest

_PHASE_BITS = 64
_SHUFFLED_TENTHS = 1  # of the steps, in the composite schedule
_LEAST_BIAS = 0.01

Frames = Sequence[int]


@dataclass(frozen=True, slots=True)
class Window:
    """One call of the model.

    Args:
        frame_indices: Frames of the clip in the order of time, no frame twice. Those of a closed clip may run
            over the end: 30, 31, 0, 1.
        weights: What each of them counts, > 0; where the last window wins, 1 or 0. Over all windows of a step
            the weights of a frame sum to 1.
    """

    frame_indices: tuple[int, ...]
    weights: tuple[float, ...]


def plan_windows(request: GenerationRequest, step: int) -> list[Window]:
    """Plan the windows of one denoising step, in the order they run.

    Every frame is covered. Windows have `min(num_frames, context_length)` frames, but for the last of the batched
    schedule. Those of an open clip never run over the end; those of a closed one do, where neighbours share
    frames or windows move. What is drawn depends on the request's seed and the step alone.

    Args:
        request: Its `num_frames`, `context_*`, `closed_loop`, `seed` and `num_inference_steps` are read.
        step: Index of the denoising step, >= 0.

    Example:
        >>> clip = GenerationRequest.build(num_frames=32, seed=0)
        >>> [(w.frame_indices[0], w.frame_indices[-1]) for w in plan_windows(clip, 0)]
        [(0, 15), (12, 27), (16, 31)]
    """
    spans = _spans(request, step)
    last_wins = request.context_fuse is ContextFuse.LAST
    return _normalise(spans, _last_wins(spans) if last_wins else [_importance(request, span) for span in spans])


def plan_inner_windows(request: GenerationRequest, length: int) -> list[Window]:
    """Split a window again for attention over time; empty if it needn't.

    They stay in place and count most in their middle. Their frames are places in the window, one after the
    other, whatever the spacing of its frames.

    Args:
        request: Its `inner_*` are read.
        length: Frames of the window, >= 1.

    Example:
        >>> windows = plan_inner_windows(GenerationRequest.build(inner_length=16, seed=0), 40)
        >>> [(w.frame_indices[0], w.frame_indices[-1]) for w in windows]
        [(0, 15), (12, 27), (24, 39)]
    """
    if not 0 < request.inner_length < length:
        return []
    spans = _whole_spans(length, request.inner_length, request.effective_inner_overlap)
    return _normalise(spans, [_pyramid(len(span)) for span in spans])


def count_windows(request: GenerationRequest, steps: int) -> tuple[int, ...]:
    """Count the windows of each of a request's first `steps` steps.

    Those of extensions are not among them: `plan_extension` has them, and each is run in all steps.

    Example:
        >>> count_windows(GenerationRequest.build(num_frames=32, seed=0), 2)
        (3, 3)
    """
    return tuple(len(_spans(request, step)) for step in range(steps))


def is_ring(request: GenerationRequest) -> bool:
    """Tell whether windows of the clip run over its end."""
    return _is_closed(request) and request.num_frames > request.context_length


class Block(NamedTuple):
    """One window of an extension.

    Args:
        window: Its frames; as many as `known_frames` are there before, the others are new.
        end: Frames of the clip after it, within the window; what the window shows beyond is dropped.
    """

    window: range
    end: int


def plan_extension(request: GenerationRequest) -> list[Block]:
    """Plan the windows after the first clip, in the order they run.

    All are full windows: a motion module knows no shorter ones. So an extension by few frames begins like one by many.

    Example:
        >>> request = GenerationRequest.build(num_frames=22, extended_from=16, seed=0)
        >>> plan_extension(request)
        [Block(window=range(4, 20), end=20), Block(window=range(8, 24), end=22)]
    """
    known_frames = request.known_frames
    new = request.context_length - known_frames
    return [
        Block(range(start - known_frames, start + new), min(start + new, end))
        for begin, end in pairwise(request.lengths)
        for start in range(begin, end, new)
    ]


def _normalise(spans: Sequence[Frames], counts: Sequence[Sequence[float]]) -> list[Window]:
    """Normalise windows' weights to sum to 1 at every frame."""
    totals: defaultdict[int, float] = defaultdict(float)
    for span, weights in zip(spans, counts, strict=True):
        for frame, weight in zip(span, weights, strict=True):
            totals[frame] += weight
    return [
        Window(tuple(span), tuple(weight / totals[frame] for frame, weight in zip(span, weights, strict=True)))
        for span, weights in zip(spans, counts, strict=True)
    ]


def _spans(request: GenerationRequest, step: int) -> Sequence[Frames]:
    """List the windows' frames in the order they run."""
    num_frames, length = request.num_frames, request.context_length
    if num_frames <= length:
        return [range(num_frames)]
    match _schedule_at(request, step):
        case ContextSchedule.STATIC:
            return _static(request)
        case ContextSchedule.BATCHED:
            return [range(start, min(start + length, num_frames)) for start in range(0, num_frames, length)]
        case ContextSchedule.SHUFFLE:
            return _shuffled(num_frames, length, Random(request.seed + step))
        case _:
            return _uniform(request, step)


def _schedule_at(request: GenerationRequest, step: int) -> ContextSchedule:
    """Resolve a step's schedule; composite shuffles first, then is uniform."""
    if request.context_schedule is not ContextSchedule.COMPOSITE:
        return request.context_schedule
    shuffles = 10 * step < _SHUFFLED_TENTHS * request.num_inference_steps
    return ContextSchedule.SHUFFLE if shuffles else ContextSchedule.UNIFORM


def _is_closed(request: GenerationRequest) -> bool:
    return request.closed_loop is not ClosedLoop.OFF or request.context_schedule is ContextSchedule.LOOPED


def _static(request: GenerationRequest) -> Sequence[Frames]:
    num_frames, length, overlap = request.num_frames, request.context_length, request.effective_overlap
    if _is_closed(request):
        return [_wrap(request, start, 1) for start in range(0, num_frames, length - overlap)]
    return _whole_spans(num_frames, length, overlap)


def _whole_spans(num_frames: int, length: int, overlap: int) -> list[range]:
    """Cut consecutive spans; the last is pulled back to the clip's end."""
    last = num_frames - length
    return [range(start, start + length) for start in [*range(0, last, length - overlap), last]]


def _shuffled(num_frames: int, length: int, random: Random) -> list[Frames]:
    """Draw each window's frames from the whole clip, sorted by time.

    The last window is filled up from the one before. Sorted by drawn keys, because of `Random` only `random()` is
    promised to draw the same in every Python.
    """
    order = sorted(range(num_frames), key=lambda _: random.random())
    return [sorted(order[frame] for frame in span) for span in _whole_spans(num_frames, length, 0)]


def _uniform(request: GenerationRequest, step: int) -> list[Frames]:
    """Plan AnimateDiff's moving windows on a ring, opened for open clips.

    The first window starts at the bit-reversed fraction of `step` (0, 1/2, 1/4, 3/4, ...) of the ring, so
    that seams do not fall on the same frames twice in a row. In an open clip a window that runs over the end is
    replaced by the last one before the end and the first one after the beginning, which cover what it covered.
    A fully closed clip gets one more window where the last would share less than the overlap with the first.
    """
    num_frames, length, overlap = request.num_frames, request.context_length, request.effective_overlap
    closed = _is_closed(request)
    phase = _bit_reversed(step)
    moved = round(num_frames * phase)
    behind = num_frames + moved - (0 if request.closed_loop is ClosedLoop.FULL else overlap)
    spans: dict[Frames, None] = {}  # ordered, no span twice
    for spacing in _spacings(num_frames, length, request.context_stride):
        for begin in range(int(phase * spacing) + moved, behind, length * spacing - overlap):
            if closed:
                spans[_wrap(request, begin, spacing)] = None
            else:
                spans |= dict.fromkeys(_open(request, begin % num_frames, spacing))
    return list(spans)


def _wrap(request: GenerationRequest, start: int, spacing: int) -> tuple[int, ...]:
    """Return the frames of a window on the ring."""
    behind = start + request.context_length * spacing
    return tuple(frame % request.num_frames for frame in range(start, behind, spacing))


def _open(request: GenerationRequest, start: int, spacing: int) -> list[range]:
    """Replace a window that runs over the end by two, if needed."""
    extent = (request.context_length - 1) * spacing + 1
    latest = request.num_frames - extent
    starts = [start]
    if start > latest:
        before = latest - (latest - start) % spacing
        wrapped = (start - request.num_frames) % spacing
        starts = [before if before >= 0 else latest, min(wrapped, latest)]
    return [range(first, first + extent, spacing) for first in starts]


def _spacings(num_frames: int, length: int, stride: int) -> list[int]:
    """List frame spacings 1, 2, 4, … that fit the clip."""
    sensible = (-(-num_frames // length) - 1).bit_length() + 1  # ceil(log2(num_frames / length)) + 1
    levels = (1 << level for level in range(min(stride, sensible)))
    return [spacing for spacing in levels if (length - 1) * spacing < num_frames]


def _bit_reversed(step: int) -> Fraction:
    """Van der Corput's sequence: 0, 1/2, 1/4, 3/4, 1/8, ..."""
    return Fraction(int(f"{step:0{_PHASE_BITS}b}"[::-1], 2), 1 << _PHASE_BITS)


def _importance(request: GenerationRequest, span: Frames) -> Sequence[float]:
    """Weigh a window's frames before normalisation, > 0."""
    places = range(len(span))
    match request.context_fuse:
        case ContextFuse.FLAT:
            return [1] * len(span)
        case ContextFuse.RELATIVE:
            centre = (len(span) - 1) / 2
            return [max(_LEAST_BIAS, 1 - abs(i - centre) / (centre + _LEAST_BIAS / 2)) for i in places]
        case ContextFuse.OVERLAP_LINEAR:
            return _ramps(request, span)
        case _:
            return _pyramid(len(span))


def _pyramid(length: int) -> list[int]:
    return [min(place + 1, length - place) for place in range(length)]


def _ramps(request: GenerationRequest, span: Frames) -> list[int]:
    """Ramp weights over frames shared with neighbours, not at open ends."""
    full = request.effective_overlap + 1
    opens = not _is_closed(request)
    begins = full if opens and span[0] == 0 else 1
    ends = full if opens and span[-1] == request.num_frames - 1 else 1
    return [min(i + begins, len(span) - 1 - i + ends, full) for i in range(len(span))]


def _last_wins(spans: Sequence[Frames]) -> list[list[float]]:
    last = {frame: number for number, span in enumerate(spans) for frame in span}
    return [[float(last[frame] == number) for frame in span] for number, span in enumerate(spans)]
