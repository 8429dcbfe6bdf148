"""DWPose: fetched, checked and run, with networks that see dots where people would be.

A person is a patch of blue, which the detector sees, and a dot of red, beside which the estimator sees points. So
what is drawn tells whether pictures, boxes, crops and points were brought into each other's pixels as they should.
What the published weights see in pictures is not tested.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from controlnet.control_cache import ControlCache
from controlnet.control_clip import prepare_control
from controlnet.onnx_networks import OnnxNetwork
from controlnet.whole_body import _people
from pipelines.plan.errors import WeightsError
from pipelines.plan.image_fit import Frames
from pipelines.plan.request_fields.units import ControlUnit
from tests.control_clips import ArrayClip, made
from tests.pipeline import tiny_onnx
from tests.stand_in_hub import StandInHub, serving, use_hub

REPO = "yzd-v/DWPose"
DETECTOR, ESTIMATOR = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"
BLUE, RED, WHITE = (0, 0, 255), (255, 0, 0), (255, 255, 255)
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP = 5, 6, 11
FACE, LEFT_HAND = 23, 91
#: Colours of OpenPose's points, by ControlNet's drawing.
NOSE_COLOUR, NECK_COLOUR = (255, 0, 0), (255, 85, 0)
LEFT_SHOULDER_COLOUR, LEFT_HIP_COLOUR = (85, 255, 0), (0, 85, 255)
FINGERTIP_COLOUR = (0, 0, 255)
BOX = (96.0, 128.0)  # the detector's, pixels of its picture


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[StandInHub]:
    (tmp_path / "hub" / REPO).mkdir(parents=True)
    with serving(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "hub-cache")
        yield hub


@pytest.fixture
def publish(hub: StandInHub) -> Callable[[str, ModelProto | bytes], Path]:
    def put(name: str, network: ModelProto | bytes) -> Path:
        path = hub.root / REPO / name
        path.write_bytes(network if isinstance(network, bytes) else network.SerializeToString())
        return path

    return put


@pytest.fixture
def draw_people(tmp_path) -> Callable[..., Frames]:
    """What dwpose draws of one frame."""

    def look(frame: Frames, **options: float) -> Frames:
        unit = ControlUnit(model="any", preprocessor="dwpose", options=options)
        height, width = frame.shape[:2]
        cache = ControlCache(tmp_path / "controls")
        making = prepare_control(unit, ArrayClip(frame[None]), width=width, height=height, seed=0, cache=cache)
        return made(making)[1][0]

    return look


def black(width: int, height: int) -> Frames:
    return np.zeros((height, width, 3), np.uint8)


def with_person(frame: Frames, *, cell: tuple[int, int], dot: tuple[int, int], patch: int = tiny_onnx.CELL) -> Frames:
    """A person in a frame.

    Args:
        cell: Column and row of the detector's cell that sees it.
        dot: Place of its red pixel.
        patch: Side of a cell, pixels of the frame.
    """
    left, top = (number * patch for number in cell)
    frame[top : top + patch, left : left + patch] = BLUE
    x, y = dot
    frame[y, x] = RED
    return frame


def has(frame: Frames, colour: tuple[int, int, int], place: tuple[float, float], *, within: float = 2) -> bool:
    """Whether a disc of this colour has its middle here, pixels."""
    rows, columns = np.nonzero((frame == colour).all(axis=-1))
    if not len(rows):
        return False
    middle = np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / 2
    return bool(np.abs(middle - place).max() <= within)


def test_points_are_drawn_where_they_are(hub, publish, draw_people):
    publish(DETECTOR, tiny_onnx.detector(width=BOX[0], height=BOX[1]))
    offsets = {0: (0, 0), LEFT_SHOULDER: (120, 80), RIGHT_SHOULDER: (-120, 80), LEFT_HAND + 8: (160, -160)}
    publish(ESTIMATOR, tiny_onnx.estimator(offsets | {FACE + 7: (-120, -120)}))
    frame = with_person(black(640, 480), cell=(9, 6), dot=(304, 208))
    seen = draw_people(frame)
    pixels = BOX[0] * 1.25 / tiny_onnx.CROP_WIDTH / 2  # of the frame, to half a pixel of the crop
    assert seen.shape == frame.shape
    assert has(seen, NOSE_COLOUR, (304, 208))
    assert has(seen, NECK_COLOUR, (304, 208 + 80 * pixels))
    assert has(seen, LEFT_SHOULDER_COLOUR, (304 + 120 * pixels, 208 + 80 * pixels))
    assert has(seen, FINGERTIP_COLOUR, (304 + 160 * pixels, 208 - 160 * pixels))
    assert has(seen, WHITE, (304 - 120 * pixels, 208 - 120 * pixels))
    assert sorted(hub.downloads) == [f"{REPO}/{ESTIMATOR}", f"{REPO}/{DETECTOR}"]


def test_hands_and_faces_can_be_left_out(publish, draw_people):
    publish(DETECTOR, tiny_onnx.detector(width=BOX[0], height=BOX[1]))
    publish(ESTIMATOR, tiny_onnx.estimator({0: (0, 0), LEFT_HAND: (150, 0), FACE: (-150, 0)}))
    frame = with_person(black(320, 320), cell=(4, 4), dot=(72, 72), patch=16)
    assert draw_people(frame, hands=0)[..., 2].any(), "the face's white"
    assert not (draw_people(frame, hands=0) == FINGERTIP_COLOUR).all(axis=-1).any()
    assert (draw_people(frame, face=0) == FINGERTIP_COLOUR).all(axis=-1).any()
    assert set(map(tuple, draw_people(frame, hands=0, face=0).reshape(-1, 3).tolist())) == {(0, 0, 0), NOSE_COLOUR}


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(213, 320, (96, 128)), (320, 117, (96, 128)), (213, 320, (160, 64)), (213, 320, (32, 160))],
)
def test_odd_shapes_of_pictures_and_boxes_keep_places(publish, draw_people, width, height, box):
    """A cell is 16 pixels of these; a box that is wide or tall is brought to the crop's shape by more around it."""
    publish(DETECTOR, tiny_onnx.detector(width=box[0], height=box[1]))
    publish(ESTIMATOR, tiny_onnx.estimator({0: (0, 0), LEFT_HIP: (40, 60)}))
    dot = (5 * 16 + 4, 3 * 16 + 12)
    seen = draw_people(with_person(black(width, height), cell=(5, 3), dot=dot, patch=16))
    pixels = max(box[0] / tiny_onnx.CROP_WIDTH, box[1] / tiny_onnx.CROP_HEIGHT) * 1.25 / 2 / 2
    assert has(seen, LEFT_HIP_COLOUR, (dot[0] + 40 * pixels, dot[1] + 60 * pixels), within=1.5)


