"""Prompts to text states: `(word:1.3)` weights, prompts of any length, CLIP skip.

We encode prompts ourselves: diffusers' AnimateDiff pipelines know no weights, cut at 77 tokens, and fail
with `clip_skip` on current transformers.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from pipelines.errors import InvalidRequestError

EMPHASIS = 1.1
MAX_CHUNKS = 16  # of 75 tokens: 1,200 tokens; cross-attention cost grows with them
MAX_WEIGHT = 10.0

_PIECES = re.compile(r"\\[()\[\]\\]|:\s*([+-]?\d*\.?\d+)\s*\)|[()\[\]]|[^\\()\[\]:]+|.", re.DOTALL)


class Fragment(NamedTuple):
    """A stretch of prompt with one weight."""

    text: str
    weight: float


def parse_weights(prompt: str) -> list[Fragment]:
    r"""Split a prompt into weighted fragments.

    `(text)` multiplies by 1.1, `[text]` divides by it, `(text:1.3)` sets the factor; they nest. `\(` and its
    like are plain letters, and a bracket without its partner is one too.

    Raises:
        InvalidRequestError: A weight is not between -10 and 10.

    Example:
        >>> parse_weights("a (red:1.3) circle")
        [Fragment(text='a ', weight=1.0), Fragment(text='red', weight=1.3), Fragment(text=' circle', weight=1.0)]
    """
    pieces: list[tuple[str, float]] = []  # weights grow as brackets close
    open_round: list[int] = []
    open_square: list[int] = []

    def multiply(start: int, factor: float) -> None:
        pieces[start:] = [(text, weight * factor) for text, weight in pieces[start:]]

    for match in _PIECES.finditer(prompt):
        token, factor = match[0], match[1]
        if token.startswith("\\") and len(token) > 1:
            pieces.append((token[1:], 1.0))
        elif token == "(":
            open_round.append(len(pieces))
        elif token == "[":
            open_square.append(len(pieces))
        elif factor is not None and open_round:
            multiply(open_round.pop(), _checked(float(factor)))
        elif token == ")" and open_round:
            multiply(open_round.pop(), EMPHASIS)
        elif token == "]" and open_square:
            multiply(open_square.pop(), 1 / EMPHASIS)
        else:
            pieces.append((token, 1.0))
    return list(_merged(pieces))


def _checked(weight: float) -> float:
    if not -MAX_WEIGHT <= weight <= MAX_WEIGHT:
        raise InvalidRequestError(
            f"prompt must have weights from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}, got {weight:g}. Use about 0.5 to 1.5."
        )
    return weight


def _merged(pieces: Sequence[tuple[str, float]]) -> Iterator[Fragment]:
    text, weight = "", 1.0
    for piece, its_weight in pieces:
        if its_weight != weight and text:
            yield Fragment(text, weight)
            text = ""
        text, weight = text + piece, its_weight
    if text:
        yield Fragment(text, weight)


@dataclass(frozen=True)
class TextStates:
    """Text conditioning of a clip: the same states for every frame.

    Args:
        negative, positive: Hidden states [1, T, D], T a multiple of the encoder's length.
    """

    negative: torch.Tensor
    positive: torch.Tensor

    def for_frames(self, indices: Sequence[int], *, guided: bool) -> torch.Tensor:
        """States of a window: [2·F, T, D] with the negative half first when guided, else [F, T, D]."""
        both = torch.cat([self.negative, self.positive]) if guided else self.positive
        return both.repeat_interleave(len(indices), dim=0)


@torch.no_grad()
def encode_prompts(
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    *,
    prompt: str,
    negative_prompt: str,
    clip_skip: int = 0,
    tokens: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> TextStates:
    """Encode both prompts to the same length, so that they fit in one batch.

    Args:
        clip_skip: Layers left out at the encoder's end.
        tokens: Single characters that stand for tokens of their own, as a textual inversion's do -> their ids.

    Raises:
        InvalidRequestError: The encoder has too few layers for `clip_skip`, or a prompt has too many tokens.
    """
    layers = text_encoder.config.num_hidden_layers
    if clip_skip >= layers:
        raise InvalidRequestError(
            f"clip_skip must be below the text encoder's {layers} layers, got {clip_skip}. Lower 'CLIP skip'."
        )
    chunks = [
        _chunks(tokenizer, text, name, tokens)
        for name, text in (("negative_prompt", negative_prompt), ("prompt", prompt))
    ]
    count = max(map(len, chunks))
    negative, positive = (_encode(tokenizer, text_encoder, part, count, clip_skip) for part in chunks)
    return TextStates(negative, positive)


def _chunks(
    tokenizer: CLIPTokenizer, text: str, field: str, tokens: Mapping[str, Sequence[int]]
) -> list[list[tuple[int, float]]]:
    """Tokens with their weights, in chunks that fit between the start and the end token."""
    weighted = [
        (token, weight)
        for fragment, weight in parse_weights(text)
        for piece in _split_at(fragment, tokens)
        for token in tokens.get(piece)
        or tokenizer(piece, add_special_tokens=False, truncation=False, verbose=False).input_ids
    ]
    size = tokenizer.model_max_length - 2
    if len(weighted) > MAX_CHUNKS * size:
        raise InvalidRequestError(
            f"{field} must have at most {MAX_CHUNKS * size:,} tokens, got {len(weighted):,}. Shorten it."
        )
    return [weighted[i : i + size] for i in range(0, len(weighted), size)] or [[]]


def _split_at(text: str, characters: Collection[str]) -> list[str]:
    """The text in pieces, each of these characters one of its own."""
    return re.split(f"([{''.join(characters)}])", text) if characters else [text]


def _encode(
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    chunks: list[list[tuple[int, float]]],
    count: int,
    clip_skip: int,
) -> torch.Tensor:
    """Hidden states [1, count·77, D] of weighted chunks, empty ones added up to `count`."""
    start, end, pad, length = (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
        tokenizer.model_max_length,
    )
    device = text_encoder.device
    rows, weights = [], []
    for chunk in chunks + [[]] * (count - len(chunks)):
        ids = [start, *(token for token, _ in chunk), end]
        rows.append(ids + [pad] * (length - len(ids)))
        weights.append([1.0, *(weight for _, weight in chunk)] + [1.0] * (length - len(chunk) - 1))
    states = _hidden(text_encoder, torch.tensor(rows, device=device), clip_skip)
    factors = torch.tensor(weights, device=device, dtype=states.dtype)
    if bool((factors != 1).any()):
        # Scaled around zero and brought back to the old mean, as the seed's host does.
        mean = states.float().mean()
        states = states * factors[..., None]
        states = states * (mean / states.float().mean()).to(states.dtype)
    return states.reshape(1, count * length, -1)


def _hidden(text_encoder: CLIPTextModel, ids: torch.Tensor, clip_skip: int) -> torch.Tensor:
    if clip_skip == 0:
        return text_encoder(ids)[0]
    states = text_encoder(ids, output_hidden_states=True).hidden_states[-1 - clip_skip]
    inner = getattr(text_encoder, "text_model", text_encoder)  # transformers >= 5.6 has no `.text_model`
    return inner.final_layer_norm(states)
