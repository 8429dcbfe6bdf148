"""Split an infotext into prompts and settings, however it is written.

Source: the texts of AUTOMATIC1111's web UI, Forge, SD.Next, Fooocus, Draw Things, Civitai and sd-webui-animatediff.
"""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from pipelines.plan.errors import UserError
from pipelines.plan.faults import Fault
from pipelines.plan.prompt.letters import plain_text

MAX_CHARACTERS = 1 << 20
"""Longer texts are none."""

_NEGATIVE = re.compile(r"\s*negative(?:\s+prompt)?[:\uff1a]", re.IGNORECASE)
_LABEL = re.compile(
    r"\s*(?:parameters:?\s*\n|(?:positive )?prompt:)\s*", re.IGNORECASE
)  # of what was copied from a page
_DASHED_NEGATIVE = re.compile(r"-\s*(?=[^\s-])")  # Draw Things
_KEY = re.compile(r"\s*(?P<key>\w[\w /\-().]{0,80}+):\s*")
_VALUE = re.compile(
    r"""(?P<value>"(?:[^"\\]|\\.)*+"(?=\s*(?:,|$))|\{[^{}]*+\}(?=\s*(?:,|$))|[^,]*+)\s*(?:,|$)""", re.VERBOSE
)
_STEPS = re.compile(r"(?:^|,)\s*Steps:\s*[\d\"]", re.IGNORECASE)
_KNOWN = re.compile(
    r"(?:^|,)\s*(?:Steps|Sampler|CFG scale|Guidance scale|Seed|Size|Model|Model hash|Version|Clip skip):\s",
    re.IGNORECASE,
)
_FEWEST_KNOWN = 3
_FLAT = re.compile(r"(?:\\{1,2}r)?\\{1,2}n\s*(?:Negative prompt:|Steps:)|&#(?:10|x0?a);", re.IGNORECASE)
_QUOTED_WHOLE = re.compile(r'"(?:[^"\\]|\\.)*+"\s*', re.DOTALL)  # no quotation mark within that a prompt began
# Where line breaks have become spaces.
_RUN_ON = re.compile(
    r"(?<!\s)[^\S\n]++(?=Negative prompt:)|(?<![,\s])[^\S\n]++(?=Steps:\s*\d+\s*,\s*[A-Z])"
    r"|,[^\S\n]++(?=Steps:\s*\d+,\s*Sampler:)"
)
_WIDE_COLON = re.compile(r"((?:^|,)\s*\w[\w /\-().]{0,40})\uff1a")
_QUOTE = re.compile(r'(?<!\\)"')
# AnimateDiff's own values are not quoted: one ends where the next key begins, whatever commas it has.
_NEXT_ARGUMENT = re.compile(r",\s*(?=[a-z]\w{0,40}:(?:\s|$))")
_REPR_ITEM = re.compile(r"""'(\w{1,60})':\s*('(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|\[[^\[\]]*+\]|[^,}]*+)""")
_SHOWN = 60
_ENDS = " \t\r\n\0\x1a\ufeff"  # what stands around a text; older systems end it with \x1a
_MOST_JSON = 100  # an error of JSON's reader counts all lines before it
_CANONICAL = {
    "steps": "Steps",
    "cfg scale": "CFG scale",
    "guidance scale": "CFG scale",
    "cfg": "CFG scale",
    "seed": "Seed",
    "sampler": "Sampler",
    "sampler name": "Sampler",
    "schedule type": "Schedule type",
    "scheduler": "Schedule type",
    "size": "Size",
    "model": "Model",
    "clip skip": "Clip skip",
    "vae": "VAE",
    "denoising strength": "Denoising strength",
    "denoise strength": "Denoising strength",
    "strength": "Denoising strength",
    "hires upscale": "Hires upscale",
    "hires scale": "Hires upscale",
    "hires strength": "Hires strength",
    "hires resize": "Hires resize",
    "hires size": "Hires resize",
    "hires upscaler": "Hires upscaler",
    "animatediff": "AnimateDiff",
}


@dataclass(frozen=True)
class Infotext:
    """An infotext's parts.

    Args:
        prompt, negative_prompt: Their lines.
        settings: The values by name, as text; names are spelt as AUTOMATIC1111's web UI does.
    """

    prompt: str
    negative_prompt: str
    settings: Mapping[str, str]


def parse_infotext(text: str) -> Infotext:
    r"""Split an infotext into its parts.

    Raises:
        UserError: It is none.

    Example:
        >>> parse_infotext("a cat\nNegative prompt: a dog\nSteps: 20, Sampler: DDIM, Model: \"a, b\"").settings
        {'Steps': '20', 'Sampler': 'DDIM', 'Model': 'a, b'}
    """
    if len(text) > MAX_CHARACTERS:
        rule, got = "have at most {limit:,} characters", f"{len(text):,}"
        raise UserError(Fault("infotext.too_long", "infotext", rule, got, "Choose another file", limit=MAX_CHARACTERS))
    lines = _unlabelled(plain_text(_with_line_breaks(text.strip(_ENDS))).strip()).split("\n")
    last = _line_of_settings(lines)
    if not last or not _STEPS.search(lines[last]):
        run_on = _RUN_ON.sub("\n", "\n".join(lines)).split("\n")
        lines, last = (run_on, len(run_on) - 1) if _STEPS.match(run_on[-1]) else (lines, last)
    if last is None:
        rule = "carry a recipe or an infotext with 'Steps: …'"
        raise UserError(Fault("recipe.none_in_text", "file", rule, _shown(text), "Choose another file"))
    first = next((index for index in range(last) if _NEGATIVE.match(lines[index])), None)
    if first is None:
        first = next((index for index in range(1, last) if _is_dashed(lines, index, last)), last)
        negative = _DASHED_NEGATIVE.sub("", "\n".join(lines[first:last]), count=1)
    else:
        negative = _NEGATIVE.sub("", "\n".join(lines[first:last]), count=1)
    return Infotext("\n".join(lines[:first]).strip(), negative.strip(), _settings(_whole_settings(lines[last:])))


