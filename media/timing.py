"""Fit one exact frame rate to the times of frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np

MAX_UNEVEN_FPS = 120
"""Highest rate a clip of uneven timing is given; one of even timing keeps whatever it has."""

_NTSC = Fraction(1000, 1001)
_MAX_DENOMINATOR = 1001
_HINT_DIGITS = Fraction(1, 100)
_UNEVEN_TOLERANCE = 0.005
_JITTER = 0.25  # of a frame; phones stamp each frame when the sensor has it, a few milliseconds early or late


@dataclass(frozen=True, slots=True)
class Timing:
    """Frame rate and count of a clip.

    Args:
        fps: Exact frame rate.
        even: Whether frame k of the file is shown at about k / fps. If not, frames have to be taken by time: at
            every 1 / fps the one that is shown then.
        num_frames: At that rate; of an even clip, the frames in the file.
    """

    fps: Fraction
    even: bool
    num_frames: int


def timing_of(starts: Sequence[int], end: int, tick: Fraction, *, hint: Fraction | None = None) -> Timing:
    """Fit a frame rate to these times.

    Containers round times to their clock: 24000/1001 frames per second are 0, 42, 83, 125, … in milliseconds.
    A rate fits if no frame is off by more than a tick. Where several do, a whole one is preferred, then one of
    broadcasting (n · 1000/1001), if they agree with the hint, then the one with the smallest denominator.

    Times that shake around those of a rate by less than a quarter of a frame, as phones write them, count as its own:
    each frame is there once.

    Times that no rate fits are uneven: recordings of screens and in the dark, GIFs that wait at the end. Those keep
    their time, and with it their sound: frames are taken at the rate of the median frame, so that a
    frame that lasts longer is repeated.

    Args:
        starts: When each frame is shown, in ticks, ascending; at least one.
        end: When the last is over.
        tick: Seconds.
        hint: The rate to two decimals, as ffmpeg tells it.

    Example:
        >>> timing_of([0, 42, 83, 125], 167, Fraction(1, 1000), hint=Fraction("23.98"))
        Timing(fps=Fraction(24000, 1001), even=True, num_frames=4)
        >>> timing_of([0, 10, 20], 220, Fraction(1, 100))
        Timing(fps=Fraction(10, 1), even=False, num_frames=22)
    """
    durations = np.diff(np.array([*starts, end], np.int64))
    if len(starts) == 1 or (durations[:-1] == durations[0]).all():
        # The last duration is often a guess of the container, except where it is a wait.
        if durations[-1] < 2 * durations[0] or len(starts) == 1:
            return Timing(1 / (tick * max(1, int(durations[0]))), True, len(starts))
    elif (fps := _even_rate(np.array(starts, np.int64), tick, hint)) is not None:
        return Timing(fps, True, len(starts))
    ticks = max(1.0, float(np.median(durations)))
    shaking = _even_rate(np.array(starts, np.int64), tick, None, slack=_JITTER * ticks) if len(starts) > 1 else None
    if shaking is not None and durations[-1] < 2 * ticks:
        return Timing(shaking, True, len(starts))
    median = ticks * float(tick)
    rate = _simplest((1 - _UNEVEN_TOLERANCE) / median, (1 + _UNEVEN_TOLERANCE) / median)
    fps = min(rate or Fraction(MAX_UNEVEN_FPS), Fraction(MAX_UNEVEN_FPS))
    last = floor((starts[-1] - starts[0]) * tick * fps)  # has its place even if the file says that it lasts no time
    return Timing(fps, False, max(last + 1, round((end - starts[0]) * tick * fps)))


def frame_shown_at(starts: Sequence[int], place: int, tick: Fraction, fps: Fraction) -> int:
    """Find the file's frame shown mid-place at a constant rate."""
    now = (place + Fraction(1, 2)) / fps / tick + starts[0]
    return max(0, int(np.searchsorted(starts, floor(now), side="right")) - 1)


def _even_rate(starts: np.ndarray, tick: Fraction, hint: Fraction | None, *, slack: float = 1) -> Fraction | None:
    """Find the rate that keeps frames within `slack` ticks, or None."""
    count = np.arange(1, len(starts))
    passed = starts[1:] - starts[0]
    low = float((count / (passed + slack)).max() / float(tick))
    late = passed > slack
    high = float((count[late] / (passed[late] - slack)).min() / float(tick)) if late.any() else 1 / float(tick)
    if low > high:
        return None
    about = float(hint) if hint else (low + high) / 2
    whole, broadcast = Fraction(round(about)), round(about / _NTSC) * _NTSC
    for rate in (whole, broadcast):
        if low <= rate <= high and (hint is None or abs(rate - hint) < _HINT_DIGITS):
            return rate
    return _simplest(low, high)


def _simplest(low: float, high: float) -> Fraction | None:
    """Find the fraction with the smallest denominator in a range."""
    for denominator in range(1, _MAX_DENOMINATOR + 1):
        numerator = max(1, ceil(low * denominator))
        if numerator <= high * denominator:
            return Fraction(numerator, denominator)
    return None
