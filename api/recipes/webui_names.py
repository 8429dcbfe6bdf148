"""Names of our choices in sd-webui-animatediff and its host."""

from pipelines.plan.choices import ClosedLoop, Reverse
from pipelines.plan.image_fit import ImageFit

ARGUMENT_LABELS: dict[str, str] = {
    "fps": "FPS",
    "batch_size": "Context batch size",
    "stride": "Stride",
    "overlap": "Overlap",
    "loop_number": "Display loop number",
    "latent_power": "Latent power",
    "latent_scale": "Latent scale",
    "latent_power_last": "Optional latent power for last frame",
    "latent_scale_last": "Optional latent scale for last frame",
    "freeinit_filter": "Filter Type",
    "freeinit_ds": "d_s",
    "freeinit_dt": "d_t",
    "model": "Motion module",
    "video_length": "Number of frames",
    "closed_loop": "Closed loop",
    "format": "Save format",
    "interp_x": "Interp X",
    "reverse": "Reverse",
    "freeinit_iters": "FreeInit Iterations",
    "last_frame": "Optional last frame",
    "video_source": "Video source",
    "video_path": "Video path",
    "mask_path": "Mask path",
}
"""What its page calls its arguments."""

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

CONTROL_MODULES: dict[str, tuple[str, dict[str, float]]] = {
    "none": ("none", {}),
    "invert": ("invert", {}),
    "canny": ("canny", {}),
    "depth": ("depth_midas", {}),
    "depth_midas": ("depth_midas", {}),
    "depth_zoe": ("depth_zoe", {}),
    "depth_leres": ("depth_leres", {}),
    "depth_anything": ("depth_anything", {}),
    "depth_anything_v2": ("depth_anything", {}),
    "hed": ("softedge_hed", {}),
    "softedge_hed": ("softedge_hed", {}),
    "softedge_hedsafe": ("softedge_hed", {"safe": 1}),
    "hed_safe": ("softedge_hed", {"safe": 1}),
    "pidinet": ("softedge_pidinet", {}),
    "softedge_pidinet": ("softedge_pidinet", {}),
    "softedge_pidisafe": ("softedge_pidinet", {"safe": 1}),
    "pidinet_safe": ("softedge_pidinet", {"safe": 1}),
    "softedge_teed": ("softedge_teed", {}),
    "scribble_hed": ("scribble", {}),
    "fake_scribble": ("scribble", {}),
    "scribble_xdog": ("scribble_xdog", {}),
    "lineart": ("lineart", {}),
    "lineart_realistic": ("lineart", {}),
    "lineart_coarse": ("lineart", {"coarse": 1}),
    "lineart_anime": ("lineart_anime", {}),
    "lineart_standard": ("lineart_standard", {}),
    "mlsd": ("mlsd", {}),
    "openpose": ("openpose", {}),
    "openpose_hand": ("openpose", {"hands": 1}),
    "openpose_face": ("openpose", {"face": 1}),
    "openpose_full": ("openpose", {"hands": 1, "face": 1}),
    "dw_openpose_full": ("dwpose", {}),
    "normal_bae": ("normal_bae", {}),
    "shuffle": ("shuffle", {}),
    "seg_ufade20k": ("segment", {}),
    "seg_ofade20k": ("segment", {}),
    "segmentation": ("segment", {}),
    "oneformer_ade20k": ("segment", {}),
    "tile_resample": ("tile", {}),
    "blur_gaussian": ("blur", {}),
}
"""What its ControlNet calls preprocessors, as ours with their options."""

CONTROL_THRESHOLDS: dict[str, tuple[str, ...]] = {
    "canny": ("low", "high"),
    "mlsd": ("score", "length"),
    "scribble_xdog": ("threshold",),
    "tile": ("rate",),
    "blur": ("sigma",),
}
"""The options that `threshold_a` and `threshold_b` mean, by our preprocessor."""

CONTROL_FITS: dict[str, ImageFit] = {
    "0": ImageFit.STRETCH,
    "just resize": ImageFit.STRETCH,
    "1": ImageFit.CROP,
    "crop and resize": ImageFit.CROP,
    "inner fit (scale to fit)": ImageFit.CROP,
    "scale to fit (inner fit)": ImageFit.CROP,
    "2": ImageFit.PAD,
    "resize and fill": ImageFit.PAD,
    "outer fit (shrink to fit)": ImageFit.PAD,
    "envelope (outer fit)": ImageFit.PAD,
    "3": ImageFit.STRETCH,
    "just resize (latent upscale)": ImageFit.STRETCH,
    "latent upscale": ImageFit.STRETCH,
    "resize": ImageFit.STRETCH,
    "inner_fit": ImageFit.CROP,
    "outer_fit": ImageFit.PAD,
}
"""Its and its host's `resize_mode`, of every version, in lower case."""

LATENT_FIT = frozenset({"3", "just resize (latent upscale)", "latent upscale"})
"""Those that stretch latents there."""
