"""Fields of input pictures and clips."""

from pipelines.plan.image_fit import ImageFit
from pipelines.plan.request_fields.knobs import Fields, Sha256, knob
from pipelines.plan.request_fields.units import ControlUnit, ImagePrompt


class InputFields(Fields):
    """Inputs that a clip is made from or steered by, beside words."""

    first_frame: Sha256 = knob(
        "",
        label="First frame",
        help="A picture that the clip begins with.",
        fix="Choose the picture again",
    )
    last_frame: Sha256 = knob(
        "",
        label="Last frame",
        help="A picture that the clip ends with. Needs a first frame.",
        fix="Choose the picture again",
    )
    latent_power: float = knob(
        1.0,
        label="Curve",
        help="How the first frame's hold on the clip fades: 1 evenly, above 1 late and then fast, below 1 at once.",
        ge=0.1,
        le=10,
        step=0.1,
        affects=("falloff",),
    )
    latent_scale: float = knob(
        32.0,
        label="Image holds for",
        help="After how many frames nothing of the first frame is left, with a curve of 1. "
        "With another curve, its power: 32 and a curve of 2 make 5.7 frames.",
        ge=1,
        le=128,
        step=1,
        affects=("falloff",),
    )
    latent_power_last: float = knob(
        1.0,
        label="Curve, last frame",
        help="As the curve, counted back from the last frame.",
        ge=0.1,
        le=10,
        step=0.1,
        affects=("falloff",),
    )
    latent_scale_last: float = knob(
        32.0,
        label="Last image holds for",
        help="As for the first frame, counted back from the last.",
        ge=1,
        le=128,
        step=1,
        affects=("falloff",),
    )
    noise_floor: float = knob(
        0.25,
        label="Room for motion",
        help="The least share of noise in the frames behind a first picture, and between two. At 0, as other programs "
        "have it, the first frames stay nearer to the picture, and two with the usual curves make a mere cross-fade.",
        ge=0,
        le=1,
        step=0.05,
        affects=("falloff",),
    )
    exact_ends: bool = knob(
        True,
        label="Exact first frame",
        help="Keep the first and the last picture as they are: they are put back after every step. Off, they only "
        "shine through the noise, as in other programs.",
    )
    source_video: Sha256 = knob(
        "",
        label="Source clip",
        help="A clip that the result is made from, or that steers it.",
        fix="Choose the clip again",
    )
    source_start: int = knob(
        0,
        label="Start at frame",
        help="Frames of the source clip to leave out at its beginning.",
        ge=0,
        le=10_000_000,
        step=1,
    )
    source_every: int = knob(
        1,
        label="Every n-th frame",
        help="Use every frame of the source clip, or every second, third, …",
        ge=1,
        le=1_000,
        step=1,
    )
    keep_audio: bool = knob(
        False,
        label="Keep the sound",
        help="Put the source clip's sound under the result, in MP4s at the source's frame rate.",
    )
    strength: float = knob(
        0.8,
        label="Strength",
        help="How much of the picture or source clip is made anew: 0.2 little, 1 everything, so that only control "
        "units follow it.",
        gt=0,
        le=1,
        step=0.05,
    )
    image_fit: ImageFit = knob(
        ImageFit.CROP,
        label="Fit",
        help="What is done with pictures of another shape: cut off what is too much, add bars, or stretch.",
    )
    mask: Sha256 = knob(
        "",
        label="Mask",
        help="A picture, or a clip as long as the source or the result, that says where the source may change: "
        "white changes, black stays.",
        fix="Choose the mask again",
    )
    mask_feather: int = knob(
        4,
        label="Soft edge",
        help="Over how many pixels the mask's edge is softened, inwards.",
        ge=0,
        le=128,
        step=1,
    )
    controls: tuple[ControlUnit, ...] = knob(
        (),
        label="Control units",
        help="ControlNets and SparseCtrls that steer the clip, each with a clip or picture of its own or the source.",
        max_length=4,
        fix="Use at most 4",
    )
    image_prompts: tuple[ImagePrompt, ...] = knob(
        (),
        label="Image prompts",
        help="IP-Adapters: pictures that say what to show, as a prompt does in words.",
        max_length=2,
        fix="Use at most 2",
    )
