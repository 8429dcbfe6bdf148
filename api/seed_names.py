"""Names that sd-webui-animatediff and its host use for our choices. They exist here alone."""

from pipelines.choices import ClosedLoop, Reverse, Scheduler

CLOSED_LOOPS: dict[str, ClosedLoop] = {
    "N": ClosedLoop.OFF,
    "R-P": ClosedLoop.WINDOWS,
    "R+P": ClosedLoop.PROMPTS,
    "A": ClosedLoop.FULL,
}
"""Its letters: no loop, reduced without and with prompts, aggressive."""

OLD_CLOSED_LOOPS: dict[bool, ClosedLoop] = {False: ClosedLoop.OFF, True: ClosedLoop.WINDOWS}
"""Until version 1.9.1 it was on or off, and on only let windows run over the end."""

REVERSES: dict[frozenset[int], Reverse] = {
    frozenset({0}): Reverse.APPEND,
    frozenset({0, 1}): Reverse.DROP_HEAD,
    frozenset({0, 2}): Reverse.DROP_TAIL,
    frozenset({0, 1, 2}): Reverse.DROP_BOTH,
}
"""Its ticks: 0 plays back, 1 drops the head of what is played back, 2 its tail. Without 0 the others do nothing."""

SAMPLERS: dict[str, Scheduler] = {
    "ddim": Scheduler.DDIM,
    "euler": Scheduler.EULER,
    "euler a": Scheduler.EULER_A,
    "dpm++ 2m": Scheduler.DPMPP_2M,
    "lcm": Scheduler.LCM,
}
"""The host's samplers, in lower case, that draw as ours do."""

OTHER_NAMES: dict[str, dict[str, str]] = {
    "base_model": {
        "v1-5-pruned": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "v1-5-pruned-emaonly": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    },
    "motion_module": {
        "mm_sd14_v1": "guoyww/animatediff/mm_sd_v14.ckpt",
        "mm_sd15_v1": "guoyww/animatediff/mm_sd_v15.ckpt",
        "mm_sd15_v2": "guoyww/animatediff/mm_sd_v15_v2.ckpt",
        "mm_sd15_v3": "guoyww/animatediff/v3_sd15_mm.ckpt",
        "mm_sdxl_v10_beta": "guoyww/animatediff/mm_sdxl_v10_beta.ckpt",
        "mm_sdxl_hs": "hotshotco/Hotshot-XL/hsxl_temporal_layers.f16.safetensors",
        "mm_sd15_animatelcm": "wangfuyun/AnimateLCM/AnimateLCM_sd15_t2v.ckpt",
    },
    "vae": {},
}
"""What files are called there whose weights the catalog has under another name, by the field of the request."""
