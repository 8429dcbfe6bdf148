"""The sticker world: a subject that moves over a ground, seen by a camera, in clips cut from longer wrapping ones.

A `Scene` is a frozen value; `render` draws it at any size. Lengths are fractions of the picture's side, time is
counted in frames; a scene goes on before frame 0 and after the last one, so that windows of a long clip can, too.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from scripts.train_demo.world import (
    CAMERAS,
    CLIP_FRAMES,
    COLOURS,
    DEGREES_PER_FRAME,
    DIRECTIONS,
    GROWTH,
    SPOT_PITCH,
    SPOT_RADIUS,
    coverage,
    spot_colour,
    view,
)
from scripts.train_stickers.artwork import Artwork
from scripts.train_stickers.grounds import GROUNDS, SCENES, scene_picture
from scripts.train_stickers.subjects import HARD_TO_SEE, STICKERS, SUBJECTS

MOTIONS = ("static", "left", "right", "up", "down", "growing", "shrinking", "rotating", "bouncing", "shaking")
PATTERNS = ("plain", "spotted")
SHAPE_SIZES = {"small": 0.16, "large": 0.23}  # radius of the circumscribed circle
STICKER_SIZES = {"small": 0.21, "large": 0.30}  # half the artwork's side
BOUNCE_HEIGHT, BOUNCE_FRAMES = 0.18, 8
SHAKE_WIDTH, SHAKE_FRAMES = 0.045, 4
ROCK_DEGREES, ROCK_FRAMES = 20.0, 10
_TINTS = {"night": "black", "space": "black", "snow": "white"}
_OUT = 0.08  # beyond the rim that a wrapping subject goes before it comes in again


@dataclass(frozen=True, slots=True)
class Scene:
    """What is in the picture and how it moves.

    Args:
        colour: Of a shape; "" for a sticker, which has its own.
        ground: A colour or a scene. `pattern` "spotted" is for colours alone.
        x, y: Centre of the subject half-way through a clip of CLIP_FRAMES, fractions of the side.
        radius: Half-way through, fraction of the side.
        travel: Way covered in CLIP_FRAMES by the four directions, fraction of the side.
        beat: Where in its period a repeating motion is at frame 0, in [0, 1).
        roam: Where on its repeating ground a moving camera begins, in [0, 1) of the period.
    """

    subject: str
    colour: str
    ground: str
    size: str
    motion: str
    x: float = 0.5
    y: float = 0.5
    radius: float = SHAPE_SIZES["large"]
    travel: float = 0.38
    pattern: str = "plain"
    camera: str = "still"
    beat: float = 0.0
    roam: float = 0.0


@dataclass(frozen=True, slots=True)
class Range:
    """How much of the world is drawn: the curriculum's knob.

    Args:
        subjects, motions, cameras: What there is to choose from.
        at_home: Share of scenes that are all as the subject is where nothing is said.
        spotted: Share of plain colours that have spots.
        wander: Largest distance from the middle half-way through a clip, fraction of the side.
        along: Share of travelling clips that are cut from anywhere on the way, not around the middle.
        moving_camera: Share of scenes whose camera moves, over patterns and scenes.
    """

    subjects: tuple[str, ...] = tuple(SUBJECTS)
    motions: tuple[str, ...] = MOTIONS
    cameras: tuple[str, ...] = CAMERAS[1:]
    at_home: float = 0.25
    spotted: float = 0.3
    wander: float = 0.07
    along: float = 0.25
    moving_camera: float = 0.3


EVERYTHING = Range()


def sample_scene(rng: np.random.Generator, world: Range = EVERYTHING, **fixed: str) -> Scene:
    """Draw a scene; `fixed` pins attributes by name. Nothing is drawn that can't be seen."""
    subject = fixed.get("subject") or _pick(rng, (*world.subjects, "star"))  # also what is drawn for unknown words
    about = SUBJECTS[subject]
    at_home = rng.random() < world.at_home

    def choose(name: str, usual: str, options: tuple[str, ...]) -> str:
        return fixed.get(name) or (usual if at_home or rng.random() < world.at_home / 2 else _pick(rng, options))

    grounds = tuple(COLOURS) if fixed.get("pattern") == "spotted" else GROUNDS
    ground = choose("ground", about.home if about.home in grounds else _pick(rng, grounds), grounds)
    spotted = ground in COLOURS and rng.random() < world.spotted and not at_home
    pattern = fixed.get("pattern") or ("spotted" if spotted else "plain")
    hard = {colour for colour, subjects in HARD_TO_SEE.items() if subject in subjects} | {fixed.get("colour")}
    while "ground" not in fixed and ground in COLOURS and hard & behind(ground, pattern):
        ground, pattern = _pick(rng, grounds), fixed.get("pattern", "plain")
    colour = "" if subject in STICKERS else choose("colour", about.colour, tuple(COLOURS))
    while colour in behind(ground, pattern) and "colour" not in fixed:
        colour = _pick(rng, tuple(COLOURS))
    motion = choose("motion", about.habit, world.motions)
    while motion == "rotating" and subject == "circle" and "motion" not in fixed:
        motion = _pick(rng, world.motions)
    return _place(rng, world, fixed, Scene(subject, colour, ground, "", motion, pattern=pattern))


