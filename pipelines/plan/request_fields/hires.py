"""Fields of the second pass (hires fix)."""

from pipelines.plan.choices import HiresMethod
from pipelines.plan.request_fields.knobs import Fields, knob


class HiresFields(Fields):
    """A second pass at a larger size."""

    hires_scale: float = knob(
        1.0,
        label="Second pass",
        help="How many times as large a second pass makes the clip, with the same windows and motion module, for "
        "details that the first has no room for. 1 is off; 2 takes four times as long for each step.",
        ge=1,
        le=4,
        step=0.25,
        affects=("cost",),
    )
    hires_strength: float = knob(
        0.5,
        label="Second pass strength",
        help="How much of the enlarged clip the second pass makes anew: 0.3 sharpens it, 0.7 draws new details.",
        gt=0,
        le=1,
        step=0.05,
        affects=("cost",),
    )
    hires_method: HiresMethod = knob(
        HiresMethod.LATENT,
        label="Enlarge as",
        help="What is enlarged between the passes. Latent is fast and leaves more to make anew; pixel enlarges the "
        "decoded pictures, which keeps edges and needs less strength.",
        affects=("cost",),
    )
