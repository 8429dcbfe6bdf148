"""Identify a motion module's family, blocks and positions by its tensors.

A family is told by the tensors, never by the file's name. Two things they can't tell: how many steps a Lightning
module was distilled for (its file name says it), and what a file was made from when a later one has the same layout
(a catalog row or the file's own header says it).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pipelines.plan.motion_families import (
    ANIMATE_LCM,
    ANIMATE_LCM_I2V,
    FAMILIES,
    HOTSHOT_XL,
    LIGHTNING,
    LONG,
    LONG_32,
    PIA,
    SDXL_BETA,
    V1,
    V2,
    V3,
    MotionFamily,
)

Shapes = Mapping[str, tuple[int, ...]]

_POSITIONS = ".pos_embed.pe"
_SD15_BLOCKS = 4
_LATENT_CHANNELS = 4
_RENAMES = (
    (r"^unet\.", ""),
    (r"\.temporal_attentions\.", ".motion_modules."),
    (r"\.positional_encoding$", ".pe"),
    (r"\.temporal_transformer\.", "."),
    (r"\.attention_blocks\.0\.pos_encoder\.", ".pos_embed."),
    (r"\.attention_blocks\.0\.", ".attn1."),
    (r"\.attention_blocks\.1\.", ".attn2."),
    (r"\.norms\.0\.", ".norm1."),
    (r"\.norms\.1\.", ".norm2."),
    (r"\.ff_norm\.", ".norm3."),
)
_SECOND_POSITIONS = ".attention_blocks.1.pos_encoder."  # the authors store the same table once more
FAMILY_NOTE = "motion_family"
"""The note in a file's header that says its family where its tensors can't."""


def rename_motion(names: Iterable[str]) -> dict[str, str]:
    """Map stored to diffusers' names, ignoring layers other than motion's.

    Example:
        >>> rename_motion(["up_blocks.1.motion_modules.2.temporal_transformer.proj_in.bias"])
        {'up_blocks.1.motion_modules.2.temporal_transformer.proj_in.bias': 'up_blocks.1.motion_modules.2.proj_in.bias'}
    """
    renamed = {}
    for stored in names:
        name = stored
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        if ".motion_modules." in name and _SECOND_POSITIONS not in stored:
            renamed[stored] = name
    return renamed


def tell_family(stored: Shapes, notes: Mapping[str, str], *, file_name: str = "") -> MotionFamily:
    """Tell the family of a motion module.

    Args:
        stored: Shapes of its tensors, under the names they have in the file.
        notes: What the file's header says about it.
        file_name: Looked at for Lightning's step count alone.

    Returns:
        The family, its `max_positions` the file's own.

    Example:
        >>> pe = "down_blocks.3.motion_modules.0.temporal_transformer.attention_blocks.0.pos_encoder.pe"
        >>> tell_family({pe: (1, 24, 1280)}, {}).name
        'AnimateDiff v1'
    """
    shapes = {new: stored[old] for old, new in rename_motion(stored).items()}
    positions = count_positions(shapes)
    family = FAMILIES.get(notes.get(FAMILY_NOTE, "")) or _family(stored, shapes, positions, file_name.lower())
    return replace(family, max_positions=positions or family.max_positions)


def _family(stored: Shapes, shapes: Shapes, positions: int | None, file_name: str) -> MotionFamily:
    has_mid = any(name.startswith("mid_block.") for name in shapes)
    is_xl = count_blocks(shapes) < _SD15_BLOCKS and not has_mid
    is_hotshot = positions == HOTSHOT_XL.max_positions or any(".temporal_attentions." in name for name in stored)
    steps = re.search(r"lightning_([1248])step", file_name)
    rules = (
        (is_xl and is_hotshot, HOTSHOT_XL),
        (is_xl, SDXL_BETA),
        (any(name.startswith("img_encoder.") for name in stored), ANIMATE_LCM_I2V),
        (stored.get("conv_in.weight", ())[1:2] > (_LATENT_CHANNELS,), PIA),
        (positions is None, ANIMATE_LCM),
        (has_mid and steps is not None, LIGHTNING[int(steps[1])] if steps else V2),
        (has_mid and (positions or 0) > LONG_32.max_positions, LONG),
        (has_mid and positions == LONG_32.max_positions, LONG_32),
        (has_mid, V2),
        ((positions or 0) > V1.max_positions, V3),
    )
    return next((family for applies, family in rules if applies), V1)


def count_positions(shapes: Shapes) -> int | None:
    """Count the stored table's positions in frames; None without a table."""
    return next((shape[1] for name, shape in shapes.items() if name.endswith(_POSITIONS) and len(shape) > 1), None)


def count_blocks(shapes: Shapes) -> int:
    """Count down blocks with motion layers: SD 1.5 has four, SDXL three."""
    return 1 + max((int(match[1]) for name in shapes if (match := re.match(r"down_blocks\.(\d+)\.", name))), default=-1)