def _place(rng: np.random.Generator, world: Range, fixed: dict[str, str], scene: Scene) -> Scene:
    size = fixed.get("size") or _pick(rng, ("small", "large"))
    sizes = STICKER_SIZES if scene.subject in STICKERS else SHAPE_SIZES
    radius = sizes[size] * float(rng.uniform(0.94, 1.06))
    if scene.motion in ("growing", "shrinking") and scene.subject in STICKERS:
        radius *= 0.85  # at its largest it still fits
    camera = fixed.get("camera")
    if camera is None:
        seen = scene.pattern == "spotted" or scene.ground in SCENES
        moves = rng.random() < (world.moving_camera if seen else 0.1 * world.moving_camera)
        camera = _pick(rng, world.cameras) if moves else "still"
    x, y = 0.5 + rng.uniform(-world.wander, world.wander, 2)
    dx, dy = DIRECTIONS.get(scene.motion, (0, 0))
    anywhere = float(rng.uniform(-0.5, 0.5)) if rng.random() < world.along and camera == "still" else 0.0
    lap = _lap(radius)
    return replace(
        scene,
        size=size,
        x=float(x) + dx * anywhere * lap,
        y=float(y) + dy * anywhere * lap,
        radius=radius,
        travel=float(rng.uniform(0.34, 0.42)),
        camera=camera,
        beat=float(rng.random()),
        roam=float(rng.random()) if camera.startswith("pan") and rng.random() < 0.5 else 0.0,
    )


def behind(ground: str, pattern: str) -> set[str]:
    """List the colours that hide a shape on a ground."""
    return {ground, spot_colour(ground)} if pattern == "spotted" else {_TINTS.get(ground, ground)}


def is_held_out(scene: Scene) -> bool:
    """Whether this combination of attributes is kept from training and used for the score (1 in 12).

    A subject at home is never held out: nobody types its ground, so there is nothing to combine.
    """
    if scene.ground == SUBJECTS[scene.subject].home:
        return False
    names = (scene.subject, scene.colour, scene.ground, scene.size, scene.motion)
    # A plain polynomial hash: Python's own differs from run to run.
    code = 0
    for letter in "/".join(names):
        code = (code * 131 + ord(letter)) % 1_000_003
    return code % 12 == 0


def pose(scene: Scene, frame: float) -> tuple[float, float, float, float]:
    """Compute centre x, y, radius (fractions of the side) and angle (degrees, clockwise) in the picture at a frame."""
    progress = frame / (CLIP_FRAMES - 1) - 0.5
    dx, dy = DIRECTIONS.get(scene.motion, (0, 0))
    growth = {"growing": GROWTH, "shrinking": 1 / GROWTH}.get(scene.motion, 1.0) ** progress
    step_x, step_y, angle = _beat(scene, frame)
    x = scene.x + dx * scene.travel * progress + step_x - 0.5
    y = scene.y + dy * scene.travel * progress + step_y - 0.5
    shift_x, shift_y, zoom, roll = view(scene.camera, frame)
    cos, sin = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    x, y = shift_x + zoom * (cos * x - sin * y), shift_y + zoom * (sin * x + cos * y)
    if zoom == 1.0 and roll == 0.0:
        x, y = (_wrap(way, scene.radius * growth) for way in (x, y))
    return 0.5 + x, 0.5 + y, scene.radius * growth * zoom, roll + angle


