"""Fields of finishing and output files."""

from pipelines.plan.choices import ColorMatch, GifOptimize, Interpolation, Mp4Preset, Mp4Tune, OutputFormat, Reverse
from pipelines.plan.request_fields.knobs import Fields, knob

MAX_OUTPUT_SIDE = 4096
"""The longest side that H.264 and browsers agree on, pixels."""


class OutputFields(Fields):
    """Finishing, in order: colours, reverse, interpolation, enlargement, files."""

    color_match: ColorMatch = knob(
        ColorMatch.OFF,
        label="Match colours",
        help="Give every frame the mean and spread of colours of the clip's first frame, or of the source clip's "
        "frame, so that they don't drift.",
        affects=("cost",),
    )
    reverse: Reverse = knob(
        Reverse.OFF,
        label="Boomerang",
        help="Play the clip back to its beginning behind its end. The last frame then stands twice, and where the "
        "clip repeats the first one, too: drop the head, the tail or both of the part played back.",
        affects=("cost",),
    )
    interpolation: Interpolation = knob(
        Interpolation.OFF,
        label="In-between frames",
        help="Draw frames between those that were made, which moves more smoothly. Flow follows how pixels move and "
        "needs no model; FILM is a network that draws large movements better and is downloaded once.",
        affects=("cost",),
    )
    interpolation_frames: int = knob(
        1,
        label="Frames in between",
        help="How many frames to insert between two that were made; in a loop also between the last and the first.",
        ge=1,
        le=16,
        step=1,
        affects=("cost",),
    )
    keep_duration: bool = knob(
        True,
        label="Keep duration",
        help="With frames in between, play more frames a second and hold the last one, so that the clip takes exactly "
        "as long as before. Off, the frames a second stay, which is slow motion.",
        affects=("cost",),
    )
    upscale_by: float = knob(
        1.0,
        label="Enlarge",
        help="How many times as large the finished pictures become; 1 leaves them. Nothing is drawn anew.",
        ge=1,
        le=4,
        step=0.25,
        affects=("cost",),
    )
    upscaler: str = knob(
        "lanczos",
        label="Enlarge with",
        help="Lanczos, which only interpolates, or a super-resolution model from the folder of models.",
        min_length=1,
        max_length=300,
        fix="Choose one of the list",
        affects=("cost",),
    )
    formats: tuple[OutputFormat, ...] = knob(
        (OutputFormat.MP4,),
        label="Formats",
        help="Kinds of files to write; the first is the clip that is shown.",
        min_length=1,
        max_length=len(OutputFormat),
        affects=("cost",),
    )
    loop_count: int = knob(
        0,
        label="Plays",
        help="How often a GIF, WebP or APNG plays; 0 is without end. Videos leave that to their player.",
        ge=0,
        le=65535,
        step=1,
    )
    max_file_mb: float = knob(
        0.0,
        label="Largest file, MB",
        help="No file of a clip may be larger than so many million bytes, such as 10 for a chat: quality is lowered "
        "until it fits. 0 sets no limit. Formats without loss, PNG and APNG, are left as they are.",
        ge=0,
        le=10_000,
        step=0.5,
        affects=("cost",),
    )
    mp4_crf: int = knob(
        18,
        label="MP4 quality (CRF)",
        help="Lower is better and larger: 18 looks like the frames, 28 is small. 0 loses only colour resolution, but "
        "few browsers play it.",
        ge=0,
        le=51,
        step=1,
    )
    mp4_preset: Mp4Preset = knob(
        Mp4Preset.MEDIUM, label="MP4 preset", help="Slower ones make smaller files of the same quality."
    )
    mp4_tune: Mp4Tune = knob(
        Mp4Tune.NONE,
        label="MP4 tune",
        help="What the encoder is to expect: film, flat animation, or grain that must stay.",
    )
    webm_crf: int = knob(
        31, label="WebM quality (CRF)", help="Lower is better and larger; 31 is usual.", ge=0, le=63, step=1
    )
    webp_quality: int = knob(80, label="WebP quality", help="Higher is better and larger.", ge=1, le=100, step=1)
    webp_lossless: bool = knob(False, label="WebP without loss", help="Keep every pixel as it is; files are large.")
    gif_palette: bool = knob(
        True,
        label="GIF palette of its own",
        help="Choose the 256 colours that suit the whole clip best. Off, the same colours serve every clip: faster, "
        "and coarser.",
    )
    gif_optimize: GifOptimize = knob(
        GifOptimize.OFF,
        label="Optimise GIF",
        help="Have gifsicle make the GIF smaller: without loss, or with pixels that change a little.",
    )
    gif_lossiness: int = knob(
        80,
        label="GIF lossiness",
        help="How much pixels may change where the GIF is optimised with loss.",
        ge=1,
        le=200,
        step=1,
    )
