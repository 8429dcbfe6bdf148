"""Registry of preprocessors and their options; imports no OpenCV.

A record says what a preprocessor is, what may be set, and which files it needs. The code behind it is
imported when it is used: half of these need torch, and controlnet_aux alone takes seconds to import.
"""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType

from controlnet.preprocessor import Option, Preprocessor, Spread, Weights
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.request_fields.units import ControlUnit

_NAMES_SHOWN = 12


def get_preprocessor(name: str, *, number: int = 0) -> Preprocessor:
    """Look up a preprocessor by its id.

    Args:
        number: Which of the request's control units asks, from 1; 0 where nobody counts.

    Raises:
        InvalidRequestError: There is none, or it can't be used.
    """
    preprocessor = PREPROCESSORS.get(name)
    if preprocessor is None:
        alike = get_close_matches(name, PREPROCESSORS, n=_NAMES_SHOWN) or list(PREPROCESSORS)[:_NAMES_SHOWN]
        raise InvalidRequestError(
            _of_unit(
                Fault(
                    code="preprocessor.unknown",
                    field="controls",
                    rule="have a known preprocessor",
                    got=f"'{name}'",
                    fix="Choose another, such as {names:s}",
                    limit=tuple(PREPROCESSORS),
                    values={"name": name, "names": ", ".join(alike)},
                ),
                number,
            )
        )
    if preprocessor.unavailable:
        raise InvalidRequestError(
            _of_unit(
                Fault(
                    code=f"preprocessor.no_{preprocessor.id}",
                    field="controls",
                    rule="have a preprocessor that can be used",
                    got=f"'{name}'",
                    fix="{why:s}",
                    values={"name": name, "why": preprocessor.unavailable.removesuffix(".")},
                ),
                number,
            )
        )
    return preprocessor


def options_of(unit: ControlUnit, *, number: int = 0) -> dict[str, float]:
    """Complete a unit's preprocessor options with the defaults.

    Args:
        number: Which of the request's control units it is, from 1; 0 where nobody counts.

    Raises:
        InvalidRequestError: Its preprocessor can't be used or has no such option, or a number is out of its range.
    """
    preprocessor = get_preprocessor(unit.preprocessor, number=number)
    available = {option.name: option for option in preprocessor.options}
    for name, value in unit.options.items():
        if name not in available:
            raise InvalidRequestError(
                _of_unit(
                    Fault(
                        code="preprocessor.unknown_option" if available else "preprocessor.without_options",
                        field="controls",
                        rule="have options of '{preprocessor}'",
                        got=f"'{name}'",
                        fix="It has {names:s}" if available else "It has none",
                        limit=tuple(available),
                        values={"preprocessor": preprocessor.id, "name": name, "names": ", ".join(available)},
                    ),
                    number,
                )
            )
        option = available[name]
        if not option.low <= value <= option.high:
            raise InvalidRequestError(
                _of_unit(
                    Fault(
                        code="preprocessor.option_out_of_range",
                        field="controls",
                        rule="have '{name}' from {low:g} to {high:g}",
                        got=f"{value:g}",
                        fix="Change '{option:s}'",
                        limit=(option.low, option.high),
                        values={
                            "preprocessor": preprocessor.id,
                            "name": name,
                            "option": option.label,
                            "low": option.low,
                            "high": option.high,
                            "value": value,
                        },
                    ),
                    number,
                )
            )
    return {name: float(unit.options.get(name, option.default)) for name, option in available.items()}


def weights_wanted(preprocessor: Preprocessor, options: Mapping[str, float]) -> tuple[Weights | None, ...]:
    """Select the record's weights, None for those these options leave unused."""
    return tuple(files if not files.wanted_by or options[files.wanted_by] else None for files in preprocessor.weights)


def _of_unit(fault: Fault, number: int) -> Fault:
    """Name the unit in a fault where units are counted.

    The rule then has another code.
    """
    if not number:
        return fault
    values = {**fault.values, "unit": number}
    return replace(fault, code=f"{fault.code}_in_unit", rule=f"{fault.rule} in unit {{unit}}", values=values)


def _annotator(name: str, *, size_mb: int, wanted_by: str = "") -> Weights:
    return Weights("lllyasviel/Annotators", name, size_mb, wanted_by)


_switch = partial(Option, low=0, high=1, step=1)
_resolution = Option(
    "resolution",
    "Resolution",
    "The shorter side at which the network looks, pixels: less finds larger things and is faster.",
    default=512,
    low=64,
    high=1536,
    step=64,
)
_steps = _switch(
    "safe", "Few shades", "1 keeps black, grey and white only, which hides what the picture looked like.", 0
)
_EDGES = "controlnet.edge_networks"
_DEPTH = "controlnet.depth_networks"
_PIXELS = "controlnet.pixel_filters"
_NEAR_IS_BRIGHT = "Near is bright. One range for the whole clip, so it doesn't flicker."

