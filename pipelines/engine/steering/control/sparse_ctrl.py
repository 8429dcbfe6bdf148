"""SparseCtrl encoders: pictures of few frames guide all (arXiv:2311.16933).

The authors publish two, as pickles with names of their own: one follows pictures (`rgb`, as latents), one
follows drawings (`scribble`). diffusers' `SparseControlNetModel` holds their weights, but its motion layers
take GroupNorm over the whole clip, 14 % off for `rgb`; `MotionModule` computes them as the authors do.
"""

import math
from pathlib import Path

import torch
from diffusers import SparseControlNetModel

from pipelines.engine.interruptible import watch
from pipelines.engine.motion.files import NORM_GROUPS, absent_positions, layout_of
from pipelines.engine.motion.layers import MotionState, replace_motion_layers
from pipelines.engine.weights.reading import missing, not_whole, read_folder, read_shapes, read_weights, require_layout
from pipelines.engine.weights.scaled import refuse_whole_numbers
from pipelines.plan.findings import Finding
from pipelines.plan.model_files.kinds import WeightsKind, tell_kind, wrong_kind
from pipelines.plan.motion_layout import Shapes, count_blocks, count_positions, rename_motion

FIELD = "controls"
_POSITIONS = 32  # frames of both published encoders, should a file hold no table
_SIMPLE = "controlnet_cond_embedding.weight"  # rgb has this one layer where scribble has a small network
_EMBEDDING = "controlnet_cond_embedding.{}.weight"


def load_sparse_ctrl(path: str | Path, *, dtype: torch.dtype | None = None) -> SparseControlNetModel:
    """Load a SparseCtrl encoder, either published kind.

    Args:
        path: The authors' file (.ckpt, .safetensors and the like), or a diffusers folder.
        dtype: The number type to hold it in; as stored by default.

    Returns:
        The encoder on the CPU, frozen, given the file's tensors without a copy. Its `motion_state` tells the
        motion layers whose norm to compute.

    Raises:
        WeightsError: It is missing, damaged, unsafe, not whole, or no SparseCtrl encoder; the text says what it is.
    """
    path = Path(path)
    file, config = path, None
    if path.is_dir() or not path.suffix:
        kind, what = "SparseControlNetModel", str(WeightsKind.SPARSE_CTRL)
        file, config = read_folder(path, kind=kind, what=what, field=FIELD, name=path.name)
    stored = read_shapes(file, field=FIELD)
    file_kind = tell_kind(stored)
    if file_kind is not WeightsKind.SPARSE_CTRL:
        raise wrong_kind(file_kind, field=FIELD, name=path.name, expected=WeightsKind.SPARSE_CTRL)
    names = {name: name for name in stored} | rename_motion(stored)
    encoder = _empty_encoder({new: stored[old] for old, new in names.items()}, config, path.name)
    tensors = read_weights(file, field=FIELD, dtype=dtype)
    weights = {new: tensors[old] for old, new in names.items()}
    refuse_whole_numbers(weights, field=FIELD, file=path.name)
    encoder.load_state_dict(weights | absent_positions(encoder, weights), assign=True)
    watch(encoder)
    return encoder.requires_grad_(False).eval()


def _empty_encoder(shapes: Shapes, config: dict[str, object] | None, name: str) -> SparseControlNetModel:
    """Build the encoder without memory, or refuse the file's layout."""
    words = {"what": "SparseCtrl encoder", "field": FIELD, "name": name}
    try:
        with torch.device("meta"):
            encoder = SparseControlNetModel.from_config(config or _config(shapes))
    except KeyError as err:
        raise not_whole(missing(err), **words) from err
    except (ValueError, TypeError, ZeroDivisionError, RuntimeError) as err:
        raise not_whole(Finding("weights.makes_no_network", "its layers make no encoder"), **words) from err
    require_layout(shapes, layout_of(encoder, shapes), **words)
    encoder.motion_state = MotionState()
    replace_motion_layers(encoder, encoder.motion_state)
    return encoder


def _config(shapes: Shapes) -> dict[str, object]:
    """Derive `SparseControlNetModel`'s arguments from shapes, else from SD 1.5."""
    channels = [shapes[f"down_blocks.{block}.resnets.0.conv1.weight"][0] for block in range(count_blocks(shapes))]
    first = shapes.get(_SIMPLE) or shapes[_EMBEDDING.format("conv_in")]
    widening = [_EMBEDDING.format(f"blocks.{i}") for i in range(1, len(shapes), 2)]  # every other layer
    return {
        "block_out_channels": channels,
        "cross_attention_dim": shapes["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"][1],
        "norm_num_groups": math.gcd(NORM_GROUPS, *channels),
        "motion_max_seq_length": count_positions(shapes) or _POSITIONS,
        "use_simplified_condition_embedding": _SIMPLE in shapes,
        "conditioning_channels": first[1] - 1,  # the last one is the mask of the frames that have a picture
        "conditioning_embedding_out_channels": [first[0], *(shapes[key][0] for key in widening if key in shapes)],
    }