def test_two_people_are_seen_each_by_itself(publish, draw_people):
    publish(DETECTOR, tiny_onnx.detector(width=BOX[0], height=BOX[1]))
    publish(ESTIMATOR, tiny_onnx.estimator({0: (0, 0)}))
    frame = with_person(black(640, 480), cell=(3, 4), dot=(112, 140))
    left = draw_people(frame)
    both = draw_people(with_person(frame, cell=(15, 9), dot=(500, 310)))
    assert has(left, NOSE_COLOUR, (112, 140))
    assert np.array_equal(both[:, :320], left[:, :320])
    assert has(both[:, 320:], NOSE_COLOUR, (500 - 320, 310))


def test_neighbouring_boxes_are_one_person_where_the_surer_is(publish, draw_people):
    """The left box sees the dim dot alone, the right one would see the bright dot, too."""
    publish(DETECTOR, tiny_onnx.detector(width=160, height=160))
    publish(ESTIMATOR, tiny_onnx.estimator({0: (0, 0)}))
    frame = with_person(black(640, 640), cell=(9, 9), dot=(420, 304))
    frame[304, 304] = (200, 0, 0)
    frame[288:320, 320:352] = (0, 0, 128)
    assert has(draw_people(frame), NOSE_COLOUR, (304, 304))
    frame[288:320, 288:320, 2] = 64  # now the right one is surer, and the left one isn't sure enough
    assert has(draw_people(frame), NOSE_COLOUR, (420, 304))


