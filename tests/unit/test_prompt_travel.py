"""Prompt travel: what is a key, what it means, which text a frame shows, and what is refused where."""

import re

import pytest

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.prompt.travel import MAX_KEYS, Mix, PromptTravel, Stay, plan_travel, read_script


def travel(*lines: str, num_frames: int = 16, **options) -> PromptTravel:
    return plan_travel("\n".join(lines), num_frames=num_frames, **options)


def shares(plan: PromptTravel, num_frames: int = 16) -> list[float]:
    """How much of the second of two texts every frame shows."""
    mixes = [plan.mix_at(frame) for frame in range(num_frames)]
    return [(mix.before == 1) * (1 - mix.share) + (mix.after == 1) * mix.share for mix in mixes]


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a red circle",
        "photo: a cat",
        "a (red:1.3) circle",
        "1:1 photo of a cat",
        "16:9",
        "at 12: a clock",
        "0:a cat without a space\n8:a dog",
        "a cat,\n\n  a dog ",
        "<lora:x:0.5>",
        "٣: a cat",
    ],
)
def test_a_prompt_without_keys_stays_as_it_is(prompt: str):
    assert travel(prompt) == PromptTravel.constant(prompt)
    assert travel(prompt).texts == (prompt,)


@pytest.mark.parametrize(
    ("lines", "texts"),
    [
        (("0: a", "8: b"), ("a", "b")),
        (("head", "0: a", "8: b", "tail"), ("head, a, tail", "head, b, tail")),
        (("one", "two", "0: a", "8: b", "three", "four"), ("one, two, a, three, four", "one, two, b, three, four")),
        (("head,", "", "0: a,", "", "8: b , c", ",", "tail"), ("head, a, tail", "head, b , c, tail")),
        (("0: a: b", "8: 9: c"), ("a: b", "9: c")),
        (("0: (a:1.2)", "8: a\\, b"), ("(a:1.2)", "a\\, b")),
        (("  0: a\r", "\t8: b\r"), ("a", "b")),
        (("4: same", "8: same"), ("same",)),
    ],
)
def test_every_key_has_the_shared_lines_around_its_text(lines, texts):
    assert travel(*lines).texts == texts


@pytest.mark.parametrize(
    ("frame", "first", "last"),
    [
        ("3", 3, 3),
        ("15", 15, 15),
        ("-1", 15, 15),
        ("-16", 0, 0),
        ("0.0", 0, 0),
        ("0.5", 8, 8),
        (".25", 4, 4),
        ("1.0", 15, 15),
        ("2-5", 2, 5),
        ("2--1", 2, 15),
        ("-4--2", 12, 14),
        ("0.5-1.0", 8, 15),
        ("7-7", 7, 7),
    ],
)
def test_a_frame_may_be_written_in_several_ways(frame: str, first: int, last: int):
    assert travel(f"{frame}: a").stays == (Stay(first, last, 0),)


def test_keys_may_stand_in_any_order():
    assert travel("-1: b", "0: a", num_frames=5) == PromptTravel(("a", "b"), (Stay(0, 0, 0), Stay(4, 4, 1)))


def test_one_text_turns_into_the_next_and_stays_outside_the_keys():
    plan = travel("4: a", "8: b", num_frames=12)
    assert shares(plan, 12) == [0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1]


def test_two_colons_hold_a_key_until_the_next():
    assert shares(travel("0:: a", "8: b", num_frames=10), 10) == [0] * 8 + [1] * 2


def test_a_range_stays_and_then_turns():
    assert shares(travel("0-3: a", "7: b", num_frames=8), 8) == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(
    ("hold", "expected"),
    [(0, [0, 0.25, 0.5, 0.75, 1]), (0.5, [0, 0, 0, 0.5, 1]), (0.75, [0, 0, 0, 0, 1]), (1, [0, 0, 0, 0, 1])],
)
def test_a_share_of_the_way_may_be_held(hold: float, expected: list):
    assert shares(travel("0: a", "4: b", num_frames=5, hold=hold), 5) == expected


def test_in_a_loop_the_last_key_turns_into_the_first():
    plan = travel("0: a", "4: b", num_frames=8, closed=True)
    assert shares(plan, 8) == [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25]
    late = travel("2: a", "4: b", num_frames=8, closed=True)
    assert shares(late, 8) == pytest.approx([1 / 3, 1 / 6, 0, 0.5, 1, 5 / 6, 2 / 3, 0.5])


