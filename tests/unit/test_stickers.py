"""The sticker world, its captions, and the detectors that read it back. Two stickers stand for the artwork."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from scripts.train_demo.captions import OPEN
from scripts.train_demo.world import CAMERAS, COLOURS, SHAPES
from scripts.train_stickers.artwork import SIDE, Artwork
from scripts.train_stickers.captions import ATTRIBUTES, UNKNOWN, caption, plain_caption
from scripts.train_stickers.detect import JUDGED, read_clip
from scripts.train_stickers.grounds import GROUNDS, SCENES, scene_picture
from scripts.train_stickers.subjects import HARD_TO_SEE, STICKERS, SUBJECTS
from scripts.train_stickers.world import MOTIONS, Scene, is_held_out, pose, render, sample_scene


@pytest.fixture(scope="module")
def art() -> Artwork:
    """A face with ears, seen from the front, and a car with its nose on the left."""
    face, car = np.zeros((2, SIDE, SIDE, 4), np.uint8)
    cv2.circle(face, (96, 110), 70, (240, 160, 40, 255), -1)
    for x in (40, 152):
        cv2.circle(face, (x, 45), 30, (150, 90, 30, 255), -1)
    cv2.circle(face, (96, 120), 14, (20, 20, 20, 255), -1)
    cv2.rectangle(car, (10, 90), (182, 140), (230, 40, 50, 255), -1)
    cv2.rectangle(car, (80, 50), (182, 95), (60, 150, 230, 255), -1)
    for x in (50, 145):
        cv2.circle(car, (x, 140), 24, (20, 20, 30, 255), -1)
    return Artwork({"cat": face, "car": car})


SEEN = ["star", "cat", "car", "heart", "square", "cat", "car", "cross", "triangle", "circle"]


@pytest.mark.parametrize(("motion", "subject"), zip(MOTIONS, SEEN, strict=True))
def test_detectors_read_rendered_truth(art: Artwork, motion: str, subject: str):
    rng = np.random.default_rng(len(motion))
    for pinned in ({"pattern": "spotted"}, {"ground": SCENES[MOTIONS.index(motion) % len(SCENES)]}):
        scene = sample_scene(rng, JUDGED, subject=subject, motion=motion, **pinned)
        seen = read_clip(render(scene, art), art)
        assert (seen.subject, seen.colour, seen.ground, seen.pattern, seen.motion) == (
            subject, scene.colour, scene.ground, scene.pattern, motion)  # fmt: skip
        assert seen.flicker < 0.02
        assert seen.distance < 90


def test_an_empty_ground_has_no_subject(art: Artwork):
    empty = scene_picture("meadow", (0, 0), 1, 0, height=128, width=128).astype(np.uint8)
    seen = read_clip(np.stack([empty] * 16), art)
    assert (seen.subject, seen.motion, seen.ground) == ("none", "none", "meadow")


def test_another_subject_is_far_from_all_that_are_drawn(art: Artwork):
    clip = render(Scene("cat", "", "blue", "large", "static", radius=0.3), art)
    stripes = clip.copy()
    stripes[:, :, ::8] = np.where((clip[:, :, ::8] != clip[:, :1, :1]).any(-1, keepdims=True), 255, clip[:, :, ::8])
    assert read_clip(stripes, art).distance > 2 * read_clip(clip, art).distance


def test_what_leaves_on_one_side_comes_in_on_the_other():
    scene = Scene("car", "", "sea", "small", "right", radius=0.21)
    xs = np.array([pose(scene, frame)[0] for frame in range(160)])
    steps = np.diff(xs)
    assert np.allclose(steps[steps > 0], steps[0])
    back = np.flatnonzero(steps < 0)
    assert len(back) == 2
    assert (xs[back] > 1.21).all()
    assert (xs[back + 1] < -0.21).all()
    a_lap = int(back[1] - back[0])
    assert a_lap * steps[0] == pytest.approx(-steps[back[0]] + steps[0], abs=2 * steps[0])


def test_a_car_looks_where_it_goes(art: Artwork):
    left, right = (Scene("car", "", "blue", "large", way, radius=0.3, travel=0.0) for way in ("left", "right"))
    assert np.abs(render(left, art)[0][:, ::-1].astype(int) - render(right, art)[0]).mean() < 1


@pytest.mark.parametrize("scene", SCENES)
def test_scenes_repeat_from_side_to_side(scene: str):
    at_rest, a_side_on = (scene_picture(scene, (dx, 0.0), 1, 0, height=64, width=64) for dx in (0.0, 1.0))
    assert np.array_equal(at_rest, a_side_on)
    moved = scene_picture(scene, (0.25, 0.0), 1, 0, height=64, width=64)
    assert np.abs(moved[:, 16:] - at_rest[:, :48]).max() <= 1


def test_scenes_differ_from_one_another_and_from_colours():
    rims = {}
    for ground in GROUNDS:
        picture = render(Scene("circle", "red", ground, "small", "static", x=0.5), Artwork({}), frames=[0])[0]
        rims[ground] = picture[:10].astype(int)
    for name in GROUNDS:
        for other in GROUNDS:
            assert name == other or np.abs(rims[name] - rims[other]).mean() > 4, (name, other)


def test_sampled_scenes_can_be_seen():
    rng = np.random.default_rng(0)
    for _ in range(1500):
        scene = sample_scene(rng)
        assert scene.ground not in COLOURS or scene.subject not in HARD_TO_SEE.get(scene.ground, ())
        assert scene.colour != scene.ground
        assert bool(scene.colour) == (scene.subject in SHAPES)
        assert scene.pattern == "plain" or scene.ground in COLOURS
        assert (scene.subject, scene.motion) != ("circle", "rotating")


def test_pinned_attributes_stay():
    rng = np.random.default_rng(1)
    for _ in range(200):
        scene = sample_scene(rng, colour="red", subject="star", pattern="spotted", camera="zoom in", size="small")
        assert (scene.colour, scene.subject, scene.pattern, scene.camera, scene.size) == (
            "red", "star", "spotted", "zoom in", "small")  # fmt: skip
        assert scene.ground in COLOURS
        assert scene.ground != "red"


def test_subjects_are_as_the_first_world_s_shapes_and_at_home_in_this_one():
    assert tuple(name for name in SUBJECTS if name not in STICKERS) == SHAPES
    for name, subject in SUBJECTS.items():
        assert subject.home in GROUNDS
        assert subject.habit in MOTIONS
        assert name not in HARD_TO_SEE.get(subject.home, ())
        assert bool(subject.icon) == (name in STICKERS)
    words = [word for subject in SUBJECTS.values() for word in set(subject.words)]
    assert len(words) == len(set(words)), "two subjects share a name"


def test_a_caption_is_labelled_with_what_it_says():
    rng = np.random.default_rng(2)
    for _ in range(600):
        scene = sample_scene(rng)
        text, labels = caption(rng, scene)
        for name, classes in ATTRIBUTES.items():
            assert labels[name] == OPEN or classes[labels[name]] == getattr(scene, name)
        has_subject = any(f" {word} " in f" {text} ".replace(",", " ") for word in SUBJECTS[scene.subject].words)
        assert has_subject or labels["subject"] == OPEN or text[-1:] in ".!"


def test_a_caption_leaves_out_only_what_is_as_the_subject_has_it():
    rng = np.random.default_rng(3)
    left_out = dict.fromkeys(("subject", "ground", "motion", "colour"), 0)
    for _ in range(1500):
        scene = sample_scene(rng)
        text, labels = caption(rng, scene, empty=0)
        about = SUBJECTS[scene.subject]
        usual = {"subject": UNKNOWN, "ground": about.home, "motion": about.habit, "colour": about.colour}
        for name, value in usual.items():
            if labels[name] == OPEN:
                assert getattr(scene, name) == value, (text, scene)
                left_out[name] += bool(value)
        assert (scene.pattern == "spotted") == (labels["pattern"] != OPEN)
        assert scene.camera == "still" or labels["camera"] != OPEN
    assert min(left_out.values()) > 20


def test_plain_captions_say_it_all():
    scene = Scene("cat", "", "meadow", "small", "left", camera="zoom in")
    assert plain_caption(scene) == "a small cat moving left on a meadow, camera zooms in"
    shape = Scene("star", "red", "blue", "large", "bouncing", pattern="spotted")
    assert plain_caption(shape) == "a large red star bouncing on a spotted blue background"


def test_held_out_scenes_are_a_twelfth_of_those_away_from_home():
    rng = np.random.default_rng(4)
    scenes = [sample_scene(rng) for _ in range(2000)]
    away = [scene for scene in scenes if scene.ground != SUBJECTS[scene.subject].home]
    assert not any(is_held_out(scene) for scene in scenes if scene not in away)
    assert 0.06 < np.mean([is_held_out(scene) for scene in away]) < 0.11
    assert all(camera in CAMERAS for camera in {scene.camera for scene in scenes})
    assert not is_held_out(replace(away[0], ground=SUBJECTS[away[0].subject].home))
