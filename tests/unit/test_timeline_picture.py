"""The picture of a travelling prompt: drawn only for keys, true to the travel, safe with any text."""

import re
from xml.etree import ElementTree

import pytest

from ui.charts.timeline_chart import COLOURS, foreign_html, timeline_html


def timeline(prompt: str, *, num_frames: int = 16, **options) -> ElementTree.Element:
    picture = timeline_html(prompt, num_frames=num_frames, field="prompt", label="Prompt", **options)
    return ElementTree.fromstring(picture.replace("\N{NO-BREAK SPACE}", "_"))


def stops(picture: ElementTree.Element) -> list[tuple[float, int]]:
    """Frame and number of the text at every stop of the colours."""
    gradient = picture.find(".//linearGradient")
    start, end = float(gradient.get("x1")), float(gradient.get("x2"))
    return [
        (round(start + float(stop.get("offset")) * (end - start), 1), COLOURS.index(stop.get("stop-color")))
        for stop in gradient
    ]


@pytest.mark.parametrize("prompt", ["", "photo: a cat", "a cat\na dog", "16:9"])
def test_an_ordinary_prompt_has_no_picture(prompt: str):
    assert timeline_html(prompt, num_frames=16, field="prompt", label="Prompt") == ""


def test_colours_stay_at_keys_and_holds_and_change_between():
    picture = timeline("0: a\n4:: b\n8-9: a")
    assert stops(picture) == [(0, 0), (1, 0), (4, 1), (8, 1), (8, 0), (10, 0)]
    assert [item.find("b").text for item in picture.iter("li")] == ["0", "4, held", "8–9"]


def test_a_loop_has_the_neighbours_beyond_its_ends():
    assert stops(timeline("0: a\n8: b", closed=True)) == [
        (-8, 1),
        (-7, 1),
        (0, 0),
        (1, 0),
        (8, 1),
        (9, 1),
        (16, 0),
        (17, 0),
    ]


def test_a_share_held_is_drawn():
    assert (5.0, 0) in stops(timeline("0: a\n8: b", hold=0.5))


def test_the_picture_is_told_to_those_who_cannot_see_it():
    label = timeline("0: spring & rain\n-1: summer").find("svg").get("aria-label")
    assert label == "Prompt over 16 frames: 0 spring & rain; 15 summer."


def test_numbers_that_would_run_into_each_other_are_left_out():
    picture = timeline("\n".join(f"{frame}: a" for frame in range(16)), num_frames=100)
    assert len(picture.findall("div/span")) == 3


def test_wrong_lines_are_marked_and_the_others_drawn():
    picture = timeline("0: a\n77: b\n8:")
    items = picture.findall("ul/li")
    assert [item.find("code/mark").text for item in items] == ["77", "_"]
    assert "(line 2, column 1)" in items[0].find("code").tail
    assert len(picture.findall("ol/li")) == 1


def test_only_wrong_lines_are_no_strip():
    picture = timeline("77: b")
    assert picture.find("svg") is None
    assert picture.find("ul/li") is not None


def test_many_wrong_lines_are_counted():
    items = timeline("\n".join(f"{frame}: a" for frame in range(20, 40))).findall("ul/li")
    assert len(items) == 6
    assert items[-1].text == "and 15 more"


def test_no_text_becomes_markup():
    hostile = '<img src=x onerror="x()">&'
    picture = timeline_html(f"0: {hostile}\n99: {hostile}\n", num_frames=16, field="prompt", label="Prompt")
    assert not re.search(r"<img", picture)
    assert ElementTree.fromstring(picture).find("ol/li/span").text == hostile


def test_syntax_of_other_programs_is_told_in_the_visitor_s_language():
    assert foreign_html("a [calm] cat", label="Prompt") == ""
    element = ElementTree.fromstring(foreign_html("a <b>\nin a [wood:city:0.5]", label="Prompt", language="de"))
    (item,) = element.findall("li")
    assert item.text == "Prompt, Zeile 2: "
    assert item.find("mark").text == "[wood:city:0.5]"
    assert item.find("mark").tail.startswith(", wechselt in anderen Programmen Wörter zwischen Schritten")


def test_lines_are_marked_as_they_are_read():
    assert timeline("\ufeff0： a\u202877： b").find("ul/li/code/mark").text == "77"
