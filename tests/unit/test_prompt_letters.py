"""Prompts, tags and schedules mean the same however they are spelt, and other programs' syntax is told."""

import pytest

from pipelines.plan.prompt.dialect import Dialect, find_foreign, foreign_notes
from pipelines.plan.prompt.letters import plain_prompt
from pipelines.plan.prompt.parsed import parse_prompt
from pipelines.plan.prompt.tags import read_tags
from pipelines.plan.prompt.travel import has_keys, plan_travel
from pipelines.plan.request import GenerationRequest
from pipelines.plan.schedules import parse_schedule

SPELT = {
    "a byte order mark": "\ufeff0: day\n8: night",
    "a mark of width": "\u200b0: day\n\u20608: night",
    "a mark of direction": "\u202a0: day\u202c\n\u200e8: night",
    "a joiner before": "\u200c0: day\n8: night",
    "a soft hyphen": "0\xad: day\n8: night",
    "CR LF": "0: day\r\n8: night\r\n",
    "CR": "0: day\r8: night",
    "U+2028": "0: day\u20288: night",
    "U+2029": "0: day\u20298: night",
    "U+0085": "0: day\x858: night",
    "a vertical tab": "0: day\v8: night",
    "a form feed": "0: day\f8: night",
    "a no-break space": "0:\xa0day\n8:\xa0night",
    "a no-break space before": "\xa00: day\n\xa08: night",
    "an ideographic space": "0:\u3000day\n8:\u3000night",
    "a wide colon": "0： day\n8： night",
    "a wide colon alone": "0：day\n8：night",
    "wide digits": "０: day\n８： night",
    "a space before the colon": "0 : day\n8 : night",
    "a wide space before the colon": "0\u3000：day\n8\xa0: night",
    "a small colon": "0﹕ day\n8∶ night",
    "JSON": '{"0": "day", "8": "night"}',
    "JSON in lines": '{\n  "0": "day",\n  "8": "night",\n}',
    "JSON without braces": '"0": "day",\n"8": "night"',
    "JSON in smart quotes": "{“0”: “day”, “8”: “night”}",
    "quotes of Python": "{'0': 'day', '8': 'night'}",
    "ADE": '0 = "day", 8 = "night"',
    "joiners": "0\u200c: day\n8:\u200d night",
    "a mark of emoji": "0\ufe0f: day\n8\ufe0f: night",
    "controls": "\x070: day\x1b\n8\x7f: night",
    "marks of formulas": "\u20610: day\n\u20638: night",
    "an empty letter": "\u31640: day\n8:\u2800night",
    "a thin space": "0:\u2009day\n8:\u2003night\u205f",
    "wide commas at the end": "0： day，\n8： night、",
}


@pytest.mark.parametrize("text", SPELT.values(), ids=SPELT)
def test_keys_are_read_however_they_are_spelt(text):
    assert plan_travel(text, num_frames=16) == plan_travel("0: day\n8: night", num_frames=16)
    assert has_keys(text)
    assert find_foreign(text) == []


def test_keys_from_the_end_and_by_share_are_no_other_programs():
    assert find_foreign("0: day\n-1: night") == find_foreign("0.0: day\n0.5: night\n-4--1: dawn") == []


@pytest.mark.parametrize("text", ["（red：1.3）", "(red：1.3)", "（red:１．３）", "（red：1.3)"])
def test_weights_are_read_in_wide_letters(text):
    assert plain_prompt(f"a {text} fox （上午8：30）") == "a (red:1.3) fox （上午8：30）"
    assert find_foreign(text) == []


@pytest.mark.parametrize("text", ["８－12： x", "8–12: x", "8\u221212: x"])
def test_ranges_may_have_any_dash(text):
    assert plan_travel(text, num_frames=16) == plan_travel("8-12: x", num_frames=16)


def test_a_held_key_may_be_wide():
    assert plan_travel("0：：a\n8: b", num_frames=16) == plan_travel("0:: a\n8: b", num_frames=16)


def test_the_request_keeps_the_text_as_it_came():
    for text in SPELT.values():
        request = GenerationRequest.build(prompt=text, negative_prompt=text, seed=1)
        assert request.prompt == text
        assert GenerationRequest.from_json(request.to_json()) == request


@pytest.mark.parametrize(
    "text",
    [
        "a fox",
        "a (red:1.3) fox",
        "family 👨\u200d👩\u200d👧",
        "می\u200cخواهم",
        "夜：星空",
        "at 12: a clock",
        "1girl\n\n 2boys ",
    ],
)
def test_other_prompts_stay_as_they_are(text):
    assert plain_prompt(text) == text
    assert find_foreign(text) == []


def test_a_prompt_without_keys_loses_what_nobody_sees():
    assert plan_travel("\ufeffa\u200b fox", num_frames=8).texts == ("a fox",)


