"""Captions of scenes in varied natural words, and what each caption leaves open.

A caption is drawn together with its labels: for each attribute the class that the words name, or
`OPEN` where they say nothing. The text encoder learns to read exactly these labels.
"""

import string

import numpy as np

from scripts.train_demo.world import CAMERAS, COLOURS, GROUNDS, MOTIONS, SHAPES, SIZES, Scene

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "background": tuple(COLOURS),
    "size": tuple(SIZES),
    "motion": MOTIONS,
    "ground": GROUNDS,
    "camera": CAMERAS,
}
OPEN = -1

SHAPE_WORDS = {
    "circle": ("circle", "circle", "disc", "ball", "dot", "round shape"),
    "square": ("square", "square", "box", "block"),
    "triangle": ("triangle", "triangle", "triangular shape"),
    "star": ("star", "star", "starlet"),
    "heart": ("heart", "heart", "love heart"),
    "cross": ("cross", "cross", "plus sign", "plus"),
}
COLOUR_WORDS = {
    "red": ("red", "red", "crimson", "scarlet"),
    "orange": ("orange", "orange", "tangerine"),
    "yellow": ("yellow", "yellow", "golden", "lemon"),
    "green": ("green", "green", "emerald"),
    "cyan": ("cyan", "cyan", "turquoise", "light blue"),
    "blue": ("blue", "blue", "navy"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "rose"),
    "white": ("white", "white", "snowy"),
    "black": ("black", "black", "jet black"),
}
SIZE_WORDS = {"small": ("small", "tiny", "little"), "large": ("large", "big", "huge")}
MOTION_WORDS = {
    "static": ("standing still", "not moving", "static", "at rest", "motionless", "that stays still"),
    "left": ("moving left", "going left", "sliding to the left", "moving to the left", "drifting left",
             "that moves left", "travelling leftwards", "from right to left", "flying left"),
    "right": ("moving right", "going right", "sliding to the right", "moving to the right", "drifting right",
              "that moves right", "travelling rightwards", "from left to right", "flying right"),
    "up": ("moving up", "going up", "rising", "floating upwards", "climbing", "that moves up",
           "moving upwards", "flying up"),
    "down": ("moving down", "going down", "falling", "sinking", "dropping", "that moves down",
             "moving downwards", "falling down"),
    "growing": ("growing", "getting bigger", "getting larger", "expanding", "becoming larger", "that grows"),
    "shrinking": ("shrinking", "getting smaller", "becoming smaller", "contracting", "that shrinks"),
    "rotating": ("rotating", "spinning", "turning around", "rotating clockwise", "that spins", "twirling"),
}  # fmt: skip
SPOTTED = ("spotted", "spotted", "dotted", "polka dot")
CAMERA_WORDS = {
    "still": ("static camera", "still camera"),
    "pan left": ("camera pans left", "camera panning left", "the camera pans to the left", "pan left"),
    "pan right": ("camera pans right", "camera panning right", "the camera pans to the right", "pan right"),
    "pan up": ("camera pans up", "camera panning up", "the camera pans upwards", "pan up"),
    "pan down": ("camera pans down", "camera panning down", "the camera pans downwards", "pan down"),
    "zoom in": ("camera zooms in", "camera zooming in", "the camera zooms in", "zoom in"),
    "zoom out": ("camera zooms out", "camera zooming out", "the camera zooms out", "zoom out"),
    "roll clockwise": ("camera rolls clockwise", "camera rolling clockwise", "roll clockwise"),
    "roll anticlockwise": ("camera rolls anticlockwise", "camera rolling counterclockwise", "roll anticlockwise"),
}
SAY_STILL = 0.1  # a camera that stands still is seldom mentioned; one that moves always is
GROUND_PHRASES = ("on a {} background", "on a {} background", "over a {} background", "against a {} backdrop",
            "in front of a {} wall", "with a {} background", "on {}", "{} background", "on a {} ground",
            "in a {} room")  # fmt: skip
OPENINGS = ("a video of", "an animation of", "animation of", "a clip of", "video of", "a picture of",
             "a short film showing", "here is", "please draw", "make", "show me")  # fmt: skip
_FILLERS = ("high quality", "masterpiece", "best quality", "4k", "8k", "detailed", "smooth", "beautiful",
            "simple", "minimal", "flat design", "vector art", "cartoon", "cinematic", "slow motion", "loop",
            "nice", "cute", "in the middle", "sharp focus", "soft light", "trending", "digital art",
            "very nice", "please", "with love", "for my mother", "at night", "in space", "abstract")  # fmt: skip
_NOISE = ("cat", "dog", "forest", "house", "river", "city", "sky", "music", "table", "water", "happy",
          "car", "tree", "person", "girl", "boy", "fox", "street", "portrait", "photo", "sun", "moon",
          "running", "waves", "ocean", "mountain", "and", "the", "with", "of")  # fmt: skip


