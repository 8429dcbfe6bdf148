"""A unit's clip, made ready to follow: fitted, preprocessed, and kept in a file. No torch by itself.

It is made in chunks, so a clip of any length takes the memory of one of them. A clip that was made before
from the same frames in the same way is taken from the cache: preview and generation share it.
"""

import hashlib
import json
from collections.abc import Generator, Iterator
from functools import partial
from typing import BinaryIO

import numpy as np

from controlnet.clip_range import as_grey_frames, clip_range
from controlnet.control_cache import ControlCache, ControlClip, RawMaps
from controlnet.preprocessor import Filter, Preprocessor, Setting, Spread
from controlnet.preprocessors import get_preprocessor, options_of
from pipelines.plan.clip_inputs import FrameClip
from pipelines.plan.events import Progress, Stage
from pipelines.plan.image_fit import Frames, ImageFit, fitted
from pipelines.plan.planner.tasks import preprocess_task
from pipelines.plan.request_fields.units import ControlUnit

CHUNK = 4
"""Frames preprocessed together; between two chunks it can be cancelled."""
_VERSION = 1  # raised when what is done to every clip changes, so that kept clips aren't taken


def prepare_control(
    unit: ControlUnit,
    clip: FrameClip,
    *,
    width: int,
    height: int,
    seed: int,
    cache: ControlCache,
    device: str = "cpu",
    digest: str = "",
) -> Generator[Progress, None, ControlClip]:
    """Make what a unit's model follows.

    Closing the generator between two events cancels: nothing half-written stays.

    Args:
        clip: What it is made from, of any size.
        width, height: Of the clip that is generated, pixels.
        seed: The request's; only some preprocessors draw by it.
        cache: Where clips are kept.
        device: Where networks compute, "cpu" or "cuda".
        digest: What names the clip's frames; if empty they are read once more to name them by content.

    Yields:
        How far it is, in frames; nothing if it was kept.

    Returns:
        As many frames as `clip` has, uint8 [n, height, width, 3].

    Raises:
        InvalidRequestError: The unit's preprocessor or its options can't be used.
        WeightsError: Its weights can't be had.
    """
    preprocessor = get_preprocessor(unit.preprocessor)
    options = options_of(unit)
    looks = 1 + (not digest) + (preprocessor.spread is not None)
    told = _Told(preprocessor, looks * clip.num_frames)
    content = digest or (yield from _content_of(clip, told))
    drawn = seed if preprocessor.uses_seed else 0
    setting = Setting(options, width, height, drawn, device)
    key = _key(preprocessor, setting, unit.fit, content=content, num_frames=clip.num_frames)
    kept = cache.open(key, clip.fps)
    if kept:
        return kept
    made = yield from _ready(preprocessor, setting)
    pictures = _fitted_chunks(clip, setting, unit.fit)
    with cache.adding(key, (clip.num_frames, height, width, 3)) as file:
        if preprocessor.spread is None:
            yield from _write_pictures(made, pictures, file, told)
        else:
            with cache.raw_maps(height=height, width=width) as raw:
                yield from _write_spread(made, pictures, preprocessor.spread, raw, file, told)
    found = cache.open(key, clip.fps)
    if found is None:
        raise FileNotFoundError(f"The control clip of {preprocessor.id} was removed from the cache at once.")
    cache.trim()
    return found


class _Told:
    """Progress in frames looked at, however often each is."""

    def __init__(self, preprocessor: Preprocessor, total: int) -> None:
        self._label = preprocessor.label
        self._task = preprocess_task(preprocessor.id)
        self._total = total
        self._done = 0

    def more(self, frames: int) -> Progress:
        self._done += frames
        return Progress(Stage.PREPROCESS, self._done, self._total, note=self._label, task=self._task)


def _key(preprocessor: Preprocessor, setting: Setting, fit: ImageFit, *, content: str, num_frames: int) -> str:
    """A name for all that decides the frames."""
    decides = {
        "version": [_VERSION, preprocessor.version],
        "preprocessor": preprocessor.id,
        "options": dict(setting.options),
        "weights": [f"{weights.repo}/{weights.name}" for weights in preprocessor.weights],
        "size": [num_frames, setting.height, setting.width],
        "fit": fit.value,
        "seed": setting.seed,
        "content": content,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _content_of(clip: FrameClip, told: _Told) -> Generator[Progress, None, str]:
    digest = hashlib.sha256(f"{clip.num_frames} {clip.height} {clip.width}".encode())
    for indices in _chunks(clip.num_frames):
        digest.update(np.ascontiguousarray(clip.frames(indices)).data)
        yield told.more(len(indices))
    return digest.hexdigest()


def _ready(preprocessor: Preprocessor, setting: Setting) -> Generator[Progress, None, Filter]:
    """Fetch what it needs, and make it."""
    if not preprocessor.weights:
        return preprocessor.build(setting)
    # Imported here: what needs no weights needs no torch either.
    from controlnet.fetching import built_with_weights
    from pipelines.engine.weights.downloads import following

    return (yield from following(partial(built_with_weights, preprocessor, setting)))


def _fitted_chunks(clip: FrameClip, setting: Setting, fit: ImageFit) -> Iterator[Frames]:
    for indices in _chunks(clip.num_frames):
        pictures = clip.frames(indices)
        yield np.stack([fitted(one, width=setting.width, height=setting.height, fit=fit) for one in pictures])


def _write_pictures(
    apply: Filter, pictures: Iterator[Frames], file: BinaryIO, told: _Told
) -> Generator[Progress, None, None]:
    for chunk in pictures:
        file.write(np.ascontiguousarray(apply(chunk)).data)
        yield told.more(len(chunk))


def _write_spread(
    apply: Filter, pictures: Iterator[Frames], spread: Spread, raw: RawMaps, file: BinaryIO, told: _Told
) -> Generator[Progress, None, None]:
    """Keep the maps raw at first: the range of a clip is known only when all of it was seen."""
    for chunk in pictures:
        raw.append(apply(chunk))
        yield told.more(len(chunk))
    maps = raw.maps()
    black, white = clip_range(maps, spread)
    for start in range(0, len(maps), CHUNK):
        grey = as_grey_frames(maps[start : start + CHUNK], black, white, is_inverted=spread.is_inverted)
        file.write(grey.data)
        yield told.more(len(grey))


def _chunks(num_frames: int) -> Iterator[range]:
    for start in range(0, num_frames, CHUNK):
        yield range(start, min(start + CHUNK, num_frames))
