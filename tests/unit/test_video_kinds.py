"""Clips as cameras, recorders and programs write them: every container, colours by value, turns, time."""

import re
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from media.ffmpeg import run_ffmpeg
from media.input_facts import Cut
from media.input_files import demuxer_of
from media.inputs import open_input, probe_input
from media.read import iter_frames
from pipelines.plan.errors import InvalidRequestError
from tests.unit.color_clips import BLUE, GREEN, H264, X264, color_clip, color_frames, patches

MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-bf", "2")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-crf", "6", "-b:v", "0")
AV1 = ("-c:v", "libaom-av1", "-cpu-used", "8", "-crf", "8")
H265 = ("-c:v", "libx265", "-preset", "ultrafast", "-crf", "6", "-x265-params", "log-level=none:pools=1")
CONTAINERS = {
    **{f"a.{kind}": H264 for kind in ["mp4", "mov", "m4v", "f4v", "3gp", "mkv", "avi", "ts", "m2ts", "flv", "mpg"]},
    "mpeg-2.ts": MPEG2,
    "mpeg-2.mpg": MPEG2,
    "dvd.vob": (*MPEG2, "-f", "vob"),
    "mpeg-1.mpg": ("-c:v", "mpeg1video", "-q:v", "2"),
    "mpeg-2.mxf": MPEG2,
    "sorenson.flv": ("-c:v", "flv", "-q:v", "2"),
    "wmv2.wmv": ("-c:v", "wmv2", "-q:v", "2"),
    "wmv1.asf": ("-c:v", "wmv1", "-q:v", "2"),
    "theora.ogv": ("-c:v", "libtheora", "-q:v", "9"),
    "vp8.webm": ("-c:v", "libvpx", "-crf", "4", "-b:v", "4M"),
    "vp9.ivf": VP9,
    "av1.mp4": AV1,
    "av1.webm": AV1,
    "hevc.mp4": (*H265, "-tag:v", "hvc1"),
    "hevc of 10 bits.mov": (*H265, "-pix_fmt", "yuv420p10le"),
    "plain.y4m": ("-pix_fmt", "yuv420p"),
    "motion jpeg.avi": ("-c:v", "mjpeg", "-q:v", "2"),
    "divx.avi": ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2", "-vtag", "DIVX"),
    "raw.avi": ("-c:v", "rawvideo", "-pix_fmt", "bgr24"),
    "raw of 32 bits.avi": ("-c:v", "rawvideo", "-pix_fmt", "bgr0"),
    "prores.mov": ("-c:v", "prores_ks", "-profile:v", "3"),
    "ffv1.mkv": ("-c:v", "ffv1", "-pix_fmt", "yuv444p16le"),
    "red, green, blue.mp4": ("-c:v", "libx264rgb", "-qp", "0"),
    "cinepak.avi": ("-c:v", "cinepak"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_gives_every_frame_in_its_colours_at_its_rate(tmp_path, name):
    frames = color_clip(tmp_path / name, *CONTAINERS[name])
    facts = probe_input(tmp_path / name)
    assert (facts.fps, facts.num_frames, facts.even, facts.width, facts.height) == (25, 16, True, 96, 64)
    clip = open_input(tmp_path / name)
    assert np.abs(patches(clip.frames(range(16))) - patches(frames)).max() <= 4
    assert not clip.complaint


RATES = [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(25, 2), Fraction(15)]


@pytest.mark.parametrize(("kind", "fps"), product(["mov", "mkv", "ts", "flv", "avi"], RATES))
def test_rates_are_exact_whatever_clock_the_container_has(tmp_path, kind, fps):
    color_clip(tmp_path / f"clip.{kind}", *H264, fps=fps)
    facts = probe_input(tmp_path / f"clip.{kind}")
    assert (facts.fps, facts.num_frames) == (fps, 16)


SEEN_THROUGH = {
    "animation.mov": ("-c:v", "qtrle"),
    "prores 4444.mov": ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le"),
    "vp9.webm": (*VP9, "-pix_fmt", "yuva420p"),
    "vp9.mkv": (*VP9, "-pix_fmt", "yuva420p"),
    "vp8.webm": ("-c:v", "libvpx", "-auto-alt-ref", "0", "-crf", "4", "-b:v", "4M", "-pix_fmt", "yuva420p"),
    "hevc.mov": (*H265, "-pix_fmt", "yuva420p"),
    "pictures.mov": ("-c:v", "png"),
    "pictures of 16 bits.mov": ("-c:v", "png", "-pix_fmt", "rgba64be"),
    "raw.avi": ("-c:v", "rawvideo", "-pix_fmt", "bgra"),
    "raw.mov": ("-c:v", "rawvideo", "-pix_fmt", "argb"),
    "ffv1.mkv": ("-c:v", "ffv1", "-pix_fmt", "yuva420p"),
    "utvideo.avi": ("-c:v", "utvideo", "-pix_fmt", "gbrap"),
    "animated.png": ("-f", "apng", "-plays", "0"),
}


def clear_frames():
    """Nothing is seen of the red, half of the green, all of the blue."""
    frames = np.dstack([color_frames(1)[0], np.full((64, 96), 255, np.uint8)])
    frames[:32, :48, 3], frames[:32, 48:, 3] = 0, 128
    return np.stack([frames, frames[:, ::-1], frames])


@pytest.mark.parametrize("name", SEEN_THROUGH)
def test_what_can_be_seen_through_lies_over_black(tmp_path, name):
    color_clip(tmp_path / name, *SEEN_THROUGH[name], frames=clear_frames())
    clip = open_input(tmp_path / name)
    assert clip.num_frames == 3
    half = [value * 128 // 255 for value in GREEN]
    expected = np.array([(0, 0, 0), half, BLUE, (30, 30, 30)])
    colors = patches(clip.frames([0, 1]))
    assert np.abs(colors[0] - expected).max() <= 6
    assert np.abs(colors[1] - expected[[1, 0, 3, 2]]).max() <= 6


def test_hidden_colours_are_not_mixed_into_what_is_seen_of_a_smaller_clip(tmp_path):
    frames = np.zeros((1, 64, 96, 4), np.uint8)
    frames[:, :, ::2] = (0, 0, 255, 255)
    frames[:, :, 1::2] = (255, 0, 0, 0)
    color_clip(tmp_path / "clip.mov", "-c:v", "qtrle", frames=frames)
    small = open_input(tmp_path / "clip.mov", Cut(width=24, height=16)).frames([0])
    assert small[..., 0].max() <= 2
    assert abs(int(small[..., 2].mean()) - 128) <= 3


def test_a_webm_of_this_app_that_can_be_seen_through_is_shown_over_black(tmp_path):
    color_clip(tmp_path / "clip.webm", *SEEN_THROUGH["vp9.webm"], frames=clear_frames())
    assert patches(np.stack(list(iter_frames(tmp_path / "clip.webm"))))[0, 0].max() <= 6


MATRICES = {"bt709": "bt709", "bt601": "smpte170m", "bt470": "bt470bg", "bt2020": "bt2020nc", "smpte240m": "smpte240m"}


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p10le"])
@pytest.mark.parametrize(("matrix", "levels"), product(MATRICES, ["tv", "pc"]))
def test_colours_are_read_by_the_matrix_and_range_that_the_file_says(tmp_path, matrix, levels, pixels):
    to_yuv = (
        f"scale=out_color_matrix={matrix}:out_range={levels}:flags=accurate_rnd+full_chroma_int,format={pixels},"
        f"setparams=colorspace={MATRICES[matrix]}:range={levels}"
    )
    frames = color_clip(tmp_path / "clip.mp4", "-vf", to_yuv, *X264[:4], "-qp", "2")
    assert np.abs(patches(open_input(tmp_path / "clip.mp4").frames(range(16))) - patches(frames)).max() <= 3


@pytest.mark.parametrize("primaries", ["bt2020", "smpte432"])
def test_wide_primaries_become_those_of_srgb(tmp_path, primaries):
    there = f"format=gbrp10le,zscale=pin=709:tin=709:min=gbr:m=gbr:p={primaries}:t=709"
    to_yuv = (
        f"{there},scale=out_color_matrix=bt709:out_range=tv,format=yuv444p10le,"
        f"setparams=colorspace=bt709:color_primaries={primaries}:color_trc=bt709:range=tv"
    )
    frames = color_clip(tmp_path / "clip.mov", "-vf", to_yuv, *X264[:4], "-qp", "2")
    assert np.abs(patches(open_input(tmp_path / "clip.mov").frames([3])) - patches(frames[3:4])).max() <= 4


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_white_and_grey_of_high_dynamic_range_stay_about_as_bright(tmp_path, transfer):
    to_hdr = (
        f"format=gbrp10le,zscale=pin=709:tin=709:min=gbr:m=gbr:p=2020:t={transfer}:npl=203,"
        "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le,"
        f"setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc={transfer}:range=tv"
    )
    color_clip(tmp_path / "clip.mp4", "-vf", to_hdr, *H265[:6], *H265[6:], "-pix_fmt", "yuv420p10le")
    colors, expected = patches(open_input(tmp_path / "clip.mp4").frames([9]))[0], patches(color_frames()[9:10])[0]
    assert np.abs(colors - expected).max() <= 40
    assert (colors.argmax(axis=1)[:3] == [0, 1, 2]).all()


TURNS = {90: 1, -90: 3, 180: 2, 270: 3, 0: 0}
FLIPS = {"": lambda a: a, "-display_hflip": lambda a: a[:, :, ::-1], "-display_vflip": lambda a: a[:, ::-1]}


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(("turn", "flip"), product(TURNS, FLIPS))
def test_a_clip_is_turned_and_mirrored_as_its_matrix_says(tmp_path, kind, turn, flip):
    frames = color_clip(tmp_path / f"flat.{kind}", *H264)
    turned = ("-display_rotation", str(turn), *((flip,) if flip else ()))
    run_ffmpeg(*turned, "-i", f"flat.{kind}", "-c", "copy", f"clip.{kind}", folder=tmp_path)
    expected = FLIPS[flip](np.rot90(frames, TURNS[turn], axes=(1, 2)))
    facts = probe_input(tmp_path / f"clip.{kind}")
    assert (facts.height, facts.width) == expected.shape[1:3]
    assert np.abs(patches(open_input(tmp_path / f"clip.{kind}").frames([0, 9])) - patches(expected[[0, 9]])).max() <= 4


@pytest.mark.parametrize("name", ["odd.mp4", "odd.mkv", "odd.webm", "odd.mov"])
def test_odd_sizes_stay_odd(tmp_path, name):
    codecs = {"odd.mp4": (*X264, "-pix_fmt", "yuv444p"), "odd.mkv": ("-c:v", "ffv1"), "odd.webm": VP9}
    frames = color_clip(tmp_path / name, *codecs.get(name, ("-c:v", "qtrle")), frames=color_frames(width=61, height=47))
    clip = open_input(tmp_path / name)
    assert (clip.width, clip.height) == (61, 47)
    assert np.abs(patches(clip.frames(range(16))) - patches(frames)).max() <= 4


def greys(clip):
    """Which frame each is, by its grey."""
    return np.rint((patches(clip.frames(range(clip.num_frames)))[:, 3, 0] - 30) / 9).astype(int).tolist()


def timed(path, setpts, clock, *output, fps=30):
    """Write a clip whose frames are shown at times of our own."""
    color_clip(
        path,
        *("-vf", f"settb=1/{clock},setpts='{setpts}'", "-fps_mode", "vfr", "-enc_time_base", f"1/{clock}"),
        *(output or H264),
        fps=Fraction(fps),
    )


@pytest.mark.parametrize("name", ["phone.mp4", "phone.mkv", "phone.mov"])
def test_times_that_shake_as_a_phone_s_lose_no_frame(tmp_path, name):
    timed(tmp_path / name, "N*3000+mod(N*37,101)*4", 90_000, *H264, "-video_track_timescale", "90000")
    facts = probe_input(tmp_path / name)
    assert (facts.fps, facts.num_frames, facts.even) == (30, 16, True)
    assert greys(open_input(tmp_path / name)) == list(range(16))


def test_a_browser_s_recording_without_a_length_is_read(tmp_path):
    path = tmp_path / "recording.webm"
    timed(path, "N*40+mod(N*7,9)", 1000, "-c:v", "libvpx", "-crf", "4", "-b:v", "4M", "-live", "1")
    facts = probe_input(path)
    assert (facts.fps, facts.num_frames) == (25, 16)
    assert greys(open_input(path)) == list(range(16))


def test_a_screen_that_changes_seldom_keeps_its_time(tmp_path):
    timed(tmp_path / "screen.mp4", "if(lt(N,8),N*100,800+(N-8)*300)", 1000, *H264, "-video_track_timescale", "1000")
    facts = probe_input(tmp_path / "screen.mp4")
    assert not facts.even
    assert facts.duration_s == pytest.approx(3.2, abs=0.35)
    assert greys(open_input(tmp_path / "screen.mp4"))[-1] == 15


def test_a_clip_that_was_cut_without_being_coded_anew_begins_where_it_was_cut(tmp_path):
    color_clip(tmp_path / "whole.mp4", *H264)
    run_ffmpeg("-ss", "0.2", "-i", "whole.mp4", "-c", "copy", "cut.mp4", folder=tmp_path)
    assert greys(open_input(tmp_path / "cut.mp4")) == list(range(5, 16))


def test_an_edit_list_that_waits_before_the_first_frame_moves_none(tmp_path):
    color_clip(tmp_path / "whole.mp4", *H264)
    sound = ("-f", "lavfi", "-i", "sine=d=2", "-map", "0", "-map", "1", "-c:v", "copy", "-c:a", "aac")
    run_ffmpeg("-itsoffset", "1.5", "-i", "whole.mp4", *sound, "late.mp4", folder=tmp_path)
    assert greys(open_input(tmp_path / "late.mp4")) == list(range(16))


@pytest.mark.parametrize("shift", [0, 77])
def test_a_recorded_broadcast_may_begin_amid_a_packet_and_end_amid_a_frame(tmp_path, shift):
    color_clip(tmp_path / "whole.ts", *H264)
    (tmp_path / "part").write_bytes((tmp_path / "whole.ts").read_bytes()[shift:-300])
    colors = greys(open_input(tmp_path / "part"))
    assert colors[:12] == list(range(12))
    assert len(colors) >= 14


@pytest.mark.parametrize("name", ["camera.mp4", "broadcast.ts", "tape.mxf"])
def test_interlaced_frames_become_whole_pictures(tmp_path, name):
    bar = "geq=lum='if(between(X,2*N,2*N+20),235,16)':cb=128:cr=128,tinterlace=interleave_top,setfield=tff"
    fields = ("-flags", "+ildct+ilme")
    codec = ("-c:v", "libx264", "-qp", "4", "-pix_fmt", "yuv420p") if name == "camera.mp4" else MPEG2[:4]
    run_ffmpeg(
        "-f", "lavfi", "-i", "color=black:s=96x64:r=50:d=0.8", "-vf", bar, *codec, *fields, name, folder=tmp_path
    )
    facts = probe_input(tmp_path / name)
    assert (facts.fps, facts.num_frames) == (25, 20)
    frame = open_input(tmp_path / name).frames([5])[0].astype(int)
    assert np.abs(frame[10:50:2] - frame[11:51:2]).mean() < 2  # combed lines differ by 20


PLAYLISTS = {
    "concat": b"ffconcat version 1.0\nfile secret.mp4\n",
    "hls": b"#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "dash": b'<?xml version="1.0"?>\n<MPD><BaseURL>secret.mp4</BaseURL></MPD>\n',
    "asx": b'<asx version="3.0"><entry><ref href="secret.mp4"/></entry></asx>',
    "asf redirector": b"[Reference]\r\nRef1=http://127.0.0.1/secret.mp4\r\n",
    "pls": b"[playlist]\nFile1=secret.mp4\n",
    "behind packets": b"G" * 188 * 6 + b"\nffconcat version 1.0\nfile secret.mp4\n",
    "behind a header": b"FLV\x01\nffconcat version 1.0\nfile secret.mp4\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "a pattern": b"frame%03d.png\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_what_names_other_files_is_never_followed(tmp_path, name):
    color_clip(tmp_path / "secret.mp4", *H264)
    path = tmp_path / "upload"
    path.write_bytes(PLAYLISTS[name])
    with pytest.raises(InvalidRequestError, match=r"^source_video must "):
        open_input(path, field="source_video")
    assert demuxer_of(path) in ("", "mpegts", "flv")


OTHERS = {
    "a camera's raw photo": b"II*\0\x10\0\0\0CR\2\0" + b"\0" * 40,
    "a picture of a kind that this app does not read": b"8BPS\0\1" + b"\0" * 40,
    "an archive of another kind than zip": b"Rar!\x1a\7\0" + b"\0" * 40,
    "a file with sound only": b"RIFF\x10\0\0\0WAVEfmt " + b"\0" * 40,
    "a clip of a kind that this app does not read": b".RMF\0\0\0\x12" + b"\0" * 40,
    "a bare stream without a container such as MP4": b"\0\0\0\x01\x67\x64\0\x0a" + b"\0" * 40,
    "a file of weights": b'\x40\0\0\0\0\0\0\0{"__metadata__":{}}' + b"\0" * 40,
    "a program": b"MZ\x90\0" + b"\0" * 40,
    "a text": "prompt: ein Vogel über dem Meer\n".encode(),
    "a file of another kind": bytes(range(100, 200)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_refusal_says_what_the_file_is_and_which_kinds_are_read(tmp_path, kind):
    (tmp_path / "upload").write_bytes(OTHERS[kind])
    words = rf"^mask must be .*, got {re.escape(kind)}.*clips MP4, MOV, MKV, WebM, AVI, MPEG, TS, FLV, WMV, OGV or MXF"
    with pytest.raises(InvalidRequestError, match=words):
        probe_input(tmp_path / "upload", field="mask")


@pytest.mark.parametrize(
    "head",
    [b"\xb7\xd8\0\x20\x37\x49\xda\x11", b"\0\0\0\0\1\xbc\0\0", b"\x84\x10" + b"\xff" * 4, b"\x12\0\x0a\x0a", b"BIKi"],
)
def test_clips_that_are_not_read_are_told_as_clips(tmp_path, head):
    (tmp_path / "upload").write_bytes(head + b"\0" * 40)
    with pytest.raises(
        InvalidRequestError, match=r"got a clip of a kind that this app does not read\. Pictures are PNG"
    ):
        probe_input(tmp_path / "upload", field="mask")


FRAGILE = ["a.ts", "a.flv", "a.mpg", "wmv2.wmv", "theora.ogv", "mpeg-2.mxf", "vp9.ivf", "plain.y4m"]


def outcome(path):
    """How many frames are read; 20 where the file is refused in words."""
    try:
        return open_input(path).num_frames
    except InvalidRequestError as err:
        return 20 if str(err).startswith("file must ") else str(err)


@pytest.mark.parametrize("name", FRAGILE)
def test_a_clip_that_is_cut_off_or_spoiled_is_read_as_far_as_it_goes_or_refused_in_words(tmp_path, name):
    color_clip(tmp_path / name, *CONTAINERS[name])
    whole = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.7, 0.97):
        spoiled = bytearray(whole)
        for at in rng.integers(0, len(whole), 20):
            spoiled[at] ^= 0xFF
        for data in (whole[: int(len(whole) * share)], bytes(spoiled)):
            (tmp_path / "part").write_bytes(data)
            assert outcome(tmp_path / "part") in range(1, 10_000)  # a spoiled time may lie hours behind the others
