"""Private names of diffusers, read from 0.42; no other module uses any.

`_step_index` and the rest of a scheduler's memory: a run is taken up from a file, and a step taken on a stretch of a
clip, while diffusers can start a scheduler at a step (`set_begin_index`) but not with what it remembers of others.
"""

from collections.abc import Callable
from copy import copy

import torch
from diffusers import SchedulerMixin

_MEMORY = ("_step_index", "model_outputs", "lower_order_nums")
"""What a scheduler carries from step to step. Everything else follows from its config and the step count."""


def scheduler_memory(scheduler: SchedulerMixin) -> dict[str, object]:
    """Copy a scheduler's memory; tensors are shared, as no step changes them."""
    return {name: copy(getattr(scheduler, name)) for name in _MEMORY if hasattr(scheduler, name)}


def set_scheduler_memory(
    scheduler: SchedulerMixin, memory: dict[str, object], part: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> None:
    """Set a scheduler's memory, of the clip or a part of it."""
    for name, value in memory.items():
        if isinstance(value, list):
            value = [part(tensor) if part and tensor is not None else tensor for tensor in value]
        setattr(scheduler, name, value)
