"""Recognise other programs' JSON and read plain settings as infotext.

None of it is a recipe of ours, whatever its keys are called.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from api.recipes.infotext_parts import Infotext
from pipelines.plan.faults import Fault

_FROM_INSIDE = "Copy its prompts and settings by hand, or choose a clip of this app or a picture with an infotext"
_DEEPEST = 4
_AROUND_GRAPHS = ("prompt", "workflow", "output", "extra_data", "extra_pnginfo")
_MOST_OF_A_STYLE = 5
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
    is_its: Callable[[Mapping[str, object]], bool]
    settings: Mapping[str, str] | None = None
    inside: str = ""


def program_of(document: object) -> Program | None:
    """Recognise the program a JSON value comes from; None if unknown."""
    if isinstance(document, list):
        document = {"nodes": document} if _are_nodes(document) else {"": document}
    if not isinstance(document, Mapping):
        return None
    return next((program for program in _PROGRAMS if program.is_its(document)), None)


def refusal_of(document: object, field: str, rule: str) -> Fault:
    """Build the fault of JSON that is no recipe."""
    code, values = "recipe.other_json", {"keys": ""}
    seen = "JSON that is no recipe"
    if program := program_of(document):
        code, seen, values = "recipe.of_a_program", "{program:s}", {"program": program.name}
    elif isinstance(document, Mapping):
        names = ", ".join(str(key)[:40] for key in list(document)[:_SHOWN])
        ellipsis = ", …" if len(document) > _SHOWN else ""
        code = "recipe.of_another_program"
        seen, values = (
            "JSON of another program{keys:s}",
            {"keys": f" (keys: {names}{ellipsis})" if names else " without anything in it"},
        )
    return Fault(code, field, rule, "JSON", _FROM_INSIDE, seen=seen, values=values)


def infotext_of_foreign(document: object) -> tuple[Infotext, str] | None:
    """Read plain settings as an infotext, with the program's name, or None."""
    program = program_of(document)
    if program is None or program.settings is None or not isinstance(document, Mapping):
        return None
    inner = _at(document, program.inside) if program.inside else document
    if not isinstance(inner, Mapping):
        return None
    values = {name: _text(value) for name, path in program.settings.items() if (value := _at(inner, path)) is not None}
    prompt, negative = values.pop("prompt", ""), values.pop("negative_prompt", "")
    if not prompt:  # of another version, whose settings stand elsewhere
        return None
    width, height = values.pop("width", ""), values.pop("height", "")
    if width and height:
        values["Size"] = f"{width}x{height}"
    elif size := re.search(r"(\d{2,5})\D{1,4}(\d{2,5})", values.pop("resolution", "")):
        values["Size"] = f"{size[1]}x{size[2]}"
    return (Infotext(prompt, negative, {name: value for name, value in values.items() if value}), program.name)


def _at(document: Mapping[str, object], path: str) -> object:
    value: object = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(value: object) -> str:
    """Format a value as an infotext writes it."""
    if isinstance(value, Mapping):  # a model with its hash
        value = next((value[key] for key in ("name", "model_name", "caption", "base_caption") if key in value), "")
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value[:50] if isinstance(item, (str, int, float)))
    return "" if value is None else str(value).strip()


def _is_graph(value: object, depth: int = 0) -> bool:
    """Whether a value is, or contains, a ComfyUI graph."""
    if isinstance(value, str) and value.lstrip()[:1] == "{" and depth < _DEEPEST:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return '"class_type"' in str(value)
    if not isinstance(value, Mapping):
        return False
    if any(isinstance(node, Mapping) and "class_type" in node for node in list(value.values())[:50]):
        return True
    nodes = value.get("nodes")
    if isinstance(nodes, list) and ("links" in value or "last_node_id" in value or _are_nodes(nodes) or not nodes):
        return True
    inner = [value.get(key) for key in _AROUND_GRAPHS]
    if isinstance(inner[0], list):  # of the queue: a number, an id, the graph
        inner += inner[0][:_DEEPEST]
    if len(value) == 1:  # of the history: all by the id of a run
        inner += value.values()
    return depth < _DEEPEST and any(_is_graph(child, depth + 1) for child in inner)


