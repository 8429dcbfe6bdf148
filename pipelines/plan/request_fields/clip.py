"""Fields that every clip needs: words, seed, size and models."""

from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from pipelines.plan.choices import PromptBlend, Scheduler
from pipelines.plan.rates import read_rate
from pipelines.plan.request_fields.knobs import Fields, knob

MAX_NUM_FRAMES = 10_000
MAX_SIDE = 1024
MAX_PROMPT_CHARACTERS = 20_000
MAX_SEED = 2**32 - 1


Rate = Annotated[
    Fraction,
    BeforeValidator(read_rate),
    PlainSerializer(lambda rate: rate.numerator if rate.denominator == 1 else str(rate), return_type=int | str),
]


class ClipFields(Fields):
    """Fields that every clip needs."""

    prompt: str = knob(
        "",
        label="Prompt",
        help="What the clip shows. (word:1.3) makes a word count more, (word:0.7) less; "
        "`<lora:name:0.8>` adds a LoRA or textual inversion. Lines such as 0: spring and 8: summer are keys: "
        "the text at a frame, which turns into the next key's, and so does the weight of a LoRA. Lines before "
        "and after all keys belong to every one. May be empty.",
        max_length=MAX_PROMPT_CHARACTERS,
        fix="Shorten the prompt",
    )
    negative_prompt: str = knob(
        "",
        label="Negative prompt",
        help="What the clip should not show. Works only with a guidance above 1. "
        "Of tags, only those of textual inversions belong here. May have keys, as the prompt.",
        max_length=MAX_PROMPT_CHARACTERS,
        fix="Shorten the negative prompt",
    )
    prompt_blend: PromptBlend = knob(
        PromptBlend.LERP,
        label="Prompt blend",
        help="How one key's text turns into the next. Lerp goes straight, which weakens both in the middle; "
        "slerp goes along an arc, which keeps their strength.",
    )
    prompt_hold: float = knob(
        0.0,
        label="Prompt hold",
        help="How much of the way to the next key every key of the prompts stays as it is. 0 changes all the way, "
        "1 jumps at the next key.",
        ge=0,
        le=1,
        step=0.05,
        affects=("travel",),
    )
    seed: int = knob(
        ...,
        label="Seed",
        help="The number the noise is drawn from. The same seed and settings give the same clip; -1 draws a new one.",
        ge=0,
        le=MAX_SEED,
        fix="Use -1 to draw one",
        affects=("windows",),
    )
    num_frames: int = knob(
        16,
        label="Frames",
        help="Length of the clip in frames. Beyond the window length it is made in overlapping windows, "
        "which takes longer but no more memory. 0 is the source clip's length, or else a window's.",
        ge=1,
        le=MAX_NUM_FRAMES,
        step=1,
        affects=("cost", "windows", "falloff", "travel"),
    )
    fps: Rate = knob(
        Fraction(8),
        label="Frames per second",
        help="How fast the clip plays. 23.976, 29.97 and 59.94 mean television's exact rates, 24000/1001 and so on.",
        gt=0,
        le=120,
        step=1,
    )
    width: int = knob(
        512,
        label="Width",
        help="Picture width in pixels. Pictures and clips that are given are fitted to it.",
        ge=64,
        le=MAX_SIDE,
        multiple_of=8,
        step=8,
        affects=("cost",),
    )
    height: int = knob(
        512,
        label="Height",
        help="Picture height in pixels. Pictures and clips that are given are fitted to it.",
        ge=64,
        le=MAX_SIDE,
        multiple_of=8,
        step=8,
        affects=("cost",),
    )
    base_model: str = knob(
        "demo",
        label="Base model",
        help="The model that draws the pictures.",
        min_length=1,
        max_length=300,
        fix="Choose one of the list",
        affects=("cost",),
    )
    motion_module: str = knob(
        "demo",
        label="Motion module",
        help="The model that makes the pictures move; it must be made for the same kind of base model.",
        min_length=1,
        max_length=300,
        fix="Choose one of the list",
        affects=("cost",),
    )
    vae: str = knob(
        "",
        label="VAE",
        help="What turns latents into pictures; empty for the base model's own.",
        max_length=300,
        fix="Choose one of the list",
        affects=("cost",),
    )
    num_inference_steps: int = knob(
        25,
        label="Steps",
        help="Denoising steps. More is slower and, up to a point, cleaner.",
        ge=1,
        le=150,
        step=1,
        affects=("cost", "windows"),
    )
    guidance_scale: float = knob(
        7.5,
        label="Guidance",
        help="How strongly the clip follows the prompt. 1 turns guidance off and halves the time; "
        "too much burns colours.",
        ge=1,
        le=30,
        step=0.1,
        affects=("cost",),
    )
    scheduler: Scheduler = knob(
        Scheduler.DDIM,
        label="Sampler",
        help="The method that turns noise into pictures.",
        affects=("cost",),
    )
    clip_skip: int = knob(
        0,
        label="CLIP skip",
        help="How many of the text encoder's last layers are left out. 0 uses all of them; "
        "1 is what other programs call 'clip skip 2'.",
        ge=0,
        le=11,
        step=1,
    )