def test_boxes_of_all_grids_and_sizes_are_told_apart():
    """The published detector sees a person many times, in boxes of many sizes from three grids, of 80 kinds."""
    seen = np.zeros((1, sum((640 // stride) ** 2 for stride in (8, 16, 32)), 85), np.float32)

    def see(stride: int, column: int, row: int, size: tuple[float, float], sure: float, kind: int = 0) -> None:
        before = {8: 0, 16: 6400, 32: 8000}[stride]
        cell = seen[0, before + row * (640 // stride) + column]
        cell[:5] = (0.5, 0.5, *np.log(np.array(size) / stride), sure)
        cell[5 + kind] = 0.9

    see(32, 4, 5, (160, 300), 0.9)  # somebody, whose middle is 144, 176
    see(16, 9, 10, (150, 280), 0.8)  # the same from a finer grid
    see(8, 19, 20, (130, 240), 0.5)  # and from the finest: all overlap by more than 0.45
    see(32, 7, 5, (160, 300), 0.7)  # somebody beside them, overlapping by a quarter
    see(16, 9, 6, (60, 60), 0.95)  # a child before them, within their box
    see(32, 15, 5, (160, 300), 0.95, kind=16)  # a dog
    see(32, 15, 15, (160, 300), 0.3)  # hardly anybody: 0.27 is below 0.3
    boxes = _people(lambda _: (seen,), black(640, 640))
    rounded = sorted((round(x), round(y), round(wide), round(high)) for x, y, wide, high in boxes)
    assert rounded == [(144, 176, 160, 300), (152, 104, 60, 60), (240, 176, 160, 300)]


@pytest.mark.parametrize(("network", "colour"), [({}, (0, 0, 0)), ({}, RED), ({"person": False}, BLUE)])
def test_nobody_leaves_a_frame_black(publish, draw_people, network, colour):
    publish(DETECTOR, tiny_onnx.detector(width=BOX[0], height=BOX[1], **network))
    publish(ESTIMATOR, tiny_onnx.estimator({0: (0, 0)}))
    frame = with_person(black(320, 320), cell=(4, 4), dot=(72, 72), patch=16)
    frame[(frame == BLUE).all(axis=-1)] = colour
    assert not draw_people(frame).any()


def test_a_neck_needs_both_shoulders(publish, draw_people):
    publish(DETECTOR, tiny_onnx.detector(width=BOX[0], height=BOX[1]))
    publish(ESTIMATOR, tiny_onnx.estimator({LEFT_SHOULDER: (0, 0)}))
    seen = draw_people(with_person(black(320, 320), cell=(4, 4), dot=(72, 72), patch=16))
    assert has(seen, LEFT_SHOULDER_COLOUR, (72, 72))
    assert not (seen == NECK_COLOUR).all(axis=-1).any()


def refusal(publish: Any, draw_people: Any, network: ModelProto | bytes, name: str = DETECTOR) -> str:
    """What is said where one of the two files is this."""
    publish(DETECTOR, tiny_onnx.detector(width=BOX[0], height=BOX[1]))
    publish(ESTIMATOR, tiny_onnx.estimator({0: (0, 0)}))
    publish(name, network)
    with pytest.raises(WeightsError) as error:
        draw_people(with_person(black(320, 320), cell=(4, 4), dot=(72, 72), patch=16))
    return str(error.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[9:],
        lambda whole: whole.replace(b"Slice", b"Sl\xffce"),
    ],
)
def test_a_damaged_file_is_refused_in_words_and_nothing_is_printed(publish, draw_people, damage, capfd):
    whole = tiny_onnx.estimator({0: (0, 0)}).SerializeToString()
    assert refusal(publish, draw_people, damage(whole), ESTIMATOR) == (
        "controls must be a whole ONNX network, got 'dw-ll_ucoco_384.onnx': it is damaged, or parts of it are in "
        "other files. Download it again or choose another."
    )
    assert capfd.readouterr() == ("", "")


def test_a_file_that_arrives_damaged_is_refused_by_its_sha256(hub, publish, draw_people):
    path = publish(DETECTOR, tiny_onnx.detector(width=BOX[0], height=BOX[1]))
    publish(ESTIMATOR, tiny_onnx.estimator({0: (0, 0)}))
    hub.spoiled[f"{REPO}/{DETECTOR}"] = bytes(path.stat().st_size)
    with pytest.raises(WeightsError, match=r"got 'yzd-v/DWPose/yolox_l\.onnx' with another sha256"):
        draw_people(black(64, 64))


def test_a_file_whose_tensors_are_in_another_reads_none_of_it(publish, draw_people, tmp_path, monkeypatch):
    """Where a network is opened from memory, onnxruntime would take what has that name in the working directory."""
    monkeypatch.chdir(tmp_path)
    np.zeros((1, 85, 8000), np.float32).tofile(tmp_path / "tensors.bin")
    assert "parts of it are in other files" in refusal(publish, draw_people, tiny_onnx.elsewhere("tensors.bin"))


@pytest.mark.parametrize(
    ("name", "network"),
    [
        (DETECTOR, tiny_onnx.estimator({})),
        (ESTIMATOR, tiny_onnx.detector(width=9, height=9)),
        (DETECTOR, tiny_onnx.detector(width=9, height=9, channels=84)),
    ],
)
def test_another_network_is_refused_with_both_shapes(publish, draw_people, name, network):
    text = refusal(publish, draw_people, network, name)
    assert text.startswith(f"controls must be a whole ONNX network, got '{name}': its pictures and maps are [")
    assert "where [(1, 3, " in text


def test_numbers_that_are_none_are_refused(publish, draw_people):
    text = refusal(publish, draw_people, tiny_onnx.detector(width=float("nan"), height=9))
    assert text.startswith("controls must have weights that give finite numbers, got 'yolox_l.onnx'")


def test_a_file_of_a_gigabyte_is_not_read(tmp_path):
    path = tmp_path / DETECTOR
    with path.open("wb") as file:
        file.truncate(1_000_000_001)  # a hole: it takes no room on the disk
    with pytest.raises(WeightsError, match=r"got 'yolox_l\.onnx': it has more than 1000 MB\."):
        OnnxNetwork(path, "cpu", takes=(1,), gives=[(1,)])


def test_where_onnxruntime_has_no_gpu_the_cpu_computes(tmp_path):
    path = tmp_path / DETECTOR
    path.write_bytes(tiny_onnx.detector(width=64, height=64).SerializeToString())
    network = OnnxNetwork(path, "cuda", takes=(1, 3, 640, 640), gives=[(1, 8400, 85)])
    (seen,) = network(np.full((1, 3, 640, 640), 255, np.float32))
    assert seen[0, -400:, 4] == pytest.approx(np.ones(400))
    assert not seen[0, :-400].any()
