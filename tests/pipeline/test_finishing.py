"""What is done to finished frames: colours, FILM, enlarging, all in their order, and what is refused before."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact

from finishing import upscale
from finishing.colors import ColorStage
from finishing.film import load_film
from finishing.finish import Finishers, finished, load_finishers
from finishing.upscale import UpscaleStage, load_upscaler, resized
from pipelines.engine.models import ModelStore
from pipelines.plan import catalog
from pipelines.plan.catalog_entries import Interpolator
from pipelines.plan.clip_inputs import NO_INPUTS, ClipInputs
from pipelines.plan.errors import InvalidRequestError, WeightsError
from pipelines.plan.events import Progress
from pipelines.plan.request import GenerationRequest
from scripts.train_demo.world import Scene, render
from tests.clips import ArrayClip
from tests.pipeline.sink import KeptFrames
from tests.stand_in_hub import serving, use_hub

SCENE = Scene("star", "orange", "blue", "large", "right", ground="spotted")
NO_FINISHERS = Finishers()
HASHES = {"source_video": "1" * 64, "mask": "2" * 64}


def request_for(**settings: object) -> GenerationRequest:
    return GenerationRequest.build(**{"seed": 0, "width": 64, "height": 64, "num_frames": 3} | settings)


def scene(frames: int = 3, side: int = 64) -> np.ndarray:
    return render(SCENE, frames=range(frames), height=side, width=side)


def through(stage: ColorStage | UpscaleStage, frames: np.ndarray) -> np.ndarray:
    return np.stack([out for frame in frames for out in stage.take(frame)] + list(stage.end()))


def finish(
    request: GenerationRequest, frames: np.ndarray, finishers: Finishers = NO_FINISHERS, inputs: ClipInputs = NO_INPUTS
) -> np.ndarray:
    sink = KeptFrames()
    with finished(request, inputs, sink.opener(), finishers)(request, "recipe") as opened:
        opened.write(frames)
    assert opened.num_frames == request.output_frames
    return sink.frames


def loaded(request: GenerationRequest) -> tuple[list[Progress], Finishers]:
    told: list[Progress] = []
    work = load_finishers(request, ModelStore("cpu", torch.float32))
    while True:
        try:
            told.append(next(work))
        except StopIteration as end:
            return told, end.value


# Colours


def drifted(frames: np.ndarray) -> np.ndarray:
    """Every frame but the first with light and colour of its own."""
    other = frames.astype(np.float32)
    for number in range(1, len(frames)):
        other[number] = other[number] * (1 - 0.1 * number) + np.array([12, 4, 0]) * number
    return np.round(other).clip(0, 255).astype(np.uint8)


def lab(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2Lab).reshape(-1, 3)


def test_every_frame_takes_on_the_first_ones_mean_and_spread():
    frames = drifted(scene())
    request = request_for(color_match="first", reverse="append")
    out = through(ColorStage(request, NO_INPUTS), frames[[0, 1, 2, 2, 1, 0]])
    assert (out[0] == frames[0]).all()
    assert (out[:3] == out[:2:-1]).all()
    for number in (1, 2):
        before = np.abs(lab(frames[number]).mean(0) - lab(out[0]).mean(0)).max()
        after = np.abs(lab(out[number]).mean(0) - lab(out[0]).mean(0)).max()
        assert before > 4
        assert after < 0.6
        assert np.abs(lab(out[number]).std(0) - lab(out[0]).std(0)).max() < 0.8


def test_every_frame_takes_on_the_colours_of_the_sources_frame_of_its_number_also_on_the_way_back():
    source = drifted(scene())
    request = request_for(color_match="source", source_video="1" * 64, reverse="append")
    inputs = ClipInputs(source=ArrayClip(source))
    frames = scene()[[0, 1, 2, 2, 1, 0]]
    out = through(ColorStage(request, inputs), frames)
    for number, like in enumerate((0, 1, 2, 2, 1, 0)):
        assert np.abs(lab(out[number]).mean(0) - lab(source[like]).mean(0)).max() < 0.6
    assert (out[:3] == out[:2:-1]).all()


@pytest.mark.parametrize("match", ["first", "source"])
def test_what_a_mask_keeps_stays_exactly(match: str):
    mask = np.zeros((1, 64, 64, 3), np.uint8)
    mask[:, 16:48, 16:48] = 255
    inputs = ClipInputs(source=ArrayClip(scene()), mask=ArrayClip(mask))
    frames = drifted(scene())
    out = through(ColorStage(request_for(color_match=match, mask_feather=0, **HASHES), inputs), frames)
    outside = mask[0, ..., 0] == 0
    assert (out[:, outside] == frames[:, outside]).all()
    inside = [lab(part[~outside][None]).mean(0) for part in (out[2], scene()[0] if match == "first" else scene()[2])]
    assert np.abs(inside[0] - inside[1]).max() < 1.2  # what leaves RGB's range is cut
    assert np.abs(lab(frames[2][~outside][None]).mean(0) - inside[1]).max() > 4


def test_a_mask_that_keeps_all_of_a_frame_leaves_it():
    mask = np.zeros((3, 64, 64, 3), np.uint8)
    mask[1:] = 255
    inputs = ClipInputs(source=ArrayClip(scene()), mask=ArrayClip(mask))
    out = through(ColorStage(request_for(color_match="first", **HASHES), inputs), drifted(scene()))
    assert (out[:2] == drifted(scene())[:2]).all()  # the first that may change sets the colours
    assert (out[2] != drifted(scene())[2]).any()


def test_noise_in_a_frame_of_one_colour_does_not_grow_without_end():
    flat = np.random.default_rng(0).integers(99, 102, (64, 64, 3), np.uint8)
    out = through(ColorStage(request_for(color_match="first"), NO_INPUTS), np.stack([scene()[0], flat]))
    assert lab(out[1]).std(0).max() < 4
    assert np.abs(lab(out[1]).mean(0) - lab(out[0]).mean(0)).max() < 1


# FILM


class Mixture(torch.nn.Module):
    """Draws as FILM is asked to: a mixture by the time."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, before: torch.Tensor, after: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        if before.shape[2] % 64 != 0 or before.shape[3] % 64 != 0:
            raise RuntimeError("sides must be multiples of 64")
        return (before + (after - before) * time[:, :, None, None]) * self.weight


