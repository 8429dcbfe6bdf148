"""Pictures and clips of a body, as inputs and control clips."""

from api.recipes.plain_args import is_off
from api.recipes.webui_args import WebuiArgs
from api.recipes.webui_names import CONTROL_FITS, LATENT_FIT
from api.sdapi.controlnet import Units
from api.sdapi.faults import refuse
from api.sdapi.files import keep_path, keep_picture, keep_source_path
from api.sdapi.models import Img2Img, Txt2Img
from pipelines.plan.faults import Place
from pipelines.plan.image_fit import ImageFit
from studio.fields import FieldValues
from studio.request_inputs import source_facts

FILES = frozenset({"video_source", "video_path", "mask_path", "last_frame"})
"""AnimateDiff's arguments that name files."""

_PICTURE_STRENGTH = 0.75  # the host's own, where none is given
_AS_THE_SEED: FieldValues = {"exact_ends": False, "noise_floor": 0.0}  # its pictures only shine through the noise
_ORIGINAL = "1"  # of the host's ways to fill what a mask shows


def inputs_of(
    body: Txt2Img | Img2Img, args: WebuiArgs | None, place: Place, units: Units
) -> tuple[FieldValues, list[str]]:
    """Read the fields about pictures and clips.

    Units without a picture of their own get what they are to follow.

    Args:
        args, place: AnimateDiff's, None if it is off.
        units: Are completed.

    Returns:
        The fields, and in words what differs from the call.

    Raises:
        KeyFaultError: A picture or clip is missing, or can't be used.
    """
    video, masks = _video(args or {}, place)
    has_picture = isinstance(body, Img2Img) and bool(body.init_images)
    fields: FieldValues = {}
    notes: list[str] = []
    if video:
        fields, notes = _length(args or {}, video, is_fixed=has_picture)
    if masks and not has_picture:
        fields["mask"] = masks
    if isinstance(body, Img2Img):
        extra_fields, extra_notes = _from_pictures(body, args, place, video, units)
        return fields | extra_fields, [*notes, *extra_notes]
    if video:
        fields |= {"source_video": video, "strength": 1.0}  # nothing of it stays but what units follow
    return fields | _mask_and_end(args or {}, place), notes


def _length(args: WebuiArgs, video: str, *, is_fixed: bool) -> tuple[FieldValues, list[str]]:
    """Read the clip's length, at most that of the video."""
    requested = args.get("video_length") or 0
    if not requested:
        return {"num_frames": source_facts(video).num_frames if is_fixed else 0}, []
    frames = source_facts(video).num_frames
    if requested <= frames:
        return {}, []
    return {"num_frames": frames}, [f"video_length {requested} is beyond the video; the clip has its {frames} frames."]


def _from_pictures(
    body: Img2Img, args: WebuiArgs | None, place: Place, video: str, units: Units
) -> tuple[FieldValues, list[str]]:
    strength = _PICTURE_STRENGTH if body.denoising_strength is None else body.denoising_strength
    fit, notes = _fit(body.resize_mode)
    fields: FieldValues = {"strength": strength, "image_fit": fit}
    fields |= _mask_and_end(args or {}, place)
    if body.mask:
        fields["mask"] = keep_picture(body.mask, ("mask",))
        if not is_off(body.inpainting_mask_invert):
            raise refuse(
                ("inpainting_mask_invert",), "be 0", body.inpainting_mask_invert, fix="Send the mask inverted."
            )
    if fields.get("mask"):
        extra_fields, extra_notes = _about_mask(body)
        fields |= extra_fields
        notes += extra_notes
    if not body.init_images:
        if not video:
            raise refuse(("init_images",), "have a picture", "none", fix="Send one, or use txt2img.")
        return fields | {"source_video": video}, notes
    picture = keep_picture(body.init_images[0], ("init_images", 0))
    loose = units.without_picture()
    if video and not loose:
        raise refuse(
            units.place, "have a unit that follows the video", "none", fix="Add one, or leave out init_images."
        )
    if args is None or fields.get("mask"):  # the picture stands still behind what is made anew
        fields |= {"source_video": picture}
    else:
        fields |= {"first_frame": picture} | _AS_THE_SEED
    for unit in loose:
        unit["clip"] = video or picture
    return fields, notes


def _about_mask(body: Img2Img) -> tuple[FieldValues, list[str]]:
    fields: FieldValues = {}
    blurs = [blur for blur in (body.mask_blur, body.mask_blur_x, body.mask_blur_y) if blur is not None]
    if blurs:
        fields["mask_feather"] = blurs[0]
    notes = []
    if body.inpainting_fill is not None and str(body.inpainting_fill).strip().removesuffix(".0") != _ORIGINAL:
        notes.append("inpainting_fill: what stands there stays under the noise, as with 1.")
    if not is_off(body.inpaint_full_res):
        notes.append("inpaint_full_res: the whole picture is made, not the masked part alone.")
    return fields, notes


def _fit(mode: object) -> tuple[ImageFit, list[str]]:
    name = str(mode).strip().lower().removesuffix(".0")
    if name not in CONTROL_FITS:
        raise refuse(("resize_mode",), "be 0, 1, 2 or 3", mode, fix="Choose one.")
    notes = ["resize_mode: pixels are stretched, not latents."] if name in LATENT_FIT else []
    return CONTROL_FITS[name], notes


def _mask_and_end(args: WebuiArgs, place: Place) -> FieldValues:
    fields: FieldValues = {}
    if args.get("mask_path"):
        fields["mask"] = keep_path(args["mask_path"], (*place, "mask_path"))
    if args.get("last_frame"):
        fields["last_frame"] = keep_picture(args["last_frame"], (*place, "last_frame"))
    return fields


def _video(args: WebuiArgs, place: Place) -> tuple[str, str]:
    """Store the video; returns its hash and that of its masks."""
    videos = [(key, value) for key in ("video_path", "video_source") if (value := args.get(key))]
    if len(videos) > 1:
        raise refuse((*place, "video_source"), "be empty beside a video_path", "both", fix="Leave one out.")
    return keep_source_path(videos[0][1], (*place, videos[0][0])) if videos else ("", "")
