"""LoRA tags in prompts: `<lora:name:0.8>`."""

import re
import unicodedata
from typing import NamedTuple

from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.prompt.letters import plain_digits, plain_text

MAX_LORA_WEIGHT = 2.0

_TAG = re.compile(
    r"[<\uff1c]\s*[l\uff4c][o\uff4f][r\uff52][a\uff41]\s*[:\uff1a]([^<>\uff1c\uff1e]*)([>\uff1e]?)", re.IGNORECASE
)
_UNNAMEABLE = re.compile("[<>:\uff1c\uff1e\uff1a]")
_NO_LETTERS = {"Cc", "Cs", "Co", "Cn"}  # controls, halves of letters, and what has no meaning
_WEIGHTED = re.compile("(?P<name>.*)[:\uff1a](?P<number>[^:\uff1a]*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


class Tag(NamedTuple):
    """One tag of a prompt.

    Args:
        name: What to add: an id of the catalog or the stem of a file's name.
        weight: How much of it, -2 to 2; 0 is none of it.
        place: Where it stands in a text of several lines, for error texts: " (line 2, column 7)".
    """

    name: str
    weight: float
    place: str = ""


def split_tags(text: str, *, field: str = "prompt") -> list[str | Tag]:
    """Split a prompt into its tags and the text between.

    Args:
        text: The prompt.
        field: Its name, for the error text.

    Raises:
        InvalidRequestError: A tag is not `<lora:name>` or `<lora:name:weight>`, or its weight is out of range.

    Example:
        >>> split_tags("a fox <lora:mine:0.8> running")
        ['a fox ', Tag(name='mine', weight=0.8, place=''), ' running']
    """
    text = plain_text(text)
    pieces: list[str | Tag] = []
    end = 0
    for match in _TAG.finditer(text):
        pieces += [text[end : match.start()], _parse(match, field)]
        end = match.end()
    return [*pieces, text[end:]]


def read_tags(text: str, *, field: str = "prompt") -> list[Tag]:
    """Read the tags of a prompt, in order, repeated ones too.

    Example:
        >>> read_tags("a fox <lora:v2_lora_ZoomIn:0.8>, <lora:mine> running")
        [Tag(name='v2_lora_ZoomIn', weight=0.8, place=''), Tag(name='mine', weight=1.0, place='')]
    """
    return [piece for piece in split_tags(text, field=field) if isinstance(piece, Tag)]


def tag_name(name: str) -> str:
    """Spell a file's name as tags can have it; may be empty.

    Example:
        >>> tag_name("tune ver. 2: [final] "), tag_name("Cafe\u0301")
        ('tune ver. 2_ [final]', 'Café')
    """
    letters = unicodedata.normalize("NFC", plain_text(" ".join(name.split())))
    cleaned = "".join("_" if unicodedata.category(letter) in _NO_LETTERS else letter for letter in letters)
    return " ".join(_UNNAMEABLE.sub("_", cleaned).split())


def _parse(match: re.Match[str], field: str) -> Tag:
    weighted, place = _WEIGHTED.fullmatch(match[1]), _place(match)
    number = plain_digits(weighted["number"]).strip() if weighted else "1"
    if not _NUMBER.fullmatch(number) and ":" not in match[1]:
        weighted, number = None, "1"  # a wide colon within a name
    name = (weighted["name"] if weighted else match[1]).strip()
    before = plain_digits(name).rpartition(":")
    two_numbers = before[1] and _NUMBER.fullmatch(before[2].strip())
    if not match[2] or not name or two_numbers or not _NUMBER.fullmatch(number):
        rule, fix = "have LoRA tags like <lora:name:0.8>", "Correct the tag or remove it"
        raise InvalidRequestError(Fault("lora.no_tag", field, rule, f"'{match[0][:60]}'{place}", fix))
    weight = float(number)
    if abs(weight) > MAX_LORA_WEIGHT:
        rule, got = "have LoRA weights from -{limit:g} to {limit:g}", f"{number[:20]} for '{name[:60]}'{place}"
        raise InvalidRequestError(
            Fault("lora.weight_out_of_range", field, rule, got, "Use about 0.5 to 1", limit=MAX_LORA_WEIGHT)
        )
    return Tag(name, weight, place)


def _place(match: re.Match[str]) -> str:
    if "\n" not in match.string:
        return ""
    above = match.string[: match.start()].split("\n")
    return f" (line {len(above)}, column {len(above[-1]) + 1})"
