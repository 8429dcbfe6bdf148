"""A stand-in for the engine where only the page's own behaviour is tested: real events, real files."""

import threading
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np

from media.write import open_clip
from pipelines.plan.errors import WeightsError
from pipelines.plan.events import Clip, Event, Progress, Stage
from pipelines.plan.notes import Note
from pipelines.plan.request import GenerationRequest

WARNING = "'x' has no middle block."
REFUSAL = "base_model must be downloadable, got 'x'. Choose the base model 'demo'."


class FakeEngine:
    """Counts what the page does with it.

    Its files have as many frames, as fast, as the real engine's: `output_frames` at `output_fps`. They are always of
    64 x 64 pixels, so that hundreds of tests need no time for encoding, and have no sound; it tells of no stage but
    loading and denoising, with previews of eight frames as the real engine's. What sizes, sound and the order of all
    stages are is for `test_real_engine.py` and the pipeline's tests to say.

    Prompts steer it: 'refuse' raises a `UserError`, 'break' another error, 'slow' takes many steps, two minutes,
    'warn' ends with a warning; 'green' makes a clip of another colour. Slow clips end at once while `enough` is set.
    """

    def __init__(self, *, step_s: float = 0.03) -> None:
        self.step_s = step_s
        self.requests: list[GenerationRequest] = []
        self.folders: list[Path] = []
        self.closed_at: list[int] = []
        self.running = 0
        self.most_running = 0
        self.enough = threading.Event()
        self._lock = threading.Lock()

    def make_clip(self, request: GenerationRequest, folder: Path) -> Generator[Event, None, None]:
        """Tell of every stage with a preview in every denoising step, then write a moving square."""
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.requests.append(request)
        self.folders.append(folder)
        step = 0
        try:
            yield Progress(Stage.LOAD, 0, 1)
            if "refuse" in request.prompt:
                raise WeightsError(REFUSAL)
            if "break" in request.prompt:
                raise RuntimeError("secret detail")
            total, step_s = (
                (400, 10 * self.step_s) if "slow" in request.prompt else (request.num_inference_steps, self.step_s)
            )
            for step in range(1, total + 1):
                time.sleep(step_s)
                frames = _square(request, 8)
                note = Note("progress.step", "Step {step} of {steps}", step=step, steps=total)
                yield Progress(Stage.DENOISE, step, total, (total - step) * step_s, frames, note)
                if "slow" in request.prompt and self.enough.is_set():
                    break
            files = _write(request, folder)
            warnings = (WARNING,) if "warn" in request.prompt else ()
            yield Clip(files, request.to_json(), request.output_frames, seconds=total * step_s, warnings=warnings)
        except GeneratorExit:
            self.closed_at.append(step)
            raise
        finally:
            with self._lock:
                self.running -= 1


def _write(request: GenerationRequest, folder: Path) -> tuple[Path, ...]:
    with open_clip(
        folder,
        stem=str(request.seed),
        formats=request.formats,
        fps=request.output_fps,
        width=64,
        height=64,
        recipe=request.to_json(),
    ) as clip:
        clip.write(_square(request, request.output_frames))
    return clip.files


def _square(request: GenerationRequest, num_frames: int) -> np.ndarray:
    background = (40, 160, 60) if "green" in request.prompt else (40, 90, 200)
    frames = np.full((num_frames, 64, 64, 3), background, np.uint8)
    for index, frame in enumerate(frames):
        frame[20:40, index % 40 : index % 40 + 20] = (230, 60, 60)
    return frames
