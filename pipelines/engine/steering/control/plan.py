"""Frames a control unit steers: weights, and the picture each follows."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.plan.context import is_ring
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest
from pipelines.plan.request_fields.units import ControlUnit
from pipelines.plan.schedules import values_at


@dataclass(frozen=True, slots=True)
class ControlPlan:
    """A control unit laid out over a clip.

    Args:
        unit: What was asked for.
        num_frames: Of the clip.
        pictures: How many it has to follow: one for all frames, one for each frame, or one for each key frame.
        keys: Its key frames, 0 to `num_frames` - 1, in the order of their pictures; none if it steers all frames.
        is_ring: Whether distances to key frames are measured around the end of the clip, too.
    """

    unit: ControlUnit
    num_frames: int
    pictures: int
    keys: tuple[int, ...]
    is_ring: bool

    def picture_at(self, frame: int) -> int:
        """Return a frame's picture number: its own, or the nearest key's."""
        if self.pictures == 1:
            return 0
        if self.pictures != len(self.keys):
            return frame
        return min(range(len(self.keys)), key=lambda number: self._distance(frame, self.keys[number]))

    def strengths_at(self, frames: Sequence[int]) -> list[float]:
        """Return the unit's weight at frames, regardless of its key frames."""
        return values_at(self.unit.weight, frames)

    def weights_at(self, frames: Sequence[int]) -> list[float]:
        """Return the unit's weights at frames, reduced by key-frame distance."""
        weights = self.strengths_at(frames)
        return [weight * self._share(frame) for frame, weight in zip(frames, weights, strict=True)]

    def _share(self, frame: int) -> float:
        if not self.keys:
            return 1.0
        shares = (1.0, *self.unit.falloff)
        distance = min(self._distance(frame, key) for key in self.keys)
        return shares[distance] if distance < len(shares) else 0.0

    def _distance(self, frame: int, key: int) -> int:
        straight = abs(frame - key)
        return min(straight, self.num_frames - straight) if self.is_ring else straight


def plan_control(unit: ControlUnit, request: GenerationRequest, *, pictures: int) -> ControlPlan:
    """Lay out a control unit over the clip of a request.

    Args:
        unit: One of the request's.
        request: The request.
        pictures: Frames of the clip that it follows.

    Raises:
        InvalidRequestError: A key frame lies outside the clip or is named twice, or there are too many or too
            few pictures.

    Example:
        >>> request = GenerationRequest.build(seed=0, controls=[{"model": "a", "key_frames": [0, -1]}])
        >>> plan_control(request.controls[0], request, pictures=2).keys
        (0, 15)
    """
    num_frames = request.num_frames
    keys = tuple(_place(key, unit, request) for key in unit.key_frames)
    if len(set(keys)) != len(keys):
        raise InvalidRequestError(
            Fault(
                code="control.key_frame_twice",
                field="controls",
                rule="name each key frame once",
                got=_listed(unit.key_frames),
                seen="{got:s} for '{model:s}' in a clip of {frames} frames",
                fix="Change 'Key frames'",
                values={"model": unit.model, "frames": num_frames},
            )
        )
    fitting = sorted({1, num_frames, *([len(keys)] if keys else [])})
    if pictures not in fitting:
        raise InvalidRequestError(
            Fault(
                code="control.length_of_clip",
                field="controls",
                rule="have a clip of {choices:s} frames for '{model:s}'",
                got=pictures,
                fix="Use one picture for all frames, one for each frame or one for each key frame",
                limit=fitting,
                values={
                    "choices": " or ".join(map(str, fitting)),
                    "listed": _listed(fitting),
                    "model": unit.model,
                },
            )
        )
    return ControlPlan(unit, num_frames, pictures, keys, is_ring(request))


def _place(key: int, unit: ControlUnit, request: GenerationRequest) -> int:
    """Resolve a key's frame; negative ones count from the first clip's end."""
    end = request.lengths[0]
    if not -end <= key < request.num_frames:
        raise InvalidRequestError(
            Fault(
                code="control.key_frame_outside",
                field="controls",
                rule="have key frames from {first} to {last}",
                got=key,
                seen="{got} for '{model:s}'",
                fix="Change 'Key frames'",
                limit=(-end, request.num_frames - 1),
                values={"first": -end, "last": request.num_frames - 1, "model": unit.model},
            )
        )
    return key + end if key < 0 else key


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
