"""Preprocessors: the records agree with their code, and those without networks do what they say."""

import ast
from pathlib import Path

import cv2
import numpy as np
import pytest

from controlnet.clip_range import as_grey_frames, clip_range
from controlnet.pixel_filters import _smooth_noise
from controlnet.preprocessor import Setting, Spread
from controlnet.preprocessors import OFFLINE, PREPROCESSORS, get_preprocessor, options_of
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.image_fit import Frames
from pipelines.plan.request_fields.units import ControlUnit
from scripts.train_demo.world import Scene, render

ROOT = Path(__file__).resolve().parents[2]
SIDE = 96
SCENE = Scene(shape="circle", colour="white", background="black", size="large", motion="right")


@pytest.fixture(scope="module")
def frames() -> Frames:
    return render(SCENE, frames=range(0, 16, 4), height=SIDE, width=SIDE)


def applied(name: str, frames: Frames, *, seed: int = 0, **options: float) -> np.ndarray:
    height, width = frames.shape[1:3]
    unit = ControlUnit(model="any", preprocessor=name, options=options)
    return PREPROCESSORS[name].build(Setting(options_of(unit), width, height, seed))(frames)


def distance_to(edge: np.ndarray) -> np.ndarray:
    """Of every pixel to the nearest one of an edge."""
    return cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)


def outline(frame: Frames) -> np.ndarray:
    """The shape's outermost pixels."""
    shape = (frame.mean(axis=-1) > 128).astype(np.uint8)
    return (shape - cv2.erode(shape, np.ones((3, 3), np.uint8))).astype(bool)


@pytest.mark.parametrize("record", PREPROCESSORS.values(), ids=str)
def test_a_record_names_code_that_is_there(record):
    assert bool(record.code) != bool(record.unavailable)
    if record.code:
        module, function = record.code.split(":")
        tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("record", PREPROCESSORS.values(), ids=str)
def test_a_record_s_defaults_are_in_range_and_its_weights_hang_on_options_it_has(record):
    names = {option.name for option in record.options}
    assert len(names) == len(record.options)
    assert all(option.low <= option.default <= option.high for option in record.options)
    assert {weights.wanted_by for weights in record.weights} <= names | {""}


@pytest.mark.parametrize("name", OFFLINE)
def test_the_offline_ones_keep_size_and_order(name: str, frames: Frames):
    seen = applied(name, frames)
    expected = frames.shape if PREPROCESSORS[name].spread is None else frames.shape[:-1]
    assert seen.shape == expected
    assert seen.dtype == (np.uint8 if PREPROCESSORS[name].spread is None else np.float32)
    assert np.array_equal(seen[2:3], applied(name, frames[2:3])), "a frame depends on its neighbours"


def test_none_changes_nothing_and_invert_undoes_itself(frames: Frames):
    assert np.array_equal(applied("none", frames), frames)
    assert np.array_equal(applied("invert", frames), 255 - frames)
    assert np.array_equal(applied("invert", applied("invert", frames)), frames)


def test_canny_finds_the_shape_s_outline_to_a_pixel(frames: Frames):
    for frame, seen in zip(frames, applied("canny", frames), strict=True):
        edge, expected = seen[..., 0] > 0, outline(frame)
        assert edge.sum() > 50
        assert distance_to(expected)[edge].max() <= 1.5, "an edge where the shape has none"
        assert distance_to(edge)[expected].max() <= 1.5, "a piece of the outline is missing"


def test_canny_s_thresholds_leave_weak_edges_out():
    frames = np.zeros((1, 32, 32, 3), np.uint8)
    frames[:, :, 16:] = 20
    assert not applied("canny", frames).any()
    assert applied("canny", frames, low=10, high=20).any()


def test_line_art_and_scribble_draw_what_is_dark():
    frames = np.full((1, 64, 64, 3), 220, np.uint8)
    frames[:, :, 30:33] = 30
    lines = applied("lineart_standard", frames)[0]
    assert lines[:, 31].min() > 100 > lines[:, 10].max() + 90
    scribble = applied("scribble_xdog", frames)[0]
    assert scribble[:, 31].min() == 255
    assert scribble[:, :20].max() == 0
    assert applied("scribble_xdog", 250 - frames)[0, :, 31].max() == 0  # a light line is none


def test_shuffle_is_the_seed_s_and_the_same_for_all_frames():
    still = np.repeat(np.random.default_rng(1).integers(0, 256, (1, 64, 80, 3), np.uint8), 3, axis=0)
    first = applied("shuffle", still, seed=5, cell=32)
    assert np.array_equal(first, applied("shuffle", still, seed=5, cell=32))
    assert not np.array_equal(first, applied("shuffle", still, seed=6, cell=32))
    assert np.array_equal(first[0], first[2])
    assert not np.array_equal(first[0], still[0])


@pytest.mark.parametrize(("name", "options"), [("tile", {"rate": 4}), ("blur", {"sigma": 4})])
def test_tile_and_blur_keep_brightness_and_lose_detail(name: str, options: dict[str, float], frames: Frames):
    seen = applied(name, frames, **options)
    assert abs(seen.mean() - frames.mean()) < 2
    assert np.abs(np.diff(seen.astype(int), axis=2)).max() < np.abs(np.diff(frames.astype(int), axis=2)).max() / 2


