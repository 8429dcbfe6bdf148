"""A draft of a clip: the same noise, small and in few steps, to see what comes before it is made in full. No torch."""

import math

from pipelines.catalog import find_base_model
from pipelines.choices import Interpolation, Scheduler
from pipelines.request import GenerationRequest

STEPS = 8
STEPS_LCM = 4
_FACTORS = (4, 2)
_UNIT = 8  # pixels; sizes are multiples of it


def draft_of(request: GenerationRequest) -> GenerationRequest:
    """The request of a clip's draft, which is quicker and should look like it.

    It is smaller where its size stays at least half of what its model was made for: below, models draw something else.
    There is no second pass, no FreeInit and nothing enlarged or drawn in between.

    Raises:
        InvalidRequestError: The base model is not one of the list.

    Example:
        >>> draft = draft_of(GenerationRequest.build(seed=0, base_model="demo", width=256, height=256))
        >>> draft.width, draft.draft, draft.num_inference_steps
        (64, 4, 8)
    """
    factor = _factor(request)
    fewest = STEPS_LCM if request.scheduler is Scheduler.LCM else STEPS
    if request.starts_from_pictures:  # `strength` has to leave one
        fewest = max(fewest, math.ceil(1 / request.strength) + 1)
    changes = {
        "draft": request.draft * factor,
        "width": request.width // factor,
        "height": request.height // factor,
        "num_inference_steps": min(request.num_inference_steps, fewest),
        "hires_scale": 1.0,
        "free_init_iterations": 0,
        "upscale_by": 1.0,
        "interpolation": Interpolation.OFF,
    }
    return GenerationRequest.build(**request.model_dump() | changes)


def _factor(request: GenerationRequest) -> int:
    """How many times smaller each side may be."""
    base = find_base_model(request.base_model)
    for factor in _FACTORS:
        whole = request.width % (_UNIT * factor) == 0 == request.height % (_UNIT * factor)
        small = request.width * 2 < base.width * factor or request.height * 2 < base.height * factor
        if whole and not small and request.draft == 1:
            return factor
    return 1
