"""The procedural world the embedded model is trained on: one flat shape that moves over a plain or spotted ground,
seen by a camera that stands still, pans, zooms or rolls.

A `Scene` is a frozen value; `render` draws it. Lengths are fractions of the picture's side, time is
counted in frames, so one scene can be drawn at any size and for any number of frames. Nothing here
knows about models: the tests use the same renderer as ground truth.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

#: sRGB of each colour word. Chosen to lie far apart: the closest pair is 98 apart (of 441).
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 40),
    "orange": (250, 140, 20),
    "yellow": (250, 225, 60),
    "green": (40, 160, 60),
    "cyan": (70, 215, 225),
    "blue": (35, 70, 215),
    "purple": (130, 45, 185),
    "pink": (250, 140, 195),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
SIZES = {"small": 0.16, "large": 0.23}  # radius of the circumscribed circle
MOTIONS = ("static", "left", "right", "up", "down", "growing", "shrinking", "rotating")
GROUNDS = ("plain", "spotted")
CAMERAS = ("still", "pan left", "pan right", "pan up", "pan down", "zoom in", "zoom out",
           "roll clockwise", "roll anticlockwise")  # fmt: skip
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

CLIP_FRAMES = 16
DEGREES_PER_FRAME = 8.0
GROWTH = 2.0  # last radius over first in a clip of CLIP_FRAMES
#: What a moving camera covers in CLIP_FRAMES. It is the camera that pans left, so that the picture goes right;
#: likewise it turns the picture anticlockwise by rolling clockwise.
CAMERA_PAN = 0.30  # fraction of the side
CAMERA_ZOOM = 1.6  # last magnification over first
CAMERA_ROLL = 36.0  # degrees
SPOT_PITCH = 0.34  # of the square lattice, fraction of the side
SPOT_RADIUS = 0.085
_SUPERSAMPLING = 4
_SUBPIXEL_BITS = 6


@dataclass(frozen=True, slots=True)
class Scene:
    """What is in the picture and how it moves.

    Args:
        x, y: Centre of the shape half-way through a clip of CLIP_FRAMES, fractions of the side.
        radius: Radius half-way through, fraction of the side.
        travel: Way covered in CLIP_FRAMES by the four directions, fraction of the side.
    """

    shape: str
    colour: str
    background: str
    size: str
    motion: str
    x: float = 0.5
    y: float = 0.5
    radius: float = SIZES["large"]
    travel: float = 0.38
    ground: str = "plain"
    camera: str = "still"


def sample_scene(rng: np.random.Generator, **fixed: str) -> Scene:
    """Draw a scene; `fixed` pins attributes by name.

    Half of the grounds are spotted, and over those the camera moves in two scenes of three (over plain ones in
    one of ten, where only the shape betrays it). A rotating circle can't be seen, so none is drawn; neither is
    a shape in the colour of the ground's spots.
    """
    colour = fixed.get("colour") or str(rng.choice(list(COLOURS)))
    background = fixed.get("background")
    while background is None or background == colour:
        background = str(rng.choice(list(COLOURS)))
    shape = fixed.get("shape") or str(rng.choice(SHAPES))
    motion = fixed.get("motion")
    while motion is None or (motion == "rotating" and shape == "circle"):
        motion = str(rng.choice(MOTIONS))
    size = fixed.get("size") or str(rng.choice(list(SIZES)))
    travel = float(rng.uniform(0.32, 0.42))
    dx, dy = DIRECTIONS.get(motion, (0, 0))
    wander_x, wander_y = (0.05 if dx else 0.07), (0.05 if dy else 0.07)
    ground = fixed.get("ground") or str(rng.choice(GROUNDS))
    camera = fixed.get("camera")
    if camera is None:
        camera = str(rng.choice(CAMERAS[1:])) if rng.random() < (2 / 3 if ground == "spotted" else 0.1) else "still"
    while ground == "spotted" and colour in (background, spot_colour(background)):
        colour = str(rng.choice(list(COLOURS)))
    return Scene(
        shape=shape,
        colour=colour,
        background=background,
        size=size,
        motion=motion,
        x=0.5 + float(rng.uniform(-wander_x, wander_x)),
        y=0.5 + float(rng.uniform(-wander_y, wander_y)),
        radius=SIZES[size] * float(rng.uniform(0.94, 1.06)),
        travel=travel,
        ground=ground,
        camera=camera,
    )


def spot_colour(background: str) -> str:
    """Colour of the spots on a ground: black on light ones, white on dark ones."""
    return "black" if background in ("orange", "yellow", "cyan", "pink", "white") else "white"


def is_held_out(scene: Scene) -> bool:
    """Whether this combination of attributes is kept from training and used for the score (1 in 12)."""
    names = (scene.shape, scene.colour, scene.background, scene.size, scene.motion)
    # A plain polynomial hash: Python's own differs from run to run.
    code = 0
    for letter in "/".join(names):
        code = (code * 131 + ord(letter)) % 1_000_003
    return code % 12 == 0


def view(camera: str, frame: float) -> tuple[float, float, float, float]:
    """How the camera places the world in the picture at a frame.

    Returns:
        Shift x, y (fractions of the side), magnification, and turn (degrees, clockwise), about the middle.
    """
    progress = _progress(frame)
    way = camera.partition(" ")[2]
    dx, dy = DIRECTIONS.get(way, (0, 0))
    zoom = {"in": CAMERA_ZOOM, "out": 1 / CAMERA_ZOOM}.get(way, 1.0) ** progress
    roll = {"clockwise": -CAMERA_ROLL, "anticlockwise": CAMERA_ROLL}.get(way, 0.0) * progress
    return -dx * CAMERA_PAN * progress, -dy * CAMERA_PAN * progress, zoom, roll


def pose(scene: Scene, frame: float) -> tuple[float, float, float, float]:
    """Centre x, centre y, radius (fractions of the side) and angle (degrees, clockwise) in the picture at a frame."""
    progress = _progress(frame)
    dx, dy = DIRECTIONS.get(scene.motion, (0, 0))
    growth = {"growing": GROWTH, "shrinking": 1 / GROWTH}.get(scene.motion, 1.0)
    x, y = scene.x + dx * scene.travel * progress - 0.5, scene.y + dy * scene.travel * progress - 0.5
    shift_x, shift_y, zoom, roll = view(scene.camera, frame)
    cos, sin = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    return (
        0.5 + shift_x + zoom * (cos * x - sin * y),
        0.5 + shift_y + zoom * (sin * x + cos * y),
        scene.radius * growth**progress * zoom,
        roll + (DEGREES_PER_FRAME * frame if scene.motion == "rotating" else 0.0),
    )


def spots(scene: Scene, frame: float, *, height: int, width: int) -> np.ndarray:
    """Antialiased mask of a spotted ground's spots at a frame, float32 [height, width] in [0, 1]."""
    side = min(height, width)
    shift_x, shift_y, zoom, roll = view(scene.camera, frame)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    x, y = ((x - width / 2) / side - shift_x) / zoom, ((y - height / 2) / side - shift_y) / zoom
    cos, sin = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    # The wallpaper hangs so that half-way through four spots surround the middle, where the shape is.
    off_x, off_y = ((z % SPOT_PITCH) - SPOT_PITCH / 2 for z in (cos * x + sin * y, cos * y - sin * x))
    return np.clip((SPOT_RADIUS - np.hypot(off_x, off_y)) * zoom * side + 0.5, 0, 1)