def plain_caption(scene: Scene) -> str:
    """The one full, canonical sentence of a scene, e.g. "a small red circle moving right on a blue background"."""
    motion = MOTION_WORDS[scene.motion][0]
    ground = f"spotted {scene.background}" if scene.ground == "spotted" else scene.background
    camera = "" if scene.camera == "still" else f", {CAMERA_WORDS[scene.camera][0]}"
    return f"a {scene.size} {scene.colour} {scene.shape} {motion} on a {ground} background{camera}"


def caption(
    rng: np.random.Generator, scene: Scene, *, leave_out: float = 0.12, empty: float = 0.08, camera: bool = True
) -> tuple[str, dict[str, int]]:
    """Describe a scene in random words.

    A spotted ground and a moving camera are always said: left unsaid, grounds are plain and cameras still.

    Args:
        leave_out: Chance for each attribute to be left unsaid; the size is unsaid half of the time anyway.
        empty: Chance to say nothing of the scene at all: the unconditional half of guidance, and prompts
            about something else.
        camera: Whether to speak of the camera; False for what a motion LoRA must do unasked.

    Returns:
        The caption, and for each attribute the index of the class it names or `OPEN`.
    """
    if rng.random() < empty:
        words = [] if rng.random() < 0.7 else _junk(rng)
        return " ".join(words), dict.fromkeys(ATTRIBUTES, OPEN)
    said = {name: rng.random() >= leave_out for name in ATTRIBUTES}
    said["size"] = rng.random() < 0.5
    said["ground"] = scene.ground == "spotted"
    said["background"] = said["background"] or said["ground"]
    said["camera"] = camera and (scene.camera != "still" or rng.random() < SAY_STILL)
    shape = pick(rng, SHAPE_WORDS[scene.shape]) if said["shape"] else pick(rng, ("shape", "thing", "figure"))
    adjectives = []
    if said["size"]:
        adjectives.append(pick(rng, SIZE_WORDS[scene.size]))
    if said["colour"]:
        adjectives.append(pick(rng, COLOUR_WORDS[scene.colour]))
    article = pick(rng, ("a", "a", "a", "the", "one", ""))
    thing = " ".join(filter(None, [article, *adjectives, shape]))
    motion = pick(rng, MOTION_WORDS[scene.motion]) if said["motion"] else ""
    behind = pick(rng, COLOUR_WORDS[scene.background])
    if said["ground"]:
        behind = f"{pick(rng, SPOTTED)} {behind}"
    ground = pick(rng, GROUND_PHRASES).format(behind) if said["background"] else ""
    text = arrange(rng, thing, motion, ground)
    if said["camera"]:
        camera = pick(rng, CAMERA_WORDS[scene.camera])
        text = f"{camera}, {text}" if rng.random() < 0.3 else f"{text}, {camera}"
    labels = {name: classes.index(getattr(scene, name)) if said[name] else OPEN for name, classes in ATTRIBUTES.items()}
    return _decorate(rng, text), labels


def arrange(rng: np.random.Generator, thing: str, motion: str, ground: str) -> str:
    """Put the parts of a sentence into one of the usual orders; empty parts leave no comma."""
    comma = pick(rng, ("", ","))
    match int(rng.integers(7)):
        case 0 | 1 | 2:
            parts = [thing, motion, ground]
        case 3:
            parts = [thing, ground + comma, motion]
        case 4:
            parts = [ground + ",", thing, motion]
        case 5:
            parts = [thing + ",", motion + ",", ground]
        case _:
            verb = motion.removeprefix("that ")
            is_motion = verb if verb == motion else ""
            parts = [thing, f"is {motion}" if is_motion else motion, ground]
    return " ".join(part for part in parts if part.strip(" ,"))


def _decorate(rng: np.random.Generator, text: str) -> str:
    if rng.random() < 0.25:
        text = f"{pick(rng, OPENINGS)} {text}"
    if rng.random() < 0.25:
        extras = [pick(rng, _FILLERS) for _ in range(int(rng.integers(1, 4)))]
        text = ", ".join([*extras, text] if rng.random() < 0.3 else [text, *extras])
    if rng.random() < 0.15:
        text = f"{text} {' '.join(_junk(rng))}"
    if rng.random() < 0.2:
        text += pick(rng, (".", "!", " .", ","))
    return text


def _junk(rng: np.random.Generator) -> list[str]:
    letters = list(string.ascii_lowercase)
    made_up = ["".join(rng.choice(letters, int(rng.integers(2, 8)))) for _ in range(int(rng.integers(0, 3)))]
    return [pick(rng, _NOISE) for _ in range(int(rng.integers(1, 4)))] + made_up


def pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    """Draw one of some words."""
    return options[int(rng.integers(len(options)))]
