"""Preprocessors with networks: their published files, fetched, read by our door and run.

The files hold random numbers under the true names, so what is tested is that every tensor finds its place, that
the maps come back in the clip's size and range, and that what was read is what computes. What the published
weights see in pictures is not tested.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    ConvNextConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from controlnet.control_cache import ControlCache
from controlnet.control_clip import prepare_control
from controlnet.edge_networks import _lines
from controlnet.networks import from_aux, quiet
from controlnet.pose_networks import draw_poses
from controlnet.preprocessors import OFFLINE, PREPROCESSORS
from pipelines.plan.errors import WeightsError
from pipelines.plan.image_fit import Frames
from pipelines.plan.request_fields.units import ControlUnit
from tests.control_clips import made, noise_clip
from tests.stand_in_hub import StandInHub, serving, use_hub

ANNOTATORS = "lllyasviel/Annotators"
TEED_REPO, TEED = "bdsqlsz/qinglong_controlnet-lllite", "Annotators/7_model.pth"
SIZE = {"width": 64, "height": 48}
NUM_FRAMES = 2
SMALL = {"resolution": 64.0}


def random_state(build: Callable[[], torch.nn.Module]) -> dict[str, torch.Tensor]:
    with quiet():
        torch.manual_seed(0)
        network = build()
    return network.state_dict()


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[StandInHub]:
    (tmp_path / "hub" / ANNOTATORS).mkdir(parents=True)
    with serving(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "hub-cache")
        yield hub


@pytest.fixture
def publish(hub: StandInHub) -> Callable[[str, Any], Path]:
    def put(name: str, content: Any, repo: str = ANNOTATORS) -> Path:
        path = hub.root / repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        return path

    return put


@pytest.fixture
def seen(tmp_path) -> Callable[..., Frames]:
    """What a preprocessor makes of two frames of noise."""

    def look(name: str, **options: float) -> Frames:
        unit = ControlUnit(model="any", preprocessor=name, options=SMALL | options)
        cache = ControlCache(tmp_path / "controls")
        return made(prepare_control(unit, noise_clip(NUM_FRAMES, **SIZE), **SIZE, seed=0, cache=cache))[1]

    return look


def require_pictures(frames: Frames) -> None:
    """Grey pictures of the right size, which differ from frame to frame."""
    assert frames.shape == (NUM_FRAMES, 48, 64, 3)
    assert frames.std() > 0
    assert not np.array_equal(frames[0], frames[1])


def hed_state() -> dict[str, torch.Tensor]:
    return random_state(from_aux("hed", "ControlNetHED_Apache2"))


def test_hed_and_scribble_share_a_file_that_is_fetched_once(hub, publish, seen):
    publish("ControlNetHED.pth", hed_state())
    soft, few, bold = seen("softedge_hed"), seen("softedge_hed", safe=1), seen("scribble")
    require_pictures(soft)
    assert set(np.unique(few)) <= {0, 128, 255}
    assert set(np.unique(bold)) <= {0, 255}
    assert hub.downloads == [f"{ANNOTATORS}/ControlNetHED.pth"]


def test_hed_sees_what_the_published_detector_sees(publish):
    path = publish("ControlNetHED.pth", hed_state())
    detector = from_aux("hed", "HEDdetector").from_pretrained(str(path.parent))
    clip = noise_clip(1, width=64, height=64)
    theirs = detector(clip.pictures[0], detect_resolution=64, image_resolution=64, output_type="np")
    unit = ControlUnit(model="any", preprocessor="softedge_hed", options=SMALL)
    cache = ControlCache(path.parent / "controls")
    _, ours = made(prepare_control(unit, clip, width=64, height=64, seed=0, cache=cache))
    assert np.abs(ours[0].astype(int) - theirs).max() <= 1


def test_pidinet_is_unwrapped(publish, seen):
    state = random_state(from_aux("pidi.model", "pidinet"))
    publish("table5_pidinet.pth", {"epoch": 1, "state_dict": {f"module.{key}": value for key, value in state.items()}})
    require_pictures(seen("softedge_pidinet"))


def test_teed(publish, seen):
    publish(TEED, teed_state(), repo=TEED_REPO)
    require_pictures(seen("softedge_teed", safe=0))


def test_lineart_fetches_the_coarse_file_only_when_it_is_asked_for(hub, publish, seen):
    generator = from_aux("lineart", "Generator")
    for name in ("sk_model.pth", "sk_model2.pth"):
        publish(name, random_state(lambda: generator(3, 1, 3)))
    require_pictures(seen("lineart"))
    assert hub.downloads == [f"{ANNOTATORS}/sk_model.pth"]
    require_pictures(seen("lineart", coarse=1))
    assert hub.downloads == [f"{ANNOTATORS}/sk_model.pth", f"{ANNOTATORS}/sk_model2.pth"]


def test_mlsd(publish, seen):
    publish("mlsd_large_512_fp32.pth", random_state(from_aux("mlsd.models.mbv2_mlsd_large", "MobileV2_MLSD_Large")))
    assert set(np.unique(seen("mlsd", score=0.5, length=0))) == {0, 255}
    assert not seen("mlsd", score=1).any()  # nothing is that sure


def test_mlsd_s_maps_are_read_as_its_authors_do():
    """Against `pred_lines` of controlnet_aux, at sizes where both see the same picture."""
    pred_lines = from_aux("mlsd.utils", "pred_lines")
    maps = torch.full((1, 9, 32, 32), -20.0)
    maps[0, 0, 10, 12] = 3.0
    maps[0, 1:5, 10, 12] = torch.tensor([-4.0, -3.0, 6.0, 2.0])
    maps[0, 0, 20, 20] = 1.0
    maps[0, 1:5, 20, 20] = torch.tensor([-1.0, 0.0, 1.0, 0.0])
    network = torch.nn.Conv2d(4, 9, 1)  # asked for its device only
    network.forward = lambda _: maps
    theirs = pred_lines(np.zeros((64, 64, 3), np.uint8), network, [64, 64], 0.1, 0.1)
    assert np.allclose(_lines(maps, 0.1, 0.1), theirs)
    assert np.allclose(_lines(maps, 0.1, 5.0), [[16, 14, 36, 24]])


def test_openpose_fetches_hands_and_faces_only_when_asked(hub, publish, seen):
    state = random_state(from_aux("open_pose.model", "bodypose_model"))
    publish("body_pose_model.pth", {name.split(".", 1)[1]: tensor for name, tensor in state.items()})
    assert seen("openpose").shape == (NUM_FRAMES, 48, 64, 3)
    assert hub.downloads == [f"{ANNOTATORS}/body_pose_model.pth"]
    with pytest.raises(WeightsError, match=r"got 'lllyasviel/Annotators/hand_pose_model\.pth'"):
        seen("openpose", hands=1)


def sensitive(build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A network whose random numbers let what it sees through to its end; with the usual ones all is one grey."""
    network = build()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    return network


