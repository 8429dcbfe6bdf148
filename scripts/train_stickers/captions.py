"""Captions of sticker scenes in words people type, and what each caption leaves open.

What is left unsaid is not drawn by chance: a subject has a home, a habit and, if it is a shape, a colour of its own,
and a caption leaves out only what is as it is there. So a prompt of one word has one clear picture, where chance would
teach a mixture of all of them. Two exceptions: sizes, and the empty caption, which stands for everything (guidance
needs it). A caption that names no subject we know means the star at home.
"""

import string

import numpy as np

from scripts.train_demo.captions import (
    CAMERA_WORDS,
    COLOUR_WORDS,
    GROUND_PHRASES,
    MOTION_WORDS,
    OPEN,
    OPENINGS,
    SAY_STILL,
    SIZE_WORDS,
    SPOTTED,
    arrange,
    pick,
)
from scripts.train_demo.world import CAMERAS, COLOURS
from scripts.train_stickers.grounds import GROUNDS
from scripts.train_stickers.subjects import SUBJECTS
from scripts.train_stickers.world import MOTIONS, PATTERNS, SHAPE_SIZES, Scene

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "subject": tuple(SUBJECTS),
    "colour": tuple(COLOURS),
    "ground": GROUNDS,
    "pattern": PATTERNS,
    "size": tuple(SHAPE_SIZES),
    "motion": MOTIONS,
    "camera": CAMERAS,
}
UNKNOWN = "star"  # what is drawn where no subject is known

_TRAVEL = ("flying", "driving", "swimming", "walking", "running", "sailing", "rolling", "crawling", "racing", "jumping")
_ACTIONS: dict[str, tuple[str, ...]] = {
    "static": ("standing", "sitting", "sleeping", "waiting", "resting"),
    "right": ("flying", "driving", "swimming", "walking", "running", "sailing", "galloping", "racing", "on its way",
              "crossing the screen", "crawling"),
    "up": ("floating", "taking off", "lifting off", "launching", "floating away", "soaring"),
    "down": ("landing", "diving", "raining down"),
    "growing": ("coming closer", "approaching", "inflating"),
    "shrinking": ("going away", "leaving", "deflating"),
    "rotating": ("dancing", "rocking", "swaying", "tilting", "wobbling", "turning"),
    "bouncing": ("bouncing", "bouncing", "jumping", "hopping", "jumping up and down", "that bounces", "that jumps",
                 "playing", "trampolining"),
    "shaking": ("shaking", "shaking", "trembling", "shivering", "vibrating", "buzzing", "that shakes", "nervous"),
}  # fmt: skip
MOTION_PHRASES = {name: MOTION_WORDS.get(name, ()) + _ACTIONS.get(name, ()) for name in MOTIONS}
_WAYS = {"left": ("left", "to the left"), "right": ("right", "to the right"), "up": ("up", "upwards"),
         "down": ("down", "downwards")}  # fmt: skip
SCENE_PHRASES = {
    "sky": ("in the sky", "in a blue sky", "among the clouds", "under a blue sky", "in the clouds", "in the air"),
    "night": ("at night", "under the stars", "in a starry night", "in the night sky", "on a starry night"),
    "meadow": ("on a meadow", "in a meadow", "in the grass", "on a green hill", "in the park", "in a garden",
               "in the countryside"),
    "sea": ("in the sea", "at sea", "on the water", "in the ocean", "on the ocean", "over the waves", "at the beach"),
    "desert": ("in the desert", "in a desert", "on the sand", "on a sand dune", "among the dunes"),
    "snow": ("in the snow", "in winter", "on the snow", "in a snowy landscape", "on a snowy hill", "on the ice"),
    "sunset": ("at sunset", "in the sunset", "at dusk", "in the evening", "under an orange sky"),
    "space": ("in space", "in outer space", "among the stars", "in the galaxy", "in the universe"),
}  # fmt: skip
_VAGUE = ("shape", "thing", "figure", "something", "")
_UNKNOWN_WORDS = ("dragon", "forest", "house", "river", "city", "music", "table", "castle", "guitar", "person", "girl",
                  "boy", "street", "portrait", "photo", "mountain", "warrior", "princess", "knight", "woman", "man",
                  "elephant", "lion", "wizard", "computer", "coffee", "bicycle", "chair", "bridge")  # fmt: skip
_FILLERS = ("high quality", "masterpiece", "best quality", "4k", "8k", "detailed", "smooth", "beautiful", "simple",
            "minimal", "flat design", "vector art", "cartoon", "cinematic", "slow motion", "loop", "nice", "cute",
            "in the middle", "sharp focus", "soft light", "trending", "digital art", "very nice", "please", "with love",
            "emoji", "illustration", "animated", "happy", "funny", "children's book", "abstract")  # fmt: skip
_SAY_SIZE, _LEAVE_OUT, _NOTHING_KNOWN = 0.4, 0.5, 0.2