class NoPicture(torch.nn.Module):
    def forward(self, before: torch.Tensor, after: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return before[:, :1] + after[:, :1] * time[:, :, None, None]


@pytest.fixture
def interpolators(tmp_path, configure) -> Path:
    configure(models_dir=tmp_path)
    folder = tmp_path / "interpolators"
    folder.mkdir()
    return folder


def archive(network: torch.nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(network), path)
    return path


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 16])
def test_film_is_asked_for_even_times_in_order(interpolators: Path, count: int):
    archive(Mixture(), interpolators / "film_net_fp32.pt")
    _, finishers = loaded(request_for(interpolation="film", interpolation_frames=count))
    step = 12
    ends = [np.full((50, 70, 3), value, np.uint8) for value in (0, step * (count + 1))]
    ends[0][:, :35] = 100
    drawn = np.stack(list(finishers.film.draw_between(*ends, count)))
    assert drawn.shape == (count, 50, 70, 3)
    assert (drawn[:, :, 35:] == (step * np.arange(1, count + 1))[:, None, None, None]).all()


def test_film_is_downloaded_before_anything_is_made(tmp_path, monkeypatch):
    repo = tmp_path / "hub" / "owner" / "film"
    repo.mkdir(parents=True)
    archive(Mixture(), repo / "film.pt")
    entry = Interpolator(
        id="film", label="FILM", description="", source="hub", repo="owner/film", file="film.pt", licence=""
    )
    monkeypatch.setattr(catalog, "_finishers", lambda: ((), (entry,)))
    with serving(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        told, finishers = loaded(request_for(interpolation="film"))
        assert hub.downloads == ["owner/film/film.pt"]
    assert told[0].note == "FILM"
    assert any(event.note.startswith("Downloading film.pt") for event in told)
    assert finishers.film is not None


def test_film_that_cannot_be_had_is_refused_in_words(tmp_path, monkeypatch):
    with serving(tmp_path) as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
    with pytest.raises(WeightsError, match=r"^interpolation must be downloadable, got .* Choose 'flow'"):
        loaded(request_for(interpolation="film"))


def test_films_program_comes_from_a_fixed_commit():
    assert len(catalog._finishers()[1][0].revision) == 40


@pytest.mark.parametrize("content", [b"", b"no archive", None], ids=["empty", "text", "weights"])
def test_what_is_no_archive_is_refused(interpolators: Path, content: bytes | None):
    path = interpolators / "film.pt"
    torch.save({"weight": torch.ones(2)}, path) if content is None else path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"^interpolation must have a whole FILM archive.* Choose 'flow'") as refused:
        loaded(request_for(interpolation="film"))
    assert str(interpolators) not in str(refused.value)


def test_a_program_that_draws_no_picture_is_refused(interpolators: Path):
    archive(NoPicture(), interpolators / "film.pt")
    film = load_film(catalog.film(), "cpu")
    frames = scene(2)
    with pytest.raises(WeightsError, match="what it draws is no picture"):
        list(film.draw_between(frames[0], frames[1], 1))


