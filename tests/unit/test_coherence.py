"""What the script that measures long clips reads off rendered truth."""

import numpy as np
import pytest

from pipelines.plan.request import GenerationRequest
from scripts.measure_coherence import borders, changes, coherence, loop_jump
from scripts.train_demo.world import Scene, render


def scene(**changes: str) -> Scene:
    values = {"shape": "star", "colour": "red", "background": "blue", "size": "large", "motion": "right"}
    return Scene(**values | changes)


def test_a_rendered_clip_holds_together():
    coherences = coherence(render(scene()), [7])
    assert (coherences.same_shape, coherences.same_colour) == (1, 1)
    assert coherences.speed_spread < 0.1
    assert coherences.border_jump == pytest.approx(1, abs=0.2)


def test_a_clip_that_changes_at_a_border_does_not():
    frames = np.concatenate([render(scene())[:10], render(scene(shape="circle", colour="green"))[10:]])
    coherences = coherence(frames, [9])
    assert 0.5 < coherences.same_shape < 0.8
    assert 0.5 < coherences.same_colour < 0.8
    assert coherences.border_jump > 2
    assert coherence(frames, [3]).border_jump < 1.2


def test_a_shape_that_stops_half_way_has_no_even_speed():
    frames = render(scene())
    frames[8:] = frames[8]
    assert coherence(frames, []).speed_spread > 0.5


def test_changes_go_from_a_frame_to_the_next_and_from_the_last_to_the_first():
    frames = np.array([0, 1, 3, 7], np.uint8)[:, None, None, None].repeat(3, axis=3)
    assert changes(frames).tolist() == [1, 2, 4, 7]


def test_a_loop_that_goes_forth_and_back_has_no_jump():
    frames = render(scene())
    assert loop_jump(np.concatenate([frames, frames[-2:0:-1]])) == pytest.approx(1, abs=0.2)
    assert loop_jump(frames) > 2


@pytest.mark.parametrize(
    ("num_frames", "settings", "expected"),
    [
        (40, {"context_schedule": "batched"}, [15, 31]),
        (40, {"context_schedule": "static", "context_overlap": 0}, [15, 23, 31]),
        (16, {}, []),
    ],
)
def test_borders_are_where_windows_begin_or_end(num_frames: int, settings: dict, expected: list[int]):
    assert borders(GenerationRequest.build(seed=0, num_frames=num_frames, **settings)) == expected
