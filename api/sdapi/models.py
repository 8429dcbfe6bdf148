"""What the calls take: the keys of AUTOMATIC1111's API, those without a counterpart here at their neutral values."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipelines.request import RANDOM_SEED
from pipelines.settings import MAX_CLIPS


def _neutral(value: Any) -> Any:
    if value and value not in ("None", "Use same sampler", "Use same checkpoint", "Use same scheduler"):
        raise ValueError("must be left out or empty, since it has no counterpart here")
    return value


_Count = Annotated[int, Field(ge=1, le=MAX_CLIPS)]
_Neutral = Annotated[Any, AfterValidator(_neutral)]
_Ignored = Any  # without a meaning here, and without consequence

_BODY = ConfigDict(extra="forbid", allow_inf_nan=False)


class Script(BaseModel):
    """An extension's part of a call."""

    model_config = _BODY

    args: list[Any] = []


class Generation(BaseModel):
    """What both calls take. Where nothing is given, the model's own settings count."""

    model_config = _BODY

    prompt: str = ""
    negative_prompt: str | None = ""
    seed: int = RANDOM_SEED
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = None
    height: int | None = None
    sampler_name: str | None = None
    sampler_index: str | None = None
    scheduler: Annotated[str, Field(pattern="(?i)^automatic$")] | None = None
    n_iter: _Count = 1
    batch_size: _Count = 1
    denoising_strength: Annotated[float, Field(ge=0, le=1)] | None = None
    override_settings: dict[str, Any] | None = None
    alwayson_scripts: dict[str, Script] | None = None
    send_images: bool = True

    styles: _Neutral = None
    subseed_strength: _Neutral = None
    restore_faces: _Neutral = None
    tiling: _Neutral = None
    script_name: _Neutral = None
    script_args: _Neutral = None
    refiner_checkpoint: _Neutral = None
    refiner_switch_at: _Ignored = None
    firstpass_image: _Neutral = None
    comments: _Neutral = None

    subseed: _Ignored = None
    seed_resize_from_h: _Ignored = None
    seed_resize_from_w: _Ignored = None
    eta: _Ignored = None
    s_churn: _Ignored = None
    s_tmax: _Ignored = None
    s_tmin: _Ignored = None
    s_noise: _Ignored = None
    s_min_uncond: _Ignored = None
    do_not_save_samples: _Ignored = None
    do_not_save_grid: _Ignored = None
    save_images: _Ignored = None
    override_settings_restore_afterwards: _Ignored = None
    disable_extra_networks: _Ignored = None
    force_task_id: _Ignored = None
    infotext: _Neutral = None


class Txt2Img(Generation):
    """The body of `/sdapi/v1/txt2img`."""

    enable_hr: bool = False
    hr_scale: float = 2
    hr_upscaler: str | None = None
    hr_second_pass_steps: _Neutral = None
    hr_resize_x: _Neutral = None
    hr_resize_y: _Neutral = None
    hr_checkpoint_name: _Neutral = None
    hr_sampler_name: _Neutral = None
    hr_scheduler: _Neutral = None
    hr_prompt: _Neutral = None
    hr_negative_prompt: _Neutral = None
    firstphase_width: _Neutral = None
    firstphase_height: _Neutral = None


class Img2Img(Generation):
    """The body of `/sdapi/v1/img2img`."""

    init_images: Annotated[list[str], Field(max_length=1)] = []
    mask: str | None = None
    mask_blur: Annotated[int, Field(ge=0, le=128)] | None = None
    resize_mode: Annotated[int, Field(ge=0, le=2)] = 0
    inpainting_mask_invert: _Neutral = None

    image_cfg_scale: _Ignored = None
    mask_blur_x: _Ignored = None
    mask_blur_y: _Ignored = None
    mask_round: _Ignored = None
    inpainting_fill: _Ignored = None
    inpaint_full_res: _Ignored = None
    inpaint_full_res_padding: _Ignored = None
    initial_noise_multiplier: _Ignored = None
    latent_mask: _Neutral = None
    include_init_images: _Ignored = None


class Options(BaseModel):
    """What may be set for all later calls."""

    model_config = _BODY

    sd_model_checkpoint: str
