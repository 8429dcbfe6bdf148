"""Encode prompts: weights, any length, CLIP skip, embeddings per frame.

We encode prompts ourselves: diffusers' AnimateDiff pipelines know no weights, cut at 77 tokens, and fail
with `clip_skip` on current transformers.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from pipelines.engine.base_models.builds import TextEncoder
from pipelines.engine.lora.travel import set_strengths_at_text
from pipelines.plan.choices import PromptBlend
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.prompt.travel import PromptTravel

EMPHASIS = 1.1
MAX_CHUNKS = 16  # of 75 tokens: 1,200 tokens; cross-attention cost grows with them
MAX_WEIGHT = 10.0
_PARALLEL = 0.9995  # cosine from which an arc is as good as straight, and its formula divides by next to nothing
_TINY = 1e-12

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
            multiply(open_round.pop(), _check_weight(float(factor)))
        elif token == ")" and open_round:
            multiply(open_round.pop(), EMPHASIS)
        elif token == "]" and open_square:
            multiply(open_square.pop(), 1 / EMPHASIS)
        else:
            pieces.append((token, 1.0))
    return list(_merged(pieces))


def _check_weight(weight: float) -> float:
    if not -MAX_WEIGHT <= weight <= MAX_WEIGHT:
        raise InvalidRequestError(
            Fault(
                code="prompt.weight_out_of_range",
                field="prompt",
                rule="have weights from -{limit:g} to {limit:g}",
                got=f"{weight:g}",
                fix="Use about 0.5 to 1.5",
                limit=MAX_WEIGHT,
            )
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
    """Text embeddings of a clip, and each frame's mix of them.

    What a frame gets depends on the frame alone, never on the window it is in.

    Args:
        negative, positive: Hidden states [K, T, D] of the K texts of either prompt, K being 1 unless it travels;
            T a multiple of the encoder's length; of two encoders side by side, so that D is the sum of their widths.
        pooled: One vector a text, [K, P], those of the negative prompt first; None with one encoder.
        negative_travel, positive_travel: Which of the texts each frame shows.
        blend: How two texts are mixed.
        size_ids: What SDXL's UNet is told of the picture's size, [6]; None for the clip's own.
    """

    negative: torch.Tensor
    positive: torch.Tensor
    pooled: torch.Tensor | None
    negative_travel: PromptTravel
    positive_travel: PromptTravel
    blend: PromptBlend
    size_ids: tuple[int, ...] | None = None

    @property
    def is_constant(self) -> bool:
        """Whether all frames get the same."""
        return self.negative_travel.is_constant and self.positive_travel.is_constant

    def for_frames(self, indices: Sequence[int], *, guided: bool) -> torch.Tensor:
        """Mix the text states of frames, [F, T, D].

        When guided they are [2·F, T, D], the negative half first.
        """
        return self._mix(self.negative if guided else None, self.positive, indices)

    def added_conditions(
        self, *, guided: bool, height: int, width: int, indices: Sequence[int] = (0,), clips: int = 1
    ) -> dict[str, torch.Tensor]:
        """Build SDXL's added conditions; empty without pooled vectors.

        Stable Diffusion XL has learnt from pictures of many sizes, each with the size it had before it was
        scaled, the corner it was cropped at and the size it was cropped to. Ours are whole: the size asked
        for twice, and no crop, unless the motion module was trained with other numbers (`size_ids`).

        Args:
            guided: As in `for_frames`.
            height, width: Of the clip, pixels.
            indices: The frames of the windows, one window after the other.
            clips: How many windows that are.

        Returns:
            `text_embeds` [B, P] and `time_ids` [B, 6], B being the windows, twice when guided; times the frames
            of each if a prompt travels (see `frame_conditions`).

        Source: SDXL, arXiv:2307.01952, section 2.2.
        """
        if self.pooled is None:
            return {}
        negative, positive = self.pooled.split([len(self.negative), len(self.positive)])
        frames = indices[:clips] if self.is_constant else indices
        pooled = self._mix(negative if guided else None, positive, frames)
        size_ids = self.size_ids or (height, width, 0, 0, height, width)
        sizes = torch.tensor([size_ids], dtype=pooled.dtype)
        return {"text_embeds": pooled, "time_ids": sizes.repeat(len(pooled), 1)}

    def _mix(self, negative: torch.Tensor | None, positive: torch.Tensor, frames: Sequence[int]) -> torch.Tensor:
        """Mix the frames' rows from the texts [K, ...], negative first."""
        halves = [] if negative is None else [(negative, self.negative_travel)]
        halves.append((positive, self.positive_travel))
        mixes = [(texts, travel.mix_at(frame)) for texts, travel in halves for frame in frames]
        return torch.stack([_blend(texts[m.before], texts[m.after], m.share, self.blend) for texts, m in mixes])