def _beat(scene: Scene, frame: float) -> tuple[float, float, float]:
    """What a repeating motion adds at a frame: x, y (fractions of the side), angle (degrees)."""
    match scene.motion:
        case "bouncing":
            height = abs(math.sin(math.pi * (frame / BOUNCE_FRAMES + scene.beat)))
            return 0.0, BOUNCE_HEIGHT * (0.5 - height), 0.0
        case "shaking":
            return SHAKE_WIDTH * math.sin(2 * math.pi * (frame / SHAKE_FRAMES + scene.beat)), 0.0, 0.0
        case "rotating" if SUBJECTS[scene.subject].turns:
            return 0.0, 0.0, DEGREES_PER_FRAME * frame + 360 * scene.beat
        case "rotating":
            return 0.0, 0.0, ROCK_DEGREES * math.sin(2 * math.pi * (frame / ROCK_FRAMES + scene.beat))
    return 0.0, 0.0, 0.0


def _lap(radius: float) -> float:
    """Way after which a subject that leaves on one side is where it was."""
    return 1 + 2 * (radius + _OUT)


def _wrap(way: float, radius: float) -> float:
    """A way from the middle, wrapped so that what leaves on one side comes in on the other."""
    lap = _lap(radius)
    return (way + lap / 2) % lap - lap / 2


def render(
    scene: Scene, art: Artwork, *, frames: list[int] | range = range(CLIP_FRAMES), height: int = 128, width: int = 128
) -> np.ndarray:
    """Draw the given frames of a scene, uint8 [F, height, width, 3]."""
    clip = np.empty((len(frames), height, width, 3), np.uint8)
    for i, frame in enumerate(frames):
        behind = draw_ground(scene, frame, height=height, width=width)
        x, y, radius, angle = pose(scene, frame)
        about = SUBJECTS[scene.subject]
        place = {"x": x, "y": y, "radius": radius, "angle": angle, "height": height, "width": width}
        if about.icon:
            mirrored = scene.motion in ("left", "right") and bool(about.faces) and scene.motion != about.faces
            sticker = art.place(scene.subject, mirrored=mirrored, **place)
            picture = behind * (1 - sticker[..., 3:]) + 255 * sticker[..., :3]
        else:
            mask = coverage(scene.subject, **place)[..., None]
            picture = behind + mask * (np.array(COLOURS[scene.colour], np.float32) - behind)
        clip[i] = np.clip(np.round(picture), 0, 255)
    return clip


def draw_ground(scene: Scene, frame: float, *, height: int, width: int) -> np.ndarray:
    """Draw the ground alone at a frame, float32 [height, width, 3] of 255."""
    shift_x, shift_y, zoom, roll = view(scene.camera, frame)
    if scene.ground in SCENES:
        across = scene.roam if scene.camera in ("pan left", "pan right") else 0.0
        return scene_picture(scene.ground, (shift_x + across, shift_y), zoom, roll, height=height, width=width)
    plain = np.array(COLOURS[scene.ground], np.float32)
    if scene.pattern == "plain":
        return np.broadcast_to(plain, (height, width, 3))
    moved = SPOT_PITCH * scene.roam
    side = min(height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    x, y = ((x - width / 2) / side - shift_x - moved) / zoom, ((y - height / 2) / side - shift_y - moved) / zoom
    cos, sin = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    off_x, off_y = ((z % SPOT_PITCH) - SPOT_PITCH / 2 for z in (cos * x + sin * y, cos * y - sin * x))
    spots = np.clip((SPOT_RADIUS - np.hypot(off_x, off_y)) * zoom * side + 0.5, 0, 1)
    return plain + spots[..., None] * (np.array(COLOURS[spot_colour(scene.ground)], np.float32) - plain)


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
