"""Find models by the names, spelt loosely, that other programs write."""

import re
from collections.abc import Callable, Iterator, Sequence

from pipelines.plan import catalog
from pipelines.plan.catalog_entries import Entry

_LISTS: dict[str, Callable[[], Sequence[Entry]]] = {
    "base_model": catalog.base_models,
    "motion_module": catalog.motion_modules,
    "vae": catalog.vaes,
    "controlnet": catalog.controlnets,
    "ip_adapter": catalog.ip_adapters,
    "lora": catalog.loras,
}
_MOST_LETTERS = 300
_ENDING = re.compile(r"(\.vae)?\.(safetensors|ckpt|pth?|bin)$")
_PRECISION = re.compile(r"[._ -](fp16|f16|bf16|fp32|f32)$")
_NO_NAMES = {"pytorch_lora_weights.safetensors"}  # files that every repository has
_HASH = re.compile(r"\s*[\[(][0-9a-f]{6,64}[\])]$")


def model_named(field: str, name: str) -> str | None:
    """Find the model that a name means.

    A file in the operator's folder comes before what the catalog has.

    Args:
        field: `base_model`, `motion_module`, `vae`, `controlnet`, `ip_adapter` or `lora`.
        name: A file's name, perhaps with folders before it and a short hash in brackets behind.

    Returns:
        Its id; None if there is none.

    Example:
        >>> model_named("motion_module", "mm_sd15_v3.safetensors [fcc6d9c8]")
        'guoyww/animatediff/v3_sd15_mm.ckpt'
        >>> model_named("controlnet", "control_v11p_sd15_canny_fp16")
        'lllyasviel/control_v11p_sd15_canny'
    """
    id_by_spelling: dict[str, str] = {}
    is_file = bool(_ENDING.search(_HASH.sub("", name.strip().lower())))
    for entry in sorted(_LISTS[field](), key=lambda entry: entry.source != "local"):
        # A file called 'tile' is some tile model; only who types the word can mean the label.
        for alias in (*_files_of(entry), *(() if is_file else (entry.label,))):
            for spelling in _spellings(alias):
                id_by_spelling.setdefault(spelling, entry.id)
    return next((id_by_spelling[spelling] for spelling in _spellings(name) if spelling in id_by_spelling), None)


def _files_of(entry: Entry) -> tuple[str, ...]:
    file = entry.file if entry.file not in _NO_NAMES else None
    return (entry.id, *((file,) if file else ()), *entry.aliases)


def _spellings(name: str) -> Iterator[str]:
    """Yield a name's bare letters and digits, with folders, then without."""
    plain = _HASH.sub("", name[:_MOST_LETTERS].strip().lower())
    plain = _PRECISION.sub("", _ENDING.sub("", plain))
    for part in (plain, re.split(r"[/\\]", plain)[-1]):
        if spelling := re.sub(r"[\W_]+", "", part):
            yield spelling
