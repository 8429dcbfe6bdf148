"""Writing: right pictures, exact times, whole files or none, the same memory for any length."""

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from media.ffmpeg import FFmpegError, FrameFeed
from media.formats import DamagedClipError, Encoding
from media.read import iter_frames, probe, read_frames
from media.webp_file import read_webp_recipe
from media.write import ClipWriter, check_output, open_clip
from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import InvalidRequestError

ALL = tuple(OutputFormat)
CLIPS = tuple(kind for kind in OutputFormat if kind is not OutputFormat.TXT)
RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def moving_square(num_frames: int, width: int, height: int) -> np.ndarray:
    frames = np.full((num_frames, height, width, 3), (40, 60, 120), np.uint8)
    for i in range(num_frames):
        frames[i, 4:14, 2 * i : 2 * i + 10] = (230, 180, 20)
    return frames


def opened(folder: Path, formats=ALL, *, fps=Fraction(8), width=64, height=48, **options) -> ClipWriter:
    settings = {"recipe": "{}"} | options
    return open_clip(folder, stem="clip", formats=formats, fps=fps, width=width, height=height, **settings)


def written(folder: Path, formats, frames: np.ndarray, fps: Fraction = Fraction(8), **options) -> tuple[Path, ...]:
    with opened(folder, formats, fps=fps, width=frames.shape[2], height=frames.shape[1], **options) as clip:
        clip.write(frames)
    return clip.files


def test_one_pass_writes_every_format_in_the_order_asked_for(tmp_path):
    frames = moving_square(7, 64, 48)
    with opened(tmp_path, [OutputFormat.PNG, OutputFormat.MP4, OutputFormat.GIF]) as clip:
        clip.write(frames[:1])
        clip.write(frames[1:1])
        clip.write(frames[1:])
        assert clip.files == ()
    assert [path.name for path in clip.files] == ["clip.zip", "clip.mp4", "clip.gif"]
    assert clip.num_frames == 7
    assert sorted(tmp_path.iterdir()) == sorted(clip.files)
    for path in clip.files:
        # Half the colour resolution blurs the square's edges in MP4.
        assert np.abs(read_frames(path).astype(int) - frames).mean() < (3 if path.suffix == ".mp4" else 0.5)


@pytest.mark.parametrize("fps", [Fraction(8), Fraction(24000, 1001), Fraction(999983, 10007), Fraction(1, 600)])
def test_mp4_and_png_keep_the_frame_rate_exactly(tmp_path, fps):
    for path in written(tmp_path, [OutputFormat.MP4, OutputFormat.PNG], moving_square(5, 32, 32), fps):
        info = probe(path)
        assert (info.fps, info.num_frames) == (fps, 5)


@pytest.mark.parametrize("fps", [Fraction(8), Fraction(24), Fraction(24000, 1001), Fraction(50), Fraction(1, 3)])
@pytest.mark.parametrize("num_frames", [1, 2, 17])
def test_gif_lasts_as_long_as_the_clip_to_half_a_hundredth_of_a_second(tmp_path, fps, num_frames):
    (path,) = written(tmp_path, [OutputFormat.GIF], moving_square(num_frames, 32, 32), fps)
    delays_ms = []
    with Image.open(path) as gif:
        for index in range(num_frames):
            gif.seek(index)
            delays_ms.append(gif.info["duration"])
    assert abs(sum(delays_ms) - num_frames * 1000 / fps) <= 5
    assert all(abs(delay - 1000 / fps) <= 10 for delay in delays_ms)


def test_gif_loops_for_ever_and_keeps_frames_that_do_not_change(tmp_path):
    (path,) = written(tmp_path, [OutputFormat.GIF], np.full((6, 20, 30, 3), GREY, np.uint8))
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0
    assert probe(path).num_frames == 6


@pytest.mark.parametrize(("width", "height"), [(63, 47), (64, 47), (1, 1)])
def test_odd_sizes_are_kept_and_only_mp4_gains_a_repeated_edge(tmp_path, width, height):
    frames = np.full((3, height, width, 3), GREEN, np.uint8)
    sizes = {path.suffix: (probe(path).width, probe(path).height) for path in written(tmp_path, CLIPS, frames)}
    even = (width + width % 2, height + height % 2)
    others = (".gif", ".webp", ".webm", ".png", ".zip")
    assert sizes == {".mp4": even} | dict.fromkeys(others, (width, height))
    assert np.abs(read_frames(tmp_path / "clip.mp4").astype(int) - GREEN).max() <= 2


