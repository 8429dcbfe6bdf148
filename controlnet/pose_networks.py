"""The preprocessor that draws bodies as bones."""

from typing import Any

import cv2
import numpy as np

from controlnet.networks import from_aux, load_network, working_size
from controlnet.preprocessors import Filter, Setting
from pipelines.image_fit import Frames


def openpose(setting: Setting) -> Filter:
    """Bodies, hands and faces. Source: arXiv:1812.08008."""
    networks = from_aux("open_pose.model", "bodypose_model", "handpose_model")
    body_class, detector_class, draw = from_aux("open_pose", "Body", "OpenposeDetector", "draw_poses")
    parts = [
        _part(body_class, networks[0], setting, place=0),
        _part(from_aux("open_pose.hand", "Hand"), networks[1], setting, place=1),
        _part(from_aux("open_pose.face", "Face"), from_aux("open_pose.face", "FaceNet"), setting, place=2),
    ]
    detector = detector_class(*parts)
    hands, face = parts[1] is not None, parts[2] is not None
    high, wide = working_size(setting, multiple=64)

    def look(frame: Frames) -> Frames:
        poses = detector.detect_poses(cv2.resize(frame, (wide, high), interpolation=cv2.INTER_AREA), hands, face)
        # Bones are drawn in the clip's own size: shrunk ones would be thinner than what was trained on.
        drawn: Frames = draw(poses, setting.height, setting.width, draw_hand=hands, draw_face=face)
        return drawn

    return lambda frames: np.stack([look(frame) for frame in frames])


def _part(kind: Any, build: Any, setting: Setting, *, place: int) -> Any:
    """One of controlnet_aux's three estimators with its network, None where its file isn't wanted.

    Their constructors read a file by themselves; all they do beside that is done here.
    """
    path = setting.files[place]
    if path is None:
        return None
    part = kind.__new__(kind)
    part.model = load_network(build, path, setting.device, rename=_name_in_file if place < 2 else str)
    return part


def _name_in_file(name: str) -> str:
    """The files know a layer's name and not the stage it is in."""
    return name.split(".", 1)[1]
