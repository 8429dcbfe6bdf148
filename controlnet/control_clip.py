"""Fit and preprocess a control unit's clip into a cached file.

It is made in chunks, so memory does not depend on the clip's length. A clip made before from the same frames in
the same way comes from the cache, which preview and generation share. Torch is imported only for networks.
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
    """Make the control clip that a unit's model follows.

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
    progress = _FrameProgress(preprocessor, looks * clip.num_frames)
    content_digest = digest or (yield from _hash_frames(clip, progress))
    seed_used = seed if preprocessor.uses_seed else 0
    setting = Setting(options, width, height, seed_used, device)
    key = _cache_key(preprocessor, setting, unit.fit, content=content_digest, num_frames=clip.num_frames)
    cached_clip = cache.open(key, clip.fps)
    if cached_clip:
        return cached_clip
    apply = yield from _build_filter(preprocessor, setting)
    fitted_chunks = _fit_chunks(clip, setting, unit.fit)
    with cache.adding(key, (clip.num_frames, height, width, 3)) as file:
        if preprocessor.spread is None:
            yield from _write_frames(apply, fitted_chunks, file, progress)
        else:
            with cache.raw_maps(height=height, width=width) as raw:
                yield from _write_normalised(apply, fitted_chunks, preprocessor.spread, raw, file, progress)
    control_clip = cache.open(key, clip.fps)
    if control_clip is None:
        raise FileNotFoundError(f"The control clip of {preprocessor.id} was removed from the cache at once.")
    cache.trim()
    return control_clip


class _FrameProgress:
    """Progress in processed frames, over all passes of the clip."""

    def __init__(self, preprocessor: Preprocessor, total: int) -> None:
        self._label = preprocessor.label
        self._task = preprocess_task(preprocessor.id)
        self._total = total
        self._done = 0

    def advance(self, frames: int) -> Progress:
        self._done += frames
        return Progress(Stage.PREPROCESS, self._done, self._total, note=self._label, task=self._task)


def _cache_key(preprocessor: Preprocessor, setting: Setting, fit: ImageFit, *, content: str, num_frames: int) -> str:
    """Hash everything that decides the frames."""
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


def _hash_frames(clip: FrameClip, progress: _FrameProgress) -> Generator[Progress, None, str]:
    digest = hashlib.sha256(f"{clip.num_frames} {clip.height} {clip.width}".encode())
    for indices in _chunks(clip.num_frames):
        digest.update(np.ascontiguousarray(clip.frames(indices)).data)
        yield progress.advance(len(indices))
    return digest.hexdigest()


def _build_filter(preprocessor: Preprocessor, setting: Setting) -> Generator[Progress, None, Filter]:
    """Download the preprocessor's weights and build its filter."""
    if not preprocessor.weights:
        return preprocessor.build(setting)
    # Imported here: what needs no weights needs no torch either.
    from controlnet.fetching import built_with_weights
    from pipelines.engine.weights.downloads import track_downloads

    return (yield from track_downloads(partial(built_with_weights, preprocessor, setting)))


def _fit_chunks(clip: FrameClip, setting: Setting, fit: ImageFit) -> Iterator[Frames]:
    for indices in _chunks(clip.num_frames):
        frames = clip.frames(indices)
        yield np.stack([fitted(frame, width=setting.width, height=setting.height, fit=fit) for frame in frames])


def _write_frames(
    apply: Filter, chunks: Iterator[Frames], file: BinaryIO, progress: _FrameProgress
) -> Generator[Progress, None, None]:
    for chunk in chunks:
        file.write(np.ascontiguousarray(apply(chunk)).data)
        yield progress.advance(len(chunk))


def _write_normalised(
    apply: Filter, chunks: Iterator[Frames], spread: Spread, raw: RawMaps, file: BinaryIO, progress: _FrameProgress
) -> Generator[Progress, None, None]:
    """Store raw maps, then write them over the clip's range."""
    for chunk in chunks:
        raw.append(apply(chunk))
        yield progress.advance(len(chunk))
    maps = raw.maps()
    black, white = clip_range(maps, spread)
    for start in range(0, len(maps), CHUNK):
        grey = as_grey_frames(maps[start : start + CHUNK], black, white, is_inverted=spread.is_inverted)
        file.write(grey.data)
        yield progress.advance(len(grey))


def _chunks(num_frames: int) -> Iterator[range]:
    for start in range(0, num_frames, CHUNK):
        yield range(start, min(start + CHUNK, num_frames))
