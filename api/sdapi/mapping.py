"""Translate a body of AUTOMATIC1111's API into checked requests."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from api.recipes.model_names import model_named
from api.recipes.plain_args import is_nothing
from api.recipes.sampler_names import SAMPLER_NAMES, SCHEDULES, sampler_named, schedule_named
from api.recipes.webui_args import WebuiArgs, fields_of_args
from api.sdapi.controlnet import units_of
from api.sdapi.faults import in_callers_words, refuse
from api.sdapi.inputs import FILES, inputs_of
from api.sdapi.models import Img2Img, Options, Txt2Img, is_neutral
from api.sdapi.scripts import read_scripts
from api.sdapi.second_pass import second_pass
from api.sdapi.unused_keys import unused_notes
from pipelines.plan import catalog
from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Place
from pipelines.plan.prompt.dialect import foreign_notes
from pipelines.plan.request import GenerationRequest, field_bounds
from pipelines.plan.request_fields.clip import MAX_SIDE
from pipelines.plan.settings import MAX_CLIPS
from studio.batch import build_batch
from studio.fields import FieldValues

RETURNED = (OutputFormat.GIF, OutputFormat.MP4, OutputFormat.WEBP, OutputFormat.WEBM, OutputFormat.APNG)
"""The formats whose files are answered, in this order."""

_FRAME = "Frame"
MIN_SIDE = 64
# Settings of the program and of what it writes, which change no picture.
_OF_THE_PROGRAM = re.compile(
    r"(?:samples_|grid_|save_|return_|do_not_|outdir_|jpeg_|webp_|png_|live_preview|show_|send_|enable_pnginfo|add_"
    r"|memmon|sd_checkpoint|sd_vae_|pad_cond|batch_cond|always_batch|cross_attention|persistent_cond|forge_|animatediff_"
    r"|control_net_|export_|notification|interrogate_|hide_|ui_|gallery_|js_|img2img_color|face_restor|randn_source"
    r"|code_former|upcast_attn|multiple_tqdm|textual_inversion_|auto_launch|ESRGAN_|DAT_|SWIN_|sdxl_refiner_|dimensions_"
    r"|upscal|xformers|use_downcasted|cache_fp16|list_|quicksettings|extra_networks_(?:card|show|hidden|add)|settings_)"
)
# Those that would, at the host's own defaults.
_DEFAULTS = {
    "eta_ancestral": "1",
    "s_noise": "1",
    "initial_noise_multiplier": "1",
    "inpainting_mask_weight": "1",
    "extra_networks_default_multiplier": "1",
    "img2img_background_color": "#ffffff",
    "uni_pc_variant": "bh1",
    "uni_pc_skip_type": "time_uniform",
    "uni_pc_order": "3",
    "comma_padding_backtrack": "20",
    "emphasis": "original",
    "enable_emphasis": "true",
    "enable_batch_seeds": "true",
    "sd_noise_schedule": "default",
    "beta_dist_alpha": "0.6",
    "beta_dist_beta": "0.6",
    "fp8_storage": "disable",
    "uni_pc_lower_order_final": "true",
}


@dataclass(frozen=True)
class Call:
    """A call, as read from a body.

    Args:
        requests: A clip or picture each, which differ in their seeds.
        is_clip: Whether AnimateDiff is switched on; without it a request is a single picture.
        with_frames: Whether the frames are answered, too, of the last clip.
        notes: What of the body has no meaning here, in words.
    """

    requests: list[GenerationRequest]
    is_clip: bool
    with_frames: bool
    notes: list[str]


def read_call(body: Txt2Img | Img2Img, *, base_model: str | None = None) -> Call:
    """Read a body into a call.

    Args:
        body: Checked key by key.
        base_model: The model where the body names none; None for the catalog's default.

    Raises:
        KeyFaultError: A value has no counterpart, or what it names is not here.
        InvalidRequestError: The request that comes of it breaks a rule.
    """
    scripts = read_scripts(body)
    args = scripts.animatediff
    sides, notes = _sides(body)
    values = _plain(body) | _settings(body.override_settings or {}) | sides
    values.setdefault("base_model", base_model)
    units, extra_notes = units_of(
        scripts.units, scripts.units_place, width=sides.get("width"), height=sides.get("height")
    )
    notes += extra_notes
    with_frames = True
    if args is None:
        values |= {"num_frames": 1, "motion_effect": 0, "formats": [OutputFormat.PNG]}
    else:
        formats, with_frames = _formats(args, scripts.animatediff_place)
        extra_fields, extra_notes = _motion(args, scripts.animatediff_place)
        values |= extra_fields | {"formats": formats}
        notes += extra_notes
    notes += _schedules(body) + unused_notes(body)
    extra_fields, extra_notes = inputs_of(body, args, scripts.animatediff_place, units)
    values |= extra_fields
    notes += extra_notes
    values |= {name: entries for name, entries in units.by_field().items() if entries}
    count = _count(body, is_clip=args is not None)
    try:
        requests = build_batch(values, batch_count=count)
    except InvalidRequestError as err:
        raise in_callers_words(err, scripts.animatediff_place, units.places_by_field()) from err
    notes += foreign_notes(body.prompt, body.negative_prompt or "")
    return Call(requests, args is not None, with_frames, notes)


def chosen_model(options: Options) -> str | None:
    """Read the base model for later calls from settings; None if absent.

    Raises:
        KeyFaultError: It is not here, or a setting holds for single calls alone.
    """
    extras = options.model_extra or {}
    for key in extras:
        if key.startswith("outdir_"):
            raise refuse((key,), "be left out, since nothing is kept here", extras[key], fix="Leave it out.")
    fields = _settings(extras, ())
    for field, key in (("vae", "sd_vae"), ("clip_skip", "CLIP_stop_at_last_layers")):
        if fields.get(field):
            raise refuse((key,), "be sent in override_settings of each call", extras[key], fix="Leave it out here.")
    name = options.sd_model_checkpoint
    return None if is_nothing(name) else base_model_named(name, ("sd_model_checkpoint",))


def base_model_named(name: object, place: Place) -> str:
    """Find a base model's id by a name of another program.

    Raises:
        KeyFaultError: There is none.
    """
    model_id = model_named("base_model", name) if isinstance(name, str) else None
    if not model_id:
        choices = ", ".join(entry.id for entry in catalog.base_models())
        raise refuse(place, "be one of the models", name, fix=f"Choose one of {choices}.")
    return model_id


def _plain(body: Txt2Img | Img2Img) -> FieldValues:
    fields: FieldValues = {
        "prompt": body.prompt,
        "negative_prompt": body.negative_prompt or "",
        "seed": body.seed,
        "num_inference_steps": body.steps,
        "guidance_scale": body.cfg_scale,
    }
    sampler = body.sampler_name or body.sampler_index
    if sampler and schedule_named(sampler) != "":  # "Automatic" and its like leave it open
        key = "sampler_name" if body.sampler_name else "sampler_index"
        fields["scheduler"], _ = sampler_named(sampler)
        if fields["scheduler"] is None:
            raise refuse((key,), f"be one of {', '.join(SAMPLER_NAMES)}", sampler, fix="Choose one.")
    if body.clip_skip is not None:
        fields["clip_skip"] = _layers(body.clip_skip, ("clip_skip",)) - 1
    if body.enable_hr and isinstance(body, Txt2Img):
        fields |= second_pass(body)
    return {name: value for name, value in fields.items() if value is not None}


def _sides(body: Txt2Img | Img2Img) -> tuple[dict[str, int], list[str]]:
    """Round both sides down to multiples of 8, as the host does."""
    sides, notes = {}, []
    for side, size in (("width", body.width), ("height", body.height)):
        if size is None:
            continue
        sides[side] = size
        if size % 8 and MIN_SIDE <= size - size % 8 <= MAX_SIDE:
            sides[side] = size - size % 8
            notes.append(f"{side} {size} is no multiple of 8; the picture has {sides[side]}, as the web UI makes it.")
    return sides, notes


def _schedules(body: Txt2Img | Img2Img) -> list[str]:
    """Note schedules without a counterpart, in sampler's name or apart."""
    notes = []
    sampler = body.sampler_name or body.sampler_index or ""
    _, of_name = sampler_named(sampler)
    schedule = schedule_named(body.scheduler) if body.scheduler else ""
    if schedule is None:
        choices = ", ".join(("Automatic", *dict.fromkeys(SCHEDULES.values())))
        raise refuse(("scheduler",), "be a schedule of the web UI", body.scheduler, fix=f"Known: {choices}.")
    for key, label in (("sampler_name", of_name), ("scheduler", "" if schedule == of_name else schedule)):
        if label and (key != "scheduler" or label != "DDIM" or "ddim" not in sampler.lower()):
            notes.append(f"{key}: the schedule {label} has no counterpart here; the sampler's own steps are used.")
    return notes


