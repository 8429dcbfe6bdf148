"""Build answers: files in base64, and infotexts as the host writes them."""

import io
import json
import re
import time
import zipfile
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
from PIL import Image

from api.recipes.model_names import model_named
from api.recipes.sampler_names import SAMPLER_NAMES
from api.recipes.webui_names import CLOSED_LOOPS, REVERSES
from api.sdapi.calls import OpenCall, Outcome
from api.sdapi.mapping import RETURNED, Call
from pipelines.plan.choices import HiresMethod, Interpolation, OutputFormat, Reverse
from pipelines.plan.events import Clip
from pipelines.plan.rates import written_rate
from pipelines.plan.request import GenerationRequest
from pipelines.plan.version import VERSION

_LONGEST_TEXT = 4096  # what is longer in a body are pictures, which nobody needs back


@dataclass(frozen=True)
class EncodedClip:
    """A finished clip for an answer, files in base64.

    Args:
        videos: In the order of `RETURNED`.
        frames: PNGs; empty where they were not requested.
    """

    request: GenerationRequest
    videos: list[str]
    frames: list[str]
    recipe: str
    warnings: tuple[str, ...]


def collect(request: GenerationRequest, clip: Clip) -> EncodedClip:
    """Read a clip's files."""
    files = dict(zip(request.formats, clip.files, strict=True))
    videos = [_base64(files[output_format].read_bytes()) for output_format in RETURNED if output_format in files]
    frames = _frames(files[OutputFormat.PNG]) if OutputFormat.PNG in files else []
    return EncodedClip(request, videos, frames, clip.recipe, clip.warnings)


def answer(call: Call, body: Mapping[str, object], outcome: Outcome[EncodedClip]) -> dict[str, object]:
    """Build a call's answer: `images`, `parameters`, `info` as JSON text.

    The videos of every clip come first, then the frames of the last one; without AnimateDiff a picture for each seed.
    """
    clips = outcome.results
    images = [video for clip in clips for video in clip.videos]
    if call.with_frames:
        images += [frame for clip in (clips[-1:] if call.is_clip else clips) for frame in clip.frames]
    return {
        "images": images if body.get("send_images", True) else [],
        "parameters": {key: _without_pictures(value) for key, value in body.items()}
        | {"init_images": None, "mask": None},
        "info": json.dumps(_info(call, outcome), ensure_ascii=False),
    }


