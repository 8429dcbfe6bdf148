"""Frames in between: how many, where, by what follows motion, and never over a cut."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from finishing.flow import draw_between
from finishing.interpolate import BetweenStage, is_cut
from finishing.stages import Picture, Stage, StageOfTask, staged
from pipelines.plan.request import GenerationRequest
from scripts.measure_interpolation import METHODS, moving_scenes, psnr
from scripts.train_demo.world import render, sample_scene


class Sink:
    """Keeps what is written, and how it was left."""

    def __init__(self) -> None:
        self.files: tuple[Path, ...] = ()
        self.frames: list[Picture] = []
        self.left_by: str | None = None

    @property
    def num_frames(self) -> int:
        return len(self.frames)

    def write(self, frames: np.ndarray) -> None:
        self.frames.extend(frames)

    @contextmanager
    def opened(self) -> Iterator["Sink"]:
        try:
            yield self
        except BaseException as err:
            self.left_by = type(err).__name__
            raise
        self.left_by = "end"
        self.files = (Path("clip.mp4"),)


def grey(*values: int) -> np.ndarray:
    """Frames of one value each."""
    return np.stack([np.full((8, 8, 3), value, np.uint8) for value in values])


def mixed(before: Picture, after: Picture, count: int) -> Iterator[Picture]:
    for number in range(1, count + 1):
        yield np.round(before + (after.astype(float) - before) * number / (count + 1)).astype(np.uint8)


def passed(frames: np.ndarray, *stages: Stage) -> list[int]:
    """The first value of every frame that arrives."""
    sink = Sink()
    with staged(sink.opened(), [StageOfTask("between", stage) for stage in stages]) as opened:
        for frame in frames:
            opened.write(frame[None])
    return [int(frame[0, 0, 0]) for frame in sink.frames]


def test_frames_stand_between_every_two():
    assert passed(grey(0, 20, 40), BetweenStage(mixed, 3, loops=False)) == [0, 5, 10, 15, 20, 25, 30, 35, 40]


def test_the_last_frame_is_held_as_long_as_the_others_last():
    assert passed(grey(0, 20), BetweenStage(mixed, 3, loops=False, held=3)) == [0, 5, 10, 15, 20, 20, 20, 20]
    assert passed(grey(7), BetweenStage(mixed, 2, loops=False, held=2)) == [7, 7, 7]


def test_a_loop_leads_back_to_its_first_frame():
    assert passed(grey(0, 20), BetweenStage(mixed, 1, loops=True)) == [0, 10, 20, 10]


def test_the_end_of_one_stage_passes_those_behind_it():
    stages = (BetweenStage(mixed, 1, loops=True), BetweenStage(mixed, 1, loops=False))
    assert passed(grey(0, 20), *stages) == [0, 5, 10, 15, 20, 15, 10]


@pytest.mark.parametrize("count", [1, 4, 16])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_frames": 1},
        {"reverse": "append"},
        {"reverse": "drop_both"},
        {"num_frames": 20, "closed_loop": "windows"},
        {"closed_loop": "full"},
    ],
)
def test_there_are_as_many_as_the_request_says(settings: dict[str, object], count: int):
    request = GenerationRequest.build(seed=0, interpolation="flow", interpolation_frames=count, **settings)
    num_made = request.num_frames + len(request.frames_played_back)
    stage = BetweenStage(mixed, count, loops=request.loops, held=request.held_frames)
    assert len(passed(grey(*range(num_made)), stage)) == request.output_frames


def test_a_cut_is_not_drawn_over():
    stage = BetweenStage(mixed, 4, loops=False)
    assert passed(grey(0, 10, 200), stage) == [0, 2, 4, 6, 8, 10, 10, 10, 200, 200, 200]
    assert passed(grey(10, 200), BetweenStage(mixed, 1, loops=False)) == [10, 10, 200]


def test_no_movement_of_the_world_is_a_cut_and_most_other_scenes_are():
    rng = np.random.default_rng(3)
    clips = [render(sample_scene(rng), frames=range(0, 16, 2), height=64, width=64) for _ in range(40)]
    assert not any(is_cut(*pair) for clip in clips for pair in pairwise(clip))
    assert sum(is_cut(first[-1], other[0]) for first, other in pairwise(clips)) > 30


def test_an_exception_aborts_the_sink_and_draws_nothing_more():
    sink = Sink()

    def write_one_and_fail() -> None:
        with staged(sink.opened(), [StageOfTask("between", BetweenStage(mixed, 1, loops=True))]) as opened:
            opened.write(grey(0, 20))
            raise KeyError("stopped")

    with pytest.raises(KeyError):
        write_one_and_fail()
    assert (sink.left_by, sink.num_frames, sink.files) == ("KeyError", 3, ())


def test_a_stage_that_fails_at_its_end_aborts_the_sink():
    def broken(before: Picture, after: Picture, count: int) -> Iterator[Picture]:
        del after, count
        raise ArithmeticError
        yield before

    sink = Sink()
    opened = staged(sink.opened(), [StageOfTask("between", BetweenStage(broken, 1, loops=True))])
    with pytest.raises(ArithmeticError), opened as inner:
        inner.write(grey(0))
    assert (sink.left_by, sink.files) == ("ArithmeticError", ())


def test_files_are_told_when_they_are_complete():
    sink = Sink()
    with staged(sink.opened(), []) as opened:
        opened.write(grey(1, 2))
        assert opened.files == ()
    assert (opened.files, opened.num_frames, sink.left_by) == ((Path("clip.mp4"),), 2, "end")


def gains(clips: Sequence[np.ndarray]) -> tuple[float, float]:
    """dB that flow is nearer to the true frames than repetition and blend."""
    by_frame = {
        name: np.mean([psnr(METHODS[name](clip[::2]), clip[1::2][: len(clip[::2]) - 1]) for clip in clips])
        for name in ("repetition", "blend", "flow")
    }
    return by_frame["flow"] - by_frame["repetition"], by_frame["flow"] - by_frame["blend"]


def test_flow_comes_nearer_to_the_true_frames_than_repetition_and_blending():
    over_repetition, over_blend = gains([render(scene, frames=range(5)) for scene in moving_scenes(8)])
    assert over_repetition > 10, f"got {over_repetition:.1f} dB, required 10"
    assert over_blend > 6, f"got {over_blend:.1f} dB, required 6"


def test_flow_sees_movement_between_colours_of_one_brightness():
    frames = np.full((3, 96, 96, 3), (35, 70, 215), np.uint8)
    for number in range(3):
        frames[number, 30:60, 20 + 6 * number : 50 + 6 * number] = (88, 88, 8)  # of the same luma
    over_repetition, over_blend = gains([frames])
    assert over_repetition > 6
    assert over_blend > 3


def test_flow_leaves_what_stands_still():
    frame = np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8)
    between = list(draw_between(frame, frame, 3))
    assert len(between) == 3
    assert all(np.abs(drawing.astype(int) - frame).max() <= 1 for drawing in between)


def test_flow_draws_the_same_with_any_number_of_threads():
    pair = render(sample_scene(np.random.default_rng(5), ground="spotted"), frames=[3, 5])
    threads = cv2.getNumThreads()
    drawings = []
    try:
        for number in (1, 2, 4):
            cv2.setNumThreads(number)
            drawings.append(next(draw_between(*pair, 1)))
    finally:
        cv2.setNumThreads(threads)
    assert (drawings[0] == drawings[1]).all()
    assert (drawings[0] == drawings[2]).all()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 200), (33, 17)])
def test_flow_takes_any_size_and_a_frame_of_one_colour(height: int, width: int):
    before, after = np.full((height, width, 3), 10, np.uint8), np.full((height, width, 3), 30, np.uint8)
    (between,) = draw_between(before, after, 1)
    assert between.shape == (height, width, 3)
    assert np.abs(between.astype(int) - 20).max() <= 1
