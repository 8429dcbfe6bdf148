"""Group the request's fields under headings for page, help and documentation."""

IN_SIGHT: tuple[str, ...] = ("prompt", "negative_prompt", "num_frames", "seed")
"""What everybody needs; the page never hides it."""

TAB_GROUPS: dict[str, tuple[str, ...]] = {
    "Image": (
        "first_frame",
        "last_frame",
        "latent_scale",
        "latent_power",
        "latent_scale_last",
        "latent_power_last",
        "noise_floor",
        "exact_ends",
    ),
    "Video": ("source_video", "source_start", "source_every", "keep_audio", "mask", "mask_feather"),
    "Image and video": ("strength", "image_fit", "controls", "image_prompts"),
}
"""What a clip is made from or steered by beside words, by the page's tabs that ask for it."""

GROUPS: dict[str, tuple[str, ...]] = {
    "Model": ("base_model", "motion_module", "vae"),
    "Prompt travel": ("prompt_blend", "prompt_hold"),
    "Motion": ("motion_scale", "motion_effect", "motion_norm"),
    "Picture": ("width", "height", "num_inference_steps", "guidance_scale", "scheduler", "clip_skip"),
    "Long clips": (
        "context_schedule",
        "context_length",
        "context_overlap",
        "context_stride",
        "closed_loop",
        "context_fuse",
        "inner_length",
        "inner_overlap",
        "extended_from",
    ),
    "Noise": (
        "noise_layout",
        "draft",
        "free_init_iterations",
        "free_init_filter",
        "free_init_order",
        "free_init_spatial_stop",
        "free_init_temporal_stop",
    ),
    "Larger and smoother": (
        "hires_scale",
        "hires_strength",
        "hires_method",
        "upscale_by",
        "upscaler",
        "interpolation",
        "interpolation_frames",
        "keep_duration",
        "color_match",
    ),
    "Output": ("fps", "reverse", "formats", "loop_count", "max_file_mb"),
    "Files": (
        "mp4_crf",
        "mp4_preset",
        "mp4_tune",
        "webm_crf",
        "webp_quality",
        "webp_lossless",
        "gif_palette",
        "gif_optimize",
        "gif_lossiness",
    ),
}
"""All other fields that words alone need, by the heading they stand under. The page closes each at first."""
