"""Preprocessors see what the published detectors see: the same colours, ranges and means, on the same random weights.

Networks of hundreds of megabytes are stood in by one layer with random weights, which both sides share: what is
compared is all that is done around the network. The networks themselves are read in test_control_networks.py.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import DPTImageProcessor, SegformerImageProcessor

from controlnet import depth_networks, edge_networks, pose_networks, segment_network
from controlnet.networks import from_aux, quiet
from controlnet.preprocessor import Filter, Setting
from controlnet.preprocessors import PREPROCESSORS
from pipelines.plan.image_fit import Frames

SIDE = 64
MODULES = (depth_networks, edge_networks, pose_networks, segment_network)
SIZES = {"detect_resolution": SIDE, "image_resolution": SIDE, "output_type": "np"}


@pytest.fixture(scope="module")
def frame() -> Frames:
    """Smooth colours, red, green and blue apart, so that no channel may stand for another."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    waves = [np.sin(5 * x + 2 * y), 0.3 + 0.4 * np.cos(7 * y), 0.8 * np.sin(3 * (x + y)) - 0.2]
    return ((np.stack(waves, axis=-1) + 1) * 127).clip(0, 255).astype(np.uint8)


class Layer(nn.Module):
    """One layer with random weights, of the interface of a large network."""

    def __init__(self, answer: Callable[[Tensor], object], channels: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, channels, 3, padding=1)
        nn.init.normal_(self.layer.weight, std=0.3 * scale, generator=torch.Generator().manual_seed(3))
        nn.init.constant_(self.layer.bias, 0.1)
        self.answer = answer
        self.seen: list[Tensor] = []

    def forward(self, pictures: Tensor) -> object:
        self.seen.append(pictures)
        return self.answer(self.layer(pictures))

    infer = depth_model = forward


@pytest.fixture
def build(monkeypatch) -> Iterator[Callable[..., Filter]]:
    """Builds a preprocessor around a network."""

    def around(name: str, network: nn.Module, side: int = SIDE, **options: float) -> Filter:
        for module in MODULES:
            for loader in ("load_network", "load_transformer"):
                if hasattr(module, loader):
                    monkeypatch.setattr(module, loader, lambda *_, **__: network.eval())
        record = PREPROCESSORS[name]
        values = {option.name: option.default for option in record.options} | {"resolution": side} | options
        setting = Setting(values, SIDE, SIDE, files=(None,) * len(record.weights))
        return record.build(setting)

    return around


def close(frames: Frames, expected: Frames) -> bool:
    """Whether maps are the same but for rounding; a flat one says nothing."""
    assert expected.std() > 5
    return bool(np.abs(frames.astype(int) - expected.astype(int)).max() <= 1)


def random_network(make: Callable[[], nn.Module]) -> nn.Module:
    with quiet():
        torch.manual_seed(0)
        return make().eval()


def between(depth: np.ndarray, low: float, high: float) -> np.ndarray:
    return ((depth - low) / (high - low) * 255).clip(0, 255)


def test_lineart(frame, build):
    generator, detector = from_aux("lineart", "Generator", "LineartDetector")
    network = random_network(lambda: generator(3, 1, 3))
    # Its random map is nearly one grey: what it says before the sigmoid is spread.
    network.model4[1].weight.data *= 40
    theirs = detector(network, network)(frame, **SIZES)
    assert close(build("lineart", network)(frame[None])[0], theirs)


def test_lineart_anime(frame, build):
    network = Layer(torch.tanh).eval()
    theirs = from_aux("lineart_anime", "LineartAnimeDetector")(network)(frame, **SIZES)
    ours = build("lineart_anime", network, side=256)(frame[None])[0]
    large = network.seen  # theirs is cubic, ours linear: what they saw is compared where both are smooth
    assert (large[0] - large[1])[..., 8:-8, 8:-8].abs().max() < 0.1
    assert np.abs(ours.astype(int) - theirs)[8:-8, 8:-8].max() < 16
    assert theirs.std() > 5


def test_pidinet(frame, build):
    network = Layer(lambda x: (x, x.sigmoid())).eval()
    theirs = from_aux("pidi", "PidiNetDetector")(network)(frame, **SIZES)
    assert close(build("softedge_pidinet", network, safe=0)(frame[None])[0], theirs)