@pytest.mark.parametrize(
    "text",
    [
        "<lora:x:0.8>",
        "\ufeff<lora:x:0.8>",
        "<lora:\u200bx:0.8\u200b>",
        "＜lora：x：０.８＞",
        "< lora :x: 0.8 >",
        "<LORA：x:0.8>",
        "<ｌｏｒａ：x：0.8>",
        "<\u200dlora:x\u200c:0.8\ufe0f>",
    ],
)
def test_tags_are_read_however_they_are_spelt(text):
    (tag,) = read_tags(text)
    assert (tag.name, tag.weight) == ("x", 0.8)
    assert parse_prompt(f"a {text} fox", num_frames=16).with_tags_replaced(lambda _: "").texts == ("a  fox",)


@pytest.mark.parametrize(
    "text",
    [
        "0: 0.5, 15: 1",
        "\ufeff0: 0.5, 15: 1",
        "０： ０.５，１５：１",
        "0:\xa00.5,\u200b15: 1",
        "\u200c0: 0.5, 15\ufe0f: 1",
        "0: 0.5\n15: 1",
    ],
)
def test_schedules_are_read_however_they_are_spelt(text):
    assert parse_schedule(text) == ((0, 0.5), (15, 1.0))


FOREIGN = {
    "a [cat:dog:0.5]": (Dialect.SCHEDULE, "[cat:dog:0.5]"),
    "a [cat:0.5]": (Dialect.SCHEDULE, "[cat:0.5]"),
    "a [cat::0.5]": (Dialect.SCHEDULE, "[cat::0.5]"),
    "a [:cat:10]": (Dialect.SCHEDULE, "[:cat:10]"),
    "a [(big:1.2) cat:dog: 0.5 ]": (Dialect.SCHEDULE, "[(big:1.2) cat:dog: 0.5 ]"),
    "a [[red|blue] cat:dog:.5]": (Dialect.SCHEDULE, "[[red|blue] cat:dog:.5]"),
    "a [cat|dog]": (Dialect.ALTERNATION, "[cat|dog]"),
    "(a [cat|dog|(big:1.2) cow])": (Dialect.ALTERNATION, "[cat|dog|(big:1.2) cow]"),
    "a (cat:dog:0.5)": (Dialect.ROUND_SCHEDULE, "(cat:dog:0.5)"),
    "a cat BREAK a dog": (Dialect.BREAK, "BREAK"),
    "a cat\nBREAK\na dog": (Dialect.BREAK, "BREAK"),
    "a cat AND a dog": (Dialect.AND, "AND"),
    "a cat ADDCOL a dog": (Dialect.BREAK, "ADDCOL"),
    "a cat <break> a dog": (Dialect.BREAK, "<break>"),
    "a cat AND_PERP a dog": (Dialect.AND, "AND_PERP"),
    "a [cat:dog:0,5]": (Dialect.SCHEDULE, "[cat:dog:0,5]"),
    "a ［cat：dog：0.5］": (Dialect.SCHEDULE, "［cat：dog：0.5］"),
    "a ［cat｜dog］": (Dialect.ALTERNATION, "［cat｜dog］"),
    "a {red｜blue} cat": (Dialect.CHOICE, "{red｜blue}"),
    "a cat.swap(dog)": (Dialect.BACK_WEIGHT, "cat.swap("),
    "a cat --ar 16:9 --v 6": (Dialect.FLAG, "--ar"),
    "a cat \u2014ar 16:9": (Dialect.FLAG, "\u2014ar"),
    "a cat --v6.1": (Dialect.FLAG, "--v"),
    "a cat, fog--": (Dialect.BACK_WEIGHT, "fog--"),
    "a cat :1.2 AND a dog :0.8": (Dialect.AND, "AND"),
    "a {red|blue} cat": (Dialect.CHOICE, "{red|blue}"),
    "{2$$, $$red|blue|green}": (Dialect.CHOICE, "{2$$, $$red|blue|green}"),
    "{{masterpiece}}, cat": (Dialect.BRACES, "{{masterpiece}}"),
    "a __animal__": (Dialect.WILDCARD, "__animal__"),
    "a __pets/big-cat*__": (Dialect.WILDCARD, "__pets/big-cat*__"),
    "a <hypernet:x:1>": (Dialect.TAG, "<hypernet:x:1>"),
    "a <lyco:x:1:0.5>": (Dialect.TAG, "<lyco:x:1:0.5>"),
    "a <random:cat|dog>": (Dialect.TAG, "<random:cat|dog>"),
    "a <fromto[0.5]:cat,dog>": (Dialect.TAG, "<fromto[0.5]:cat,dog>"),
    "a <lora x:0.8>": (Dialect.LOOSE_TAG, "<lora x:0.8>"),
    "a lora:x:0.8": (Dialect.LOOSE_TAG, "lora:x:0.8"),
    "embedding:easynegative, blurry": (Dialect.EMBEDDING, "embedding:easynegative"),
    "(embedding:easynegative:1.2)": (Dialect.EMBEDDING, "embedding:easynegative"),
    "1.5::cat::, dog": (Dialect.COLON_WEIGHT, "1.5::cat::"),
    "(a cat)1.3": (Dialect.BACK_WEIGHT, "(a cat)1.3"),
    "(a cat)++ in snow": (Dialect.BACK_WEIGHT, "(a cat)++"),
    'fluffy++ ("a", "b").and()': (Dialect.BACK_WEIGHT, "fluffy++"),
    "frame 0: day\nframe 8: night": (Dialect.LIKE_A_KEY, "frame 0: day"),
    "'0': day\n'8': night": (Dialect.LIKE_A_KEY, "'0': day"),
    '"0": day': (Dialect.LIKE_A_KEY, '"0": day'),
    "0:day\n8:night": (Dialect.LIKE_A_KEY, "0:day"),
    "0- day\n8- night": (Dialect.LIKE_A_KEY, "0- day"),
    "0 = day\n8 = night": (Dialect.LIKE_A_KEY, "0 = day"),
    "0 day\n8 night": (Dialect.LIKE_A_KEY, "0 day"),
    "0) day\n8) night": (Dialect.LIKE_A_KEY, "0) day"),
    "[0] day\n[8] night": (Dialect.LIKE_A_KEY, "[0] day"),
    "0: day\n8 night": (Dialect.LIKE_A_KEY, "8 night"),
    "0: day\n8- night": (Dialect.LIKE_A_KEY, "8- night"),
    '{"0": "day", "max_f/2": "night"}': (Dialect.LIKE_A_KEY, '{"0": "day", "max_f/2": "night"}'),
    "\u201c0\u201d: day": (Dialect.LIKE_A_KEY, "\u201c0\u201d: day"),
    "- 0: day\n- 8: night": (Dialect.LIKE_A_KEY, "- 0: day"),
    "#0: day\n#8: night": (Dialect.LIKE_A_KEY, "#0: day"),
    "0; day\n8; night": (Dialect.LIKE_A_KEY, "0; day"),
    "0s: day\n2s: night": (Dialect.LIKE_A_KEY, "0s: day"),
    "0: day, 8: night": (Dialect.LIKE_A_KEY, "8: night"),
    "step 0: day": (Dialect.LIKE_A_KEY, "step 0: day"),
    "a (cat:0.5:0.8)": (Dialect.ROUND_SCHEDULE, "(cat:0.5:0.8)"),
    r"0: day\n8: night": (Dialect.WRITTEN_BREAK, r"\n"),
}


