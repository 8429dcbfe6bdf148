"""Choices of the request's fields; ids are stable, labels elsewhere."""

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
    """Whether a clip's end leads back; each kind includes those above."""

    OFF = "off"
    WINDOWS = "windows"
    PROMPTS = "prompts"
    FULL = "full"


class Reverse(StrEnum):
    """Whether the clip is played back, and which doubled frames are dropped.

    The head is the first of the frames played back, the last frame once more; the tail is the last of them, the first
    frame once more.
    """

    OFF = "off"
    APPEND = "append"
    DROP_HEAD = "drop_head"
    DROP_TAIL = "drop_tail"
    DROP_BOTH = "drop_both"


class ContextFuse(StrEnum):
    """Weights of windows where they overlap."""

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


class HiresMethod(StrEnum):
    """How a clip becomes larger before its second pass."""

    LATENT = "latent"
    PIXEL = "pixel"


class Interpolation(StrEnum):
    """Who draws the frames between the frames that were made."""

    OFF = "off"
    FLOW = "flow"
    FILM = "film"


class ColorMatch(StrEnum):
    """Whose colours all frames of a clip take on."""

    OFF = "off"
    FIRST = "first"
    SOURCE = "source"


class OutputFormat(StrEnum):
    """Kinds of files a clip can be written as."""

    MP4 = "MP4"
    GIF = "GIF"
    WEBP = "WEBP"
    WEBM = "WEBM"
    APNG = "APNG"
    PNG = "PNG"
    TXT = "TXT"


class Mp4Preset(StrEnum):
    """Effort of the MP4 encoder, as libx264's `preset`."""

    VERYSLOW = "veryslow"
    SLOWER = "slower"
    SLOW = "slow"
    MEDIUM = "medium"
    FAST = "fast"
    FASTER = "faster"
    VERYFAST = "veryfast"
    SUPERFAST = "superfast"
    ULTRAFAST = "ultrafast"


class Mp4Tune(StrEnum):
    """Kind of pictures for the MP4 encoder, as libx264's `tune`."""

    NONE = "none"
    FILM = "film"
    ANIMATION = "animation"
    GRAIN = "grain"


class GifOptimize(StrEnum):
    """Whether gifsicle shrinks a GIF, and whether pixels may change."""

    OFF = "off"
    LOSSLESS = "lossless"
    LOSSY = "lossy"
