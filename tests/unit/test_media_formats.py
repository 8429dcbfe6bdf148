"""Each format by itself: times, plays, transparency, options, and files no larger than wished."""

from collections.abc import Generator, Iterator
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image, ImageSequence

from media import gifsicle
from media.ffmpeg import FIRST_VIDEO, run_ffmpeg
from media.file_size import best_that_fits, lower_qualities
from media.formats import Encoding
from media.gif import usual_palette
from media.png import unpack_frames
from media.read import iter_frames, probe, read_frames, read_recipe
from media.write import ClipWriter, check_output, open_clip
from pipelines.plan.choices import GifOptimize, Mp4Tune, OutputFormat
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest
from studio.engine import encoding_of

PICTURES = (OutputFormat.GIF, OutputFormat.WEBP, OutputFormat.APNG)
VIDEOS = (OutputFormat.MP4, OutputFormat.WEBM)
RATES = (Fraction(8), Fraction(25, 2), Fraction(24000, 1001), Fraction(30))


def scene(num_frames: int, side: int = 64, seed: int = 0) -> np.ndarray:
    """A coloured, grainy picture that moves, uint8 [n, side, side, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (side // 16, side // 16, 3), np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)).astype(int)
    picture = (picture + rng.integers(-12, 13, picture.shape)).clip(0, 255).astype(np.uint8)
    return np.stack([np.roll(picture, 3 * index, axis=1) for index in range(num_frames)])


def written(
    folder: Path, kind: OutputFormat, frames: np.ndarray, encoding: Encoding, fps: Fraction = Fraction(8)
) -> ClipWriter:
    with open_clip(
        folder,
        stem="clip",
        formats=[kind],
        fps=fps,
        width=frames.shape[2],
        height=frames.shape[1],
        recipe='{"é": 1}',
        encoding=encoding,
        alpha=frames.shape[3] == 4,
    ) as clip:
        clip.write(frames)
    return clip


def size_of(folder: Path, kind: OutputFormat, frames: np.ndarray, **encoding: object) -> int:
    return written(folder, kind, frames, Encoding(**encoding)).files[0].stat().st_size


def starts_s(path: Path, kind: OutputFormat) -> list[Fraction]:
    """When each frame starts and the last one ends, as Pillow and ffmpeg tell, in s."""
    times = [Fraction(0)]
    if kind in PICTURES:
        with Image.open(path) as picture:
            for frame in ImageSequence.Iterator(picture):
                frame.load()
                times.append(times[-1] + Fraction(frame.info["duration"]).limit_denominator(10**6) / 1000)
        return times
    listing = run_ffmpeg("-i", str(path), "-map", FIRST_VIDEO, "-c", "copy", "-f", "framecrc", "pipe:1").stdout.decode()
    (tick,) = [Fraction(line.split()[-1]) for line in listing.splitlines() if line.startswith("#tb")]
    lines = [line.split(",") for line in listing.splitlines() if not line.startswith("#")]
    starts = sorted((int(line[2]), int(line[3])) for line in lines)
    return [*(tick * start for start, _ in starts), tick * sum(starts[-1])]


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("kind", [*PICTURES, *VIDEOS])
def test_no_frame_of_ten_seconds_is_shown_a_frame_too_early_or_late(tmp_path, kind, fps):
    num_frames = round(10 * fps)
    (path,) = written(tmp_path, kind, scene(num_frames, 16), Encoding(), fps).files
    off = [abs(time - index / fps) for index, time in enumerate(starts_s(path, kind))]
    assert len(off) == num_frames + 1
    # Far less than a frame: half a tick of the format's clock, and a tick where a container cuts its last frame short.
    assert max(off[:-1]) <= {OutputFormat.GIF: Fraction(1, 200), OutputFormat.APNG: 10**-6}.get(kind, Fraction(1, 2000))
    assert off[-1] <= (Fraction(1, 200) if kind is OutputFormat.GIF else Fraction(1, 1000))
    if kind is not OutputFormat.GIF:
        assert probe(path).fps == fps


@pytest.mark.parametrize("kind", [OutputFormat.WEBP, OutputFormat.WEBM, OutputFormat.APNG])
@pytest.mark.parametrize("fps", [Fraction(8), Fraction(90)])
def test_one_frame_lasts_as_long_as_one_of_many(tmp_path, kind, fps):
    (path,) = written(tmp_path, kind, scene(1, 16), Encoding(), fps).files
    assert probe(path).num_frames == 1
    assert abs(1 / probe(path).fps - 1 / fps) < Fraction(1, 1000)
    assert len(read_frames(path)) == 1


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("plays", [0, 1, 2, 65535])
@pytest.mark.parametrize("optimize", [GifOptimize.OFF, GifOptimize.LOSSY])
def test_a_picture_plays_as_often_as_wished(tmp_path, kind, plays, optimize):
    (path,) = written(tmp_path, kind, scene(3, 16), Encoding(loop_count=plays, gif_optimize=optimize)).files
    with Image.open(path) as picture:
        plays_again = picture.info.get("loop")
    # A GIF counts how often it is repeated, and one that says nothing plays once.
    assert plays_again == ({0: 0, 1: None}.get(plays, plays - 1) if kind is OutputFormat.GIF else plays)


def see_through(num_frames: int, side: int) -> np.ndarray:
    """A white square that moves over nothing, RGBA."""
    frames = np.zeros((num_frames, side, side, 4), np.uint8)
    for index, frame in enumerate(frames):
        frame[2:12, 4 * index : 4 * index + 10] = 255
    return frames


@pytest.mark.parametrize("kind", [OutputFormat.GIF, OutputFormat.WEBP, OutputFormat.APNG, OutputFormat.PNG])
@pytest.mark.parametrize("palette", [True, False])
def test_what_can_be_seen_through_stays_so_and_leaves_no_trail(tmp_path, kind, palette):
    frames = see_through(4, 33)
    (path,) = written(tmp_path, kind, frames, Encoding(webp_lossless=True, gif_palette=palette)).files
    if kind is OutputFormat.PNG:
        unpack_frames(path, tmp_path / "frames")
        pictures = [np.asarray(Image.open(tmp_path / "frames" / f"0000{index}.png")) for index in range(4)]
    else:
        with Image.open(path) as picture:
            pictures = [np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(picture)]
    np.testing.assert_array_equal(np.stack(pictures)[..., 3], frames[..., 3])
    if kind is not OutputFormat.GIF:  # whose colour of nothing is read as it is, white
        assert (read_frames(path) == frames[..., :3]).all()


def test_a_webm_keeps_what_can_be_seen_through_and_an_mp4_lays_it_over_black(tmp_path):
    frames = see_through(4, 32)
    frames[..., :3] = 255
    (webm,) = written(tmp_path, OutputFormat.WEBM, frames, Encoding()).files
    raw = run_ffmpeg("-c:v", "libvpx-vp9", "-i", str(webm), "-f", "rawvideo", "-pix_fmt", "rgba", "pipe:1").stdout
    pictures = np.frombuffer(raw, np.uint8).reshape(frames.shape)
    assert np.abs(pictures[..., 3].astype(int) - frames[..., 3]).mean() < 3
    (mp4,) = written(tmp_path, OutputFormat.MP4, frames, Encoding()).files
    assert np.abs(read_frames(mp4).astype(int) - frames[..., 3:]).mean() < 3


def test_frames_without_the_fourth_channel_are_refused_where_it_was_told_of(tmp_path):
    with (
        pytest.raises(ValueError, match=r"frames must be uint8 \[n, 8, 8, 4\], got uint8 \[1, 8, 8, 3\]"),
        open_clip(
            tmp_path, stem="x", formats=["PNG"], fps=Fraction(8), width=8, height=8, recipe="{}", alpha=True
        ) as clip,
    ):
        clip.write(np.zeros((1, 8, 8, 3), np.uint8))


@pytest.mark.parametrize("kind", [OutputFormat.WEBP, OutputFormat.APNG])
def test_formats_without_loss_keep_every_bit_and_every_frame(tmp_path, kind):
    frames = np.repeat(np.random.default_rng(0).integers(0, 256, (3, 17, 33, 3), np.uint8), 2, axis=0)
    (path,) = written(tmp_path, kind, frames, Encoding(webp_lossless=True)).files
    np.testing.assert_array_equal(read_frames(path), frames)


@pytest.mark.parametrize(
    ("kind", "larger", "smaller"),
    [
        (OutputFormat.MP4, {"mp4_crf": 10}, {"mp4_crf": 35}),
        (OutputFormat.MP4, {"mp4_preset": "ultrafast"}, {"mp4_preset": "slow"}),
        (OutputFormat.WEBM, {"webm_crf": 15}, {"webm_crf": 50}),
        (OutputFormat.WEBP, {"webp_quality": 95}, {"webp_quality": 40}),
        (OutputFormat.WEBP, {"webp_lossless": True}, {}),
        (OutputFormat.GIF, {}, {"gif_optimize": GifOptimize.LOSSLESS}),
        (OutputFormat.GIF, {"gif_optimize": GifOptimize.LOSSLESS}, {"gif_optimize": GifOptimize.LOSSY}),
        (
            OutputFormat.GIF,
            {"gif_optimize": GifOptimize.LOSSY, "gif_lossiness": 20},
            {"gif_optimize": GifOptimize.LOSSY, "gif_lossiness": 200},
        ),
    ],
)
def test_options_make_files_smaller(tmp_path, kind, larger, smaller):
    # In greys, whose palette has neighbours near enough for gifsicle to take one for the other.
    frames = scene(8, 96)[..., :1].repeat(3, axis=3)
    assert size_of(tmp_path, kind, frames, **larger) > size_of(tmp_path, kind, frames, **smaller)


def test_every_tune_makes_another_file(tmp_path):
    files = [
        written(tmp_path, OutputFormat.MP4, scene(8), Encoding(mp4_tune=tune)).files[0].read_bytes() for tune in Mp4Tune
    ]
    assert len(set(files)) == len(Mp4Tune)


def test_a_palette_of_its_own_is_closer_to_the_clip(tmp_path):
    frames = scene(4, 96)

    def error(with_palette: bool) -> float:
        (path,) = written(tmp_path, OutputFormat.GIF, frames, Encoding(gif_palette=with_palette)).files
        return np.abs(read_frames(path).astype(int) - frames).mean()

    assert 1.5 * error(True) < error(False) < 30
    palette = np.frombuffer(usual_palette(), np.uint8).reshape(256, 4)
    assert len(np.unique(palette, axis=0)) == 256
    assert (palette[:, 3] == 0).sum() == 1


@pytest.mark.parametrize("optimize", [GifOptimize.LOSSLESS, GifOptimize.LOSSY])
def test_gifsicle_keeps_frames_times_and_recipe(tmp_path, optimize):
    frames = np.concatenate([scene(5, 48), scene(1, 48), scene(1, 48)])
    sizes = []
    for how in (GifOptimize.OFF, optimize):
        (path,) = written(tmp_path, OutputFormat.GIF, frames, Encoding(gif_optimize=how)).files
        assert read_recipe(path) == '{"é": 1}'
        sizes.append((probe(path).num_frames, starts_s(path, OutputFormat.GIF), read_frames(path).astype(int)))
    assert sizes[0][:2] == sizes[1][:2]
    assert np.abs(sizes[0][2] - sizes[1][2]).mean() < (12 if optimize is GifOptimize.LOSSY else 1e-9)


def test_optimising_is_refused_before_anything_starts_where_gifsicle_is_missing(monkeypatch):
    monkeypatch.setattr(gifsicle.metadata, "files", lambda _: None)
    monkeypatch.setattr(gifsicle.shutil, "which", lambda _: None)
    gifsicle.gifsicle_path.cache_clear()
    try:
        with pytest.raises(InvalidRequestError, match="gif_optimize must be off where gifsicle is missing, got lossy"):
            check_output([OutputFormat.GIF], Fraction(8), Encoding(gif_optimize=GifOptimize.LOSSY))
        check_output([OutputFormat.MP4], Fraction(8), Encoding(gif_optimize=GifOptimize.LOSSY))
        assert all(level.gif_optimize is GifOptimize.OFF for level in lower_qualities(OutputFormat.GIF, Encoding()))
    finally:
        gifsicle.gifsicle_path.cache_clear()


@pytest.mark.parametrize("kind", [*VIDEOS, OutputFormat.WEBP, OutputFormat.GIF])
def test_a_file_is_made_to_fit_with_the_best_quality_that_does(tmp_path, kind):
    frames = scene(10, 96)
    limit = size_of(tmp_path / "whole", kind, frames) * 2 // 3
    clip = written(tmp_path, kind, frames, Encoding(max_bytes=limit))
    assert limit / 3 < clip.files[0].stat().st_size <= limit
    assert clip.warnings[0].startswith(f"The {kind} was written with ")
    assert clip.warnings[0].endswith(f"to stay within {limit / 1e6:g} MB.")
    assert read_recipe(clip.files[0]) == '{"é": 1}'
    assert sum(1 for _ in iter_frames(clip.files[0])) == 10
    assert list(tmp_path.iterdir()) in ([clip.files[0], tmp_path / "whole"], [tmp_path / "whole", clip.files[0]])


def test_a_file_that_fits_is_left_alone(tmp_path):
    frames = scene(5)
    whole = written(tmp_path / "a", OutputFormat.MP4, frames, Encoding()).files[0].read_bytes()
    clip = written(tmp_path / "b", OutputFormat.MP4, frames, Encoding(max_bytes=len(whole)))
    assert (clip.files[0].read_bytes(), clip.warnings) == (whole, ())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (OutputFormat.WEBP, "even with quality 1. Make the clip smaller or shorter."),
        (OutputFormat.GIF, "even with lossiness 200, 32 colours, 25% of its size. Make the clip smaller or shorter."),
        (OutputFormat.APNG, "it loses nothing, so there is no quality to lower. Choose another of the 'Formats'."),
        (OutputFormat.PNG, "it loses nothing, so there is no quality to lower. Choose another of the 'Formats'."),
    ],
)
def test_a_limit_that_no_quality_keeps_is_told(tmp_path, kind, words):
    clip = written(tmp_path, kind, scene(4), Encoding(max_bytes=100))
    assert clip.warnings[0].startswith(f"The {kind} has 0.0")
    assert clip.warnings[0].endswith(words)
    assert sum(1 for _ in iter_frames(clip.files[0])) == 4


def test_transparent_frames_are_made_to_fit_too(tmp_path):
    frames = np.dstack([scene(4, 48).reshape(-1, 48, 3), see_through(4, 48)[..., 3].reshape(-1, 48)])
    clip = written(tmp_path, OutputFormat.WEBP, frames.reshape(4, 48, 48, 4), Encoding(max_bytes=1200))
    assert clip.files[0].stat().st_size <= 1200
    with Image.open(clip.files[0]) as picture:
        assert np.asarray(picture.convert("RGBA"))[..., 3].tolist() == see_through(4, 48)[0, ..., 3].tolist()


def drawn_out(work: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    """What a generator yields and what it returns."""
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return events, end.value


@pytest.mark.parametrize("kind", OutputFormat)
@pytest.mark.parametrize("now", [Encoding(), Encoding(mp4_crf=0, webm_crf=0, webp_quality=100, webp_lossless=True)])
def test_a_search_takes_six_encodes_at_most_and_finds_the_best(tmp_path, kind, now):
    levels = lower_qualities(kind, replace(now, max_bytes=1))
    assert len(set(levels)) == len(levels) <= 63
    for fitting in range(len(levels) + 1):
        tried = []

        def encode(
            level: Encoding, fitting: int = fitting, tried: list[Encoding] = tried
        ) -> Generator[int, None, Path]:
            tried.append(level)
            yield len(tried)
            path = tmp_path / str(len(tried))
            path.write_bytes(b"x" if levels.index(level) >= fitting else b"xx")
            return path

        if levels:
            numbers, (actual, path) = drawn_out(best_that_fits(levels, 1, encode))
            assert numbers == list(range(1, len(tried) + 1))
            assert actual == levels[min(fitting, len(levels) - 1)]
            assert len(tried) <= 6
            assert list(tmp_path.iterdir()) == [path]
            path.unlink()


def test_stopping_in_the_middle_of_a_search_leaves_nothing(tmp_path, monkeypatch):
    children = psutil.Process().children(recursive=True)

    def fails(_: object) -> Iterator[np.ndarray]:
        yield scene(1)[0]
        raise KeyboardInterrupt

    monkeypatch.setattr("media.stored_frames.StoredFrames.__iter__", fails)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, OutputFormat.MP4, scene(4), Encoding(max_bytes=1))
    assert list(tmp_path.iterdir()) == []
    assert psutil.Process().children(recursive=True) == children


def test_an_encoding_is_as_a_request_says():
    request = GenerationRequest.build(seed=1)
    assert encoding_of(request) == Encoding()
    assert {field.name for field in fields(Encoding)} - set(GenerationRequest.model_fields) == {
        *("max_bytes", "gif_colours", "gif_scale"),
    }
    changed = GenerationRequest.build(seed=1, mp4_crf=30, loop_count=2, max_file_mb=1.5, gif_optimize="lossy")
    assert encoding_of(changed) == Encoding(
        mp4_crf=30, loop_count=2, max_bytes=1_500_000, gif_optimize=GifOptimize.LOSSY
    )