def _settings(settings: Mapping[str, object], at: Place = ("override_settings",)) -> FieldValues:
    fields: FieldValues = {}
    for key, value in settings.items():
        place = (*at, key)
        if key == "sd_model_checkpoint":
            if not is_neutral(value):
                fields["base_model"] = base_model_named(value, place)
        elif key == "sd_vae":
            fields["vae"] = "" if is_neutral(value) else model_named("vae", str(value))
            if fields["vae"] is None:
                raise refuse(place, "be one of the VAEs, Automatic or None", value, fix="Leave it out.")
        elif key == "CLIP_stop_at_last_layers":
            if not is_nothing(value):
                fields["clip_skip"] = _layers(value, place) - 1
        elif not (is_neutral(value) or _OF_THE_PROGRAM.match(key) or _is_default(key, value)):
            choices = "sd_model_checkpoint, sd_vae, CLIP_stop_at_last_layers"
            raise refuse(place, "be a setting of this server", "another", fix=f"Known: {choices}.")
    return fields


def _is_default(key: str, value: object) -> bool:
    default = _DEFAULTS.get(key)
    if default is None:
        return False
    text = str(value).strip().lower()
    return text == default or (text.endswith(".0") and text[:-2] == default)


def _layers(value: object, place: Place) -> int:
    text = str(value).removesuffix(".0")
    if isinstance(value, bool) or not re.fullmatch(r"[1-9]|1[0-2]", text):
        raise refuse(place, "be a whole number from 1 to 12", value, fix="Use 1 or 2.")
    return int(text)


