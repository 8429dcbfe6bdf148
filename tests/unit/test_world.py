"""The procedural world, its captions, and the detectors that read it back."""

import numpy as np
import pytest

from scripts.train_demo.captions import ATTRIBUTES, OPEN, caption, plain_caption
from scripts.train_demo.detect import read_camera, read_clip
from scripts.train_demo.score import held_out_prompts, wilson
from scripts.train_demo.world import (
    CAMERA_PAN,
    CAMERAS,
    COLOURS,
    GROUNDS,
    MOTIONS,
    SHAPES,
    Scene,
    coverage,
    is_held_out,
    pose,
    render,
    sample_scene,
    view,
)

VISIBLE = [(shape, motion) for shape in SHAPES for motion in MOTIONS if (shape, motion) != ("circle", "rotating")]


@pytest.mark.parametrize(("shape", "motion"), VISIBLE)
def test_detectors_read_rendered_truth(shape: str, motion: str):
    rng = np.random.default_rng(len(shape + motion))
    for ground in GROUNDS:
        scene = sample_scene(rng, shape=shape, motion=motion, ground=ground, camera="still")
        seen = read_clip(render(scene))
        labels = (seen.shape, seen.colour, seen.background, seen.motion, seen.ground)
        assert labels == (shape, scene.colour, scene.background, motion, ground)
        assert seen.flicker == 0


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_flow_of_the_ground_tells_the_camera(camera: str):
    clip = render(sample_scene(np.random.default_rng(len(camera)), ground="spotted", camera=camera))
    seen = read_camera(clip)
    first, last = view(camera, 0), view(camera, 15)
    assert seen.camera == camera
    assert seen.shift == pytest.approx((last[0] - first[0], last[1] - first[1]), abs=0.02)
    assert seen.zoom == pytest.approx(last[2] / first[2], rel=0.06)
    assert seen.roll == pytest.approx(last[3] - first[3], abs=2)


def test_shape_and_ground_move_with_the_camera():
    still, panned = (Scene("star", "red", "blue", "large", "static", ground="spotted", camera=c) for c in
                     ("still", "pan left"))  # fmt: skip
    side = 128
    way = round(CAMERA_PAN / 2 * side)  # in the last frame the picture has gone this far to the right
    before, after = render(still, frames=[15])[0], render(panned, frames=[15])[0]
    assert np.abs(before[:, : side - way].astype(int) - after[:, way:]).mean() < 3


def test_an_empty_clip_has_no_shape():
    clip = np.full((16, 64, 64, 3), COLOURS["blue"], np.uint8)
    assert read_clip(clip).shape == "none"
    assert read_clip(clip).background == "blue"


def test_flicker_of_the_ground_is_measured():
    clip = render(Scene("star", "red", "black", "large", "static"))
    clip[::2] += 6
    assert read_clip(clip).flicker == pytest.approx(6, abs=0.5)


def test_a_shape_moves_at_constant_speed_and_stays_inside():
    rng = np.random.default_rng(0)
    for _ in range(200):
        scene = sample_scene(rng, camera="still")
        xs, ys, radii, _ = zip(*(pose(scene, f) for f in range(16)), strict=True)
        assert np.ptp(np.diff(xs)) == pytest.approx(0, abs=1e-9)
        assert min(np.array(xs) - radii) > -0.05
        assert max(np.array(ys) + radii) < 1.05


def test_coverage_is_antialiased_and_its_area_right():
    mask = coverage("square", x=0.5, y=0.5, radius=0.25, angle=0, height=128, width=128)
    assert mask.sum() == pytest.approx((0.25 * 128) ** 2 * 2, rel=0.02)
    shifted = coverage("square", x=0.5 + 0.5 / 128, y=0.5, radius=0.25, angle=0, height=128, width=128)
    assert 0 < np.abs(shifted - mask).max() < 1


def test_a_caption_is_labelled_with_what_it_says():
    rng = np.random.default_rng(1)
    scene = sample_scene(rng, shape="square", colour="green", background="black", size="small", motion="up")
    for _ in range(300):
        text, labels = caption(rng, scene, leave_out=0.3)
        for name, classes in ATTRIBUTES.items():
            assert labels[name] in (OPEN, classes.index(getattr(scene, name)))
        if labels["motion"] == OPEN:
            assert not any(word in text for word in ("rising", "upwards", "climbing", "moves up"))


def test_held_out_prompts_are_held_out_and_distinct_from_training():
    scenes = [scene for scene, _ in held_out_prompts(50)]
    assert all(is_held_out(scene) for scene in scenes)
    share = np.mean([is_held_out(sample_scene(np.random.default_rng(i))) for i in range(600)])
    assert 0.04 < share < 0.14
    assert "moving" in plain_caption(Scene("star", "red", "blue", "small", "left"))


def test_wilson_interval_holds_the_share():
    low, high = wilson(194, 200)
    assert low < 97 < high
    assert high - low < 6
