"""A clip in turns: frames are written once and in order, and turns that were cut off go on while that can help."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from pipelines.plan.events import Clip, DecodedFrames, Paused, Progress, Stage
from pipelines.plan.planner.machine import TURN_MARGIN_S
from pipelines.plan.request import GenerationRequest
from studio.device_leases import LEAST_S, MOST_CUT_OFF, CutOffError, RefusedError, Turn, make_in_turns

REQUEST = GenerationRequest.build(seed=1, num_frames=4)


class Sink:
    """Keeps what is written, and how it was left."""

    files = ()

    def __init__(self) -> None:
        self.written: list[int] = []
        self.left = ""

    @property
    def num_frames(self) -> int:
        return len(self.written)

    def writing(self, frames: np.ndarray) -> Iterator[Progress]:
        for number in frames[:, 0, 0, 0].tolist():
            self.written.append(number)
            yield Progress(Stage.DECODE, len(self.written), 4)

    def ending(self) -> Iterator[Progress]:
        yield END

    @contextmanager
    def opened(self, request: GenerationRequest, recipe: str) -> Iterator["Sink"]:
        assert (request, recipe) == (REQUEST, "{}")
        try:
            yield self
        except BaseException as err:
            self.left = type(err).__name__
            raise
        self.left = "cleanly"


def decoded(*numbers: int) -> DecodedFrames:
    return DecodedFrames(np.array(numbers, np.uint8).reshape(-1, 1, 1, 1).repeat(3, 3), "{}")


def run_turns(turns: list[list], sink: Sink, *, seconds: float | None = 5.0) -> tuple[list[Turn], list]:
    """Run these turns, each a list of events, at the end of which an error may stand; what was asked, what came."""
    turns_taken: list[Turn] = []

    def take(turn: Turn) -> Iterator:
        turns_taken.append(turn)
        for event in turns[len(turns_taken) - 1]:
            if isinstance(event, Exception):
                raise event
            yield event

    events = []
    try:
        for event in make_in_turns(REQUEST, take=take, open_writer=sink.opened, checkpoints=None, seconds=seconds):
            events.append(event)
    except Exception as err:
        events.append(err)
    return turns_taken, events


STEP, FRAME = Progress(Stage.DENOISE, 1, 2), Progress(Stage.DECODE, 1, 2)
CLIP = Clip((), "{}", 0, 0.0)
END = Progress(Stage.WRITE, 0, 1)


def test_frames_of_all_turns_are_written_once_and_the_clip_comes_last():
    sink = Sink()
    turns_taken, events = run_turns(
        [[STEP, Paused()], [decoded(0, 1), FRAME, Paused()], [decoded(2, 3), FRAME, CLIP]], sink
    )
    assert [turn.frames_done for turn in turns_taken] == [None, 0, 2]
    assert (sink.written, sink.left) == ([0, 1, 2, 3], "cleanly")
    written = [Progress(Stage.DECODE, number, 4) for number in range(1, 5)]
    assert events[:-1] == [STEP, *written, END]  # as the sink counts them
    assert (events[-1].num_frames, events[-1].recipe) == (4, "{}")


def test_a_chunk_that_is_being_decoded_tells_of_itself_in_frames_of_the_files():
    """So that a bar moves and a cancel is seen; before the first frames nobody knows how many there will be."""
    half = Progress(Stage.DECODE, 1, 2, share=0.5)
    _, events = run_turns([[STEP, half, decoded(0, 1), FRAME, half, decoded(2, 3), FRAME, CLIP]], Sink())
    decoding = [event for event in events if isinstance(event, Progress) and event.stage is Stage.DECODE]
    assert [(event.step, event.total, event.share) for event in decoding] == [
        *((1, 2, 0.0), (1, 4, None), (2, 4, None)),
        *((2, 4, 0.5), (3, 4, None), (4, 4, None)),
    ]


def test_a_turn_that_is_cut_off_goes_on_behind_the_frames_that_came():
    sink = Sink()
    turns_taken, events = run_turns([[STEP, decoded(0), FRAME, CutOffError("gone.")], [decoded(1), FRAME, CLIP]], sink)
    assert [turn.frames_done for turn in turns_taken] == [None, 1]
    assert (sink.written, sink.left) == ([0, 1], "cleanly")
    assert isinstance(events[-1], Clip)


@pytest.mark.parametrize(
    ("turn", "seconds", "tried"),
    [
        ([STEP, CutOffError("gone.")], 5.0, MOST_CUT_OFF + 1),
        ([STEP, CutOffError("gone.")], None, 1),  # nothing of it is kept: again would be from the start
        ([Progress(Stage.LOAD, 0, 1), CutOffError("gone.")], 5.0, 1),  # it came no further
        ([STEP, ValueError()], 5.0, 1),  # its own fault
    ],
)
def test_a_clip_that_going_on_does_not_help_ends_with_the_error(turn, seconds, tried):
    sink = Sink()
    turns_taken, events = run_turns([[decoded(0), *turn] for _ in range(9)], sink, seconds=seconds)
    assert len(turns_taken) == tried
    assert str(events[-1]).startswith(str(turn[-1]))
    assert sink.left == type(events[-1]).__name__ == type(turn[-1]).__name__
    assert ("with seed 1 and all else as it was" in str(events[-1])) == (tried > 1)


LONG, SHORT = 50.0, LEAST_S + 5


def test_a_turn_that_is_refused_for_its_length_is_asked_for_again_with_what_may_be_had():
    sink = Sink()
    refused = RefusedError("too long.", may_ask_s=SHORT + TURN_MARGIN_S)
    turns = [[STEP, decoded(0), FRAME, Paused()], [refused], [decoded(1), FRAME, CLIP]]
    turns_taken, events = run_turns(turns, sink, seconds=LONG)
    assert [(turn.seconds, turn.frames_done) for turn in turns_taken] == [(LONG, None), (LONG, 1), (SHORT, 1)]
    assert sink.written == [0, 1]
    assert isinstance(events[-1], Clip)


@pytest.mark.parametrize("may_ask_s", [None, 0, LEAST_S + TURN_MARGIN_S - 1, LONG + TURN_MARGIN_S])
def test_a_turn_that_no_shorter_one_can_replace_ends_the_clip_and_says_what_is_kept(may_ask_s):
    sink = Sink()
    refused = RefusedError("no quota.", may_ask_s=may_ask_s)
    turns_taken, events = run_turns([[STEP, Paused()], [refused]], sink, seconds=LONG)
    assert len(turns_taken) == 2
    assert str(events[-1]).startswith("no quota. What was made is kept for now: with seed 1 ")
    turns_taken, events = run_turns([[refused]], sink, seconds=LONG)
    assert str(events[-1]) == "no quota."


def test_what_may_be_had_shrinks_with_every_refusal_until_it_is_of_no_use():
    sizes = [LONG + TURN_MARGIN_S - 1, LEAST_S + TURN_MARGIN_S, LEAST_S + TURN_MARGIN_S]
    turns_taken, events = run_turns([[RefusedError("no.", may_ask_s=size)] for size in sizes], Sink(), seconds=LONG)
    assert [(turn.seconds, turn.frames_done) for turn in turns_taken] == [
        (LONG, None),
        (LONG - 1, None),
        (LEAST_S, None),
    ]
    assert isinstance(events[-1], RefusedError)