def test_in_a_loop_a_hold_reaches_round_the_end():
    plan = travel("2: a", "4:: b", num_frames=8, closed=True)
    assert shares(plan, 8) == [1, 1, 0, 0.5, 1, 1, 1, 1]


def test_one_key_in_a_loop_is_one_text():
    plan = travel("3: a", closed=True)
    assert plan.is_constant
    assert {plan.mix_at(frame) for frame in range(16)} == {Mix(0, 0, 0.0)}


def test_keys_side_by_side_need_no_way():
    assert shares(travel("0: a", "1: b", num_frames=3, hold=0.9), 3) == [0, 1, 1]


@pytest.mark.parametrize(
    ("prompt", "line", "column", "words"),
    [
        ("0: a\n16: b", 2, 1, "keys at frames of the clip, 0 to 15 or -16 to -1, got '16'"),
        ("0: a\n  -17: b", 2, 3, "got '-17'"),
        ("0: a\n8-20: b", 2, 3, "got '20'"),
        ("2024: a space odyssey", 1, 1, "begin the line with a word if it is no key"),
        ("99999999999999999999: a", 1, 1, "got '99999999999999999999'"),
        ("0: a\n1.5: b", 2, 1, "fractions of the clip from 0.0 to 1.0, got '1.5'"),
        ("-0.5: b", 1, 1, "got '-0.5'"),
        ("0: a\n0: b", 2, 1, "one key for a frame, got frame 0 again, which line 1 has too"),
        ("8: a\n4-9: b", 2, 1, "got frame 8 again, which line 1 has too"),
        ("15: a\n\n-1: b", 3, 1, "got frame 15 again, which line 1"),
        ("0: a\n8:", 2, 3, "text after the colon of every key, got none"),
        ("0: a\n8:: ,", 2, 4, "text after the colon of every key, got none"),
        ("9-8: a", 1, 1, "ranges that go forward, got '9-8', which is 9 to 8"),
        ("0: a\n8:b", 2, 1, "a space after the colon, got '8:b'"),
        ("0: a\n8:12: b", 2, 1, "'8-12: text'"),
        ("0: a\n 1.2.3: b", 2, 2, "got '1.2.3:'"),
        ("3:4 photo\n0: a", 1, 1, "got '3:4'"),
        ("0: a\nby the sea\n8: b", 3, 1, "keys together, and below them only what all keys share, got a key below"),
        ("20: a\nby the sea\n8: b", 1, 1, "got '20'"),
        ("\n".join(f"{n}: a" for n in range(MAX_KEYS + 1)), MAX_KEYS + 1, 1, "at most 200 keys, got 201"),
    ],
)
def test_a_wrong_line_is_told_with_its_place(prompt: str, line: int, column: int, words: str):
    num_frames = 1000 if "200" in words else 16
    with pytest.raises(InvalidRequestError) as error:
        plan_travel(prompt, num_frames=num_frames, field="negative_prompt")
    text = str(error.value)
    assert text.startswith("negative_prompt must have ")
    assert words in text
    assert f"(line {line}, column {column})" in text
    assert len(text) < 300


def test_all_wrong_lines_are_told_from_the_top_down():
    script = read_script("0: a\n77: b\n8:c\n4:\n12: d", num_frames=16)
    assert [fault.line for fault in script.faults] == [2, 3, 4]
    assert [key.first for key in script.keys] == [0, 12]


@pytest.mark.parametrize("text", ["1" * 20_000, "1.1" * 6_000, " " * 20_000, "0: a\n" + "1-" * 9_000, "-" * 20_000])
def test_no_prompt_takes_long_to_read(text: str):
    assert read_script(text, num_frames=16)


def test_edited_texts_keep_their_times_and_leave_no_stray_commas():
    lines = ("<1>", "0: a <1>", "8: a <2>", "12: <3>", "end <4>")
    plan = travel(*lines).edited(lambda text: re.sub("<.>", "", text))
    assert plan.texts == ("a, end", "a, end", "end")
    assert plan.stays == travel(*lines).stays
    assert plan_travel("a <1>,", num_frames=16).edited(str.upper).texts == ("A <1>,",)


def test_a_number_goes_along_with_the_texts():
    plan = travel("0: a", "4: b", "8-9: a", num_frames=12, closed=True)
    values = [plan.value_at(frame, (0.0, 2.0)) for frame in range(12)]
    assert values == [0, 0.5, 1, 1.5, 2, 1.5, 1, 0.5, 0, 0, 0, 0]
