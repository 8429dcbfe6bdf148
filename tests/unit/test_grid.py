"""Grids: how axes are read, what requests they plan, and where every clip is on the sheet."""

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media import grid_clip as sheets
from media.grid_clip import GAP, MAX_GRID_SIDE, GridSheet, write_grid
from media.read import probe, read_frames, read_recipe
from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import InvalidRequestError
from studio.grid import MAX_CELLS, SEARCH_REPLACE, Axis, parse_axis, plan_grid, read_axis

NO_WORDS = {"columns": ["", ""], "rows": ["", ""]}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed: 1-4", ("1", "2", "3", "4")),
        ("seed: 8, 9-5 (-2)", ("8", "9", "7", "5")),
        ("num_frames: 1-10 [5]", ("1", "3", "6", "8", "10")),
        ("guidance_scale: 1-2 [3]", ("1", "1.5", "2")),
        ("guidance-scale: 1-1.3 (+0.1)", ("1", "1.1", "1.2", "1.3")),
        ("scheduler: ddim, lcm", ("ddim", "lcm")),
        ("motion_scale: 0: 1, 15: 2 | 1.5", ("0: 1, 15: 2", "1.5")),
        ("prompt: a cat, black | a dog", ("a cat, black", "a dog")),
        ("prompt_sr: red | ", ("red", "")),
        ("base_model: 1-2", ("1-2",)),
        ("seed: -1", ("-1",)),
    ],
)
def test_values_are_read_as_people_write_them(text, values):
    assert parse_axis(text).values == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed", "grid must be a field, a colon and values, got seed"),
        ("size: 3", "grid must name a field of the request or prompt_sr, got size"),
        ("formats: MP4", "grid must name a field"),
        ("seed: ", "grid must have values of seed"),
        ("seed: 1,,2", "grid must have values of seed"),
        ("seed: 1-999999999999", "grid must have 1 to 64 values of seed, got 999999999999"),
        ("seed: 1-10 [9999]", "grid must have 1 to 64 values of seed, got 9999"),
        ("seed: 1-5 (-1)", "got a step of -1"),
        ("seed: 1-5 (+0)", "got a step of"),
        ("seed: 3, 3", "grid must name each value of seed once, got 3 twice"),
    ],
)
def test_what_is_no_axis_is_refused_in_words(text, words):
    with pytest.raises(InvalidRequestError) as error:
        parse_axis(text)
    assert words in str(error.value)


def test_cells_are_planned_row_by_row_with_one_seed():
    axes = [
        read_axis("guidance_scale", "3, 7.5"),
        read_axis(SEARCH_REPLACE, "red | blue"),
        read_axis("num_frames", "4, 8"),
    ]
    plan = plan_grid({"prompt": "a red star", "seed": -1, "formats": ["MP4"]}, axes)
    got = [(request.guidance_scale, request.prompt, request.num_frames) for request in plan.requests]
    assert got[:3] == [(3, "a red star", 4), (7.5, "a red star", 4), (3, "a blue star", 4)]
    assert got[4] == (3, "a red star", 8)
    assert len(got) == len(plan.columns) * len(plan.rows) == 8
    assert len({request.seed for request in plan.requests}) == 1
    assert plan.columns == ("Guidance 3", "Guidance 7.5")
    assert plan.rows[1:3] == ("Frames 4 · blue", "Frames 8 · red")


