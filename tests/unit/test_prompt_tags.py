"""LoRA tags: what is one, what stands in its place, what is refused."""

import pytest

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.prompt.parsed import parse_prompt
from pipelines.plan.prompt.tags import Tag, read_tags


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", []),
        ("a < b, a lora:x and <b>", []),
        ("<lora:x>", [("x", 1.0)]),
        ("<LoRA: my file (2) : -.5 >", [("my file (2)", -0.5)]),
        ("a <lora:x:+1.5> b <lora:y:0><lora:x:2.>", [("x", 1.5), ("y", 0.0), ("x", 2.0)]),
        ("(a <lora:owner/name:0.8>:1.2)", [("owner/name", 0.8)]),
        (
            "<lora:style: final:0.8><lora:スタイル：日本><lora:スタイル：0.5>",
            [("style: final", 0.8), ("スタイル：日本", 1), ("スタイル", 0.5)],
        ),
    ],
)
def test_tags_are_read_in_order(text, tags):
    assert read_tags(text) == [Tag(*tag) for tag in tags]


@pytest.mark.parametrize(
    "text",
    ["<lora:>", "<lora::0.5>", "<lora:x:>", "<lora:x:a>", "<lora:x:1:2>", "<lora:x:nan>", "a <lora:x", "<lora:x:1e9>"],
)
def test_what_looks_like_a_tag_and_is_none_is_refused(text):
    with pytest.raises(InvalidRequestError, match=r"^prompt must have LoRA tags like <lora:name:0\.8>, got '<lora:"):
        read_tags(text)


@pytest.mark.parametrize("weight", ["2.01", "-3", "99999999999999999999999999"])
def test_a_weight_out_of_range_is_refused_by_the_field_s_name(weight):
    with pytest.raises(
        InvalidRequestError, match=r"^negative_prompt must have LoRA weights from -2 to 2, got "
    ) as error:
        read_tags(f"<lora:x:{weight}>", field="negative_prompt")
    assert len(str(error.value)) < 200


def test_tags_are_replaced_and_nothing_else():
    text = "a <lora:x:0.5> fox, <lora:y> <b> (runs:1.2)"
    edited = parse_prompt(text, num_frames=16).with_tags_replaced(lambda tag: f"[{tag.name} {tag.weight}]")
    assert edited.texts == ("a [x 0.5] fox, [y 1.0] <b> (runs:1.2)",)


def test_a_tag_in_one_of_several_lines_has_a_place():
    assert [tag.place for tag in read_tags("a\nb <lora:x>\n<lora:y>")] == [" (line 2, column 3)", " (line 3, column 1)"]
    with pytest.raises(InvalidRequestError, match=r"got '<lora:x:>' \(line 2, column 2\)\. Correct the tag"):
        read_tags("a\n <lora:x:>")