_ALL = (
    Preprocessor(
        "none", "None", "The clip as it is: for clips that are edges, depth or poses already.", f"{_PIXELS}:none"
    ),
    Preprocessor(
        "invert",
        "Invert",
        "Black to white: for drawings of dark lines on white, as the line models follow white lines.",
        f"{_PIXELS}:invert",
        follows=("lineart", "scribble"),
    ),
    Preprocessor(
        "canny",
        "Canny edges",
        "Thin edges where brightness jumps.",
        f"{_PIXELS}:canny",
        follows=("canny",),
        options=(
            Option("low", "Low threshold", "Weaker edges than this are left out.", 100, 1, 255, 1),
            Option("high", "High threshold", "An edge is kept where a part of it is this strong.", 200, 1, 255, 1),
        ),
    ),
    Preprocessor(
        "softedge_hed",
        "Soft edges, HED",
        "Soft outlines, strong where things end and weak inside them.",
        f"{_EDGES}:hed",
        follows=("softedge",),
        options=(_resolution, _steps),
        weights=(_annotator("ControlNetHED.pth", size_mb=29),),
    ),
    Preprocessor(
        "softedge_pidinet",
        "Soft edges, PiDiNet",
        "Soft outlines, cleaner than HED's and faster.",
        f"{_EDGES}:pidinet",
        follows=("softedge",),
        options=(_resolution, _steps),
        weights=(_annotator("table5_pidinet.pth", size_mb=3),),
    ),
    Preprocessor(
        "softedge_teed",
        "Soft edges, TEED",
        "Soft outlines with more detail, by the smallest network.",
        f"{_EDGES}:teed",
        follows=("softedge",),
        options=(_resolution, _switch("safe", _steps.label, _steps.help, 1)),
        weights=(Weights("bdsqlsz/qinglong_controlnet-lllite", "Annotators/7_model.pth", 1),),
    ),
    Preprocessor(
        "scribble",
        "Scribble, HED",
        "Bold strokes along HED's outlines.",
        f"{_EDGES}:scribble",
        follows=("scribble",),
        options=(_resolution,),
        weights=(_annotator("ControlNetHED.pth", size_mb=29),),
    ),
    Preprocessor(
        "scribble_xdog",
        "Scribble, differences of blurs",
        "White strokes where a picture is darker than what is around it.",
        f"{_PIXELS}:scribble_xdog",
        follows=("scribble",),
        options=(Option("threshold", "Threshold", "How much darker, of 255.", 16, 1, 128, 1),),
    ),
    Preprocessor(
        "lineart",
        "Line art",
        "The lines a draughtsman would draw.",
        f"{_EDGES}:lineart",
        follows=("lineart",),
        options=(_resolution, _switch("coarse", "Coarse", "1 draws fewer, rougher lines.", 0)),
        weights=(_annotator("sk_model.pth", size_mb=17), _annotator("sk_model2.pth", size_mb=17, wanted_by="coarse")),
    ),
    Preprocessor(
        "lineart_anime",
        "Line art, anime",
        "The lines of a cartoon.",
        f"{_EDGES}:lineart_anime",
        follows=("lineart_anime",),
        options=(_resolution,),
        weights=(_annotator("netG.pth", size_mb=218),),
    ),
    Preprocessor(
        "lineart_standard",
        "Line art, without a network",
        "What is darker than its surroundings, as white lines. One range for the whole clip, so it doesn't flicker.",
        f"{_PIXELS}:lineart_standard",
        follows=("lineart",),
        options=(Option("sigma", "Width", "How far the surroundings reach, pixels.", 6, 0.5, 30, 0.5),),
        spread=Spread(low=None, high=90, least=16, above=8),
    ),
    Preprocessor(
        "mlsd",
        "Straight lines, M-LSD",
        "Straight lines only: for rooms and buildings.",
        f"{_EDGES}:mlsd",
        follows=("mlsd",),
        options=(
            _resolution,
            Option("score", "Certainty", "Lines less certain than this are left out.", 0.1, 0.01, 1, 0.01),
            Option("length", "Length", "Shorter lines are left out, pixels of the network's picture.", 0.1, 0, 50, 0.1),
        ),
        weights=(_annotator("mlsd_large_512_fp32.pth", size_mb=6),),
    ),
    Preprocessor(
        "openpose",
        "Pose, OpenPose",
        "Bodies as coloured bones, if asked with hands and faces.",
        "controlnet.pose_networks:openpose",
        follows=("openpose",),
        options=(
            _resolution,
            _switch("hands", "Hands", "1 looks for fingers, too.", 0),
            _switch("face", "Face", "1 looks for faces' outlines, too.", 0),
        ),
        weights=(
            _annotator("body_pose_model.pth", size_mb=209),
            _annotator("hand_pose_model.pth", size_mb=147, wanted_by="hands"),
            _annotator("facenet.pth", size_mb=154, wanted_by="face"),
        ),
    ),
    Preprocessor(
        "dwpose",
        "Pose, DWPose",
        "Whole bodies as coloured bones, fingers and faces with them.",
        "controlnet.whole_body:dwpose",
        follows=("openpose",),
        options=(
            _switch("hands", "Hands", "0 leaves fingers out.", 1),
            _switch("face", "Face", "0 leaves faces' outlines out.", 1),
        ),
        weights=(
            Weights("yzd-v/DWPose", "yolox_l.onnx", 217),
            Weights("yzd-v/DWPose", "dw-ll_ucoco_384.onnx", 135),
        ),
    ),
    Preprocessor(
        "depth_midas",
        "Depth, MiDaS",
        _NEAR_IS_BRIGHT,
        f"{_DEPTH}:midas",
        follows=("depth",),
        options=(_resolution,),
        spread=Spread(),
        weights=(_annotator("dpt_hybrid-midas-501f0c75.pt", size_mb=493),),
    ),
    Preprocessor(
        "depth_zoe",
        "Depth, ZoeDepth",
        _NEAR_IS_BRIGHT + " In metres before that, so near things come out well apart.",
        f"{_DEPTH}:zoe",
        follows=("depth",),
        options=(_resolution,),
        spread=Spread(high=85, is_inverted=True),
        weights=(_annotator("ZoeD_M12_N.pt", size_mb=1443),),
    ),
    Preprocessor(
        "depth_leres",
        "Depth, LeReS",
        _NEAR_IS_BRIGHT + " Much detail in the background.",
        f"{_DEPTH}:leres",
        follows=("depth",),
        options=(_resolution,),
        spread=Spread(is_inverted=True),
        weights=(_annotator("res101.pth", size_mb=530),),
        version=2,
    ),
    Preprocessor(
        "depth_anything",
        "Depth, Depth Anything V2",
        _NEAR_IS_BRIGHT + " The sharpest here, and small.",
        f"{_DEPTH}:depth_anything",
        follows=("depth",),
        options=(_resolution,),
        spread=Spread(),
        weights=(Weights("depth-anything/Depth-Anything-V2-Small-hf", "", 99),),
    ),
    Preprocessor(
        "normal_bae",
        "Normals, Bae",
        "Which way surfaces face, as colours.",
        f"{_DEPTH}:normal_bae",
        follows=("normalbae",),
        options=(_resolution,),
        weights=(_annotator("scannet.pt", size_mb=291),),
    ),
    Preprocessor(
        "shuffle",
        "Shuffle",
        "The clip's colours and textures, its shapes warped away; every frame in the same way.",
        f"{_PIXELS}:shuffle",
        follows=("shuffle",),
        options=(Option("cell", "Size", "How large the warps are, pixels.", 256, 16, 1024, 16),),
        uses_seed=True,
    ),
    Preprocessor(
        "segment",
        "Segments, ADE20K",
        "What everything is, as one of 150 colours.",
        "controlnet.segment_network:segment",
        follows=("seg",),
        options=(_resolution,),
        weights=(Weights("openmmlab/upernet-convnext-small", "", 329),),
    ),
    Preprocessor(
        "tile",
        "Tile",
        "The clip at a lower resolution: its details are made anew.",
        f"{_PIXELS}:tile",
        follows=("tile",),
        options=(Option("rate", "Down-sampling", "How much smaller in between.", 4, 1, 16, 0.5),),
    ),
    Preprocessor(
        "blur",
        "Blur",
        "The clip out of focus.",
        f"{_PIXELS}:blur",
        follows=("tile", "blur"),
        options=(Option("sigma", "Radius", "The blur's standard deviation, pixels.", 9, 0.5, 64, 0.5),),
    ),
    Preprocessor(
        "mediapipe_face",
        "Faces, MediaPipe",
        "Faces as meshes.",
        follows=("mediapipe_face",),
        unavailable="Only MediaPipe up to 0.10.21 brings a model of faces, and that needs NumPy 1 and puts a second "
        "OpenCV over ours. "
        "Choose 'openpose' with 'face' 1, or 'none' with a clip of meshes made elsewhere.",
    ),
)

PREPROCESSORS: Mapping[str, Preprocessor] = MappingProxyType({preprocessor.id: preprocessor for preprocessor in _ALL})
"""All preprocessors by id, in the order in which they are offered."""

OFFLINE = tuple(preprocessor.id for preprocessor in _ALL if not preprocessor.weights and not preprocessor.unavailable)
"""Those that need no weights."""