def test_a_grid_of_one_axis_is_a_row_and_has_a_file_that_can_be_read():
    plan = plan_grid({"formats": ["TXT", "WEBP"]}, [read_axis("seed", "1-3")])
    assert plan.rows == ("",)
    assert [request.seed for request in plan.requests] == [1, 2, 3]
    assert plan.requests[0].formats[0] == OutputFormat.MP4


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ([], "got none"),
        (["seed: 1", "seed: 2"], "got seed, seed"),
        (["seed: 1-9", "num_frames: 1-9"], f"at most {MAX_CELLS} clips, got 81"),
        (["prompt_sr: green | blue"], "got green, which is not in it"),
        (["seed: 1-2", "guidance_scale: 7.5, 99"], "guidance_scale must be less than or equal to 30"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_before_anything_is_made(axes, words):
    with pytest.raises(InvalidRequestError) as error:
        plan_grid({"prompt": "a red star"}, [parse_axis(axis) for axis in axes])
    assert words in str(error.value)
    if "99" in str(axes):
        assert "the grid's clip with seed 1, guidance_scale 99." in str(error.value)


def test_replacing_works_on_the_cells_own_prompt():
    axes = [Axis(SEARCH_REPLACE, ("red", "blue")), Axis("prompt", ("a red cat", "a red dog"))]
    plan = plan_grid({"prompt": "green", "seed": 1}, axes)
    assert [request.prompt for request in plan.requests] == ["a red cat", "a blue cat", "a red dog", "a blue dog"]


def written(folder: Path, name: str, values: list[int], *, size=(32, 16), fps=8, kind=OutputFormat.PNG) -> Path:
    """A clip whose frames have one grey each."""
    width, height = size
    with open_clip(folder, stem=name, formats=[kind], fps=Fraction(fps), width=width, height=height, recipe="") as clip:
        clip.write(np.stack([np.full((height, width, 3), value, np.uint8) for value in values]))
    return clip.files[0]


def paths_from(generator) -> tuple[Path, ...]:
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def test_every_cell_is_in_its_place_to_the_pixel_and_short_clips_hold_their_last_frame(tmp_path):
    clips = [written(tmp_path, f"c{n}", [10 * n + 10, 10 * n + 11, 10 * n + 12][: 3 - n % 2]) for n in range(4)]
    out = {"stem": "grid", "formats": [OutputFormat.PNG], "recipe": '{"grid": []}'}
    clip, picture = paths_from(write_grid(clips, tmp_path / "out", **NO_WORDS, **out))
    frames = read_frames(clip)
    assert frames.shape == (3, 2 * (16 + GAP), 2 * (32 + GAP), 3)
    for n, (x, y) in enumerate([(0, 0), (36, 0), (0, 20), (36, 20)]):
        last = frames[2, y : y + 16, x : x + 32]
        assert (last == 10 * n + (11 if n % 2 else 12)).all()
    covered = np.zeros(frames.shape[1:3], bool)
    for x, y in [(0, 0), (36, 0), (0, 20), (36, 20)]:
        covered[y : y + 16, x : x + 32] = True
    assert (frames[:, ~covered] == 255).all()
    assert read_recipe(clip) == '{"grid": []}'
    with Image.open(io.BytesIO(picture.read_bytes())) as still:
        assert still.text["parameters"] == '{"grid": []}'
        assert (np.asarray(still) == frames[1]).all()


def test_clips_of_other_sizes_and_rates_are_fitted(tmp_path):
    clips = [
        written(tmp_path, "slow", [10, 20], fps=4),
        written(tmp_path, "fast", [30, 40, 50, 60], fps=8, size=(16, 16)),
    ]
    grid = {"columns": ["", ""], "rows": [""], "stem": "grid", "formats": [OutputFormat.PNG], "recipe": ""}
    clip, _ = paths_from(write_grid(clips, tmp_path / "out", **grid))
    frames = read_frames(clip)
    assert probe(clip).fps == 8
    assert frames[:, 5, 5, 0].tolist() == [10, 10, 20, 20]
    assert frames[:, 5, 36 + 16, 0].tolist() == [30, 40, 50, 60]
    assert (frames[0, 5, 36:44] == 255).all()


def test_words_stand_above_and_beside_the_cells_and_nowhere_else():
    plain, worded = GridSheet(["", ""], [""], 64, 48), GridSheet(["Guidance 3", "x" * 500], ["Seed 1"], 64, 48)
    assert plain.corner(0) == (0, 0)
    sheet = worded.blank()
    (x, y), (other, _) = worded.corner(0), worded.corner(1)
    assert (sheet[:y, x : x + 64] < 128).any()
    assert (sheet[:y, other : other + 64] < 128).any()
    assert (sheet[y:, :x] < 128).any()
    assert (sheet[y:, x:] == 255).all()
    assert (sheet[:, x + 64 : other] == 255).all()


def test_a_sheet_stays_within_what_videos_may_be():
    sheet = GridSheet(["a"] * 8, ["b"] * 8, 1024, 1024)
    assert MAX_GRID_SIDE * 0.9 < max(sheet.size) <= MAX_GRID_SIDE
    assert sheet.blank().shape == (sheet.size[1], sheet.size[0], 3)


def test_stopping_in_the_middle_leaves_nothing(tmp_path):
    clips = [written(tmp_path, f"c{n}", list(range(20)), kind=OutputFormat.MP4) for n in range(4)]
    out = {"stem": "grid", "formats": [OutputFormat.MP4], "recipe": ""}
    writing = write_grid(clips, tmp_path / "out", **NO_WORDS, **out)
    assert next(writing) == (1, 20)
    writing.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_one_frame_of_each_clip_is_held_however_long_they_are(tmp_path, monkeypatch):
    clips = [written(tmp_path, f"c{n}", [n] * 30) for n in range(4)]
    ahead, furthest = [0] * 4, []

    def counted(path, **kwargs):
        for frame in original(path, **kwargs):
            ahead[clips.index(path)] += 1
            furthest.append(max(ahead) - min(ahead))
            yield frame

    original = sheets.iter_frames
    monkeypatch.setattr(sheets, "iter_frames", counted)
    paths_from(write_grid(clips, tmp_path / "out", **NO_WORDS, stem="grid", formats=[OutputFormat.PNG], recipe=""))
    assert ahead == [30] * 4
    assert max(furthest) == 1
