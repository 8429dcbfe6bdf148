"""DWPose: whole-body poses by a person detector and a keypoint estimator.

Source: arXiv:2307.15880 (DWPose); its detector is YOLOX, arXiv:2107.08430, and its estimator reads places off two
axes, arXiv:2107.03332 (SimCC). The points are those of COCO-WholeBody, arXiv:2007.11858.
"""

from collections.abc import Iterable
from functools import partial

import cv2
import numpy as np
import torch

from controlnet.networks import as_imagenet, from_aux
from controlnet.onnx_networks import Maps, OnnxNetwork
from controlnet.pose_networks import Point, Pose, draw_poses
from controlnet.preprocessor import Filter, Setting
from pipelines.plan.image_fit import Frames

_SIDE = 640  # of the detector's picture, pixels
_STRIDES = (8, 16, 32)  # of its three grids, pixels
_AROUND = 114  # the grey that fills its picture up
_LEAST_PERSON, _OVERLAP = 0.3, 0.45  # scores of people; overlap beyond which two boxes are one person

_CROP = np.array([288, 384])  # of the estimator's picture, pixels: width, height
_MARGIN = 1.25  # how much more than a person's box is in it
_PER_PIXEL = 2  # steps of its axes
_LEAST_POINT = 0.3

_NUM_POINTS = 133
_SHOULDERS = [5, 6]
_NECK = _NUM_POINTS  # OpenPose has one, COCO-WholeBody has not
#: OpenPose's 18 points of a body: nose, neck, right and left arm, right and left leg, eyes, ears.
_BODY = (0, _NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_FACE = range(23, 91)
_LEFT_HAND, _RIGHT_HAND = range(91, 112), range(112, 133)
_NOWHERE = -1.0  # where points that weren't found are, in hands and faces


def dwpose(setting: Setting) -> Filter:
    """Bodies, hands and faces. Nobody in a frame leaves it black."""
    cells = sum((_SIDE // stride) ** 2 for stride in _STRIDES)
    detector = OnnxNetwork(
        setting.files[0],
        setting.device,
        takes=(1, 3, _SIDE, _SIDE),
        gives=[(1, cells, 85)],  # box, certainty, 80 kinds of things
    )
    estimator = OnnxNetwork(
        setting.files[1],
        setting.device,
        takes=(1, 3, *_CROP[::-1].tolist()),
        gives=[(1, _NUM_POINTS, length) for length in (_CROP * _PER_PIXEL).tolist()],
    )
    hands, face = bool(setting.options["hands"]), bool(setting.options["face"])

    def look(frame: Frames) -> Frames:
        poses = [
            _pose(*_points(estimator, frame, box), setting=setting, hands=hands, face=face)
            for box in _people(detector, frame)
        ]
        return draw_poses(poses, height=setting.height, width=setting.width)

    return lambda frames: np.stack([look(frame) for frame in frames])


def _people(detector: OnnxNetwork, frame: Frames) -> Maps:
    """Detect people as boxes [n, 4], middle and size in pixels."""
    height, width = frame.shape[:2]
    ratio = _SIDE / max(height, width)
    wide, high = (max(1, int(side * ratio)) for side in (width, height))
    picture = np.full((_SIDE, _SIDE, 3), _AROUND, np.uint8)
    picture[:high, :wide] = cv2.resize(frame, (wide, high))
    # YOLOX was trained on BGR from 0 to 255.
    (seen,) = detector(picture[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32))
    scores = seen[0, :, 4] * seen[0, :, 5]  # something is there, and it is a person
    likely = scores > _LEAST_PERSON
    cells, strides = (values[likely] for values in _grids())
    middles = (seen[0, likely, :2] + cells) * strides
    sizes = np.exp(seen[0, likely, 2:4]) * strides
    corners = np.hstack([middles - sizes / 2, sizes])
    indices = cv2.dnn.NMSBoxes(corners.tolist(), scores[likely].tolist(), _LEAST_PERSON, _OVERLAP)
    boxes: Maps = np.hstack([middles, sizes])[np.array(indices, int)] / ratio
    return boxes


def _grids() -> tuple[Maps, Maps]:
    """List columns and rows [n, 2] and strides [n, 1] of cells."""
    cells, strides = [], []
    for stride in _STRIDES:
        count = _SIDE // stride
        rows, columns = np.divmod(np.arange(count**2), count)
        cells.append(np.stack([columns, rows], axis=1))
        strides.append(np.full((count**2, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _points(estimator: OnnxNetwork, frame: Frames, box: Maps) -> tuple[Maps, Maps]:
    """Estimate a person's keypoints [133, 2] in pixels, and scores [133]."""
    middle = box[:2]
    scale = (box[2:] * _MARGIN / _CROP).max()  # pixels of the frame to one of the crop
    shift = _CROP / 2 - middle / scale
    crop = cv2.warpAffine(frame, np.array([[1 / scale, 0, shift[0]], [0, 1 / scale, shift[1]]]), tuple(_CROP.tolist()))
    picture = as_imagenet(torch.from_numpy(crop).permute(2, 0, 1)[None].float())
    axes = [axis[0] for axis in estimator(picture.numpy())]
    places = np.stack([axis.argmax(axis=1) for axis in axes], axis=1) / _PER_PIXEL
    sure = np.minimum(*(axis.max(axis=1) for axis in axes))
    return ((places - _CROP / 2) * scale + middle).astype(np.float32), sure


def _pose(places: Maps, sure: Maps, *, setting: Setting, hands: bool, face: bool) -> Pose:
    """Build controlnet_aux's `PoseResult`, with points as shares of the sides."""
    point, body_result, pose_result = from_aux("open_pose", "Keypoint", "BodyResult", "PoseResult")
    shares = np.vstack([places, places[_SHOULDERS].mean(axis=0)]) / (setting.width, setting.height)
    is_found = np.append(sure, sure[_SHOULDERS].min()) > _LEAST_POINT

    def keypoints(numbers: Iterable[int], lost: Point | None) -> list[Point | None]:
        return [point(*shares[number]) if is_found[number] else lost for number in numbers]

    body = keypoints(_BODY, None)
    part = partial(keypoints, lost=point(_NOWHERE, _NOWHERE))
    return pose_result(
        body_result(body, float(sure.sum()), sum(keypoint is not None for keypoint in body)),
        part(_LEFT_HAND) if hands else None,
        part(_RIGHT_HAND) if hands else None,
        part(_FACE) if face else None,
    )