@pytest.mark.parametrize("text", FOREIGN)
def test_what_other_programs_understand_is_told(text):
    assert FOREIGN[text] in [(foreign.dialect, foreign.text) for foreign in find_foreign(text)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a [calm] sea, [[faint]] clouds",
        r"a \[cat:dog:0.5\], \{red|blue\}",
        "salt and pepper, R&B, a brand new day, breakfast, BREAKFAST, AND-gate",
        "8-bit art, 16:9, 4:3 (1990s:1.2), (style: oil:1.2), (12:30:1.1)",
        "snake_case, __init, __, a < b > c, <3",
        "(a cat)-shaped cloud, (blue)haired, C++, 1+1",
        "2 foxes in the snow\n0: day\n8: night\n4k, masterpiece\n35 mm film\n2 trees",
        "3 girls\n1 boy",
        "8 bit style",
        "photo of a cat (Felis catus), f/1.8, iso 100",
        "a lake | dusk",
        "a car -- v8, 1920\u20132020, a cat \u2014no hat, a well--aspected hall, --nothing",
        "<lora:x:0.8> <lora:y>",
        "time: 0.5, ratio 1:2:3",
        "frame of wood, frames per second: 8",
        "{}",
    ],
)
def test_ordinary_prompts_raise_no_alarm(text):
    assert find_foreign(text) == []


def test_a_note_names_field_piece_and_place_and_says_what_to_do():
    (first, second) = foreign_notes("a fox\nin a [wood:city:0.5]", "BREAK")
    assert first.startswith("prompt has '[wood:city:0.5]' (line 2, column 6), which changes words between steps")
    assert "write keys such as '0: cat'" in first
    assert second.startswith("negative_prompt has 'BREAK' (line 1, column 1), which begins a new part")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        "[:0" * 6_000,
        "(a:b:1" * 4_000 + ")" * 4_000,
        "{|" * 10_000,
        "_" * 20_000,
        "<a" * 9_000,
        "0 " * 9_000,
        "1::a" * 5_000,
        "(" * 9_000 + "a)+",
    ],
)
def test_long_prompts_are_looked_through_in_one_go(text):
    assert len(find_foreign(text)) < 6