def progress_of(call: OpenCall | None, count: int, *, with_picture: bool) -> dict[str, object]:
    """Build the answer about a call's progress; zeros without one."""
    progress = call.progress if call else None
    preview = call.preview if call and with_picture else None
    return {
        "progress": call.share if call else 0.0,
        "eta_relative": (progress.eta_s or 0.0) if progress else 0.0,
        "state": {
            "skipped": False,
            "interrupted": bool(call and call.is_interrupted),
            "stopping_generation": bool(call and call.is_interrupted),
            "job": ("waiting" if call.is_waiting else call.name) if call else "",
            "job_count": count,
            "job_timestamp": _timestamp(call.started_at) if call else "0",
            "job_no": call.done if call else 0,
            "sampling_step": progress.step if progress else 0,
            "sampling_steps": progress.total if progress else 0,
        },
        "current_image": None if preview is None else _picture(preview[len(preview) // 2]),
        "textinfo": progress.note if progress else None,
    }


def infotext_of(request: GenerationRequest, *, is_clip: bool) -> str:
    """Describe a clip as the host's infotext; its recipe is complete.

    Example:
        >>> infotext_of(GenerationRequest(prompt="a cat", seed=7), is_clip=False)
        'a cat\\nSteps: 25, Sampler: DDIM, CFG scale: 7.5, Seed: 7, Size: 512x512, Model: demo'
    """
    settings: dict[str, object] = {
        "Steps": request.num_inference_steps,
        "Sampler": _sampler(request),
        "CFG scale": _number(request.guidance_scale),
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model": _model_name("base_model", request.base_model),
    }
    if request.vae:
        settings["VAE"] = _model_name("vae", request.vae)
    if request.clip_skip:
        settings["Clip skip"] = request.clip_skip + 1
    if request.hires_scale > 1:
        settings["Denoising strength"] = _number(request.hires_strength)
        settings["Hires upscale"] = _number(request.hires_scale)
        settings["Hires upscaler"] = "Latent" if request.hires_method is HiresMethod.LATENT else "Lanczos"
    elif request.first_frame or (request.source_video and request.strength < 1):
        settings["Denoising strength"] = _number(request.strength)
    units = [f"Module: {unit.preprocessor}, Model: {unit.model}" for unit in request.controls]
    units += [f"Module: ip-adapter-auto, Model: {unit.model}" for unit in request.image_prompts]
    settings |= {f"ControlNet {number}": unit for number, unit in enumerate(units)}
    if is_clip:
        settings["AnimateDiff"] = ", ".join(f"{key}: {value}" for key, value in _arguments(request).items())
    lines = [request.prompt, f"Negative prompt: {request.negative_prompt}" if request.negative_prompt else ""]
    return "\n".join([*filter(None, lines), ", ".join(f"{key}: {_quoted(value)}" for key, value in settings.items())])


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:"\n]', text) else text


def _number(value: float) -> str:
    """Format a number as short as it can be without loss."""
    return str(int(value)) if float(value).is_integer() else format(Decimal(repr(float(value))), "f")


def _model_name(field: str, model_id: str) -> str:
    """Shorten a model's id where the short name is unambiguous."""
    short = model_id.rsplit("/", 1)[-1]
    return short if model_named(field, short) == model_id else model_id


def _arguments(request: GenerationRequest) -> dict[str, object]:
    """List AnimateDiff's arguments that make this clip."""
    arguments: dict[str, object] = {
        "model": _model_name("motion_module", request.motion_module),
        "video_length": request.num_frames,
        "fps": str(written_rate(request.fps)),
        "loop_number": request.loop_count,
        "closed_loop": next(letter for letter, kind in CLOSED_LOOPS.items() if kind is request.closed_loop),
        "batch_size": request.context_length,
        "stride": request.context_stride,
        "overlap": request.effective_overlap,
        "interp": "Off",
        "freeinit_enable": request.free_init_iterations > 0,
    }
    if request.interpolation is Interpolation.FILM:
        arguments |= {"interp": "FILM", "interp_x": _number(_times(request))}
    if request.reverse is not Reverse.OFF:
        arguments["reverse"] = next(sorted(ticks) for ticks, kind in REVERSES.items() if kind is request.reverse)
    if request.free_init_iterations:
        arguments |= {
            "freeinit_filter": request.free_init_filter,
            "freeinit_ds": _number(request.free_init_spatial_stop),
            "freeinit_dt": _number(request.free_init_temporal_stop),
            "freeinit_iters": request.free_init_iterations,
        }
    if request.first_frame:
        arguments |= {key: _number(getattr(request, key)) for key in ("latent_power", "latent_scale")}
    if request.last_frame:
        arguments |= {key: _number(getattr(request, key)) for key in ("latent_power_last", "latent_scale_last")}
    return arguments


def _times(request: GenerationRequest) -> float:
    """Return the multiple of frames that interpolation makes, as AnimateDiff counts."""
    frames = (
        request.num_frames + len(request.frames_played_back)
        if request.reverse is not Reverse.OFF
        else request.num_frames
    )
    between = request.interpolation_frames
    times = (frames + between * (frames - 1)) / frames
    whole = round(times + 1 / frames)
    return whole if round((frames * whole - frames) / max(1, frames - 1)) == between else times


def _info(call: Call, outcome: Outcome[EncodedClip]) -> dict[str, object]:
    requests = [clip.request for clip in outcome.results] or call.requests[:1]
    first = requests[0]
    return {
        "prompt": first.prompt,
        "all_prompts": [request.prompt for request in requests],
        "negative_prompt": first.negative_prompt,
        "all_negative_prompts": [request.negative_prompt for request in requests],
        "seed": first.seed,
        "all_seeds": [request.seed for request in requests],
        "subseed": -1,
        "all_subseeds": [-1 for _ in requests],
        "subseed_strength": 0,
        "width": first.width,
        "height": first.height,
        "sampler_name": _sampler(first),
        "cfg_scale": first.guidance_scale,
        "steps": first.num_inference_steps,
        "batch_size": 1,
        "restore_faces": False,
        "sd_model_name": first.base_model,
        "sd_model_hash": None,
        "sd_vae_name": first.vae or None,
        "denoising_strength": first.strength,
        "extra_generation_params": {"AnimateDiff": _arguments(first)} if call.is_clip else {},
        "index_of_first_image": 0,
        "infotexts": [infotext_of(request, is_clip=call.is_clip) for request in requests],
        "styles": [],
        "job_timestamp": _timestamp(time.time()),
        "clip_skip": first.clip_skip + 1,
        "version": f"AnimateDiff Studio {VERSION}",
        "interrupted": outcome.is_interrupted,
        "recipes": [json.loads(clip.recipe) for clip in outcome.results],
        "warnings": list(
            dict.fromkeys([*call.notes, *(warning for clip in outcome.results for warning in clip.warnings)])
        ),
    }


def _sampler(request: GenerationRequest) -> str:
    return next(name for name, sampler in SAMPLER_NAMES.items() if sampler is request.scheduler)


def _frames(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as file:
        return [_base64(file.read(name)) for name in sorted(file.namelist()) if name.endswith(".png")]


def _picture(frame: np.ndarray) -> str:
    png = io.BytesIO()
    Image.fromarray(frame).save(png, "PNG")
    return _base64(png.getvalue())


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _without_pictures(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_pictures(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_pictures(entry) for entry in value]
    return None if isinstance(value, str) and len(value) > _LONGEST_TEXT else value


def _timestamp(seconds: float) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.localtime(seconds))