def test_tile_at_rate_one_is_the_clip(frames: Frames):
    assert np.array_equal(applied("tile", frames, rate=1), frames)


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        (
            {"preprocessor": "canny", "options": {"low": 300}},
            "controls must have 'low' from 1 to 255 in unit 2, got 300. Change 'Low threshold'.",
        ),
        (
            {"preprocessor": "canny", "options": {"sigma": 3}},
            "controls must have options of 'canny' in unit 2, got 'sigma'. It has low, high.",
        ),
        (
            {"preprocessor": "invert", "options": {"low": 3}},
            "controls must have options of 'invert' in unit 2, got 'low'. It has none.",
        ),
        (
            {"preprocessor": "cany"},
            "controls must have a known preprocessor in unit 2, got 'cany'. Choose another, such as canny.",
        ),
    ],
)
def test_what_can_not_be_is_refused_by_name(unit: dict[str, object], text: str):
    with pytest.raises(InvalidRequestError) as error:
        options_of(ControlUnit(model="any", **unit), number=2)
    assert str(error.value) == text


@pytest.mark.parametrize(
    "name", [preprocessor.id for preprocessor in PREPROCESSORS.values() if preprocessor.unavailable]
)
def test_what_is_unavailable_says_why_and_what_to_use(name: str):
    with pytest.raises(InvalidRequestError, match="must have a preprocessor that can be used") as error:
        get_preprocessor(name)
    alternatives = {preprocessor for preprocessor in PREPROCESSORS if f"'{preprocessor}'" in str(error.value)} - {name}
    assert alternatives, "it names nothing to use instead"
    assert not any(PREPROCESSORS[preprocessor].unavailable for preprocessor in alternatives)


def test_all_options_come_out_and_the_unit_s_own_win():
    unit = ControlUnit(model="any", preprocessor="canny", options={"high": 150})
    assert options_of(unit) == {"low": 100, "high": 150}


def moving_depth() -> np.ndarray:
    """A ramp that a shape comes towards: frame by frame the range grows, the ground stays."""
    ground = np.tile(np.linspace(1, 2, 64, dtype=np.float32), (6, 64, 1))
    for number, map_of_frame in enumerate(ground):
        map_of_frame[20:30, 20:30] = 2 + number
    return ground


def test_one_range_for_a_clip_leaves_the_ground_as_bright_in_every_frame():
    maps = moving_depth()
    spread = Spread()
    grey = as_grey_frames(maps, *clip_range(maps, spread), is_inverted=False)[..., 0]
    ground = grey[:, 40:]
    assert np.array_equal(ground, np.repeat(ground[:1], 6, axis=0))
    alone = [
        as_grey_frames(depth[None], *clip_range(depth[None], spread), is_inverted=False)[0, 40:, :, 0] for depth in maps
    ]
    assert np.abs(alone[0].astype(int) - alone[-1]).max() > 10, "the clip would not have flickered anyway"


def test_percentiles_are_those_of_the_whole_clip():
    maps = np.random.default_rng(0).normal(5, 2, (20, 16, 16)).astype(np.float32)
    limits = clip_range(maps, Spread(low=2, high=85))
    assert limits == pytest.approx(np.percentile(maps, [2, 85]), abs=0.02)
    above = clip_range(maps, Spread(low=None, high=50, above=6))
    assert above == pytest.approx((0, np.median(maps[maps > 6])), abs=0.02)


@pytest.mark.parametrize("value", [0.0, 3.5, -1e6])
def test_a_clip_without_differences_has_one_shade(value: float):
    maps = np.full((2, 8, 8), value, np.float32)
    black, white = clip_range(maps, Spread())
    assert white > black
    assert len(np.unique(as_grey_frames(maps, black, white, is_inverted=False))) == 1


def test_inverted_depth_shows_what_is_near_bright():
    maps = np.linspace(1, 10, 64, dtype=np.float32).reshape(1, 8, 8)  # metres
    spread = PREPROCESSORS["depth_zoe"].spread
    grey = as_grey_frames(maps, *clip_range(maps, spread), is_inverted=spread.is_inverted)
    assert (grey[0, 0, 0, 0], grey[0, -1, -1, 0]) == (255, 0)


def test_an_empty_clip_s_noise_is_not_made_visible():
    faint = np.random.default_rng(0).uniform(0, 3, (2, 16, 16)).astype(np.float32)
    spread = PREPROCESSORS["lineart_standard"].spread
    assert as_grey_frames(faint, *clip_range(faint, spread), is_inverted=False).max() < 64


def test_noise_has_waves_as_long_as_a_cell_and_the_whole_range():
    cell, wide = 16, 256
    noise = _smooth_noise(np.random.default_rng(3), width=wide, height=64, cell=cell)
    assert (noise.min(), noise.max()) == (0, 1)
    level = noise - noise.mean()

    def alike(shift: int) -> float:
        return float((level[:, :-shift] * level[:, shift:]).mean() / (level**2).mean())

    assert alike(cell // 4) > 0.7
    assert abs(alike(2 * cell)) < 0.5


def test_a_refusal_names_the_unit_only_where_units_are_counted():
    with pytest.raises(InvalidRequestError) as plain:
        get_preprocessor("no such thing")
    with pytest.raises(InvalidRequestError) as counted:
        get_preprocessor("no such thing", number=2)
    assert "unit" not in str(plain.value)
    assert "in unit 2" in str(counted.value)
