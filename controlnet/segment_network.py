"""The preprocessor that says what everything in a picture is."""

import numpy as np

from controlnet.networks import as_imagenet, from_aux, load_transformer, on_frames
from controlnet.preprocessor import Filter, Setting
from pipelines.plan.image_fit import Frames


def segment(setting: Setting) -> Filter:
    """Segmentation into the 150 classes of ADE20K. Source: arXiv:1807.10221.

    Colours are those ControlNet was trained with.
    """
    from transformers import UperNetForSemanticSegmentation

    network = load_transformer(UperNetForSemanticSegmentation, setting.files[0], setting.device)
    colours = np.array(from_aux("util", "ade_palette")(), np.uint8)
    scores = on_frames(lambda pictures: network(as_imagenet(pictures)).logits, setting)

    def apply(frames: Frames) -> Frames:
        # One frame at a time: 150 scores for every pixel are 157 MB for a frame of 512x512.
        return np.stack([colours[scores(frame[None])[0].argmax(axis=-1)] for frame in frames])

    return apply
