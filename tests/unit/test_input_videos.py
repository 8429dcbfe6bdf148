"""Videos from anybody: each frame where it belongs, at the exact rate, in the size that is wanted."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import psutil
import pytest

from media.ffmpeg import FFmpegError, run_bounded, run_ffmpeg
from media.input_facts import Cut
from media.inputs import open_input, probe_input
from media.read import iter_frames
from media.video import list_video
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.image_fit import ImageFit, fitted
from tests.unit.clips import FILM, H264, greys, levels_of, video

RAMP = [20 + 5 * index for index in range(40)]
CODECS = {
    "b-frames.mp4": H264,
    "b-frames.mov": H264,
    "b-frames.mkv": H264,
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-crf", "10", "-b:v", "0"),
    "b-frames.avi": ("-c:v", "mpeg4", "-bf", "2", "-q:v", "2"),
}


@pytest.mark.parametrize("name", CODECS)
def test_every_frame_is_there_at_the_exact_rate(tmp_path, name):
    path = video(tmp_path / name, greys(RAMP), *CODECS[name])
    facts = probe_input(path)
    assert (facts.fps, facts.num_frames, facts.even, facts.width, facts.height) == (FILM, 40, True, 48, 32)
    assert (facts.duration_s, facts.has_audio) == (40 / FILM, False)
    clip = open_input(path)
    assert np.allclose(levels_of(clip.frames(range(40))), RAMP, atol=3)
    assert levels_of(clip.frames([39, 0, 39])) == [levels_of(clip.frames([n]))[0] for n in (39, 0, 39)]
    assert not clip.complaint


def test_a_cut_takes_what_it_names_and_plays_as_fast(tmp_path):
    clip = open_input(video(tmp_path / "clip.mp4", greys(RAMP)), Cut(start=5, every=3, max_frames=4))
    assert (clip.num_frames, clip.fps) == (4, Fraction(8000, 1001))
    assert np.allclose(levels_of(clip.frames(range(4))), [RAMP[n] for n in (5, 8, 11, 14)], atol=3)


@pytest.mark.parametrize("name", ["b-frames.mp4", "b-frames.mkv", "vp9.webm", "b-frames.avi"])
def test_a_late_start_gives_the_very_frames(tmp_path, name):
    path = video(tmp_path / name, greys([20 + index for index in range(180)]), *CODECS[name])
    late = open_input(path, Cut(start=131, every=2))
    assert (late.frames(range(25)) == open_input(path).frames(range(131, 180, 2))).all()


def test_a_start_after_the_end_is_refused_in_words(tmp_path):
    path = video(tmp_path / "clip.mp4", greys(RAMP))
    with pytest.raises(InvalidRequestError, match=r"source_start must be below .*\(40 frames\), got 40\. Lower"):
        open_input(path, Cut(start=40))


def test_sound_that_begins_first_moves_no_frame(tmp_path):
    sound = ("-f", "lavfi", "-itsoffset", "-0.5", "-i", "sine=d=8")
    path = video(tmp_path / "clip.mkv", greys([20 + n for n in range(150)]), *H264, "-c:a", "aac", more=sound)
    assert (probe_input(path).num_frames, probe_input(path).has_audio) == (150, True)
    assert np.allclose(
        levels_of(open_input(path, Cut(start=120, max_frames=3)).frames(range(3))), [140, 141, 142], atol=1
    )


def test_frames_before_the_cut_of_a_clip_are_not_there(tmp_path):
    video(tmp_path / "long.mp4", greys(RAMP), *H264)
    run_ffmpeg("-ss", "0.79", "-i", "long.mp4", "-c", "copy", "short.mp4", folder=tmp_path)
    facts = probe_input(tmp_path / "short.mp4")
    clip = open_input(tmp_path / "short.mp4")
    assert facts.num_frames == clip.num_frames == 21
    assert np.allclose(levels_of(clip.frames(range(21))), RAMP[19:], atol=3)


@pytest.mark.parametrize("name", ["uneven.mp4", "uneven.mkv"])
def test_frames_of_uneven_length_are_taken_by_time(tmp_path, name):
    wait = ("-vf", r"setpts='if(lt(N\,4)\,N\,N+6)/25/TB'", "-fps_mode", "vfr")
    path = video(tmp_path / name, greys([30, 60, 90, 120, 150, 180]), *H264, *wait, fps=Fraction(25))
    facts = probe_input(path)
    assert (facts.fps, facts.even, facts.num_frames) == (25, False, 12)
    clip = open_input(path)
    assert np.allclose(levels_of(clip.frames(range(12))), [30, 60, 90, *[120] * 7, 150, 180], atol=3)


def test_a_turned_clip_is_seen_upright(tmp_path):
    half = greys(RAMP[:3])
    half[:, :, 24:] = 0
    video(tmp_path / "flat.mp4", half, *H264)
    run_ffmpeg("-display_rotation", "90", "-i", "flat.mp4", "-c", "copy", "tall.mp4", folder=tmp_path)
    assert (probe_input(tmp_path / "tall.mp4").width, probe_input(tmp_path / "tall.mp4").height) == (32, 48)
    frame = open_input(tmp_path / "tall.mp4").frames([2])[0]
    assert frame.shape == (48, 32, 3)
    assert abs(int(frame[:20].mean()) - int(frame[28:].mean())) > 20


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    path = video(tmp_path / "clip.mp4", greys(RAMP[:2]), *H264, "-vf", "setsar=2/1")
    assert (probe_input(path).width, probe_input(path).height) == (96, 32)
    assert open_input(path).frames([1]).shape == (1, 32, 96, 3)
    assert [frame.shape for frame in iter_frames(path)] == [(32, 96, 3)] * 2


@pytest.mark.parametrize("transfer", ["", "smpte2084", "arib-std-b67"])
def test_ten_bits_and_odd_sizes_become_eight_and_stay_odd(tmp_path, transfer):
    colours = np.zeros((2, 33, 47, 3), np.uint8)
    colours[..., 0] = 200
    tags = f",setparams=color_trc={transfer}:color_primaries=bt2020:colorspace=bt2020nc" if transfer else ""
    codec = ("-c:v", "libx264", "-vf", f"format=yuv444p10le{tags}")
    path = video(tmp_path / "clip.mp4", colours, *codec)
    clip = open_input(path)
    assert (clip.width, clip.height) == (47, 33)
    red, green, blue = clip.frames([1])[0].mean(axis=(0, 1))
    assert red > 100
    assert max(green, blue) < 60


@pytest.mark.parametrize("fit", list(ImageFit))
@pytest.mark.parametrize("size", [(64, 64), (40, 96)])
def test_fitting_in_ffmpeg_is_fitting_here(tmp_path, fit, size):
    sweep = np.linspace(0, 255, 128, dtype=np.uint8)
    frames = np.broadcast_to(np.stack([sweep, sweep[::-1], sweep // 2], -1), (2, 72, 128, 3))
    path = video(tmp_path / "clip.mp4", frames)
    width, height = size
    found = open_input(path, Cut(width=width, height=height, fit=fit)).frames([1])[0]
    expected = fitted(open_input(path).frames([1])[0], width=width, height=height, fit=fit)
    assert np.abs(found.astype(int) - expected).mean() < 2


def test_a_mask_is_read_as_brightness(tmp_path):
    colours = np.zeros((1, 32, 48, 3), np.uint8)
    colours[..., 1] = 255
    found = open_input(video(tmp_path / "mask.mp4", colours), Cut(grey=True)).frames([0])
    assert (found[..., 0] == found[..., 1]).all()
    assert (found[..., 0] == found[..., 2]).all()
    assert 140 < found.mean() < 160


def test_a_clip_that_is_cut_off_is_used_as_far_as_it_goes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 48, 3), np.uint8)
    path = video(tmp_path / "clip.mkv", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip = open_input(path)
    assert 1 <= clip.num_frames < 24
    assert clip.complaint.startswith("It is damaged or cut off; ")


def test_a_long_clip_costs_no_memory_and_leaves_nothing_behind(tmp_path):
    code = (
        "import sys, psutil; from pathlib import Path\n"
        "from media.input_facts import Cut; from media.inputs import open_input\n"
        "me = psutil.Process(); clip = open_input(Path(sys.argv[1]), Cut(max_frames=100, width=256, height=256))\n"
        "clip.frames(range(16)); before = me.memory_info().rss\n"
        "clip = open_input(Path(sys.argv[1]), Cut(width=256, height=256))\n"
        "[clip.frames(range(at, at + 16)) for at in range(0, 1984, 16)]\n"
        "print(clip.num_frames, (me.memory_info().rss - before) >> 20)"
    )
    path = video(tmp_path / "clip.mp4", greys(RAMP * 50))
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"TMPDIR": str(tmp_path)},
    )
    num_frames, grown_mb = map(int, done.stdout.split())
    assert num_frames == 2_000  # 375 MiB of them
    assert grown_mb < 20
    assert [one.name for one in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_refused_clip_leaves_no_process(tmp_path):
    children = psutil.Process().children()
    path = video(tmp_path / "clip.mp4", greys(RAMP))
    with pytest.raises(InvalidRequestError, match=r"must unpack to at most 8 GiB, got 62\.\d GiB"):
        open_input(path, Cut(width=50_000, height=11_200))
    assert psutil.Process().children() == children


def test_of_a_video_without_end_only_the_beginning_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("media.video.MAX_LISTED_FRAMES", 10)
    assert probe_input(video(tmp_path / "clip.mp4", greys(RAMP))).num_frames == 10


def test_of_a_video_without_one_good_picture_only_the_beginning_is_looked_at(tmp_path, monkeypatch):
    path = video(tmp_path / "clip.mp4", greys(RAMP * 50), "-c:v", "mpeg4")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    data[start : start + length] = b"U" * length
    path.write_bytes(data)
    with pytest.raises(FFmpegError) as whole:
        list_video(path, max_frames=2_000)
    monkeypatch.setattr("media.video.MAX_MESSAGE_BYTES", 10_000)
    children = psutil.Process().children()
    with pytest.raises(FFmpegError) as ended:
        list_video(path, max_frames=2_000)
    assert len(whole.value.messages) > 200_000  # of 2,000 frames
    assert 10_000 < len(ended.value.messages) < 80_000  # of some, then ffmpeg was ended
    assert psutil.Process().children() == children


def test_an_ffmpeg_that_is_not_ready_in_time_is_ended():
    endless = ("-re", "-f", "lavfi", "-i", "color", "-f", "null", "-")
    with pytest.raises(FFmpegError, match="exit status -9"):
        run_bounded(*endless, max_message_bytes=1_000, timeout_s=0.1)


BAD_VIDEOS = {
    "sound only": (("-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac"), "must have pictures, got a file with sound only"),
    "a huge picture": (
        ("-f", "lavfi", "-i", "color=s=6000x6000:r=1:d=1", "-c:v", "mjpeg"),
        "must have at most 17 million pixels, got 6000 × 6000. Make it smaller",
    ),
    "a line": (
        ("-f", "lavfi", "-i", "color=s=16x600:r=1:d=1", "-c:v", "mpeg4"),
        "must be at most 16 times as long one way as the other, got 16 × 600. Crop it",
    ),
    "no frames": (("-f", "lavfi", "-i", "color=s=16x16:d=1", "-frames:v", "0"), "must be a playable clip"),
}


@pytest.mark.parametrize("name", BAD_VIDEOS)
def test_bad_videos_are_refused_in_words(tmp_path, name):
    output, words = BAD_VIDEOS[name]
    run_ffmpeg(*output, "clip.mov", folder=tmp_path)
    with pytest.raises(InvalidRequestError, match=f"^source_video {words}"):
        open_input(tmp_path / "clip.mov", field="source_video")


def test_a_video_without_its_index_is_refused_in_words(tmp_path):
    path = video(tmp_path / "clip.mp4", np.random.default_rng(0).integers(0, 256, (9, 32, 48, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:9_000])
    with pytest.raises(
        InvalidRequestError, match="file must be a playable clip, got one that is damaged, empty or cut"
    ):
        probe_input(path)


def test_a_codec_that_can_t_be_read_is_named(tmp_path):
    path = video(tmp_path / "clip.mkv", greys(RAMP), "-c:v", "qtrle", "-pix_fmt", "rgb24")
    with pytest.raises(InvalidRequestError, match="in a codec that can be read, got one in qtrle, which can't be read"):
        probe_input(path)
    unknown = tmp_path / "unknown.mkv"
    other = video(tmp_path / "mjpeg.mkv", greys(RAMP), "-c:v", "mjpeg", "-pix_fmt", "yuvj420p")
    unknown.write_bytes(other.read_bytes().replace(b"V_MJPEG", b"V_MJPXX"))
    with pytest.raises(InvalidRequestError, match="got one in an unknown codec"):
        probe_input(unknown)


def test_a_video_that_declares_millions_of_frames_has_those_it_has(tmp_path):
    path = video(tmp_path / "clip.avi", greys(RAMP), "-c:v", "mpeg4")
    data = bytearray(path.read_bytes())
    for box, offset in ((b"avih", 24), (b"strh", 40)):
        at = data.index(box) + offset
        assert data[at : at + 4] == (40).to_bytes(4, "little")
        data[at : at + 4] = (10**7).to_bytes(4, "little")
    path.write_bytes(data)
    assert probe_input(path).num_frames == open_input(path).num_frames == 40


def test_two_frames_a_year_apart_end_somewhere(tmp_path):
    later = ("-vf", r"setpts='N*30000000/TB'", "-fps_mode", "vfr")
    path = video(tmp_path / "clip.mkv", greys([30, 60, 90]), "-c:v", "mpeg4", *later)
    assert probe_input(path).num_frames <= 200_000
    assert open_input(path, Cut(max_frames=5)).num_frames <= 5
