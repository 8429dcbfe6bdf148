"""A body in the dialect of AUTOMATIC1111's API as requests of ours, with all that it names checked before any work."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.batch import build_batch
from api.inputs import source_facts
from api.model_names import model_named
from api.sampler_names import SAMPLER_NAMES, sampler_named
from api.sdapi.controlnet import units_of
from api.sdapi.faults import ANIMATEDIFF, CONTROLNET, KeyFaultError, Place, refuse
from api.sdapi.files import keep_path, keep_picture, keep_source_path
from api.sdapi.models import Img2Img, Txt2Img
from api.seed_args import faults_of_seed, fields_of_seed
from api.seed_names import CONTROL_FITS
from pipelines import catalog
from pipelines.choices import HiresMethod, OutputFormat
from pipelines.request import GenerationRequest
from pipelines.settings import MAX_CLIPS

RETURNED = (OutputFormat.GIF, OutputFormat.MP4, OutputFormat.WEBP, OutputFormat.WEBM, OutputFormat.APNG)
"""The formats whose files are answered, in this order."""

_FRAME = "Frame"
_FILES = {"video_source", "video_path", "mask_path", "last_frame"}
_PICTURE_STRENGTH, _HIRES_STRENGTH = 0.75, 0.7  # the host's own, where none is given
_AS_THE_SEED: dict[str, Any] = {"exact_ends": False, "noise_floor": 0.0}  # its pictures only shine through the noise


@dataclass(frozen=True)
class Call:
    """What a body asks for.

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
    """Read a body.

    Args:
        body: Checked key by key.
        base_model: The model where the body names none; None for the catalog's default.

    Raises:
        KeyFaultError: A value has no counterpart, or what it names is not here.
        InvalidRequestError: The request that comes of it breaks a rule.
    """
    scripts = _scripts(body)
    args = _animatediff(scripts["animatediff"])
    values = _plain(body) | _settings(body.override_settings or {})
    values.setdefault("base_model", base_model)
    units, notes = units_of(scripts["controlnet"], width=body.width, height=body.height)
    with_frames = True
    if args is None:
        values |= {"num_frames": 1, "motion_effect": 0, "formats": [OutputFormat.PNG]}
    else:
        formats, with_frames = _formats(args)
        more, told = _motion(args)
        values |= more | {"formats": formats}
        notes += told
    values |= _inputs(body, args, units)
    if units:
        values["controls"] = units
    count = _count(body, is_clip=args is not None)
    return Call(build_batch(values, batch_count=count), args is not None, with_frames, notes)


def base_model_named(name: object, place: Place) -> str:
    """The id of a base model by a name of another program.

    Raises:
        KeyFaultError: There is none.
    """
    found = model_named("base_model", name) if isinstance(name, str) else None
    if not found:
        known = ", ".join(entry.id for entry in catalog.base_models())
        raise refuse(place, "be one of the models", name, fix=f"Choose one of {known}.")
    return found


def _scripts(body: Txt2Img | Img2Img) -> dict[str, list[Any]]:
    """The arguments of the scripts that are known, by their names in lower case."""
    found: dict[str, list[Any]] = {"animatediff": [], "controlnet": []}
    for name, script in (body.alwayson_scripts or {}).items():
        if name.lower() not in found:
            raise refuse(("alwayson_scripts", name), "be AnimateDiff or ControlNet", "another", fix="Leave it out.")
        found[name.lower()] = script.args
    return found


def _animatediff(args: list[Any]) -> Mapping[str, Any] | None:
    """Its arguments; None if it is switched off."""
    if not args or args[0] in (False, None):
        return None
    if not isinstance(args[0], Mapping):
        raise refuse(ANIMATEDIFF, "be its keys and values, or false", args[0], fix="Send an object.")
    for key, fault in faults_of_seed(args[0]).items():
        raise KeyFaultError((*ANIMATEDIFF, key), fault)
    return args[0] if args[0].get("enable") else None


def _plain(body: Txt2Img | Img2Img) -> dict[str, Any]:
    found = {
        "prompt": body.prompt,
        "negative_prompt": body.negative_prompt or "",
        "seed": body.seed,
        "num_inference_steps": body.steps,
        "guidance_scale": body.cfg_scale,
        "width": body.width,
        "height": body.height,
    }
    sampler = body.sampler_name or body.sampler_index
    if sampler:
        key = "sampler_name" if body.sampler_name else "sampler_index"
        found["scheduler"], _ = sampler_named(sampler)
        if found["scheduler"] is None:
            raise refuse((key,), f"be one of {', '.join(SAMPLER_NAMES)}", sampler, fix="Choose one.")
    if isinstance(body, Txt2Img) and body.enable_hr:
        found |= _second_pass(body)
    return {name: value for name, value in found.items() if value is not None}


