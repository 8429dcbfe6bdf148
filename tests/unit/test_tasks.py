"""What is done beside the engine's networks is counted by the pixels it is done to."""

import pytest

from controlnet.preprocessors import OFFLINE
from pipelines.plan.events import Stage
from pipelines.plan.planner.tasks import START, WITHOUT_NETWORKS, tasks_of
from pipelines.plan.request import GenerationRequest

CLIP = "0" * 64
FRAME = 128 * 64


def tasks(**values) -> dict[str, float]:
    base = {"width": 128, "height": 64, "num_frames": 8}
    return {task.name: task.pixels for task in tasks_of(GenerationRequest.build(seed=0, **base | values))}


def test_a_plain_clip_is_only_written():
    assert tasks() == {"write MP4": 8 * FRAME, "finish MP4": START + 8 * FRAME}


def test_every_format_counts_and_a_recipe_costs_nothing():
    assert set(tasks(formats=("GIF", "WEBM", "TXT"))) == {"write GIF", "finish GIF", "write WEBM", "finish WEBM"}


def test_frames_are_finished_as_many_and_as_large_as_they_are_then():
    values = {"color_match": "first", "interpolation": "flow", "interpolation_frames": 3, "upscale_by": 2}
    found = tasks(**values, reverse="append")
    shown = 16 + 3 * 15 + 3  # the last one is held
    assert found == {
        "match colours": 16 * FRAME,
        "between flow": 3 * 15 * FRAME,
        "enlarge lanczos": shown * 4 * FRAME,
        "write MP4": shown * 4 * FRAME,
        "finish MP4": START + shown * 4 * FRAME,
    }


def test_a_network_enlarges_the_small_picture():
    assert tasks(upscaler="x", upscale_by=2)["enlarge x"] == 8 * FRAME


def test_a_size_is_searched_for_only_where_the_file_is_likely_too_large():
    large = {"width": 1024, "height": 1024, "num_frames": 64}
    assert "fit MP4" in tasks(**large, max_file_mb=0.5)
    assert "fit MP4" not in tasks(**large, max_file_mb=500)
    assert "fit MP4" not in tasks(**large)
    assert "fit PNG" not in tasks(**large, formats=("PNG",), max_file_mb=0.5)


def test_clips_are_read_and_followed():
    edges = {"model": "a", "preprocessor": "canny"}
    found = tasks(source_video=CLIP, controls=[edges, edges | {"clip": "1" * 64}])
    assert found["preprocess canny"] == 2 * 8 * FRAME
    assert found["read"] == 2 * (START + 8 * FRAME)
    assert tasks(source_video=CLIP, color_match="source")["read"] == 2 * tasks(source_video=CLIP)["read"]
    assert all(
        task.stage is Stage.PREPROCESS
        for task in tasks_of(GenerationRequest.build(seed=0, source_video=CLIP, controls=[edges]))
        if task.name.startswith(("read", "preprocess"))
    )


@pytest.mark.parametrize("size", [(128, 64), (512, 256)])
def test_a_network_looks_at_a_picture_of_its_own_size(size):
    def seen(**options) -> float:
        unit = {"model": "a", "preprocessor": "depth_midas", "options": options}
        return tasks(source_video=CLIP, controls=[unit], width=size[0], height=size[1])["preprocess depth_midas"]

    assert seen() == 8 * 512 * 1024
    assert seen(resolution=256) == seen() / 4


def test_preprocessors_without_networks_are_those_without_weights():
    assert frozenset(OFFLINE) == WITHOUT_NETWORKS