class Overshooting(Mixture):
    """Draws beyond black and white, as networks do at edges."""

    def forward(self, before: torch.Tensor, after: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return (before + (after - before) * time[:, :, None, None]) * self.weight * 3 - 1


def test_film_in_half_precision_draws_on_a_cpu_and_cuts_off_what_is_no_colour(interpolators: Path):
    archive(Overshooting().half(), interpolators / "film_net_fp16.pt")
    frames = [np.full((50, 70, 3), value, np.uint8) for value in (60, 100, 170)]
    film = load_film(catalog.film(), "cpu")
    assert (next(film.draw_between(frames[1], frames[1], 1)) == 45).all()
    assert (next(film.draw_between(frames[0], frames[0], 1)) == 0).all()
    assert (next(film.draw_between(frames[2], frames[2], 1)) == 255).all()


# Enlarging


def real_esrgan(shuffle: int, *, blocks: int = 23, features: int = 64, growth: int = 32) -> dict[str, torch.Tensor]:
    """Real-ESRGAN's network under the names and in the sizes of its files, of random numbers.

    Args:
        shuffle: How many pixels of a side its first layer takes at once; 2 where it enlarges by 2 and not by 4.
    """
    layers = {"conv_first": (3 * shuffle**2, features), "conv_body": (features, features), "conv_last": (features, 3)}
    layers |= dict.fromkeys(("conv_up1", "conv_up2", "conv_hr"), (features, features))
    for block in range(blocks):
        for number in range(1, 4):
            for conv in range(1, 6):
                wide = features if conv == 5 else growth
                layers[f"body.{block}.rdb{number}.conv{conv}"] = (features + (conv - 1) * growth, wide)
    torch.manual_seed(0)
    tensors = {}
    for name, (taken, given) in layers.items():
        tensors[f"{name}.weight"] = torch.randn(given, taken, 3, 3) * (0.5 / (9 * taken)) ** 0.5
        tensors[f"{name}.bias"] = torch.zeros(given)
    tensors["conv_last.bias"] += 0.5
    return tensors


@pytest.mark.parametrize(("shuffle", "scale", "parameters"), [(1, 4, 16_697_987), (2, 2, 16_703_171)])
def test_real_esrgan_enlarges_pictures_of_any_sides(upscalers: Path, shuffle: int, scale: int, parameters: int):
    tensors = real_esrgan(shuffle)
    assert sum(tensor.numel() for tensor in tensors.values()) == parameters
    torch.save({"params_ema": tensors}, upscalers / "RealESRGAN.pth")
    _, finishers = loaded(request_for(upscaler="RealESRGAN.pth", upscale_by=2))
    frame = scene(1, 24)[0][:17, :13]
    large = finishers.upscaler.enlarge(frame)
    assert large.shape == (17 * scale, 13 * scale, 3)
    assert large.std() > 2
    dark = finishers.upscaler.enlarge(frame // 4).astype(int)
    assert np.abs(dark - large).max() > 2, "it sees the picture"


@pytest.fixture
def tiny_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return Compact(num_feat=8, num_conv=2, upscale=2).eval()


@pytest.fixture
def upscalers(tmp_path, configure) -> Path:
    configure(models_dir=tmp_path)
    folder = tmp_path / "upscalers"
    folder.mkdir()
    return folder


def save_plain(network: torch.nn.Module, folder: Path) -> str:
    save_file(network.state_dict(), folder / "tiny.safetensors")
    return "tiny.safetensors"


def save_pickle(network: torch.nn.Module, folder: Path) -> str:
    torch.save({"params_ema": network.state_dict()}, folder / "tiny.pth")
    return "tiny.pth"


@pytest.mark.parametrize("save", [save_plain, save_pickle])
def test_a_network_from_the_models_folder_enlarges(
    upscalers: Path, tiny_network: torch.nn.Module, save: Callable[[torch.nn.Module, Path], str]
):
    name = save(tiny_network, upscalers)
    assert name in [entry.id for entry in catalog.upscalers()]
    _, finishers = loaded(request_for(upscaler=name, upscale_by=2))
    (frame,) = scene(1, 40)
    with torch.no_grad():
        drawn = tiny_network(torch.from_numpy(frame.copy()).permute(2, 0, 1)[None] / 255)[0]
    expected = (drawn.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert finishers.upscaler.enlarge(frame).shape == (80, 80, 3)
    assert np.abs(finishers.upscaler.enlarge(frame).astype(int) - expected).max() <= 1


def test_tiles_leave_no_seam(upscalers: Path, tiny_network: torch.nn.Module, monkeypatch):
    network = load_upscaler(catalog.find_upscaler(save_plain(tiny_network, upscalers)), "cpu")
    frame = np.random.default_rng(0).integers(0, 256, (70, 53, 3), np.uint8)
    whole = network.enlarge(frame)
    monkeypatch.setattr(upscale, "TILE", 16)
    monkeypatch.setattr(upscale, "MARGIN", 6)
    assert np.abs(network.enlarge(frame).astype(int) - whole).max() <= 1
    monkeypatch.setattr(upscale, "MARGIN", 0)
    assert np.abs(network.enlarge(frame).astype(int) - whole).max() > 1


@pytest.mark.parametrize("factor", [1.25, 2, 3])
def test_the_size_is_the_requests_whatever_the_networks_factor(
    upscalers: Path, tiny_network: torch.nn.Module, factor: float
):
    request = request_for(upscaler=save_plain(tiny_network, upscalers), upscale_by=factor, width=72)
    frames = render(SCENE, frames=range(3), height=64, width=72)
    out = finish(request, frames, loaded(request)[1])
    assert out.shape[1:3] == request.output_size[::-1]


def test_lanczos_is_nearer_to_the_large_picture_than_repeated_pixels():
    large = scene(1, 256)[0]
    small = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
    errors = [
        np.square(one.astype(float) - large).mean()
        for one in (resized(small, (256, 256)), small.repeat(4, axis=0).repeat(4, axis=1))
    ]
    assert errors[0] < 0.75 * errors[1]


@pytest.mark.parametrize("odd", [torch.ones(()), torch.zeros(0, 4), torch.ones(7, 7, 7)])
def test_a_network_with_a_tensor_of_another_shape_is_refused(upscalers: Path, tiny_network: torch.nn.Module, odd):
    for name in (tensors := dict(tiny_network.state_dict())):
        save_file(tensors | {name: odd.clone()}, upscalers / "odd.safetensors")
        with pytest.raises(WeightsError, match=r"got 'odd\.safetensors', which holds no network that is known"):
            load_upscaler(catalog.find_upscaler("odd.safetensors"), "cpu")


def test_an_unknown_upscaler_is_refused_before_the_work(upscalers: Path):
    del upscalers
    with pytest.raises(InvalidRequestError, match=r"^upscaler must be one of the catalog, got 'lanzos'\. Choose "):
        loaded(request_for(upscaler="lanzos"))


def test_a_file_of_something_else_is_refused(upscalers: Path):
    save_file({"some.weight": torch.ones(3)}, upscalers / "other.safetensors")
    with pytest.raises(WeightsError, match=r"^upscaler must be a super-resolution network .*'other.safetensors'"):
        loaded(request_for(upscaler="other.safetensors", upscale_by=2))


def test_a_pickle_that_asks_to_run_code_is_refused(upscalers: Path):
    torch.save({"params": torch.nn.Linear(1, 1)}, upscalers / "evil.pth")
    with pytest.raises(WeightsError, match="which asks to run code"):
        loaded(request_for(upscaler="evil.pth", upscale_by=2))


# All together


def test_a_request_that_asks_for_nothing_gets_its_frames_as_they_are():
    assert (finish(request_for(), frames := scene()) == frames).all()
    assert loaded(request_for()) == ([], Finishers())


def test_colours_come_first_then_frames_then_size():
    frames = drifted(scene())
    request = request_for(color_match="first", interpolation="flow", interpolation_frames=3, upscale_by=1.5)
    out = finish(request, frames)
    assert out.shape == (12, 96, 96, 3)
    assert request.output_fps == request.fps * 4 == Fraction(32)
    alone = finish(request_for(color_match="first"), frames)
    assert (out[8:] == out[8]).all()  # the last one is held
    assert (out[::4] == np.stack([resized(frame, (96, 96)) for frame in alone])).all()
    light = [lab(frame)[:, 0].mean() for frame in out]
    assert max(light) - min(light) < 1.5


def test_every_clip_has_stages_of_its_own():
    request = request_for(interpolation="flow", color_match="first")
    opener = finished(request, NO_INPUTS, (sink := KeptFrames()).opener(), Finishers())

    def written(frames: np.ndarray) -> Iterator[np.ndarray]:
        sink.parts.clear()
        with opener(request, "recipe") as opened:
            opened.write(frames)
        return iter(sink.parts)

    other = scene()[:, ::-1]
    assert len(list(written(scene()))) == request.output_frames
    assert (next(written(other)) == other[0]).all()
