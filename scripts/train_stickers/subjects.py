"""What the sticker world shows: subjects people type first, and the flat shapes of the first world."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subject:
    """A sticker or a shape.

    Args:
        home: Ground it has where a prompt names none.
        habit: Motion it has where a prompt names none.
        words: How it is named, the plainest first.
        icon: Its name in Fluent Emoji Flat; empty for a shape.
        faces: Side it looks to, "left" or "right": it is mirrored to look where it goes. Empty if seen from the front.
        upright: Degrees, clockwise, that stand the artwork on its feet.
        turns: Whether it rotates all the way round; other subjects rock.
        colour: Of a shape, where a prompt names none.
    """

    home: str
    habit: str
    words: tuple[str, ...]
    icon: str = ""
    faces: str = ""
    upright: float = 0.0
    turns: bool = False
    colour: str = ""


def _shape(home: str, colour: str, *words: str) -> Subject:
    return Subject(home, "static", words, turns=True, colour=colour)


_SHAPES = {
    "circle": _shape("white", "red", "circle", "circle", "disc", "ball", "dot", "round shape"),
    "square": _shape("white", "blue", "square", "square", "box", "block"),
    "triangle": _shape("white", "green", "triangle", "triangle", "triangular shape"),
    "star": _shape("night", "yellow", "star", "star", "starlet"),
    "heart": _shape("pink", "red", "heart", "heart", "love heart"),
    "cross": _shape("white", "black", "cross", "cross", "plus sign", "plus"),
}
STICKERS = {
    "cat": Subject("meadow", "bouncing", ("cat", "cat", "kitten", "kitty"), "cat-face"),
    "dog": Subject("meadow", "bouncing", ("dog", "dog", "puppy", "doggy"), "dog-face"),
    "fox": Subject("snow", "right", ("fox", "fox", "red fox"), "fox"),
    "panda": Subject("meadow", "rotating", ("panda", "panda", "panda bear"), "panda"),
    "rabbit": Subject("meadow", "bouncing", ("rabbit", "rabbit", "bunny", "hare"), "rabbit-face"),
    "frog": Subject("meadow", "bouncing", ("frog", "frog", "toad"), "frog"),
    "chick": Subject("meadow", "right", ("chick", "chick", "bird", "baby bird", "chicken"), "baby-chick", "left"),
    "penguin": Subject("snow", "rotating", ("penguin", "penguin", "baby penguin"), "penguin"),
    "owl": Subject("night", "right", ("owl", "owl", "night owl"), "owl"),
    "fish": Subject("sea", "right", ("fish", "fish", "tropical fish"), "tropical-fish", "left"),
    "whale": Subject("sea", "right", ("whale", "whale", "blue whale"), "spouting-whale", "left"),
    "octopus": Subject("sea", "up", ("octopus", "octopus", "squid"), "octopus"),
    "butterfly": Subject("meadow", "up", ("butterfly", "butterfly", "moth"), "butterfly"),
    "bee": Subject("meadow", "shaking", ("bee", "bee", "honeybee", "bumblebee"), "honeybee", "left"),
    "turtle": Subject("desert", "right", ("turtle", "turtle", "tortoise"), "turtle", "left"),
    "unicorn": Subject("sky", "right", ("unicorn", "unicorn", "horse", "pony"), "unicorn", "left"),
    "rocket": Subject("space", "up", ("rocket", "rocket", "spaceship", "space rocket"), "rocket", upright=-45.0),
    "ufo": Subject("space", "right", ("ufo", "flying saucer", "ufo", "saucer"), "flying-saucer"),
    "airplane": Subject("sky", "right", ("airplane", "plane", "aeroplane", "jet"), "airplane", "right", 45.0),
    "sailboat": Subject("sea", "right", ("sailboat", "boat", "sailboat", "ship", "sailing boat"), "sailboat"),
    "car": Subject("desert", "right", ("car", "car", "automobile", "red car"), "automobile", "left"),
    "train": Subject("meadow", "right", ("train", "train", "locomotive", "steam engine"), "locomotive", "left"),
    "balloon": Subject("sky", "up", ("balloon", "balloon", "red balloon"), "balloon"),
    "apple": Subject("white", "static", ("apple", "apple", "red apple"), "red-apple"),
    "pizza": Subject("green", "rotating", ("pizza", "pizza", "slice of pizza"), "pizza", turns=True),
    "mushroom": Subject("meadow", "growing", ("mushroom", "mushroom", "toadstool"), "mushroom"),
    "sunflower": Subject("sky", "growing", ("sunflower", "flower", "sunflower", "blossom"), "sunflower"),
    "cactus": Subject("desert", "static", ("cactus", "cactus", "saguaro"), "cactus"),
    "tree": Subject("snow", "growing", ("tree", "tree", "fir tree", "pine", "christmas tree"), "evergreen-tree"),
    "snowman": Subject("snow", "rotating", ("snowman", "snowman"), "snowman"),
    "ghost": Subject("night", "up", ("ghost", "ghost", "spirit"), "ghost"),
    "robot": Subject("purple", "shaking", ("robot", "robot", "android"), "robot"),
    "pumpkin": Subject("night", "bouncing", ("pumpkin", "pumpkin", "jack o lantern"), "jack-o-lantern"),
    "football": Subject("meadow", "bouncing", ("football", "soccer ball", "football"), "soccer-ball", turns=True),
    "umbrella": Subject("sky", "down", ("umbrella", "umbrella", "parasol"), "umbrella"),
    "crown": Subject("purple", "shrinking", ("crown", "crown", "golden crown"), "crown"),
    "alien": Subject("space", "shaking", ("alien", "alien", "martian"), "alien"),
    "ladybird": Subject("green", "up", ("ladybird", "ladybug", "ladybird", "beetle"), "lady-beetle"),
}  # fmt: skip
SUBJECTS: dict[str, Subject] = _SHAPES | STICKERS
#: Plain grounds on which stickers can hardly be seen.
HARD_TO_SEE = {
    "orange": ("cat", "fox", "octopus", "butterfly", "pumpkin", "crown"),
    "yellow": ("cat", "chick", "bee", "sailboat", "pizza", "sunflower", "crown"),
    "white": ("panda", "penguin", "unicorn", "rocket", "snowman", "ghost", "football"),
    "green": ("frog", "turtle", "cactus", "tree", "alien"),
    "blue": ("fish", "whale", "football"),
    "red": ("rocket", "car", "balloon", "apple", "mushroom", "ladybird"),
    "black": ("train", "ladybird"),
    "purple": ("umbrella",),
}
