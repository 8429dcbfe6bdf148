"""Which frames a control unit steers: key frames, falloff, rings, and the pictures that belong to them."""

import pytest

from pipelines.engine.steering.control.plan import plan_control
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest


def plan(pictures: int, unit: dict[str, object], **settings: object):
    request = GenerationRequest.build(seed=0, controls=[{"model": "a"} | unit], **settings)
    return plan_control(request.controls[0], request, pictures=pictures)


def test_without_key_frames_every_frame_follows_its_own_picture():
    controls = plan(16, {"weight": "0: 1, 15: 0"})
    assert [controls.picture_at(frame) for frame in range(16)] == list(range(16))
    assert controls.weights_at([0, 15]) == [1, 0]


def test_pictures_belong_to_key_frames_in_turn():
    controls = plan(2, {"key_frames": [-1, 0]})
    assert controls.keys == (15, 0)
    assert [controls.picture_at(frame) for frame in (0, 3, 12, 15)] == [1, 1, 0, 0]


def test_the_end_that_key_frames_are_counted_from_stays_where_it_was_in_an_extension():
    assert plan(2, {"key_frames": [-1, 18]}, num_frames=20, extended_from=16).keys == (15, 18)
    with pytest.raises(InvalidRequestError, match="key frames from -16 to 19, got -17"):
        plan(1, {"key_frames": [-17]}, num_frames=20, extended_from=16)


def test_with_a_picture_for_each_frame_neighbours_follow_their_own():
    assert plan(16, {"key_frames": [4], "falloff": [0.5]}).picture_at(5) == 5


def test_the_nearest_key_frame_counts_and_beyond_the_falloff_none():
    controls = plan(1, {"key_frames": [2, 5], "falloff": [0.5], "weight": 2})
    assert controls.weights_at(range(8)) == [0, 1, 2, 1, 1, 2, 1, 0]


@pytest.mark.parametrize(
    ("settings", "last"),
    [({}, 0.0), ({"closed_loop": "windows"}, 0.5), ({"closed_loop": "windows", "context_length": 32}, 0.0)],
)
def test_falloff_runs_around_the_end_of_a_ring_only(settings, last):
    controls = plan(1, {"key_frames": [0], "falloff": [0.5]}, num_frames=32, **settings)
    assert controls.weights_at([31]) == [last]


@pytest.mark.parametrize("unit", [{"key_frames": [16]}, {"key_frames": [-17]}, {"key_frames": [0, 0]}])
def test_key_frames_that_are_none_are_refused(unit):
    with pytest.raises(InvalidRequestError, match="'a'"):
        plan(1, unit)