def plain_caption(scene: Scene) -> str:
    """Say a scene in one full, canonical sentence, e.g. "a small cat moving right on a blue background"."""
    thing = " ".join(filter(None, ["a", scene.size, scene.colour, SUBJECTS[scene.subject].words[0]]))
    if scene.ground in COLOURS:
        spots = "spotted " if scene.pattern == "spotted" else ""
        ground = f"on a {spots}{scene.ground} background"
    else:
        ground = SCENE_PHRASES[scene.ground][0]
    camera = "" if scene.camera == "still" else f", {CAMERA_WORDS[scene.camera][0]}"
    return f"{thing} {MOTION_PHRASES[scene.motion][0]} {ground}{camera}"


def caption(
    rng: np.random.Generator, scene: Scene, *, leave_out: float = _LEAVE_OUT, empty: float = 0.08, camera: bool = True
) -> tuple[str, dict[str, int]]:
    """Describe a scene in random words.

    Args:
        leave_out: Chance for each attribute to be left unsaid where it is as the subject has it unasked.
        empty: Chance to say nothing at all: the unconditional half of guidance.
        camera: Whether to speak of the camera; False for what a motion LoRA must do unasked.

    Returns:
        The caption, and for each attribute the index of the class it names or `OPEN`.
    """
    if rng.random() < empty:
        return "", dict.fromkeys(ATTRIBUTES, OPEN)
    said = _what_to_say(rng, scene, leave_out)
    said["camera"] = camera and (scene.camera != "still" or rng.random() < SAY_STILL)
    if not any(said.values()) and rng.random() < 0.5:
        text = " ".join(_unknown(rng))
    else:
        motion = _motion(rng, scene) if said["motion"] else ""
        text = arrange(rng, _thing(rng, scene, said), motion, _ground(rng, scene) if said["ground"] else "")
    if said["camera"]:
        view = pick(rng, CAMERA_WORDS[scene.camera])
        text = f"{view}, {text}" if rng.random() < 0.3 else f"{text}, {view}"
    labels = {name: classes.index(getattr(scene, name)) if said[name] else OPEN for name, classes in ATTRIBUTES.items()}
    return _decorate(rng, text), labels


def _what_to_say(rng: np.random.Generator, scene: Scene, leave_out: float) -> dict[str, bool]:
    """Which attributes a caption names: all that are not as the subject has them unasked, and some that are."""
    about = SUBJECTS[scene.subject]
    usual = {
        "subject": scene.subject == UNKNOWN,
        "colour": scene.colour == about.colour,
        "ground": scene.ground == about.home and scene.pattern == "plain",
        "motion": scene.motion == about.habit,
    }
    said = {name: not same or rng.random() >= leave_out for name, same in usual.items()}
    if leave_out and all(usual.values()) and rng.random() < _NOTHING_KNOWN:
        said = dict.fromkeys(said, False)
    said["colour"] = said["colour"] and bool(scene.colour)
    return said | {"pattern": scene.pattern == "spotted", "size": rng.random() < _SAY_SIZE}


def _thing(rng: np.random.Generator, scene: Scene, said: dict[str, bool]) -> str:
    words = [pick(rng, ("a", "a", "a", "the", "one", ""))]
    if said["size"]:
        words.append(pick(rng, SIZE_WORDS[scene.size]))
    if said["colour"]:
        words.append(pick(rng, COLOUR_WORDS[scene.colour]))
    names = SUBJECTS[scene.subject].words if said["subject"] else _VAGUE + _UNKNOWN_WORDS
    return " ".join(filter(None, [*words, pick(rng, names)]))


def _motion(rng: np.random.Generator, scene: Scene) -> str:
    ways = _WAYS.get(scene.motion)
    if ways and rng.random() < 0.3:
        return f"{pick(rng, _TRAVEL)} {pick(rng, ways)}"
    return pick(rng, MOTION_PHRASES[scene.motion])


def _ground(rng: np.random.Generator, scene: Scene) -> str:
    if scene.ground not in COLOURS:
        return pick(rng, SCENE_PHRASES[scene.ground])
    behind = pick(rng, COLOUR_WORDS[scene.ground])
    if scene.pattern == "spotted":
        behind = f"{pick(rng, SPOTTED)} {behind}"
    return pick(rng, GROUND_PHRASES).format(behind)


def _decorate(rng: np.random.Generator, text: str) -> str:
    if rng.random() < 0.2:
        text = f"{pick(rng, OPENINGS)} {text}"
    if rng.random() < 0.2:
        extras = [pick(rng, _FILLERS) for _ in range(int(rng.integers(1, 4)))]
        text = ", ".join([*extras, text] if rng.random() < 0.3 else [text, *extras])
    if rng.random() < 0.1:
        text = f"{text} {' '.join(_unknown(rng))}"
    if rng.random() < 0.2:
        text += pick(rng, (".", "!", " .", ","))
    return text


def _unknown(rng: np.random.Generator) -> list[str]:
    """A few words that mean nothing here, some of them made up."""
    letters = list(string.ascii_lowercase)
    made_up = ["".join(rng.choice(letters, int(rng.integers(2, 8)))) for _ in range(int(rng.integers(0, 3)))]
    return [pick(rng, _UNKNOWN_WORDS) for _ in range(int(rng.integers(1, 4)))] + made_up
