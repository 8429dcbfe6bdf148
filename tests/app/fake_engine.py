"""A stand-in for the engine where only the page's own behaviour is tested: real events, real files."""

import threading
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np

from media.write import open_clip
from pipelines.errors import WeightsError
from pipelines.events import Clip, Event, Progress, Stage
from pipelines.request import GenerationRequest

WARNING = "'x' has no middle block."
REFUSAL = "base_model must be downloadable, got 'x'. Choose the base model 'demo'."


class FakeEngine:
    """Counts what the page does with it.

    Prompts steer it: 'refuse' raises a `UserError`, 'break' another error, 'slow' takes many steps,
    'warn' ends with a warning.
    """

    def __init__(self, *, step_s: float = 0.03) -> None:
        self.step_s = step_s
        self.requests: list[GenerationRequest] = []
        self.folders: list[Path] = []
        self.closed_at: list[int] = []
        self.running = 0
        self.most_running = 0
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
            total = 400 if "slow" in request.prompt else request.num_inference_steps
            for step in range(1, total + 1):
                time.sleep(self.step_s)
                picture = np.full((64, 64, 3), (40, 90, 200), np.uint8)
                picture[20:40, step % 40 : step % 40 + 20] = (230, 60, 60)
                note = f"Step {step} of {total}"
                yield Progress(Stage.DENOISE, step, total, (total - step) * self.step_s, picture, note)
            files = _write(request, folder)
            warnings = (WARNING,) if "warn" in request.prompt else ()
            yield Clip(files, request.to_json(), request.num_frames, seconds=total * self.step_s, warnings=warnings)
        except GeneratorExit:
            self.closed_at.append(step)
            raise
        finally:
            with self._lock:
                self.running -= 1


def _write(request: GenerationRequest, folder: Path) -> tuple[Path, ...]:
    square = np.full((request.num_frames, 64, 64, 3), (40, 90, 200), np.uint8)
    for index, frame in enumerate(square):
        frame[20:40, index : index + 20] = (230, 60, 60)
    with open_clip(
        folder,
        stem=str(request.seed),
        formats=request.formats,
        fps=request.fps,
        width=64,
        height=64,
        recipe=request.to_json(),
    ) as clip:
        clip.write(square)
    return clip.files