def test_teed(frame, build):
    network = Layer(lambda x: (x, -0.5 * x + 1), scale=0.01).eval()
    theirs = from_aux("teed", "TEEDdetector")(network)(frame, safe_steps=0, detect_resolution=SIDE)
    assert close(build("softedge_teed", network, safe=0)(frame[None])[0], np.asarray(theirs))


def test_midas(frame, build):
    network = Layer(lambda x: x[:, 0].exp()).eval()
    theirs = from_aux("midas", "MidasDetector")(network)(frame, **SIZES)
    depth = build("depth_midas", network)(frame[None])[0]
    assert close(between(depth, depth.min(), depth.max()), theirs[..., 0])


def test_zoe(frame, build):
    network = Layer(torch.exp).eval()
    theirs = from_aux("zoe", "ZoeDetector")(network)(frame, **SIZES)
    depth = build("depth_zoe", network)(frame[None])[0]
    assert close(255 - between(depth, np.percentile(depth, 2), np.percentile(depth, 85)), theirs[..., 0])


def test_leres(frame, build):
    network = Layer(torch.exp, scale=0.003).eval()
    theirs = from_aux("leres", "LeresDetector")(network, None)(frame, **SIZES)
    depth = build("depth_leres", network)(frame[None])[0]
    assert close(255 - between(depth, depth.min(), depth.max()), theirs[..., 0])


def test_normal_bae(frame, build):
    network = Layer(lambda x: [[x]], channels=4, scale=0.3).eval()
    theirs = from_aux("normalbae", "NormalBaeDetector")(network)(frame, **SIZES)
    assert close(build("normal_bae", network)(frame[None])[0], theirs)


def test_openpose(frame, build, monkeypatch):
    """The bodies' network is shown the same picture; what is made of its maps is the library's own code."""
    body, detector = from_aux("open_pose", "Body", "OpenposeDetector")
    network = Layer(lambda x: (x.repeat(1, 38, 1, 1)[..., ::8, ::8], x.repeat(1, 19, 1, 1)[..., ::8, ::8]))
    estimator = body.__new__(body)
    estimator.model = network
    with quiet():
        detector(estimator)(frame, **SIZES)
        theirs = list(network.seen)
        network.seen.clear()
        monkeypatch.setattr(pose_networks, "_load_estimator", lambda *_, place: estimator if place == 0 else None)
        build("openpose", network)(frame[None])
    assert len(theirs) == len(network.seen) >= 1
    for layer_input, expected in zip(network.seen, theirs, strict=True):
        torch.testing.assert_close(layer_input, expected)


class Answer:
    """What a model of transformers gives."""

    def __init__(self, maps: Tensor) -> None:
        self.predicted_depth, self.logits = maps[:, 0], maps


def test_depth_anything(frame, build):
    """Against its published preprocessor_config.json, in the same size."""
    network = Layer(Answer)
    network.config = type("Config", (), {"patch_size": 14})
    build("depth_anything", network, side=56)(frame[None])
    (seen,) = network.seen
    processor = DPTImageProcessor(
        do_resize=False,
        do_rescale=True,
        rescale_factor=1 / 255,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    shrunk = torch.nn.functional.interpolate(
        torch.from_numpy(frame).permute(2, 0, 1)[None].float(), (56, 56), mode="bilinear", antialias=True
    )
    expected = processor(shrunk[0] / 1.0, return_tensors="pt", input_data_format="channels_first").pixel_values
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-4)


def test_segment(frame, build):
    """Against its published preprocessor_config.json, in the same size."""
    network = Layer(Answer, channels=150)
    colours = build("segment", network)(frame[None])[0]
    (seen,) = network.seen
    processor = SegformerImageProcessor(
        do_resize=False, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(seen, processor(frame, return_tensors="pt").pixel_values, rtol=1e-5, atol=1e-5)
    with torch.inference_mode():
        kinds = network.layer(seen).argmax(dim=1)[0].numpy()
    assert np.array_equal(colours, np.array(from_aux("util", "ade_palette")(), np.uint8)[kinds])
