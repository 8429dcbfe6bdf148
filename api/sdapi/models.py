"""Bodies with AUTOMATIC1111's keys; those without a counterpart must be neutral."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from api.recipes.plain_args import is_nothing
from pipelines.plan.prompt.letters import plain_digits
from pipelines.plan.request import RANDOM_SEED
from pipelines.plan.settings import MAX_CLIPS

_NONE = {
    *("none", "null", "undefined", "automatic", "[]", "{}", "false", "off", "no"),
    *("use same sampler", "use same checkpoint", "use same scheduler", "use same choices"),
}
_ZERO = re.compile(r"[+-]?0+(?:[.,]0*)?")
_OBJECTS = ("override_settings", "alwayson_scripts")
_NONE_MEANS = ("hr_upscaler",)  # keys where the word "None" is a choice
_PLACEHOLDERS: tuple[object, ...] = ("string", ["string"])  # what the host's own documentation page fills in


def is_neutral(value: object) -> bool:
    """Whether a value means none: empty, 0, "None", or such a list."""
    if isinstance(value, (list, tuple)):
        return all(is_neutral(entry) for entry in value)
    text = value.strip().lower() if isinstance(value, str) else ""
    return not value or text in _NONE or bool(_ZERO.fullmatch(text))


def _neutral(value: object) -> object:
    if not is_neutral(value):
        raise ValueError("must be left out or empty, since it has no counterpart here")
    return value


def _number(value: object) -> object:
    """Normalise a number sent as text; refuse booleans."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return plain_digits(value).strip() if isinstance(value, str) else value


def _switch(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _as_list(value: object) -> object:
    entries = [value] if isinstance(value, str) else value
    return [entry for entry in entries if not is_nothing(entry)] if isinstance(entries, list) else entries


_Whole = Annotated[int, BeforeValidator(_number)]
_Number = Annotated[float, BeforeValidator(_number)]
_Switch = Annotated[bool, BeforeValidator(_switch)]
_Count = Annotated[_Whole, Field(ge=1, le=MAX_CLIPS)]
_Blur = Annotated[_Whole, Field(ge=0, le=128)]
_Neutral = Annotated[object, AfterValidator(_neutral)]
_Ignored = object  # without a meaning here, and without consequence
_OfSecondPass = object  # judged where there is one

_BODY = ConfigDict(extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)


class Script(BaseModel):
    """An extension's part of a call."""

    model_config = _BODY

    args: list[object] = []

    @model_validator(mode="before")
    @classmethod
    def _args_alone(cls, value: object) -> object:
        """Accept bare arguments, or none at all."""
        if value is None or isinstance(value, list):
            return {"args": value or []}
        if isinstance(value, dict) and value.get("args", []) is None:
            return value | {"args": []}
        return value


class Generation(BaseModel):
    """Keys that both calls take; absent ones mean model defaults."""

    model_config = _BODY

    prompt: str = ""
    negative_prompt: str | None = ""
    seed: _Whole = RANDOM_SEED
    steps: _Whole | None = None
    cfg_scale: _Number | None = None
    width: _Whole | None = None
    height: _Whole | None = None
    sampler_name: str | None = None
    sampler_index: str | None = None
    scheduler: str | None = None
    n_iter: _Count = 1
    batch_size: _Count = 1
    denoising_strength: Annotated[_Number, Field(ge=0, le=1)] | None = None
    clip_skip: object = None  # SD.Next's, which counts as CLIP_stop_at_last_layers does
    override_settings: dict[str, object] | None = None
    alwayson_scripts: dict[str, Script] | None = None
    send_images: _Switch = True

    styles: _Neutral = None
    subseed_strength: _Neutral = None
    restore_faces: _Neutral = None
    tiling: _Neutral = None
    script_name: _Neutral = None
    script_args: _Ignored = None
    refiner_checkpoint: _Neutral = None
    refiner_switch_at: _Ignored = None
    firstpass_image: _Neutral = None

    comments: _Ignored = None
    seed_enable_extras: _Ignored = None
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
    extra_generation_params: _Ignored = None
    overlay_images: _Ignored = None
    prompt_for_display: _Ignored = None
    do_not_reload_embeddings: _Ignored = None
    sampler_noise_scheduler_override: _Neutral = None
    ddim_discretize: _Ignored = None
    outpath_samples: _Ignored = None
    outpath_grids: _Ignored = None
    user: _Ignored = None
    token_merging_ratio: _Neutral = None
    token_merging_ratio_hr: _Neutral = None
    distilled_cfg_scale: _Ignored = None
    hr_cfg: _OfSecondPass = None
    hr_distilled_cfg: _Ignored = None
    hr_additional_modules: _OfSecondPass = None
    enable_hr: _Switch = False
    hr_scale: object = 2
    hr_upscaler: _OfSecondPass = None
    hr_second_pass_steps: _OfSecondPass = None
    hr_resize_x: _OfSecondPass = None
    hr_resize_y: _OfSecondPass = None
    hr_checkpoint_name: _OfSecondPass = None
    hr_sampler_name: _OfSecondPass = None
    hr_scheduler: _OfSecondPass = None
    hr_prompt: _OfSecondPass = None
    hr_negative_prompt: _OfSecondPass = None
    firstphase_width: _OfSecondPass = None
    firstphase_height: _OfSecondPass = None

    @model_validator(mode="before")
    @classmethod
    def _nothing_given(cls, body: object) -> object:
        """Drop null, empty texts and placeholders of the host's documentation page."""
        if not isinstance(body, dict):
            return body
        prompts = ("prompt", "negative_prompt")
        return {
            key: value
            for key, value in body.items()
            if value is not None
            and value != ""
            and (key in prompts or not (value in _PLACEHOLDERS or (key not in _NONE_MEANS and is_nothing(value))))
            and not (key in _OBJECTS and value == [])  # PHP writes an empty object so
        }


class Txt2Img(Generation):
    """The body of `/sdapi/v1/txt2img`."""


class Img2Img(Generation):
    """The body of `/sdapi/v1/img2img`."""

    init_images: Annotated[list[str], BeforeValidator(_as_list), Field(max_length=1)] = []
    mask: str | None = None
    mask_blur: _Blur | None = None
    resize_mode: object = 0
    inpainting_mask_invert: _Ignored = None  # judged where there is a mask

    image_cfg_scale: _Ignored = None
    mask_blur_x: _Blur | None = None
    mask_blur_y: _Blur | None = None
    mask_round: _Ignored = None
    inpainting_fill: _Ignored = None
    inpaint_full_res: _Ignored = None
    inpaint_full_res_padding: _Ignored = None
    initial_noise_multiplier: _Ignored = None
    latent_mask: _Neutral = None
    image_mask: _Neutral = None
    include_init_images: _Ignored = None


class Options(BaseModel):
    """Settings for all later calls; those without effect are ignored."""

    model_config = _BODY | ConfigDict(extra="allow")

    sd_model_checkpoint: str | None = None
