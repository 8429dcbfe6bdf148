"""Merge a request's LoRAs and textual inversions into shared models, undone exactly.

A LoRA is merged where it acts alike on all frames; the strength of one in a prompt's keys may change over the
clip, and such a one is added beside the layers (`lora/travel.py`).

Merging is W += weight · ΔW, summed in float32 and rounded once to the weight's own type. The tensors that
were there are kept and put back, so nothing is left of a request afterwards, not even a rounding error. It
costs a second copy of the changed layers while the request runs.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import torch
from torch import nn

from pipelines.engine.lora.additions import Addition
from pipelines.engine.lora.files import FIELD, Lora, LoraKind, read_lora
from pipelines.engine.lora.fitting import fit_lora, misfit
from pipelines.engine.lora.travel import TravellingLora, split_layers
from pipelines.engine.weights.downloads import fetch
from pipelines.plan import catalog
from pipelines.plan.catalog_entries import Lora as LoraEntry
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.findings import Finding
from pipelines.plan.prompt.parsed import ParsedPrompt
from pipelines.plan.prompt.tags import Tag
from pipelines.plan.prompt.travel import PromptTravel
from pipelines.plan.request import GenerationRequest

_PRIVATE_USE = 0xE000  # characters without a meaning; one stands for each textual inversion in the text


@dataclass(frozen=True, slots=True)
class LoraPlan:
    """Everything that a request's tags change.

    Args:
        prompt, negative_prompt: The texts without tags, a textual inversion's replaced by a single character.
            A travel has a text for every one that differed with its tags.
        tokens: That character -> the ids of the tokens it stands for, the first ids beyond the vocabulary.
        additions: Parameter of a model -> what is added to it for all frames, each with its weight.
        travelling: The LoRAs whose strength changes over the clip.
        rows: Embedding matrix of a text encoder -> vectors to put below it, [n, width].
        weights: What was read -> sha256.
        warnings: What was left out and why, for people.
    """

    prompt: PromptTravel
    negative_prompt: PromptTravel
    tokens: Mapping[str, Sequence[int]] = field(default_factory=dict)
    additions: Mapping[nn.Parameter, Sequence[tuple[float, Addition]]] = field(default_factory=dict)
    travelling: Sequence[TravellingLora] = ()
    rows: Mapping[nn.Parameter, Sequence[torch.Tensor]] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def find_loras(request: GenerationRequest) -> dict[str, LoraEntry]:
    """Look up the tags' catalog entries; weight 0 is only checked.

    Raises:
        InvalidRequestError: A tag is malformed, its name unknown, or made for another base model.
    """
    base = catalog.find_base_model(request.base_model)
    prompt, negative_prompt = request.parsed_prompts
    loras = {}
    for tag in (*prompt.tags, *negative_prompt.tags):
        entry = catalog.find_lora(tag.name, place=tag.place)
        if base.family and entry.family and base.family != entry.family:
            raise InvalidRequestError(
                Fault(
                    code="lora.other_base_model",
                    field=FIELD,
                    rule="be made for the base model '{base:s}'",
                    got=entry.id,
                    seen="'{got:s}'{place:s}",
                    fix="Remove its tag or choose another base model",
                    values={"base": base.id, "place": tag.place},
                )
            )
        if tag.weight:
            loras[tag.name] = entry
    return loras


def load_lora(entry: LoraEntry) -> Lora:
    """Fetch a LoRA if needed, and read it.

    Raises:
        WeightsError: It can't be had, is damaged or unsafe, or is something else.
    """
    return read_lora(locate_lora(entry))


def locate_lora(entry: LoraEntry) -> Path:
    """Fetch a LoRA's file if needed.

    Raises:
        WeightsError: It can't be had.
    """
    if entry.source == "hub" and entry.file:
        return fetch(entry.repo, entry.file, entry.revision, field=FIELD)
    return entry.folder


def plan_loras(
    request: GenerationRequest, loras: Mapping[str, Lora], *, models: Mapping[str, nn.Module], motion_label: str
) -> LoraPlan:
    """Find the layers of every addition; a LoRA named twice counts twice.

    Args:
        loras: What was read, by the names in the tags.
        models: "unet" and the text encoders, by the names of their components.
        motion_label: What people call the motion module in the UNet.

    Raises:
        InvalidRequestError: The negative prompt names something that is no textual inversion.
        WeightsError: A LoRA fits no layer at all, or a layer of another size.
    """
    parsed, parsed_negative = request.parsed_prompts
    _refuse_loras_in_negative(parsed_negative, loras)
    words = _Words(models, request.base_model)
    fitted = {name: fit_lora(lora, models, request.base_model, motion_label) for name, lora in loras.items()}
    for name, lora in loras.items():
        if lora.kind is LoraKind.TEXTUAL_INVERSION:
            words.add(name, lora)
    prompt, negative = (each.with_tags_replaced(words.replacement) for each in (parsed, parsed_negative))
    tags = parsed.tags_by_text
    strengths = {name: [sum(tag.weight for tag in group if tag.name == name) for group in tags] for name in loras}
    changing = [name for name in sorted(loras) if fitted[name].additions and len(set(strengths[name])) > 1]
    additions: dict[nn.Parameter, list[tuple[float, Addition]]] = defaultdict(list)
    for tag in sorted(tags[0], key=lambda tag: (tag.name, tag.weight)):  # sums are rounded, so their order shows
        for parameter, addition in fitted[tag.name].additions if tag.weight and tag.name not in changing else ():
            additions[parameter].append((tag.weight, addition))
    warnings = [warning for fit in fitted.values() for warning in fit.warnings]
    travelling = []
    for name in changing:
        average = fmean(prompt.value_at(frame, strengths[name]) for frame in range(request.lengths[0]))
        layers, constant = split_layers(fitted[name].additions, models.values())
        for parameter, addition in constant:
            additions[parameter].append((average, addition))
        travelling.append(TravellingLora(prompt, strengths[name], average, negative.is_constant, layers))
        warnings += _describe_averaged(loras[name], len(constant), negative)
    if negative.is_constant and any(_reads_text(loras[name]) for name in changing):
        negative = replace(prompt, texts=negative.texts * len(prompt.texts))
    return LoraPlan(
        prompt=prompt,
        negative_prompt=negative,
        tokens=words.tokens,
        additions=additions,
        travelling=travelling,
        rows=words.rows,
        weights={f"lora {name}": lora.sha256 for name, lora in loras.items()},
        warnings=tuple(warnings),
    )


def _refuse_loras_in_negative(negative_prompt: ParsedPrompt, loras: Mapping[str, Lora]) -> None:
    for tag in negative_prompt.tags:
        if tag.name in loras and loras[tag.name].kind is not LoraKind.TEXTUAL_INVERSION:
            raise InvalidRequestError(
                Fault(
                    code="lora.in_negative_prompt",
                    field="negative_prompt",
                    rule="have no tags but those of textual inversions",
                    got=tag.name,
                    seen="'{got:s}', a LoRA",
                    fix="Move it to the prompt, where it may have a negative weight",
                )
            )


def _describe_averaged(lora: Lora, layers: int, negative: PromptTravel) -> Iterator[str]:
    """Describe where a travelling LoRA has one strength all the same."""
    if layers:
        yield (
            f"{layers} of the layers of '{lora.name}' are the same for all frames and act with the average of its "
            "strengths over the clip."
        )
    if _reads_text(lora) and not negative.is_constant:
        yield (
            f"'{lora.name}' changes how prompts are read, too. The negative prompt has keys of its own, so it is read "
            "with the average of the LoRA's strengths over the clip."
        )


def _reads_text(lora: Lora) -> bool:
    return any(component != "unet" for component in lora.layers)


@contextmanager
def merged(plan: LoraPlan) -> Iterator[None]:
    """Merge the planned additions for the duration of the block."""
    originals: list[tuple[nn.Parameter, torch.Tensor]] = []

    def swap(parameter: nn.Parameter, changed: torch.Tensor) -> None:
        originals.append((parameter, parameter.data))
        parameter.data = changed

    try:
        for parameter, parts in plan.additions.items():
            swap(parameter, _sum(parameter, parts))
        for parameter, rows in plan.rows.items():
            swap(parameter, torch.cat([parameter.data, *(row.to(parameter.data) for row in rows)]))
        yield
    finally:
        for parameter, original in reversed(originals):
            parameter.data = original


@torch.no_grad()
def _sum(parameter: nn.Parameter, parts: Sequence[tuple[float, Addition]]) -> torch.Tensor:
    total = parameter.data.to(torch.float32, copy=True)
    for weight, addition in parts:
        total += weight * addition.delta(parameter.data)
    return total.to(parameter.dtype)


class _Words:
    """Token ids beyond the vocabulary, and a character, for each textual inversion."""

    def __init__(self, models: Mapping[str, nn.Module], base_model: str) -> None:
        self.tokens: dict[str, tuple[int, ...]] = {}
        self.rows: dict[nn.Parameter, list[torch.Tensor]] = defaultdict(list)
        self._base_model = base_model
        self._tables = {
            component: model.get_input_embeddings().weight for component, model in models.items() if component != "unet"
        }
        self._next = next(iter(self._tables.values())).shape[0]
        self._characters: dict[str, str] = {}

    def add(self, name: str, lora: Lora) -> None:
        widths = {component: vectors.shape[1] for component, vectors in lora.vectors.items()}
        if widths != {component: table.shape[1] for component, table in self._tables.items()}:
            listed = ", ".join(map(str, widths.values()))
            finding = Finding("lora.words_of_other_size", "with words of {widths:s} numbers", {"widths": listed})
            raise misfit(lora, self._base_model, finding)
        for component, vectors in lora.vectors.items():
            self.rows[self._tables[component]].append(vectors)
        count = len(next(iter(lora.vectors.values())))  # of each of them
        self._characters[name] = chr(_PRIVATE_USE + len(self._characters))
        self.tokens[self._characters[name]] = tuple(range(self._next, self._next + count))
        self._next += count

    def replacement(self, tag: Tag) -> str:
        """Return an inversion's weighted character for its tag; empty for other tags."""
        character = self._characters.get(tag.name)
        if character is None or not tag.weight:
            return ""
        return character if tag.weight == 1 else f"({character}:{tag.weight:.4f})"
