"""Names that options know, for `--list`."""

from collections.abc import Callable, Sequence

from controlnet.preprocessor import Preprocessor
from controlnet.preprocessors import PREPROCESSORS
from pipelines.plan import catalog
from pipelines.plan.catalog_entries import Entry
from pipelines.plan.presets import PRESETS, Preset

Named = tuple[str, str]
"""A name and what it stands for, in a line."""


def _named(entries: Callable[[], Sequence[Entry]]) -> Callable[[], list[Named]]:
    return lambda: [(entry.names[0], _described(entry)) for entry in entries()]


def _described(entry: Entry) -> str:
    size = f" {entry.size_mb:,} MB to download." if entry.size_mb else ""
    return f"{entry.label}. {entry.description}{size}"


def _usable(preprocessor: Preprocessor) -> str:
    options = ", ".join(f"{one.name} {one.default:g}" for one in preprocessor.options)
    return preprocessor.help + (f" Options: {options}." if options else "")


def _preset(preset: Preset) -> str:
    sets = ", ".join(f"{name} {value}" for name, value in preset.own.items())
    families = " or ".join(preset.motion_families)
    needs = f"a motion module of the family {families}" if families else ""
    return f"{preset.label}: {', '.join(filter(None, (sets, needs))) or 'the settings of the models'}."


LISTS: dict[str, Callable[[], list[Named]]] = {
    "models": _named(catalog.base_models),
    "motion-modules": _named(catalog.motion_modules),
    "vaes": _named(catalog.vaes),
    "loras": _named(catalog.loras),
    "controlnets": _named(catalog.controlnets),
    "image-prompts": _named(catalog.ip_adapters),
    "upscalers": _named(catalog.upscalers),
    "preprocessors": lambda: [
        (one.id, f"{one.label}. {one.unavailable or _usable(one)}") for one in PREPROCESSORS.values()
    ],
    "presets": lambda: [(preset.id, _preset(preset)) for preset in PRESETS],
}
"""What can be listed, by the word for it."""
