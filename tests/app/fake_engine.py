"""A stand-in for the engine where only the page's own behaviour is tested: real events, a real MP4."""

import io
import threading
import time
import zipfile
from collections.abc import Generator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

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
            files = tuple(_write(request, folder, kind) for kind in request.formats)
            warnings = (WARNING,) if "warn" in request.prompt else ()
            yield Clip(files, request.to_json(), request.num_frames, seconds=total * self.step_s, warnings=warnings)
        except GeneratorExit:
            self.closed_at.append(step)
            raise
        finally:
            with self._lock:
                self.running -= 1


def _write(request: GenerationRequest, folder: Path, kind: str) -> Path:
    path = folder / f"{request.seed}.{ {'MP4': 'mp4', 'GIF': 'gif', 'PNG': 'zip'}[kind] }"
    if kind == "PNG":
        with zipfile.ZipFile(path, "w") as file:
            for index in range(request.num_frames):
                png = io.BytesIO()
                Image.new("RGB", (64, 64), (index, 90, 200)).save(png, "PNG")
                file.writestr(f"{index:05}.png", png.getvalue())
        return path
    codec = {"MP4": "libx264", "GIF": "gif"}[kind]
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (64, 64),
        fps=float(request.fps),
        codec=codec,
        pix_fmt_out="yuv420p" if kind == "MP4" else None,
    )
    writer.send(None)
    for index in range(request.num_frames):
        frame = np.full((64, 64, 3), (40, 90, 200), np.uint8)
        frame[20:40, index : index + 20] = (230, 60, 60)
        writer.send(frame.tobytes())
    writer.close()
    return path
