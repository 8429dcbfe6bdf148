"""The preprocessor that draws bodies as bones."""

import colorsys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import cv2
import numpy as np
from torch import nn

from controlnet.networks import from_aux, load_network, working_size
from controlnet.preprocessor import Filter, Setting
from pipelines.plan.image_fit import Frames

_FINGERS = (1, 5, 9, 13, 17)  # the joint nearest to the wrist, which is joint 0
_JOINTS = 4  # of a finger


class Point(Protocol):
    """`Keypoint` of controlnet_aux: a place, in shares of the picture's sides."""

    x: float
    y: float


class Body(Protocol):
    """`BodyResult` of controlnet_aux."""

    keypoints: Sequence[Point | None]


class Pose(Protocol):
    """`PoseResult` of controlnet_aux."""

    body: Body
    left_hand: Sequence[Point] | None
    right_hand: Sequence[Point] | None
    face: Sequence[Point] | None


class _Estimator(Protocol):
    model: nn.Module


def openpose(setting: Setting) -> Filter:
    """Bodies, hands and faces. Source: arXiv:1812.08008."""
    networks = from_aux("open_pose.model", "bodypose_model", "handpose_model")
    body_class, detector_class = from_aux("open_pose", "Body", "OpenposeDetector")
    parts = [
        _load_estimator(body_class, networks[0], setting, place=0),
        _load_estimator(from_aux("open_pose.hand", "Hand"), networks[1], setting, place=1),
        _load_estimator(from_aux("open_pose.face", "Face"), from_aux("open_pose.face", "FaceNet"), setting, place=2),
    ]
    detector = detector_class(*parts)
    hands, face = parts[1] is not None, parts[2] is not None
    high, wide = working_size(setting, multiple=64)

    def look(frame: Frames) -> Frames:
        poses = detector.detect_poses(cv2.resize(frame, (wide, high), interpolation=cv2.INTER_AREA), hands, face)
        # Bones are drawn in the clip's own size: shrunk ones would be thinner than what was trained on.
        return draw_poses(poses, height=setting.height, width=setting.width)

    return lambda frames: np.stack([look(frame) for frame in frames])


def draw_poses(poses: Iterable[Pose], *, height: int, width: int) -> Frames:
    """Bones on black, as ControlNet was trained with.

    Args:
        poses: Of people.

    Returns:
        uint8 [height, width, 3].
    """
    draw_body, draw_face = from_aux("open_pose.util", "draw_bodypose", "draw_facepose")
    canvas = np.zeros((height, width, 3), np.uint8)
    for pose in poses:
        draw_body(canvas, pose.body.keypoints)
        for hand in (pose.left_hand, pose.right_hand):
            _draw_hand(canvas, hand or ())
        draw_face(canvas, pose.face)
    return canvas


def _draw_hand(canvas: Frames, points: Sequence[Point]) -> None:
    """Draw five fingers from the wrist in rainbow colours.

    controlnet_aux's own function needs matplotlib.
    """
    height, width = canvas.shape[:2]
    places = [(int(point.x * width), int(point.y * height)) for point in points]
    bones = [(finger + joint - 1 if joint else 0, finger + joint) for finger in _FINGERS for joint in range(_JOINTS)]
    for number, bone in enumerate(bones if places else ()):
        start, end = (places[joint] for joint in bone)
        if min(*start, *end) > 0:  # a joint that was not found lies beyond the corner
            colour = [round(255 * part) for part in colorsys.hsv_to_rgb(number / len(bones), 1, 1)]
            cv2.line(canvas, start, end, colour, thickness=2)
    for place in places:
        if min(place) > 0:
            cv2.circle(canvas, place, 4, (0, 0, 255), thickness=-1)


def _load_estimator(
    kind: type[_Estimator], build: Callable[[], nn.Module], setting: Setting, *, place: int
) -> _Estimator | None:
    """Build one of controlnet_aux's three estimators, None without its file.

    Their constructors read the file by themselves; the rest of what they do is done here.
    """
    path = setting.files[place]
    if path is None:
        return None
    part = kind.__new__(kind)
    part.model = load_network(build, path, setting.device, rename=_name_in_file if place < 2 else str)
    return part


def _name_in_file(name: str) -> str:
    """Map a tensor's name to the file's, which lacks the stage."""
    return name.split(".", 1)[1]