def _second_pass(body: Txt2Img) -> dict[str, Any]:
    upscaler = body.hr_upscaler or "Latent"
    if not upscaler.startswith(("Latent", "Lanczos")):
        raise refuse(("hr_upscaler",), "be Latent or Lanczos", upscaler, fix="Choose one of them.")
    return {
        "hires_scale": body.hr_scale,
        "hires_strength": _HIRES_STRENGTH if body.denoising_strength is None else body.denoising_strength,
        "hires_method": HiresMethod.LATENT if upscaler.startswith("Latent") else HiresMethod.PIXEL,
    }


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        place = ("override_settings", key)
        if key == "sd_model_checkpoint":
            found["base_model"] = base_model_named(value, place)
        elif key == "sd_vae":
            found["vae"] = "" if value in ("Automatic", "None", None) else model_named("vae", str(value))
            if found["vae"] is None:
                raise refuse(place, "be one of the VAEs, Automatic or None", value, fix="Leave it out.")
        elif key == "CLIP_stop_at_last_layers":
            if type(value) is not int or not 1 <= value <= 12:
                raise refuse(place, "be a whole number from 1 to 12", value, fix="Use 1 or 2.")
            found["clip_skip"] = value - 1
        else:
            known = "sd_model_checkpoint, sd_vae, CLIP_stop_at_last_layers"
            raise refuse(place, "be a setting of this server", "another", fix=f"Known: {known}.")
    return found


def _formats(args: Mapping[str, Any]) -> tuple[list[OutputFormat], bool]:
    """What is written, and whether frames are answered: where they are asked for, or nothing else could be."""
    given = args.get("format", OutputFormat.GIF)
    given = [given] if isinstance(given, str) else given
    videos = [one for one in RETURNED if one in given]
    if not videos and not {_FRAME, OutputFormat.PNG} & set(given):
        raise refuse((*ANIMATEDIFF, "format"), "have one that holds pictures", ", ".join(given), fix="Add GIF.")
    with_frames = _FRAME in given or not videos
    return [*videos, *([OutputFormat.PNG] if with_frames else [])], with_frames


def _motion(args: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    fields, notes = fields_of_seed({key: value for key, value in args.items() if key not in _FILES | {"format"}})
    if "model" in args and "motion_module" not in fields:
        known = ", ".join(entry.id for entry in catalog.motion_modules())
        place = (*ANIMATEDIFF, "model")
        raise refuse(place, "be one of the motion modules", args["model"], fix=f"Choose one of {known}.")
    return fields, notes


def _inputs(body: Txt2Img | Img2Img, args: Mapping[str, Any] | None, units: list[dict[str, Any]]) -> dict[str, Any]:
    """The pictures and clips of a request; units without one of their own get what they are to follow."""
    video, masks = _video(args or {})
    is_source = not (isinstance(body, Img2Img) and body.init_images)
    found: dict[str, Any] = {"mask": masks} if masks and is_source else {}
    if video and not (args or {}).get("video_length"):
        found["num_frames"] = source_facts(video).num_frames if isinstance(body, Img2Img) and body.init_images else 0
    if isinstance(body, Img2Img):
        return found | _from_pictures(body, args, video, units)
    if video:
        found |= {"source_video": video, "strength": 1.0}  # nothing of it stays but what units follow
    return found | _mask_and_end(args or {})


def _from_pictures(
    body: Img2Img, args: Mapping[str, Any] | None, video: str, units: list[dict[str, Any]]
) -> dict[str, Any]:
    strength = _PICTURE_STRENGTH if body.denoising_strength is None else body.denoising_strength
    found: dict[str, Any] = {"strength": strength, "image_fit": CONTROL_FITS[str(body.resize_mode)]}
    found |= _mask_and_end(args or {})
    if body.mask:
        found["mask"] = keep_picture(body.mask, ("mask",))
    if found.get("mask") and body.mask_blur is not None:
        found["mask_feather"] = body.mask_blur
    if not body.init_images:
        if not video:
            raise refuse(("init_images",), "have a picture", "none", fix="Send one, or use txt2img.")
        return found | {"source_video": video}
    picture = keep_picture(body.init_images[0], ("init_images", 0))
    loose = [unit for unit in units if "clip" not in unit]
    if video and not loose:
        raise refuse(CONTROLNET, "have a unit that follows the video", "none", fix="Add one, or leave out init_images.")
    if args is None or found.get("mask"):  # the picture stands still behind what is made anew
        found |= {"source_video": picture}
    else:
        found |= {"first_frame": picture} | _AS_THE_SEED
    for unit in loose:
        unit["clip"] = video or picture
    return found


def _mask_and_end(args: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    if args.get("mask_path"):
        found["mask"] = keep_path(args["mask_path"], (*ANIMATEDIFF, "mask_path"))
    if args.get("last_frame"):
        found["last_frame"] = keep_picture(args["last_frame"], (*ANIMATEDIFF, "last_frame"))
    return found


def _video(args: Mapping[str, Any]) -> tuple[str, str]:
    """The hashes of the video and of the masks that a folder brings with it."""
    given = [key for key in ("video_path", "video_source") if args.get(key)]
    if len(given) > 1:
        raise refuse((*ANIMATEDIFF, "video_source"), "be empty beside a video_path", "both", fix="Leave one out.")
    return keep_source_path(args[given[0]], (*ANIMATEDIFF, given[0])) if given else ("", "")


def _count(body: Txt2Img | Img2Img, *, is_clip: bool) -> int:
    if is_clip and body.batch_size > 1:
        raise refuse(("batch_size",), "be 1 with AnimateDiff", body.batch_size, fix="Use n_iter for more clips.")
    count = body.n_iter * body.batch_size
    if count > MAX_CLIPS:
        raise refuse(("n_iter",), f"make at most {MAX_CLIPS} pictures", count, fix="Make the others in another call.")
    return count