def test_a_gif_of_half_a_pixel_has_one(tmp_path):
    frames = np.full((2, 3, 1, 3), GREEN, np.uint8)
    (path,) = written(tmp_path, [OutputFormat.GIF], frames, encoding=Encoding(gif_scale=Fraction(1, 2)))
    assert (probe(path).width, probe(path).height) == (1, 2)


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE, GREY, (255, 255, 255), (0, 0, 0)])
@pytest.mark.parametrize("kind", CLIPS)
def test_colours_survive(tmp_path, colour, kind):
    # At 80, the usual quality, WebP's quantiser alone moves green by 3.
    (path,) = written(tmp_path, [kind], np.full((2, 32, 32, 3), colour, np.uint8), encoding=Encoding(webp_quality=90))
    assert np.abs(read_frames(path).astype(int) - colour).max() <= 2


def test_mp4_is_what_browsers_play(tmp_path):
    (path,) = written(tmp_path, [OutputFormat.MP4], np.full((3, 32, 32, 3), GREEN, np.uint8))
    info = probe(path)
    assert (info.codec, info.pix_fmt) == ("h264", "yuv420p")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    # colr box: primaries, transfer, matrix all 1 (BT.709), range limited.
    box = data.index(b"colrnclx") + 8
    assert data[box : box + 7] == bytes([0, 1, 0, 1, 0, 1, 0])


def test_png_frames_are_bit_exact(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (4, 17, 33, 3), np.uint8)
    (path,) = written(tmp_path, [OutputFormat.PNG], frames)
    np.testing.assert_array_equal(read_frames(path), frames)


def test_the_same_clip_gives_the_same_bytes(tmp_path):
    frames = moving_square(9, 64, 48)
    first = [path.read_bytes() for path in written(tmp_path / "a", ALL, frames)]
    assert [path.read_bytes() for path in written(tmp_path / "b", ALL, frames)] == first


def test_finished_files_replace_older_ones_only_at_the_end(tmp_path):
    (path,) = written(tmp_path, [OutputFormat.MP4], moving_square(3, 64, 48))
    before = path.read_bytes()
    with opened(tmp_path, [OutputFormat.MP4]) as clip:
        clip.write(moving_square(5, 64, 48))
        assert path.read_bytes() == before
    assert probe(path).num_frames == 5


def test_an_exception_leaves_no_file_and_no_process(tmp_path):
    children = psutil.Process().children(recursive=True)
    with pytest.raises(ZeroDivisionError), opened(tmp_path) as clip:  # noqa: PT012 - the body is what fails
        clip.write(moving_square(3, 64, 48))
        assert len(psutil.Process().children()) >= len(children) + 2
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    assert psutil.Process().children(recursive=True) == children
    assert clip.files == ()


def test_closing_the_generator_around_it_leaves_no_file_and_no_process(tmp_path):
    children = psutil.Process().children(recursive=True)

    def generate() -> Iterator[int]:
        with opened(tmp_path) as clip:
            while True:
                clip.write(moving_square(1, 64, 48))
                yield clip.num_frames

    clips = generate()
    assert [next(clips), next(clips)] == [1, 2]
    clips.close()
    assert list(tmp_path.iterdir()) == []
    assert psutil.Process().children(recursive=True) == children


def test_a_failure_at_the_last_step_takes_back_the_files_before_it(tmp_path):
    (tmp_path / "clip.gif").mkdir()
    with pytest.raises(OSError, match=r"clip\.gif"), opened(tmp_path, [OutputFormat.MP4, OutputFormat.GIF]) as clip:
        clip.write(moving_square(2, 64, 48))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.gif"]


