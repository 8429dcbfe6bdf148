"""What the fields of a request choose between. Ids are stable; labels live in the page."""

from enum import StrEnum


class Scheduler(StrEnum):
    """The samplers; ids are stable, labels live in the page."""

    DDIM = "ddim"
    EULER = "euler"
    EULER_A = "euler_a"
    DPMPP_2M = "dpmpp_2m"
    LCM = "lcm"


class ContextSchedule(StrEnum):
    """How a clip longer than the window is cut into windows."""

    UNIFORM = "uniform"
    STATIC = "static"
    LOOPED = "looped"
    BATCHED = "batched"
    SHUFFLE = "shuffle"
    COMPOSITE = "composite"


class ClosedLoop(StrEnum):
    """Whether the end of a clip leads back to its beginning; each kind does all of those above it."""

    OFF = "off"
    WINDOWS = "windows"
    PROMPTS = "prompts"
    FULL = "full"


class Reverse(StrEnum):
    """Whether the clip is played back to its beginning, and which of the frames that would then stand twice go.

    The head is the first of the frames played back, the last frame once more; the tail is the last of them, the first
    frame once more.
    """

    OFF = "off"
    APPEND = "append"
    DROP_HEAD = "drop_head"
    DROP_TAIL = "drop_tail"
    DROP_BOTH = "drop_both"


class ContextFuse(StrEnum):
    """What the windows count where they overlap."""

    PYRAMID = "pyramid"
    FLAT = "flat"
    OVERLAP_LINEAR = "overlap_linear"
    RELATIVE = "relative"
    LAST = "last"


class NoiseLayout(StrEnum):
    """How the noise of the frames is drawn."""

    ONE_DRAW = "one_draw"
    FRAME_SEEDS = "frame_seeds"
    REPEAT = "repeat"
    SHUFFLE = "shuffle"
    CONSTANT = "constant"


class FreeInitFilter(StrEnum):
    """Which frequencies of a finished clip the next one starts from."""

    BUTTERWORTH = "butterworth"
    GAUSSIAN = "gaussian"
    IDEAL = "ideal"
    BOX = "box"


class PromptBlend(StrEnum):
    """How a prompt that travels turns from one text into the next."""

    LERP = "lerp"
    SLERP = "slerp"


class MotionNorm(StrEnum):
    """Whose group norms are computed."""

    ORIGINAL = "original"
    DIFFUSERS = "diffusers"


class OutputFormat(StrEnum):
    """Kinds of files a clip can be written as."""

    MP4 = "MP4"
    GIF = "GIF"
    PNG = "PNG"
