"""Preprocessors that draw edges and lines, white on black, with networks."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from controlnet.networks import from_aux, load_network, on_frames, working_size
from controlnet.pixel_filters import as_rgb
from controlnet.preprocessor import Filter, Setting
from pipelines.plan.image_fit import Frames

_SHADES = 2  # above black, that "safe" leaves
_STROKE = 3.0  # pixels; how far a scribble's edges are blurred, which makes its strokes that bold
_MOST_LINES = 200
_PEAK = 5  # pixels of M-LSD's map within which only the surest line counts


def hed(setting: Setting) -> Filter:
    """Holistically nested edges. Source: arXiv:1504.06375, in ControlNet's own training."""
    network = load_network(from_aux("hed", "ControlNetHED_Apache2"), setting.files[0], setting.device)
    return _grey_filter(setting, lambda pictures: _mean_edge(network(pictures)))


def teed(setting: Setting) -> Filter:
    """Tiny and efficient edges. Source: arXiv:2308.06468."""
    network = load_network(from_aux("teed", "TED"), setting.files[0], setting.device)
    return _grey_filter(setting, lambda pictures: _mean_edge(network(pictures)))


def pidinet(setting: Setting) -> Filter:
    """Pixel difference networks. Source: arXiv:2108.07009. Colours are BGR, as ControlNet was trained."""
    network = load_network(from_aux("pidi.model", "pidinet"), setting.files[0], setting.device)
    return _grey_filter(setting, lambda pictures: network(pictures.flip(1) / 255)[-1])


def scribble(setting: Setting) -> Filter:
    """Bold strokes along the ridges of HED's edges."""
    edges, thinned = hed(setting), from_aux("util", "nms")

    def stroke(edge: Frames) -> npt.NDArray[np.bool_]:
        ridges: Frames = thinned(edge[..., 0], 127, _STROKE)
        bold: npt.NDArray[np.bool_] = cv2.GaussianBlur(ridges, (0, 0), _STROKE) > 4
        return bold

    return lambda frames: as_rgb(np.stack([stroke(edge) for edge in edges(frames)]) * 255)


def lineart(setting: Setting) -> Filter:
    """Drawings. Source: arXiv:2203.12691."""
    generator = from_aux("lineart", "Generator")
    path = setting.files[1 if setting.options["coarse"] else 0]
    network = load_network(partial(generator, 3, 1, 3), path, setting.device)
    return _grey_filter(setting, lambda pictures: 1 - network(pictures / 255))


def lineart_anime(setting: Setting) -> Filter:
    """Cartoons' lines. Its network halves pictures eight times."""
    generator = from_aux("lineart_anime", "UnetGenerator")
    norm = partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    network = load_network(partial(generator, 3, 1, 8, 64, norm_layer=norm), setting.files[0], setting.device)
    return _grey_filter(setting, lambda pictures: (1 - network(pictures / 127.5 - 1)) / 2, multiple=256)


def mlsd(setting: Setting) -> Filter:
    """Line segments. Source: arXiv:2106.00186."""
    build = from_aux("mlsd.models.mbv2_mlsd_large", "MobileV2_MLSD_Large")
    network = load_network(build, setting.files[0], setting.device)
    high, wide = working_size(setting, multiple=64)
    scale = np.array([setting.width / wide, setting.height / high] * 2)

    def look(pictures: Tensor) -> Tensor:
        # The fourth channel is the authors': ones before all four are brought to -1 to 1.
        ones = torch.ones_like(pictures[:, :1])
        return network(torch.cat([pictures, ones], 1) / 127.5 - 1)

    raw = _unresized_maps(look, setting)

    def draw(frame: Frames) -> npt.NDArray[np.uint8]:
        canvas = np.zeros((setting.height, setting.width), np.uint8)
        lines = _lines(raw(frame[None]), setting.options["score"], setting.options["length"])
        for x0, y0, x1, y1 in np.rint(lines * scale).astype(int).tolist():
            cv2.line(canvas, (x0, y0), (x1, y1), 255, 1)
        return canvas

    return lambda frames: as_rgb(np.stack([draw(frame) for frame in frames]))


def _grey_filter(setting: Setting, look: Callable[[Tensor], Tensor], *, multiple: int = 64) -> Filter:
    """Build a grey filter from a network with one output channel.

    The network gives [n, 1, h, w] from 0 to 1; the option `safe` reduces them to a few shades.
    """
    maps = on_frames(look, setting, multiple=multiple)
    if not setting.options.get("safe"):
        return lambda frames: as_rgb(maps(frames) * 255)
    return lambda frames: as_rgb(np.floor(maps(frames) * (_SHADES + 1)) * (255 / _SHADES))


def _mean_edge(sides: tuple[Tensor, ...]) -> Tensor:
    """Merge a network's multi-scale logits into one edge map."""
    size = sides[0].shape[-2:]
    return torch.stack([interpolate(side, size, mode="bilinear") for side in sides]).mean(0).sigmoid()


def _unresized_maps(look: Callable[[Tensor], Tensor], setting: Setting) -> Callable[[Frames], Tensor]:
    """Build M-LSD's maps unresized, since their values are coordinates."""
    high, wide = working_size(setting, multiple=64)

    @torch.inference_mode()
    def apply(frames: Frames) -> Tensor:
        pictures = np.stack([cv2.resize(frame, (wide, high), interpolation=cv2.INTER_AREA) for frame in frames])
        return look(torch.from_numpy(pictures).to(setting.device).permute(0, 3, 1, 2).float()).cpu()

    return apply


def _lines(maps: Tensor, score: float, length: float) -> npt.NDArray[np.float32]:
    """Decode the most certain line segments, [lines, (x0, y0, x1, y1)].

    They are in pixels of the network's picture.

    Args:
        maps: Of one frame, [1, 9, h, w]: the first channel says whether a line's middle is here, the four after
            it where its ends are from here. The map is half as large as the picture.
    """
    sureness = maps[0, 0].sigmoid()
    is_peak = max_pool2d(sureness[None], _PEAK, stride=1, padding=_PEAK // 2)[0] == sureness
    y, x = torch.nonzero(is_peak & (sureness > score), as_tuple=True)
    order = sureness[y, x].argsort(descending=True)[:_MOST_LINES]
    y, x = y[order], x[order]
    ends = torch.stack([x, y, x, y], dim=1) + maps[0, 1:5, y, x].T
    lengths = (ends[:, 2:] - ends[:, :2]).norm(dim=1)
    return (ends[lengths > length] * 2).numpy()