def test_a_clip_without_frames_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one frame"), opened(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_failing_ffmpeg_says_why_and_does_not_hang(tmp_path):
    feed = FrameFeed(tmp_path, "-c:v", "no_such_encoder", "x.mp4", width=256, height=256, fps=Fraction(8))
    with pytest.raises(FFmpegError, match="no_such_encoder"):
        feed.write(np.zeros((100, 256, 256, 3), np.uint8))
    feed.abort()


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 48, 64, 3), np.float32),
        np.zeros((48, 64, 3), np.uint8),
        np.zeros((1, 64, 48, 3), np.uint8),
        np.zeros((1, 48, 64, 4), np.uint8),
    ],
)
def test_frames_of_another_kind_are_refused(tmp_path, frames):
    with pytest.raises(ValueError, match=r"frames must be uint8 \[n, 48, 64, 3\], got"), opened(tmp_path) as clip:
        clip.write(frames)


@pytest.mark.parametrize(
    ("formats", "fps", "rule", "written"),
    [
        ([OutputFormat.GIF], Fraction(60), "at most 50 for GIF", "60"),
        ([OutputFormat.WEBP], Fraction(91), "at most 90 for WEBP", "91"),
        ([OutputFormat.MP4, OutputFormat.APNG], Fraction(120), "at most 90 for APNG", "120"),
        ([OutputFormat.WEBM], Fraction(1001), "at most 1000 for WEBM", "1001"),
        ([OutputFormat.MP4], Fraction(1, 601), "at least 1/600", "0.001664"),
        ([OutputFormat.PNG], Fraction(10_000_019, 1_000_003), "a ratio of numbers up to 1,000,000", "9.999989"),
    ],
)
def test_rates_that_a_format_cannot_hold_are_refused_before_anything_starts(tmp_path, formats, fps, rule, written):
    with pytest.raises(InvalidRequestError, match=f"fps must be {rule}.*got {written}"):
        check_output(formats, fps)
    with pytest.raises(InvalidRequestError):
        opened(tmp_path / "new", formats, fps=fps)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("wrong", [{"stem": "../x"}, {"stem": ""}, {"formats": []}, {"width": 0}, {"recipe": "a\0"}])
def test_wrong_arguments_are_refused(tmp_path, wrong):
    right = {"stem": "x", "formats": ALL, "fps": Fraction(8), "width": 8, "height": 8, "recipe": "{}"}
    with pytest.raises(ValueError, match=f"{'width' if 'width' in wrong else next(iter(wrong))}.* must"):
        open_clip(tmp_path, **(right | wrong))


MEASURE_MEMORY = """
import resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from media.write import open_clip
from pipelines.plan.choices import (
    OutputFormat,
)
folder, num_frames = Path(sys.argv[1]), int(sys.argv[2])
picture = np.random.default_rng(0).integers(0, 256, (1, 160, 160, 3), np.uint8)
with open_clip(folder, stem="clip", formats=list(OutputFormat), fps=Fraction(24), width=160, height=160,
               recipe="{}") as clip:
    for i in range(num_frames):
        clip.write(np.roll(picture, 2 * i, axis=2))
own_kb = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(own_kb), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory where Linux keeps it")
def test_memory_does_not_grow_with_the_clip(tmp_path):
    def peaks_mib(num_frames: int) -> np.ndarray:
        done = subprocess.run(
            [sys.executable, "-c", MEASURE_MEMORY, str(tmp_path), str(num_frames)],
            capture_output=True,
            text=True,
            check=True,
        )
        return np.array(done.stdout.split(), int) / 1024

    # 600 frames are 46 MB raw; ffmpeg's own buffers fill within the first 50.
    grown = peaks_mib(600) - peaks_mib(50)
    assert (grown < 12).all(), grown
    assert sum(1 for _ in iter_frames(tmp_path / "clip.mp4")) == 50


def test_a_webp_cut_within_the_padding_of_its_last_chunk_is_cut_off(tmp_path):
    """All that is said of it would still be there: only the file's own length tells."""
    (path,) = written(tmp_path, [OutputFormat.WEBP], moving_square(2, 64, 48), recipe='{"seed":1}')
    data = bytearray(path.read_bytes()) + b"ODD \x01\0\0\0x\0"
    data[4:8] = (len(data) - 8).to_bytes(4, "little")
    path.write_bytes(data)
    assert read_webp_recipe(path) == '{"seed":1}'
    path.write_bytes(data[:-1])
    with pytest.raises(DamagedClipError, match=r"^cut off$"):
        read_webp_recipe(path)
