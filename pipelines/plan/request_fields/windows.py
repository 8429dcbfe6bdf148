"""Fields that cut a long clip into windows."""

from pipelines.plan.choices import ClosedLoop, ContextFuse, ContextSchedule
from pipelines.plan.request_fields.knobs import Fields, knob


class WindowFields(Fields):
    """How a long clip is cut."""

    context_schedule: ContextSchedule = knob(
        ContextSchedule.UNIFORM,
        label="Windows",
        help="How a clip longer than the window is cut. Uniform moves the windows at every step, which hides seams; "
        "static keeps them in place. Looped is uniform around the end, as a closed loop has it. "
        "Batched windows share no frames: fastest, with jumps. Shuffle draws the frames of a window "
        "from the whole clip; composite does so in the first tenth of the steps, then is uniform.",
        affects=("cost", "windows"),
    )
    context_length: int = knob(
        16,
        label="Window length",
        help="Frames the motion module sees at once. It was trained on a fixed number, usually 16.",
        ge=1,
        le=128,
        step=1,
        affects=("cost", "windows", "travel"),
    )
    context_overlap: int = knob(
        -1,
        label="Shared frames",
        help="Frames that neighbouring windows share. More is smoother and slower; -1 means a quarter of the window.",
        ge=-1,
        le=127,
        step=1,
        affects=("cost", "windows"),
    )
    context_stride: int = knob(
        1,
        label="Long-range passes",
        help="Extra passes over every 2nd, 4th, ... frame that hold a long clip together. 1 means none.",
        ge=1,
        le=8,
        step=1,
        affects=("cost", "windows"),
    )
    closed_loop: ClosedLoop = knob(
        ClosedLoop.OFF,
        label="Closed loop",
        help="Whether the end leads back to the beginning, so that the clip repeats without a cut. "
        "Windows: windows may run over the end (batched and shuffled ones never do). Prompts: prompts that change "
        "lead back to the first as well. Full: the end is joined at every step as well, and a clip that fits into "
        "one window is played forth and back; the other kinds leave such a clip as it is.",
        affects=("cost", "windows", "travel"),
    )
    context_fuse: ContextFuse = knob(
        ContextFuse.PYRAMID,
        label="Window weights",
        help="What windows count where they overlap. Pyramid and relative: most in their middle, relative next to "
        "nothing at its ends. Overlap linear: less only over the shared frames. Flat: the same everywhere. "
        "Last: the last window alone, as AUTOMATIC1111's extension has it.",
        affects=("windows",),
    )
