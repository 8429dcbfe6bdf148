"""JSON of other programs: whose it is, and where it says plainly how a picture was made, that as an infotext's parts.

None of it is a recipe of ours, whatever its keys are called.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.infotext_parts import Infotext

_FROM_INSIDE = "Copy its prompts and settings by hand, or choose a clip of this app or a picture with an infotext"
_DEEPEST = 4
_SHOWN = 8


@dataclass(frozen=True)
class Program:
    """A program whose JSON is known.

    Args:
        name: What people call what it wrote.
        is_its: Whether an object is of its kind.
        settings: What its plain settings are called, by the infotext's name; a dot goes one level down. Without them
            nothing is read.
        inside: Where they stand; empty for the object itself.
    """

    name: str
    is_its: Callable[[Mapping[str, Any]], bool]
    settings: Mapping[str, str] | None = None
    inside: str = ""


def program_of(found: object) -> Program | None:
    """Whose JSON it is; None if no known program's."""
    if isinstance(found, list):
        found = {"": found}
    if not isinstance(found, Mapping):
        return None
    return next((program for program in _PROGRAMS if program.is_its(found)), None)


def refusal_of(found: object) -> str:
    """What a JSON that is no recipe is, in the place of a value, and what to do."""
    if program := program_of(found):
        return f"{program.name}. {_FROM_INSIDE}."
    if isinstance(found, Mapping):
        names = ", ".join(str(key)[:40] for key in list(found)[:_SHOWN])
        more = ", …" if len(found) > _SHOWN else ""
        keys = f" (keys: {names}{more})" if names else " without anything in it"
        return f"JSON of another program{keys}. {_FROM_INSIDE}."
    return f"JSON that is no recipe. {_FROM_INSIDE}."


def infotext_of_foreign(found: object) -> tuple[Infotext, str] | None:
    """An object's plain settings as an infotext's parts, and what it is; None where they can't be read."""
    program = program_of(found)
    if program is None or program.settings is None or not isinstance(found, Mapping):
        return None
    inner = _at(found, program.inside) if program.inside else found
    if not isinstance(inner, Mapping):
        return None
    told = {name: _text(value) for name, path in program.settings.items() if (value := _at(inner, path)) is not None}
    prompt, negative = told.pop("prompt", ""), told.pop("negative_prompt", "")
    if not prompt:  # of another version, whose settings stand elsewhere
        return None
    width, height = told.pop("width", ""), told.pop("height", "")
    if width and height:
        told["Size"] = f"{width}x{height}"
    elif size := re.search(r"(\d{2,5})\D{1,4}(\d{2,5})", told.pop("resolution", "")):
        told["Size"] = f"{size[1]}x{size[2]}"
    return (Infotext(prompt, negative, {name: value for name, value in told.items() if value}), program.name)


def _at(found: Mapping[str, Any], path: str) -> Any:
    value: Any = found
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(value: object) -> str:
    """A value as an infotext writes it."""
    if isinstance(value, Mapping):  # a model with its hash
        value = next((value[key] for key in ("name", "model_name", "caption", "base_caption") if key in value), "")
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value[:50] if isinstance(one, (str, int, float)))
    return "" if value is None else str(value).strip()


def _is_graph(value: object, depth: int = 0) -> bool:
    """Whether it is ComfyUI's graph: nodes by number with a class and inputs, or a list of nodes with widgets."""
    if isinstance(value, str) and value.lstrip()[:1] == "{" and depth < _DEEPEST:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return '"class_type"' in str(value)
    if not isinstance(value, Mapping):
        return False
    if any(isinstance(node, Mapping) and "class_type" in node for node in list(value.values())[:50]):
        return True
    if isinstance(value.get("nodes"), list) and ("links" in value or "last_node_id" in value or not value["nodes"]):
        return True
    return depth < _DEEPEST and any(_is_graph(value.get(key), depth + 1) for key in ("prompt", "workflow", "output"))


def _has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda found: all(key in found for key in keys)


