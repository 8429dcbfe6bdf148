"""What is done beside the engine's networks is counted by the pixels it is done to."""

import pytest

from controlnet.preprocessors import OFFLINE
from pipelines.plan.events import Stage
from pipelines.plan.plan import plan_of
from pipelines.plan.planner.tasks import START, WITHOUT_NETWORKS, Task, tasks_of
from pipelines.plan.request import GenerationRequest

CLIP = "0" * 64
FRAME = 128 * 64


def planned(**values) -> list[Task]:
    base = {"width": 128, "height": 64, "num_frames": 8, "strength": 1}
    return tasks_of(plan_of(GenerationRequest.build(seed=0, **base | values)), "cpu")


def tasks(**values) -> dict[str, float]:
    """The work of tasks beside the engine's networks, by name."""
    found: dict[str, float] = {}
    for task in planned(**values):
        if task.name.split()[0] not in ("load", "unet", "vae"):
            found[task.name] = found.get(task.name, 0.0) + task.work
    return found


def test_a_plain_clip_is_only_written():
    assert tasks() == {"write MP4": START + 8 * FRAME}


def test_every_format_counts_and_a_recipe_costs_nothing():
    assert set(tasks(formats=("GIF", "WEBM", "TXT"))) == {"write GIF", "write WEBM"}


def test_frames_are_finished_as_many_and_as_large_as_they_are_then():
    values = {"color_match": "first", "interpolation": "flow", "interpolation_frames": 3, "upscale_by": 2}
    found = tasks(**values, reverse="append")
    shown = 16 + 3 * 15 + 3  # the last one is held
    assert found == {
        "match colours": 16 * FRAME,
        "between flow": 3 * 15 * FRAME,
        "enlarge lanczos": shown * 4 * FRAME,
        "write MP4": START + shown * 4 * FRAME,
    }


def test_a_network_enlarges_the_small_picture():
    assert tasks(upscaler="x", upscale_by=2)["enlarge x"] == 8 * FRAME


def test_a_size_is_searched_for_only_where_the_file_is_likely_too_large():
    large = {"width": 1024, "height": 1024, "num_frames": 64}
    usual = tasks(**large)
    assert tasks(**large, max_file_mb=0.5)["write MP4"] > 5 * usual["write MP4"]
    assert tasks(**large, max_file_mb=500) == usual
    pictures = {"formats": ("PNG",)}
    assert tasks(**large, **pictures, max_file_mb=0.5) == tasks(**large, **pictures)


def test_clips_are_read_and_followed():
    edges = {"model": "a", "preprocessor": "canny"}
    found = tasks(source_video=CLIP, controls=[edges, edges | {"clip": "1" * 64}])
    assert found["preprocess canny"] == 2 * 8 * FRAME
    assert found["read"] == 2 * (START + 8 * FRAME)
    assert tasks(source_video=CLIP, color_match="source")["read"] == tasks(source_video=CLIP)["read"]  # but once
    assert all(
        task.stage is Stage.PREPROCESS
        for task in planned(source_video=CLIP, controls=[edges])
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
