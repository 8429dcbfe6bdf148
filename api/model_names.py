"""Models by the names that other programs write: the catalog's ids, labels and files, spelt loosely."""

import re
from collections.abc import Callable, Sequence

from api.seed_names import OTHER_NAMES
from pipelines import catalog
from pipelines.catalog_entries import Entry

_LISTS: dict[str, Callable[[], Sequence[Entry]]] = {
    "base_model": catalog.base_models,
    "motion_module": catalog.motion_modules,
    "vae": catalog.vaes,
    "controlnet": catalog.controlnets,
}
_MOST_LETTERS = 300


def model_named(field: str, name: str) -> str | None:
    """The id of the model that a name means; None if there is none.

    Args:
        field: `base_model`, `motion_module`, `vae` or `controlnet`.
        name: A file's name, perhaps with folders before it and a short hash in brackets behind.

    Example:
        >>> model_named("motion_module", "mm_sd15_v3.safetensors [fcc6d9c8]")
        'guoyww/animatediff/v3_sd15_mm.ckpt'
        >>> model_named("base_model", "DreamShaper_8_pruned")
        'Lykon/DreamShaper'
    """
    wanted = _spelling(name)
    known: dict[str, str] = {}
    for entry in _LISTS[field]():
        for one in _names_of(entry):
            known.setdefault(_spelling(one), entry.id)
    for other, model_id in OTHER_NAMES[field].items():
        known.setdefault(_spelling(other), model_id)
    return known.get(wanted) if wanted else None


def _names_of(entry: Entry) -> tuple[str, ...]:
    return (entry.id, entry.label, *((entry.file,) if entry.file else ()))


def _spelling(name: str) -> str:
    """A name without folders, ending and hash, its letters and digits alone."""
    last = re.split(r"[/\\]", name[:_MOST_LETTERS])[-1]
    plain = re.sub(r"\s*\[\w*\]$", "", last.strip())
    return re.sub(r"[^a-z0-9]+", "", re.sub(r"\.(safetensors|ckpt|pth?|bin)$", "", plain.lower()))