def _says(key: str, word: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda found: word in str(found.get(key, "")).lower()


def _any(*rules: Callable[[Mapping[str, Any]], bool]) -> Callable[[Mapping[str, Any]], bool]:
    return lambda found: any(rule(found) for rule in rules)


_USUAL = {"prompt": "prompt", "negative_prompt": "negative_prompt", "Seed": "seed", "Steps": "steps"}
_SIZES = {"width": "width", "height": "height"}

_PROGRAMS: Sequence[Program] = (
    Program("the recipe of a grid, which has many clips: choose one of its cells", _has("grid", "cells")),
    Program(
        "SwarmUI's parameters",
        _has("sui_image_params"),
        _SIZES
        | {
            "prompt": "prompt",
            "negative_prompt": "negativeprompt",
            "Seed": "seed",
            "Steps": "steps",
            "CFG scale": "cfgscale",
            "Sampler": "sampler",
            "Schedule type": "scheduler",
            "Model": "model",
            "VAE": "vae",
        },
        inside="sui_image_params",
    ),
    Program("a workflow of ComfyUI", _any(_is_graph, _has("class_type", "inputs"))),
    Program(
        "Fooocus's parameters",
        _any(_has("metadata_scheme", "performance"), _says("version", "fooocus"), _says("software", "fooocus")),
        _USUAL
        | {
            "CFG scale": "guidance_scale",
            "Sampler": "sampler",
            "Schedule type": "scheduler",
            "Model": "base_model",
            "resolution": "resolution",
            "Clip skip": "clip_skip",
            **_SIZES,
        },
    ),
    Program(
        "Draw Things' parameters",
        _has("c", "uc"),
        {
            "prompt": "c",
            "negative_prompt": "uc",
            "Seed": "seed",
            "Steps": "steps",
            "CFG scale": "scale",
            "Sampler": "sampler",
            "Model": "model",
            "resolution": "size",
        },
    ),
    Program(
        "NovelAI's parameters",
        _any(_has("uc", "sampler", "scale"), _has("v4_prompt"), _says("source", "novelai")),
        _SIZES
        | {
            "prompt": "prompt",
            "negative_prompt": "uc",
            "Seed": "seed",
            "Steps": "steps",
            "CFG scale": "scale",
            "Sampler": "sampler",
            "Schedule type": "noise_schedule",
        },
    ),
    Program(
        "InvokeAI's metadata",
        _any(
            _has("positive_prompt", "negative_prompt", "app_version"),
            _has("positive_prompt", "generation_mode"),
            _says("app_id", "invoke"),
        ),
        _SIZES
        | {
            "prompt": "positive_prompt",
            "negative_prompt": "negative_prompt",
            "Seed": "seed",
            "Steps": "steps",
            "CFG scale": "cfg_scale",
            "Sampler": "scheduler",
            "Model": "model",
        },
    ),
    Program("a project of animatediff-cli", _any(_has("prompt_map"), _has("motion_module", "n_prompt"))),
    Program("Deforum's settings", _any(_has("animation_mode"), _has("max_frames", "prompts"))),
    Program(
        "Easy Diffusion's settings",
        _any(_has("use_stable_diffusion_model"), _has("num_inference_steps", "used_random_seed")),
        _SIZES
        | {
            "prompt": "prompt",
            "negative_prompt": "negative_prompt",
            "Seed": "seed",
            "Steps": "num_inference_steps",
            "CFG scale": "guidance_scale",
            "Sampler": "sampler_name",
            "Model": "use_stable_diffusion_model",
            "VAE": "use_vae_model",
        },
    ),
    Program(
        "Civitai's generation data",
        _any(_has("prompt", "cfgScale"), _has("civitaiResources"), _has("resources", "negativePrompt")),
        {
            "prompt": "prompt",
            "negative_prompt": "negativePrompt",
            "Seed": "seed",
            "Steps": "steps",
            "CFG scale": "cfgScale",
            "Sampler": "sampler",
            "Model": "Model",
            "Size": "Size",
            "Clip skip": "clipSkip",
        },
    ),
    Program(
        "a call of the web UI's API",
        _any(_has("alwayson_scripts"), _has("prompt", "sampler_name"), _has("prompt", "cfg_scale", "steps")),
        _USUAL | _SIZES | {"CFG scale": "cfg_scale", "Sampler": "sampler_name", "Schedule type": "scheduler"},
    ),
)