def _formats(args: WebuiArgs, place: Place) -> tuple[list[OutputFormat], bool]:
    """Read the formats to write, and whether to answer frames."""
    formats = args.get("format", OutputFormat.GIF)
    formats = [formats] if isinstance(formats, str) else formats
    videos = [output_format for output_format in RETURNED if output_format in formats]
    if not videos and not {_FRAME, OutputFormat.PNG} & set(formats):
        raise refuse((*place, "format"), "have one that holds pictures", ", ".join(formats), fix="Add GIF.")
    with_frames = _FRAME in formats or not videos
    return [*videos, *([OutputFormat.PNG] if with_frames else [])], with_frames


def _motion(args: WebuiArgs, place: Place) -> tuple[FieldValues, list[str]]:
    fields, notes = fields_of_args({key: value for key, value in args.items() if key not in FILES | {"format"}})
    if "model" in args and "motion_module" not in fields:
        choices = ", ".join(entry.id for entry in catalog.motion_modules())
        raise refuse((*place, "model"), "be one of the motion modules", args["model"], fix=f"Choose one of {choices}.")
    _, most = field_bounds("interpolation_frames")
    between = fields.get("interpolation_frames")
    if most and isinstance(between, int) and between > most:
        raise refuse(
            (*place, "interp_x"), f"bring at most {most:g} frames between two", args["interp_x"], fix="Lower it."
        )
    return fields, notes


def _count(body: Txt2Img | Img2Img, *, is_clip: bool) -> int:
    if is_clip and body.batch_size > 1:
        raise refuse(("batch_size",), "be 1 with AnimateDiff", body.batch_size, fix="Use n_iter for more clips.")
    count = body.n_iter * body.batch_size
    if count > MAX_CLIPS:
        raise refuse(("n_iter",), f"make at most {MAX_CLIPS} pictures", count, fix="Make the others in another call.")
    return count
