"""Frames of a recipe stay: clips of all modes, compared with those that version 0.7.0 made."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from api.command_line.main import main
from pipelines.engine.generate import default_store
from pipelines.plan.settings import process_settings
from scripts.compare_frames import BATCH, REQUESTS, SHEET, SHEET_STEPS, SIDE, read_frames, sheet_of, write_batch

LEAST_PSNR = 60
"""In dB. Without AVX, by instructions of SSE4 alone, frames were within one level, 86.8 dB and more."""
LEAST_PSNR_OF_FLOW = 40
"""Optical flow decides by thresholds: there 49.6, some pixels by 46 levels."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Iterator[np.ndarray]:
    """Frames made here, uint8 [requests, SIDE, 3 * SIDE, 3]."""
    folder = tmp_path_factory.mktemp("frames") / "clips"
    numbers = range(1, len(REQUESTS) + 1)
    write_batch(folder, numbers, SHEET_STEPS)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in {"STUDIO_DTYPE": "float32", "STUDIO_THREADS": "1", "MODELS_DIR": "models"}.items():
            patch.setenv(name, value)
        for cached in (default_store, process_settings):
            cached.cache_clear()
        assert main(["--batch", BATCH]) == 0
    for cached in (default_store, process_settings):
        cached.cache_clear()
    torch.set_num_threads(threads)
    sheet = sheet_of({number: read_frames(folder / f"{number}.zip") for number in numbers})
    return sheet.reshape(-1, SIDE, *sheet.shape[1:])


@pytest.fixture(scope="module")
def rows_of_0_7_0() -> np.ndarray:
    sheet = np.asarray(Image.open(SHEET))
    return sheet.reshape(-1, SIDE, *sheet.shape[1:])


def psnr(frames: np.ndarray, others: np.ndarray) -> float:
    """Peak signal-to-noise ratio, dB; infinite for equal frames."""
    error = np.mean((frames.astype(float) - others) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else np.inf


@pytest.mark.parametrize("row", range(len(REQUESTS)), ids=lambda row: f"{row + 1}-{'-'.join(REQUESTS[row])}")
def test_a_recipe_makes_the_frames_that_it_made(row, rows, rows_of_0_7_0):
    assert rows[row].std() > 10  # no empty picture
    least = LEAST_PSNR_OF_FLOW if "interpolation" in REQUESTS[row] else LEAST_PSNR
    assert psnr(rows[row], rows_of_0_7_0[row]) >= least


def test_no_two_requests_make_the_same_frames(rows_of_0_7_0):
    assert len(rows_of_0_7_0) == len(REQUESTS)
    assert all(
        psnr(rows_of_0_7_0[row], rows_of_0_7_0[other]) < LEAST_PSNR_OF_FLOW
        for row in range(len(REQUESTS))
        for other in range(row)
    )