def _blend(before: torch.Tensor, after: torch.Tensor, share: float, blend: PromptBlend) -> torch.Tensor:
    """Interpolate between two tensors; `share` 0 is the first."""
    if not share:
        return before
    if blend is PromptBlend.LERP:
        return torch.lerp(before, after, share)
    first, second = before.float(), after.float()
    cosine = (first * second).sum() / (first.norm() * second.norm()).clamp_min(_TINY)
    if cosine.abs() > _PARALLEL:
        return torch.lerp(before, after, share)
    angle = torch.acos(cosine)
    mixed = (torch.sin((1 - share) * angle) * first + torch.sin(share * angle) * second) / torch.sin(angle)
    return mixed.to(before.dtype)


@torch.no_grad()
def encode_prompts(
    tokenizers: Sequence[CLIPTokenizer],
    text_encoders: Sequence[TextEncoder],
    *,
    prompt: str | PromptTravel,
    negative_prompt: str | PromptTravel,
    clip_skip: int = 0,
    blend: PromptBlend = PromptBlend.LERP,
    zero_empty_negative: bool = False,
    tokens: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> TextStates:
    """Encode all texts of both prompts, each once, to one length.

    One encoder is read after its last layer, as Stable Diffusion 1.5 does; two before it and without the
    final norm, as Stable Diffusion XL does. `clip_skip` counts from there.

    Args:
        tokenizers, text_encoders: One of each or two, in the order the UNet reads them.
        prompt, negative_prompt: One text for all frames, taken as it is, or a travel.
        clip_skip: The request's.
        blend: How two texts of a travel are mixed.
        zero_empty_negative: Whether a negative prompt without words is all zeros.
        tokens: Single characters that stand for tokens of their own, as a textual inversion's do -> their ids.

    Raises:
        InvalidRequestError: The encoder has too few layers for `clip_skip`, or a prompt has too many tokens.
    """
    _refuse_skipping_all(text_encoders, clip_skip)
    negative_travel, travel = (
        PromptTravel.constant(text) if isinstance(text, str) else text for text in (negative_prompt, prompt)
    )
    negative_chunks, positive_chunks = (
        [[_chunks(tokenizer, text, field, tokens) for tokenizer in tokenizers] for text in texts]
        for field, texts in (("negative_prompt", negative_travel.texts), ("prompt", travel.texts))
    )
    count = max(len(chunks) for text in (*negative_chunks, *positive_chunks) for chunks in text)
    encoded = []
    for field, texts in (("negative_prompt", negative_chunks), ("prompt", positive_chunks)):
        for number, chunks in enumerate(texts):
            for encoder in text_encoders:
                set_strengths_at_text(encoder, field, number)
            encoded.append(_encode(tokenizers, text_encoders, chunks, count, clip_skip))
    if zero_empty_negative and len(text_encoders) > 1:
        for place, (first_chunks, *_) in enumerate(negative_chunks):
            if not any(first_chunks):
                encoded[place] = _zero(encoded[place])
    states = torch.cat([text.states for text in encoded])
    negative, positive = states.split([len(negative_chunks), len(positive_chunks)])
    pooled = [text.pooled for text in encoded if text.pooled is not None]
    return TextStates(negative, positive, torch.cat(pooled) if pooled else None, negative_travel, travel, blend)


def _refuse_skipping_all(text_encoders: Sequence[TextEncoder], clip_skip: int) -> None:
    layers = min(encoder.config.num_hidden_layers for encoder in text_encoders) - (len(text_encoders) - 1)
    if clip_skip >= layers:
        raise InvalidRequestError(
            Fault(
                code="clip_skip.too_many",
                field="clip_skip",
                rule="be below the text encoder's {limit} layers in use",
                got=clip_skip,
                fix="Lower {clip_skip:label}",
                limit=layers,
            )
        )


def _chunks(
    tokenizer: CLIPTokenizer, text: str, field: str, tokens: Mapping[str, Sequence[int]]
) -> list[list[tuple[int, float]]]:
    """Tokenise with weights, in chunks between start and end token."""
    weighted = [
        (token, weight)
        for fragment, weight in parse_weights(text)
        for piece in _split_at(fragment, tokens)
        for token in tokens.get(piece)
        or tokenizer(piece, add_special_tokens=False, truncation=False, verbose=False).input_ids
    ]
    size = tokenizer.model_max_length - 2
    if len(weighted) > MAX_CHUNKS * size:
        inversion_tokens = sum(len(tokens.get(letter, ())) for letter in text)
        raise InvalidRequestError(
            Fault(
                code="prompt.too_many_tokens_of_files" if inversion_tokens else "prompt.too_many_tokens",
                field=field,
                rule="have at most {limit:,} tokens",
                got=len(weighted),
                seen="{got:,}, {own:,} of them vectors of textual inversions" if inversion_tokens else "{got:,}",
                fix="Leave those out" if inversion_tokens else "Shorten it",
                limit=MAX_CHUNKS * size,
                values={"own": inversion_tokens},
            )
        )
    return [weighted[i : i + size] for i in range(0, len(weighted), size)] or [[]]


def _split_at(text: str, characters: Collection[str]) -> list[str]:
    """Split a text at these characters, each its own piece."""
    return re.split(f"([{''.join(characters)}])", text) if characters else [text]


class _Encoded(NamedTuple):
    """One text: states [1, count·77, D], last pooled vector [1, P]."""

    states: torch.Tensor
    pooled: torch.Tensor | None


def _zero(text: _Encoded) -> _Encoded:
    return _Encoded(*(None if part is None else torch.zeros_like(part) for part in text))


def _encode(
    tokenizers: Sequence[CLIPTokenizer],
    text_encoders: Sequence[TextEncoder],
    chunks: Sequence[list[list[tuple[int, float]]]],
    count: int,
    clip_skip: int,
) -> _Encoded:
    """Encode a text by all encoders.

    Args:
        chunks: The text as each tokenizer reads it.
    """
    states, pooled = [], None
    for tokenizer, text_encoder, own_chunks in zip(tokenizers, text_encoders, chunks, strict=True):
        ids, weights = _rows(tokenizer, own_chunks, count)
        out = text_encoder(ids.to(text_encoder.device), output_hidden_states=True)
        if len(text_encoders) == 1:
            hidden = text_encoder.final_layer_norm(out.hidden_states[-1 - clip_skip])
        else:
            hidden = out.hidden_states[-2 - clip_skip]
        states.append(_apply_weights(hidden, weights.to(hidden)).flatten(0, 1)[None])
        if isinstance(text_encoder, CLIPTextModelWithProjection):
            pooled = out.text_embeds[:1]  # further chunks have no place in one vector
    return _Encoded(torch.cat(states, dim=-1), pooled)


def _rows(
    tokenizer: CLIPTokenizer, chunks: list[list[tuple[int, float]]], count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad chunks to `count`; return token ids and weights, [count, 77]."""
    start, end, pad, length = (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,  # of Stable Diffusion XL's second tokenizer "!", not the end token
        tokenizer.model_max_length,
    )
    rows, weights = [], []
    for chunk in chunks + [[]] * (count - len(chunks)):
        ids = [start, *(token for token, _ in chunk), end]
        rows.append(ids + [pad] * (length - len(ids)))
        weights.append([1.0, *(weight for _, weight in chunk)] + [1.0] * (length - len(chunk) - 1))
    return torch.tensor(rows), torch.tensor(weights)


def _apply_weights(states: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Scale states [N, 77, D] by weights, keeping their mean as A1111."""
    if not bool((weights != 1).any()):
        return states
    mean = states.float().mean()
    states = states * weights[..., None]
    return states * (mean / states.float().mean()).to(states.dtype)