def arguments_of(text: str) -> dict[str, object]:
    """Parse sd-webui-animatediff's settings: `key: value` pairs or a dict."""
    if text.startswith("{"):
        return read_dict(text)
    pairs = (part.partition(":") for part in _NEXT_ARGUMENT.split(text))
    return {key.strip(): read_value(value.strip()) for key, colon, value in pairs if colon}


def read_dict(text: str) -> dict[str, object]:
    """Parse a dict from JSON or Python, skipping unreadable parts."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {key: read_value(value.strip()) for key, value in _REPR_ITEM.findall(text)}
    return document if isinstance(document, dict) else {}


def read_value(text: str) -> object:
    """Parse a Python or JSON value; anything else stays text."""
    constants = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in constants:
        return constants[text.lower()]
    if re.fullmatch(r"[+-]?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"[+-]?\d{0,18}\.\d{1,40}(?:e[+-]?\d{1,3})?", text):
        return float(text)
    if text[:1] == "[" and text[-1:] == "]":
        parts = [part.strip() for part in text[1:-1].split(",")]
        return [read_value(part) for part in parts if part]
    if text[:1] in ("'", '"') and text[-1:] == text[:1] and len(text) > 1:
        return re.sub(r"\\(.)", lambda sign: {"n": "\n", "t": "\t"}.get(sign[1], sign[1]), text[1:-1])
    return text


def unquoted(text: str) -> str:
    """Undo the host's JSON quoting of a value."""
    if text[:1] != '"' or text[-1:] != '"' or text == '"':
        return text
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        return text[1:-1]


def _with_line_breaks(text: str) -> str:
    """Restore line breaks that are written as escapes or entities."""
    if _QUOTED_WHOLE.fullmatch(text) and len(text) <= MAX_CHARACTERS:
        text = unquoted(text.rstrip())
    if "\n" in text.strip() or not _FLAT.search(text):
        return text
    if "&#" in text:
        return html.unescape(text)
    quotes = '\\"' in text and not re.search(r'(?<!\\)"', text)
    text = re.sub(r"(?:\\{1,2}r)?\\{1,2}n", "\n", text)
    return text.replace('\\"', '"') if quotes else text


def _line_of_settings(lines: list[str]) -> int | None:
    """Find the line with `Steps: …`, or else with several known settings."""
    for index in range(len(lines) - 1, -1, -1):
        if "Steps\uff1a" in lines[index]:
            lines[index] = _WIDE_COLON.sub(r"\1: ", lines[index])
        if _STEPS.search(lines[index]):
            return index
    last = len(lines) - 1
    return last if len(_KNOWN.findall(lines[last])) >= _FEWEST_KNOWN else None


def _unlabelled(text: str) -> str:
    label = _LABEL.match(text)
    return text[label.end() :] if label else text


def _whole_settings(lines: list[str]) -> str:
    """Join the line of settings with its continuation lines."""
    quotes = accumulate(len(_QUOTE.findall(line)) for line in lines)
    end = next((number for number, count in enumerate(quotes, 1) if count % 2 == 0), 1)
    whole = "\n".join(lines[:end])
    for line in lines[end:]:
        if not _KNOWN.match(line):
            break
        whole = f"{whole}, {line}"
    return whole


def _is_dashed(lines: list[str], index: int, last: int) -> bool:
    """Whether a line is Draw Things' dashed negative prompt above the settings."""
    return index == last - 1 and bool(_DASHED_NEGATIVE.match(lines[index])) and "Guidance Scale:" in lines[last]


def _settings(line: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    at = tried = 0
    while at < len(line):
        key = _KEY.match(line, at)
        if key is None:
            at = line.find(",", at) + 1 or len(line)  # what is no setting is passed over, to the next comma
            continue
        value, at = _value(line, key.end(), may_be_json=(tried := tried + 1) < _MOST_JSON)
        name = key["key"].strip()
        settings.setdefault(_CANONICAL.get(name.lower(), name), value)
    return settings


def _value(line: str, at: int, *, may_be_json: bool) -> tuple[str, int]:
    """Read a setting's value, perhaps JSON with commas, and its end."""
    if may_be_json and line[at : at + 1] in ("[", "{"):
        try:
            _, end = json.JSONDecoder().raw_decode(line, at)
        except (ValueError, RecursionError):
            end = _end_of_cut(line, at)
        if end and line[end:].lstrip()[:1] in ("", ","):
            return line[at:end], (line.find(",", end) + 1) or len(line)
    match = _VALUE.match(line, at)
    assert match
    return unquoted(match["value"].strip()), max(match.end(), at + 1)


def _end_of_cut(line: str, at: int) -> int:
    """Find the end of a truncated list of objects; 0 for others."""
    if not re.match(r'\[\s*\{\s*"|\{\s*"', line[at : at + 40]):
        return 0
    following = re.compile(r",\s*(?=[A-Z][\w ]{1,40}:\s)").search(line, at)
    return following.start() if following else len(line)


def _shown(text: str) -> str:
    flat = " ".join(text.split())
    return f"'{flat[:_SHOWN]}{'…' if len(flat) > _SHOWN else ''}'"
