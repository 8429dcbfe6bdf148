"""The sound of a source clip under the clip made from it."""

from fractions import Fraction

import numpy as np
import pytest

from media.audio import add_audio
from media.ffmpeg import run_ffmpeg
from media.inputs import probe_input
from media.read import probe, read_recipe
from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from tests.unit.clips import FILM, H264, greys, png, video

RATE = 8_000
TONES = ("-f", "lavfi", "-i", f"aevalsrc=if(lt(t\\,1)\\,sin(2*PI*300*t)\\,sin(2*PI*900*t))/2:d=3:s={RATE}")


def made(folder, num_frames=24, fps=FILM):
    with open_clip(folder, stem="clip", formats=[OutputFormat.MP4], fps=fps, width=48, height=32, recipe="{é}") as clip:
        clip.write(greys([90] * num_frames))
    return clip.files[0]


def sound(path) -> np.ndarray:
    heard = run_ffmpeg("-i", str(path), "-map", "0:a", "-ac", "1", "-ar", str(RATE), "-f", "s16le", "pipe:1")
    return np.frombuffer(heard.stdout, np.int16).astype(np.float64)


def pitch(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE / len(samples))


@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "aac"), ("clip.mkv", "libmp3lame"), ("clip.webm", "libopus")])
def test_the_sound_of_the_beginning_is_kept(tmp_path, name, codec):
    pictures = H264 if name != "clip.webm" else ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")
    source = video(tmp_path / name, greys([90] * 72), *pictures, "-ar", "24000", "-c:a", codec, more=TONES)
    target = tmp_path / "with sound.mp4"
    assert add_audio(made(tmp_path / "made"), source, target, start=0, num_frames=24, fps=FILM)
    assert (read_recipe(target), probe(target).num_frames, probe(target).fps) == ("{é}", 24, FILM)
    assert probe_input(target).has_audio
    heard = sound(target)
    assert abs(len(heard) / RATE - 1.001) < 0.06
    assert abs(pitch(heard[800:7_200]) - 300) < 10


def test_sound_begins_with_the_frame_the_cut_begins_with(tmp_path):
    source = video(tmp_path / "clip.mp4", greys([90] * 72), *H264, "-c:a", "aac", "-ar", "24000", more=TONES)
    target = tmp_path / "with sound.mp4"
    # Frame 12 is shown at 0.5005 s, so the higher tone begins 0.4995 s into the clip.
    assert add_audio(made(tmp_path / "made"), source, target, start=12, num_frames=24, fps=FILM)
    heard = sound(target)
    high = [pitch(heard[at : at + 400]) > 600 for at in range(0, 7_600, 200)]
    assert not any(high[:18])
    assert all(high[21:])


def test_a_silent_source_gives_no_file(tmp_path):
    source = video(tmp_path / "clip.mp4", greys([90] * 4))
    picture = tmp_path / "picture.png"
    picture.write_bytes(png(3))
    clip = made(tmp_path / "made", 4, Fraction(8))
    for silent in (source, picture):
        assert not add_audio(clip, silent, tmp_path / "target.mp4", start=0, num_frames=4, fps=Fraction(8))
    assert not (tmp_path / "target.mp4").exists()