def outline(shape: str) -> np.ndarray:
    """Corners of a shape of radius 1 around the origin, y down, float [N, 2]."""
    match shape:
        case "circle":
            return _on_circle(np.linspace(0, 360, 64, endpoint=False))
        case "square":
            return _on_circle(np.array([45.0, 135.0, 225.0, 315.0]))
        case "triangle":
            return _on_circle(np.array([-90.0, 30.0, 150.0]))
        case "star":
            spikes = _on_circle(np.arange(-90, 270, 36.0))
            spikes[1::2] *= 0.42
            return spikes
        case "cross":
            a = 0.33
            arm = [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a)]
            return np.array(arm + [(-x, -y) for x, y in arm], dtype=float)
        case "heart":
            t = np.linspace(0, 2 * math.pi, 64, endpoint=False)
            x = 16 * np.sin(t) ** 3
            y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
            return np.stack([x, y], axis=1) / 17.0
    raise ValueError(f"shape must be one of {', '.join(SHAPES)}, got {shape!r}.")


def coverage(shape: str, *, x: float, y: float, radius: float, angle: float, height: int, width: int) -> np.ndarray:
    """Antialiased mask of a shape, float32 [height, width] in [0, 1]; lengths as in `Scene`."""
    turn = math.radians(angle)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    side = min(height, width)
    centre = np.array([width / 2 + (x - 0.5) * side, height / 2 + (y - 0.5) * side])
    corners = outline(shape) @ rotation * radius * side + centre
    fine = (corners * _SUPERSAMPLING - 0.5) * (1 << _SUBPIXEL_BITS)
    mask = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), np.uint8)
    cv2.fillPoly(mask, [np.round(fine).astype(np.int32)], 255, shift=_SUBPIXEL_BITS)
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def render(
    scene: Scene, *, frames: list[int] | range = range(CLIP_FRAMES), height: int = 128, width: int = 128
) -> np.ndarray:
    """Draw the given frames of a scene, uint8 [F, height, width, 3]."""
    ground = np.array(COLOURS[scene.background], np.float32)
    paint = np.array(COLOURS[scene.colour], np.float32)
    clip = np.empty((len(frames), height, width, 3), np.uint8)
    for i, frame in enumerate(frames):
        x, y, radius, angle = pose(scene, frame)
        mask = coverage(scene.shape, x=x, y=y, radius=radius, angle=angle, height=height, width=width)
        behind = ground
        if scene.ground == "spotted":
            dots = np.array(COLOURS[spot_colour(scene.background)], np.float32)
            behind = ground + spots(scene, frame, height=height, width=width)[..., None] * (dots - ground)
        clip[i] = np.round(behind + mask[..., None] * (paint - behind))
    return clip


def _progress(frame: float) -> float:
    """-1/2 at the first frame of a clip, 1/2 at its last."""
    return frame / (CLIP_FRAMES - 1) - 0.5


def _on_circle(degrees: np.ndarray) -> np.ndarray:
    turn = np.radians(degrees)
    return np.stack([np.cos(turn), np.sin(turn)], axis=1)