def _are_nodes(nodes: Sequence[object]) -> bool:
    return any(isinstance(node, Mapping) and "type" in node and "widgets_values" in node for node in nodes[:50])


def _are_styles(document: Mapping[str, object]) -> bool:
    """Whether an object is a program's list of prompt styles."""
    entries = document.get("", [document]) if len(document) > 1 or "" in document else list(document.values())
    return isinstance(entries, list) and any(
        isinstance(entry, Mapping)
        and {"prompt", "negative_prompt"} <= entry.keys()
        and (len(document) == 1 or "name" in entry)
        and len(entry) <= _MOST_OF_A_STYLE
        for entry in entries[:1]
    )


def _has(*keys: str) -> Callable[[Mapping[str, object]], bool]:
    return lambda document: all(key in document for key in keys)


def _has_any(*starts: str) -> Callable[[Mapping[str, object]], bool]:
    return lambda document: any(str(key).startswith(starts) for key in list(document)[:50])


def _says(key: str, word: str) -> Callable[[Mapping[str, object]], bool]:
    return lambda document: word in str(document.get(key, "")).lower()


def _any(*rules: Callable[[Mapping[str, object]], bool]) -> Callable[[Mapping[str, object]], bool]:
    return lambda document: any(rule(document) for rule in rules)


_USUAL = {"prompt": "prompt", "negative_prompt": "negative_prompt", "Seed": "seed", "Steps": "steps"}
_SIZES = {"width": "width", "height": "height"}
_EASY = _SIZES | {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "Seed": "seed",
    "Steps": "num_inference_steps",
    "CFG scale": "guidance_scale",
    "Sampler": "sampler_name",
    "Model": "use_stable_diffusion_model",
    "VAE": "use_vae_model",
}

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
    Program("SwarmUI's parameters", _has("swarm_version")),
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
        "Fooocus's parameters",
        _any(_has("Prompt", "Performance"), _has("Fooocus V2 Expansion"), _says("Version", "fooocus")),
        {
            "prompt": "Prompt",
            "negative_prompt": "Negative Prompt",
            "Seed": "Seed",
            "CFG scale": "Guidance Scale",
            "Sampler": "Sampler",
            "Schedule type": "Scheduler",
            "Model": "Base Model",
            "resolution": "Resolution",
        },
    ),
    Program("a preset of Fooocus", _has("default_model", "default_prompt")),
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
        "Draw Things' settings",
        _any(_has("seedMode", "maskBlur"), _has("guidanceScale", "batchCount"), _has("hires_fix", "batch_count")),
    ),
    Program(
        "NovelAI's parameters",
        _any(
            _has("uc", "sampler", "scale"),
            _has("v4_prompt"),
            *(_says(key, "novelai") for key in ("source", "Source", "Software")),
        ),
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
    Program("a workflow of InvokeAI", _has("nodes", "edges")),
    Program("a project of animatediff-cli", _any(_has("prompt_map"), _has("motion_module", "n_prompt"))),
    Program(
        "Deforum's settings", _any(_has("animation_mode"), _has("max_frames", "prompts"), _has("W", "H", "prompts"))
    ),
    Program(
        "Easy Diffusion's settings",
        _any(_has("use_stable_diffusion_model"), _has("num_inference_steps", "used_random_seed")),
        _EASY,
    ),
    Program("Easy Diffusion's settings", _has("reqBody"), _EASY, inside="reqBody"),
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
    Program("an answer of the web UI's API", _any(_has("infotexts"), _has("images", "info"))),
    Program("the web UI's settings", _any(_has("sd_model_checkpoint"), _has_any("txt2img/", "img2img/"))),
    Program("styles for prompts", _are_styles),
    Program("a configuration of a network", _any(_has("_class_name"), _has("architectures", "model_type"))),
    Program(
        "a package.json of Node.js",
        _any(_has("name", "dependencies"), _has("name", "scripts"), _has("lockfileVersion")),
    ),
)