@pytest.mark.slow  # 3 minutes and 2 GB: every hand is looked at in four sizes of up to 736 pixels
def test_hands_and_faces_are_looked_for_on_bodies(publish, seen):
    """In noise a network of random numbers finds bodies, and on them hands and faces."""
    body, hand = from_aux("open_pose.model", "bodypose_model", "handpose_model")
    for name, build in (("body_pose_model", body), ("hand_pose_model", hand)):
        state = random_state(partial(sensitive, build))
        publish(f"{name}.pth", {key.split(".", 1)[1]: tensor for key, tensor in state.items()})
    publish("facenet.pth", random_state(partial(sensitive, from_aux("open_pose.face", "FaceNet"))))
    bones, hands, faces = seen("openpose"), seen("openpose", hands=1), seen("openpose", face=1)
    assert bones.any()
    assert (hands != bones).any()
    white = (255, 255, 255)  # of faces alone
    assert (faces == white).all(axis=-1).any()
    assert not (hands == white).all(axis=-1).any()


def test_bodies_hands_and_faces_are_drawn_where_they_are():
    point, body_result, pose_result = from_aux("open_pose", "Keypoint", "BodyResult", "PoseResult")
    neck, shoulder = point(0.5, 0.2), point(0.2, 0.2)
    body = body_result([None, neck, shoulder, *[None] * 15], 1.0, 2)
    fingers = [point(0.3 + finger / 10, 0.8 - joint * 0.12) for finger in range(5) for joint in range(4)]
    hand = [point(0.5, 0.95), *fingers]
    lost = [point(-1 / 200, -1 / 200)] * 21
    face = [point(0.5, 0.05)]
    whole = draw_poses([pose_result(body, hand, lost, face)], height=200, width=200)
    bones = draw_poses([pose_result(body, None, None, None)], height=200, width=200)
    assert whole.dtype == np.uint8
    assert bones[40, 70].tolist() == [153, 0, 0]  # half-way from neck to shoulder
    added = (whole != bones).any(axis=-1)
    assert added[10, 100]
    assert added[190, 100]
    assert not added[:5, :5].any(), "a hand that was not found is drawn in the corner"
    assert len(np.unique(whole[80:].reshape(-1, 3), axis=0)) > 20  # as many bones, and black


def test_depth_anything_is_read_from_its_folder_with_one_range(hub, seen):
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=70,
        out_indices=[1, 2],
        reshape_hidden_states=False,
    )
    torch.manual_seed(0)
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    repo = "depth-anything/Depth-Anything-V2-Small-hf"
    DepthAnythingForDepthEstimation(config).save_pretrained(hub.root / repo)
    (hub.root / repo / "unwanted.bin").write_bytes(b"not wanted")
    frames = seen("depth_anything")
    require_pictures(frames)
    assert (frames.min(), frames.max()) == (0, 255)
    assert sorted(hub.downloads) == [f"{repo}/config.json", f"{repo}/model.safetensors"]


