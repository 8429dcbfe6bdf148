"""Time left for a clip, from its estimate and measured progress."""

from collections.abc import Mapping

from pipelines.plan.events import Progress, Stage
from pipelines.plan.passes import plan_passes
from pipelines.plan.planner.costs import window_flops
from pipelines.plan.request import GenerationRequest

TRUST = 0.25
"""The estimate weighs as much as so great a share of a stage, once that was measured: one slow step changes little."""

_ORDER = (Stage.PREPROCESS, Stage.LOAD, Stage.ENCODE, Stage.DENOISE, Stage.DECODE, Stage.WRITE)
_AT_FIRST = (Stage.PREPROCESS, Stage.LOAD)  # in either order


class Remaining:
    """Follows the events of one clip, over all its turns.

    Args:
        request: The clip.
        expected: Seconds of each stage, as `estimate` tells them.

    Raises:
        InvalidRequestError: `strength` leaves no step.
    """

    def __init__(self, request: GenerationRequest, expected: Mapping[Stage, float]) -> None:
        self._expected = expected
        self._passes = [(planned.windows, window_flops(planned.request).total) for planned in plan_passes(request)]
        self._shares = {Stage.DENOISE: 0.0, Stage.DECODE: 0.0}
        self._resumed: dict[Stage, float] = {}

    def seconds(self, event: Progress, spent: Mapping[Stage, float]) -> float | None:
        """Return the seconds left; None while waiting or downloading.

        Args:
            spent: Seconds of each stage so far.
        """
        if event.stage is Stage.WAIT or (event.stage is Stage.LOAD and event.total > 1):
            return None
        if event.stage in self._shares:
            self._shares[event.stage] = self._share(event)
        now = 0 if event.stage in _AT_FIRST else _ORDER.index(event.stage)
        return sum(self._left(stage, spent[stage], is_over=_ORDER.index(stage) < now) for stage in _ORDER)

    def _share(self, event: Progress) -> float:
        """Return how much of its stage is done."""
        before = 0.0
        done = float(event.step)
        total = float(max(1, event.total))
        if event.stage is Stage.DENOISE:
            planned = sum(windows for windows, _ in self._passes)
            before = self._work(planned - event.total)  # done by an earlier run, or another turn
            done, total = self._work(planned - event.total + event.step), self._work(planned)
        self._resumed.setdefault(event.stage, before / total)
        return min(1.0, done / total)

    def _work(self, windows: float) -> float:
        """Count the operations of so many windows from the first on."""
        work = 0.0
        for planned, flops in self._passes:
            work += max(0.0, min(planned, windows)) * flops
            windows -= planned
        return work

    def _left(self, stage: Stage, spent: float, *, is_over: bool) -> float:
        expected = self._expected[stage]
        if stage not in self._shares:
            return 0.0 if is_over else max(0.0, expected - spent)
        share = self._shares[stage]
        measured = share - self._resumed.get(stage, share)
        a_whole = (spent + TRUST * expected) / (measured + TRUST)
        return (1 - share) * a_whole
