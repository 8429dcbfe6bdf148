"""Names of our fields in ComfyUI-AnimateDiff-Evolved, for documentation only."""

from typing import NamedTuple


class Widget(NamedTuple):
    """A widget of a node.

    Args:
        node: As the graph shows it.
        name: Of the widget.
        field: Of our request; with a part of a unit after a space.
        note: What else differs.
    """

    node: str
    name: str
    field: str
    note: str = ""


WIDGETS = (
    Widget("Load AnimateDiff Model", "model_name", "motion_module"),
    Widget("Load AnimateDiff LoRA", "name, strength", "prompt", "as a tag, <lora:name:0.8>"),
    Widget("Apply AnimateDiff Model", "scale_multival", "motion_scale", "an input there, from a Multival node"),
    Widget("Apply AnimateDiff Model", "effect_multival", "motion_effect", "an input there, from a Multival node"),
    Widget("Context Options", "context_length", "context_length"),
    Widget("Context Options", "context_overlap", "context_overlap"),
    Widget("Context Options, Looped Uniform", "context_stride", "context_stride"),
    Widget("Context Options, Looped Uniform", "closed_loop", "closed_loop", "windows is its True"),
    Widget("Context Options", "fuse_method", "context_fuse"),
    Widget("View Options", "view_length", "inner_length"),
    Widget("View Options", "view_overlap", "inner_overlap"),
    Widget("Sample Settings", "noise_type", "noise_layout"),
    Widget("FreeInit Iteration Options", "iterations", "free_init_iterations"),
    Widget("FreeInit Iteration Options", "filter", "free_init_filter"),
    Widget("FreeInit Iteration Options", "d_s", "free_init_spatial_stop"),
    Widget("FreeInit Iteration Options", "d_t", "free_init_temporal_stop"),
    Widget("FreeInit Iteration Options", "n_butterworth", "free_init_order"),
    Widget("Load Checkpoint", "ckpt_name", "base_model"),
    Widget("Load VAE", "vae_name", "vae"),
    Widget("CLIP Set Last Layer", "stop_at_clip_layer", "clip_skip", "-1 is 0 here, -2 is 1"),
    Widget("CLIP Text Encode", "text", "prompt"),
    Widget("Batch Prompt Schedule", "text", "prompt", "a line a key, 0: spring, without quotes and commas"),
    Widget("Empty Latent Image", "batch_size", "num_frames"),
    Widget("KSampler", "steps", "num_inference_steps"),
    Widget("KSampler", "cfg", "guidance_scale"),
    Widget("KSampler", "sampler_name, scheduler", "scheduler", "one name for both"),
    Widget("KSampler", "denoise", "strength"),
    Widget("Load Video", "frame_load_cap", "num_frames", "0 is the whole clip"),
    Widget("Load Video", "skip_first_frames", "source_start"),
    Widget("Load Video", "select_every_nth", "source_every"),
    Widget("Video Combine", "frame_rate", "fps"),
    Widget("Video Combine", "loop_count", "loop_count", "how often it plays; 0 without end"),
    Widget("Video Combine", "format", "formats"),
    Widget("Video Combine", "pingpong", "reverse", "drop_both is its True"),
    Widget("Video Combine", "crf", "mp4_crf"),
    Widget("Apply Advanced ControlNet", "strength", "controls weight"),
    Widget("Apply Advanced ControlNet", "start_percent", "controls start"),
    Widget("Apply Advanced ControlNet", "end_percent", "controls end"),
    Widget("SparseCtrl Index Method", "indexes", "controls key_frames"),
    Widget("IPAdapter", "weight", "image_prompts weight"),
    Widget("IPAdapter", "start_at", "image_prompts start"),
    Widget("IPAdapter", "end_at", "image_prompts end"),
    Widget("FILM VFI, RIFE VFI", "multiplier", "interpolation_frames", "frames in between: one less"),
)
"""In the order of a graph."""
