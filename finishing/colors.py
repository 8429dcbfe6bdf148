"""Colour matching: give frames another frame's mean and spread of colours.

After Reinhard, Ashikhmin, Gooch and Shirley, "Color Transfer between Images" (IEEE CG&A 21(5), 2001), whose
decorrelated space is CIE Lab here: it, too, has light apart from colour, and OpenCV knows it.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from finishing.stages import Picture
from pipelines.engine.encode import read_fitted
from pipelines.engine.masks import soft_masks
from pipelines.plan.choices import ColorMatch
from pipelines.plan.clip_inputs import ClipInputs
from pipelines.plan.request import GenerationRequest

_Weights = npt.NDArray[np.float32]
_Moments = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

MAX_GAIN = 3.0
"""A spread grows or shrinks at most by so much: in a frame of nearly one colour it is noise that would grow."""


class ColorStage:
    """Match frames' colours to the first frame or the source's frame.

    With a mask, only what may change is measured, in both frames, and only that is changed, softly at the mask's
    edge: what the mask keeps is the source's own pixels and stays so exactly.
    """

    def __init__(self, request: GenerationRequest, inputs: ClipInputs) -> None:
        width, height = request.clip_size
        self._inputs = inputs
        self._by_source = request.color_match is ColorMatch.SOURCE
        self._sized = request.model_copy(update={"width": width, "height": height})  # as inputs are fitted to
        self._numbers = iter((*range(request.num_frames), *request.frames_played_back))
        self._first: tuple[int, _Moments] | None = None

    def take(self, frame: Picture) -> Iterator[Picture]:
        """Yield the frame in the colours it should have."""
        number = next(self._numbers)
        weights = self._weights(number)
        if weights is not None and not weights.any():
            yield frame
        elif self._by_source:
            assert self._inputs.source is not None, "the request checks it"
            source = read_fitted(self._sized, self._inputs.source, [number])[0]
            yield matched(frame, _moments(_to_lab(source), weights), weights)
        else:
            self._first = self._first or (number, _moments(_to_lab(frame), weights))
            yield frame if number == self._first[0] else matched(frame, self._first[1], weights)

    def end(self) -> Iterator[Picture]:
        """Nothing is held back."""
        return iter(())

    def _weights(self, number: int) -> _Weights | None:
        """Read how far each pixel may change, None where all may.

        Returns:
            float32 [H, W] from 0 to 1.
        """
        if self._inputs.mask is None or self._inputs.source is None:
            return None
        return soft_masks(self._sized, self._inputs.mask, [number])[0].numpy()


def matched(frame: Picture, target: _Moments, weights: _Weights | None = None) -> Picture:
    """Match a frame to another mean and spread of colours.

    Args:
        frame: RGB uint8 [H, W, 3].
        target: The mean and spread it shall have, of each channel of Lab.
        weights: What of it counts and changes, float32 [H, W] from 0 to 1; all of it by default.
    """
    lab = _to_lab(frame)
    mean, spread = _moments(lab, weights)
    gain = np.clip(target[1] / np.maximum(spread, 1e-6), 1 / MAX_GAIN, MAX_GAIN)
    changed = _to_rgb(((lab - mean) * gain + target[0]).astype(np.float32))
    share = 1.0 if weights is None else weights[..., None]
    return np.asarray(np.round(frame + share * (changed - frame)), np.uint8)


def _moments(lab: npt.NDArray[np.float32], weights: _Weights | None) -> _Moments:
    """Compute mean and standard deviation of each channel of [H, W, 3]."""
    values = lab.reshape(-1, 3).astype(np.float64)
    counted = None if weights is None else weights.ravel()
    mean = np.average(values, axis=0, weights=counted)
    return mean, np.sqrt(np.average(np.square(values - mean), axis=0, weights=counted))


def _to_lab(frame: Picture) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


def _to_rgb(lab: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.clip(np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), np.float32) * 255, 0, 255)
