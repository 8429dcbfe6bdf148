"""Calls of the API tell how far they are, and their line is bounded."""

import threading

import pytest

from api.sdapi.answers import progress_of
from api.sdapi.calls import Calls, OpenCall, TooManyCallsError
from pipelines.plan.events import Clip, Progress, Stage
from pipelines.plan.request import GenerationRequest

REQUEST = GenerationRequest(seed=1)


@pytest.mark.parametrize(
    ("done", "progress", "share"),
    [
        (0, Progress(Stage.LOAD, 1, 1), 0.01),  # clients take 0 for nothing to do
        (0, Progress(Stage.DENOISE, 10, 20), 0.225),
        (0, Progress(Stage.DECODE, 1, 2), 0.475),
        (0, Progress(Stage.WRITE, 0, 2), 0.5),
        (1, Progress(Stage.DENOISE, 0, 20), 0.5),
        (1, Progress(Stage.DECODE, 2, 2), 1),
        (2, Progress(Stage.DECODE, 2, 2), 1),
    ],
)
def test_progress_grows_over_the_stages_of_all_clips(done, progress, share):
    call = OpenCall("txt2img", clips=2, done=done)
    call.take(progress)
    assert call.share == pytest.approx(share)


def test_a_call_that_waits_says_so():
    call = OpenCall("txt2img", clips=1)
    call.take(Progress(Stage.WAIT, 0, 1))
    assert progress_of(call, 1, with_picture=True)["state"]["job"] == "waiting"


def test_a_full_line_takes_no_more_and_empties():
    may_end = threading.Event()
    started = threading.Event()

    def make(_request, _folder):
        started.set()
        may_end.wait(10)
        yield Clip((), "{}", 1, 0)

    calls = Calls(make, most=1)
    first = threading.Thread(target=lambda: calls.run(OpenCall("txt2img", 1), [REQUEST], lambda *_: None))
    first.start()
    started.wait(10)
    with pytest.raises(TooManyCallsError):
        calls.run(OpenCall("txt2img", 1), [REQUEST], lambda *_: None)
    may_end.set()
    first.join(10)
    assert calls.count() == 0
    assert calls.run(OpenCall("txt2img", 1), [REQUEST], lambda *_: "made").results == ["made"]


def test_an_interrupted_call_keeps_the_clips_that_were_finished():
    def make(_request, _folder):
        yield Progress(Stage.DENOISE, 1, 2)
        yield Clip((), "{}", 1, 0)

    def collect(*_):
        calls.interrupt()
        return "made"

    calls = Calls(make)
    outcome = calls.run(OpenCall("txt2img", 3), [REQUEST] * 3, collect)
    assert (outcome.results, outcome.is_interrupted) == (["made"], True)
