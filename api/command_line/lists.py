"""Names that options know, for `--list`."""

from collections.abc import Callable, Sequence

from controlnet.preprocessor import Preprocessor
from controlnet.preprocessors import PREPROCESSORS
from pipelines.plan import catalog
from pipelines.plan.catalog_entries import Entry
from pipelines.plan.presets import PRESETS, Preset

NamedEntry = tuple[str, str]
"""A name and what it stands for, in a line."""


def _list_entries(entries: Callable[[], Sequence[Entry]]) -> Callable[[], list[NamedEntry]]:
    return lambda: [(entry.names[0], _describe(entry)) for entry in entries()]


def _describe(entry: Entry) -> str:
    size = f" {entry.size_mb:,} MB to download." if entry.size_mb else ""
    return f"{entry.label}. {entry.description}{size}"


def _usable(preprocessor: Preprocessor) -> str:
    options = ", ".join(f"{option.name} {option.default:g}" for option in preprocessor.options)
    return preprocessor.help + (f" Options: {options}." if options else "")


def _preset(preset: Preset) -> str:
    sets = ", ".join(f"{name} {value}" for name, value in preset.values.items())
    families = " or ".join(preset.motion_families)
    needs = f"a motion module of the family {families}" if families else ""
    return f"{preset.label}: {', '.join(filter(None, (sets, needs))) or 'the settings of the models'}."


LISTS: dict[str, Callable[[], list[NamedEntry]]] = {
    "models": _list_entries(catalog.base_models),
    "motion-modules": _list_entries(catalog.motion_modules),
    "vaes": _list_entries(catalog.vaes),
    "loras": _list_entries(catalog.loras),
    "controlnets": _list_entries(catalog.controlnets),
    "image-prompts": _list_entries(catalog.ip_adapters),
    "upscalers": _list_entries(catalog.upscalers),
    "preprocessors": lambda: [
        (entry.id, f"{entry.label}. {entry.unavailable or _usable(entry)}") for entry in PREPROCESSORS.values()
    ],
    "presets": lambda: [(preset.id, _preset(preset)) for preset in PRESETS],
}
"""What can be listed, by the word for it."""
