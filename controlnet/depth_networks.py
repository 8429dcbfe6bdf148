"""Preprocessors with networks for raw depth and for normals."""

from functools import partial
from types import SimpleNamespace

from controlnet.networks import as_imagenet, from_aux, load_network, load_transformer, on_frames
from controlnet.pixel_filters import as_bytes
from controlnet.preprocessor import Filter, Setting


def midas(setting: Setting) -> Filter:
    """Inverse depth without a scale. Source: arXiv:1907.01341, DPT-Hybrid of arXiv:2103.13413."""
    build = from_aux("midas.midas.dpt_depth", "DPTDepthModel")
    network = load_network(
        partial(build, path=None, backbone="vitb_rn50_384", non_negative=True), setting.files[0], setting.device
    )
    return on_frames(lambda pictures: network(pictures / 127.5 - 1)[:, None], setting)


def zoe(setting: Setting) -> Filter:
    """Metres. Source: arXiv:2302.12288."""
    build, get_config = from_aux("zoe", "ZoeDepth", "get_config")
    network = load_network(
        lambda: build.build_from_config(get_config("zoedepth", "infer")), setting.files[0], setting.device
    )
    return on_frames(lambda pictures: network.infer(pictures / 255), setting)


def leres(setting: Setting) -> Filter:
    """Depth without a scale. Source: arXiv:2012.09365.

    Colours are BGR, as ControlNet was trained.

    There the network is shown 0 to 255 less the mean of pictures from 0 to 1: the published detector makes floats
    of its bytes before a step that only scales bytes.
    """
    build = from_aux("leres", "RelDepthModel")
    network = load_network(partial(build, backbone="resnext101"), setting.files[0], setting.device)
    return on_frames(lambda pictures: network.depth_model(as_imagenet(255 * pictures.flip(1))), setting)


def depth_anything(setting: Setting) -> Filter:
    """Inverse depth without a scale. Source: arXiv:2406.09414."""
    from transformers import DepthAnythingForDepthEstimation

    network = load_transformer(DepthAnythingForDepthEstimation, setting.files[0], setting.device)
    patch = network.config.patch_size
    return on_frames(lambda x: network(as_imagenet(x)).predicted_depth[:, None], setting, multiple=patch)


def normal_bae(setting: Setting) -> Filter:
    """Normals. Source: arXiv:2109.09881; the fourth channel, how sure it is, isn't used."""
    build = from_aux("normalbae", "NNET")
    arguments = SimpleNamespace(
        mode="client", architecture="BN", pretrained="scannet", sampling_ratio=0.4, importance_ratio=0.7
    )
    network = load_network(partial(build, arguments), setting.files[0], setting.device)
    normals = on_frames(lambda pictures: network(as_imagenet(pictures))[0][-1][:, :3], setting)
    return lambda frames: as_bytes((normals(frames) + 1) * 127.5)
