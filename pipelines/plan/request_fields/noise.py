"""The noise a clip is made from."""

from pipelines.plan.choices import FreeInitFilter, NoiseLayout
from pipelines.plan.request_fields.knobs import Fields, knob


class NoiseFields(Fields):
    """The noise a clip is made from."""

    noise_layout: NoiseLayout = knob(
        NoiseLayout.ONE_DRAW,
        label="Noise",
        help="How the noise of the frames is drawn. One draw: that of the whole clip at once, so that another length "
        "gives another clip. Frame seeds: that of every frame by itself, from the seed, the seed + 1 and so on; a "
        "longer clip begins with the same noise. Repeat: the first window's over and over. Shuffle: the first "
        "window's, put into another order for every later stretch, which repeats less plainly (FreeNoise). "
        "Constant: the same in every frame.",
    )
    draft: int = knob(
        1,
        label="Draft of",
        help="How many times smaller in width and height the clip is than the one whose noise it is made from: that is "
        "drawn in full and made small, so that a draft of 256×256 pixels with 2 looks like the clip of 512×512 of the "
        "same seed. 1 is no draft.",
        ge=1,
        le=4,
        step=1,
    )
    free_init_iterations: int = knob(
        0,
        label="FreeInit rounds",
        help="How often the clip is made. Every round after the first starts from the coarse, slow part of the clip "
        "just made and from fresh noise for the rest, which steadies it and takes as long again. 0 and 1 are off.",
        ge=0,
        le=5,
        step=1,
        affects=("cost",),
    )
    free_init_filter: FreeInitFilter = knob(
        FreeInitFilter.BUTTERWORTH,
        label="FreeInit filter",
        help="How the coarse part is told from the rest. Butterworth and Gaussian fade from one to the other. "
        "Ideal and box cut sharply; box looks at time, height and width each by itself, the others at all together.",
    )
    free_init_order: int = knob(
        4,
        label="FreeInit steepness",
        help="How fast the Butterworth filter fades: the higher, the more like a cut. The others don't use it.",
        ge=1,
        le=100,
        step=1,
    )
    free_init_spatial_stop: float = knob(
        0.25,
        label="FreeInit detail",
        help="How fine a detail of the picture still counts as coarse: 1 is the finest there is. "
        "At 0 nothing is kept, so that a round starts from pure noise.",
        ge=0,
        le=1,
        step=0.01,
    )
    free_init_temporal_stop: float = knob(
        0.25,
        label="FreeInit speed",
        help="How fast a change from frame to frame still counts as slow: 1 is the fastest there is. "
        "At 0 nothing is kept, so that a round starts from pure noise.",
        ge=0,
        le=1,
        step=0.01,
    )
