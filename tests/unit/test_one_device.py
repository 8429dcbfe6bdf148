"""A device is used by one clip at a time, in the order in which they came."""

from pathlib import Path

from pipelines.plan.events import Progress, Stage
from pipelines.plan.request import GenerationRequest
from studio.device_queue import DeviceQueue

REQUEST = GenerationRequest(seed=1)


def two_steps(_request, _folder):
    yield "first"
    yield "second"


def test_a_second_clip_waits_and_tells_so_until_the_first_is_finished():
    make = DeviceQueue().exclusive(two_steps)
    first, other = make(REQUEST, Path()), make(REQUEST, Path())
    assert next(first) == "first"
    assert next(other) == Progress(Stage.WAIT, 0, 1, note="1 clip is ahead")
    assert list(first) == ["second"]
    assert list(other) == ["first", "second"]


def test_what_is_closed_while_it_runs_or_waits_makes_room_for_the_next():
    make = DeviceQueue().exclusive(two_steps)
    runs, waits, last = (make(REQUEST, Path()) for _ in range(3))
    assert next(runs) == "first"
    assert next(waits).note == "1 clip is ahead"
    assert next(last).note == "2 clips are ahead"
    waits.close()
    assert next(last).note == "1 clip is ahead"
    runs.close()
    assert next(last) == "first"


def test_an_engine_that_fails_gives_the_device_back():
    device = DeviceQueue()

    def failing(_request, _folder):
        yield "begun"
        raise RuntimeError

    broken = device.exclusive(failing)(REQUEST, Path())
    next(broken)
    waits = device.exclusive(two_steps)(REQUEST, Path())
    try:
        next(broken)
    except RuntimeError:
        assert list(waits) == ["first", "second"]
    else:
        raise AssertionError("the failure was kept")