@pytest.mark.parametrize("safetensors", [True, False])
def test_segments_have_the_palette_s_colours(hub, seen, safetensors):
    torch.manual_seed(0)
    backbone = ConvNextConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = UperNetConfig(
        backbone_config=backbone, hidden_size=8, auxiliary_channels=8, auxiliary_in_channels=8, num_labels=150
    )
    folder = hub.root / "openmmlab/upernet-convnext-small"
    model = UperNetForSemanticSegmentation(config)
    model.save_pretrained(folder)
    if not safetensors:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    frames = seen("segment")
    palette = {tuple(colour) for colour in from_aux("util", "ade_palette")()}
    colours = set(map(tuple, frames.reshape(-1, 3).tolist()))
    assert len(colours) > 1
    assert colours <= palette


def normal_network() -> torch.nn.Module:
    names = {"mode": "client", "architecture": "BN", "pretrained": "scannet"}
    return from_aux("normalbae", "NNET")(SimpleNamespace(**names, sampling_ratio=0.4, importance_ratio=0.7))


def midas_network() -> torch.nn.Module:
    return from_aux("midas.midas.dpt_depth", "DPTDepthModel")(None, backbone="vitb_rn50_384", non_negative=True)


def leres_network() -> torch.nn.Module:
    return from_aux("leres", "RelDepthModel")(backbone="resnext101")


def anime_network() -> torch.nn.Module:
    norm = partial(torch.nn.InstanceNorm2d, affine=False, track_running_stats=False)
    return from_aux("lineart_anime", "UnetGenerator")(3, 1, 8, 64, norm_layer=norm)


def zoe_network() -> torch.nn.Module:
    build, get_config = from_aux("zoe", "ZoeDepth", "get_config")
    return build.build_from_config(get_config("zoedepth", "infer"))


@pytest.mark.slow  # up to two minutes, and for ZoeDepth 5 GB
@pytest.mark.parametrize(
    ("name", "build", "wrapped"),
    [
        ("depth_midas", midas_network, None),
        ("depth_zoe", zoe_network, "model"),
        ("depth_leres", leres_network, "depth_model"),
        ("normal_bae", normal_network, "model"),
        ("lineart_anime", anime_network, None),
    ],
)
def test_large_networks(publish, seen, name, build, wrapped):
    state = {f"module.{key}": tensor for key, tensor in random_state(build).items()}
    (weights,) = PREPROCESSORS[name].weights
    publish(weights.name, {wrapped: state, "epoch": 3} if wrapped else state)
    frames = seen(name)
    require_pictures(frames)
    if PREPROCESSORS[name].spread:
        assert (frames.min(), frames.max()) == (0, 255)


def teed_state() -> dict[str, torch.Tensor]:
    return random_state(from_aux("teed", "TED"))


def test_a_file_that_lacks_a_tensor_is_refused(publish, seen):
    state = teed_state()
    del state["block_1.conv1.bias"]
    publish(TEED, state, repo=TEED_REPO)
    with pytest.raises(WeightsError) as error:
        seen("softedge_teed")
    assert str(error.value) == (
        "controls must be a whole TED, got '7_model.pth': it lacks 1 tensors, the first block_1.conv1.bias. "
        "Download it again or choose another."
    )


class Hostile:
    def __reduce__(self):
        return print, ("run",)


def test_a_file_that_asks_to_run_code_is_not_opened(publish, seen, capsys):
    publish(TEED, teed_state() | {"more": Hostile()}, repo=TEED_REPO)
    with pytest.raises(WeightsError, match="asks to run code"):
        seen("softedge_teed")
    assert capsys.readouterr().out == ""


def test_without_the_hub_it_says_which_file_is_missing_and_what_works(hub, publish, seen):
    generator = from_aux("lineart", "Generator")
    publish("sk_model.pth", random_state(lambda: generator(3, 1, 3)))
    require_pictures(seen("lineart"))
    hub.stop()
    require_pictures(seen("lineart", resolution=128))  # it is here
    with pytest.raises(WeightsError) as error:
        seen("softedge_pidinet")
    assert str(error.value) == (
        "controls must be downloadable, got 'lllyasviel/Annotators/table5_pidinet.pth': the Hub can't be reached. "
        f"Choose a preprocessor that needs no download ({', '.join(OFFLINE)}), or connect to the internet."
    )
    assert "canny" in OFFLINE


def test_a_download_is_told_of_and_can_be_stopped(hub, publish, tmp_path):
    publish("sk_model.pth", {"any": torch.zeros(4_000_000)})
    cache = ControlCache(tmp_path / "controls")
    unit = ControlUnit(model="any", preprocessor="lineart", options=SMALL)
    hub.pausing.add(f"{ANNOTATORS}/sk_model.pth")
    events = prepare_control(unit, noise_clip(1, **SIZE), **SIZE, seed=0, cache=cache, digest="d")
    assert next(events).note.startswith("Downloading sk_model.pth")
    hub.go_on.set()
    events.close()
    assert not cache.folder.exists()


def test_importing_the_networks_is_silent(capfd):
    with quiet():
        import controlnet_aux  # noqa: F401
    assert capfd.readouterr().out == ""
