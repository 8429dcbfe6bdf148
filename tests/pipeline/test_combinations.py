"""Everything with everything: what goes together makes a clip in which each part acts, the rest is refused by name.

The embedded model with its ControlNets and LoRAs makes tiny clips; SparseCtrl and IP-Adapter are random ones of its
size. A part acts if every frame that is not held differs from the same clip without it, by more than rounding can do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from pipelines.engine.cross_attention import cross_attentions
from pipelines.engine.denoise import DenoiseState
from pipelines.engine.encode import encode_frames
from pipelines.engine.masks import latent_masks
from pipelines.engine.models import ModelStore
from pipelines.plan.choices import Scheduler
from pipelines.plan.clip_inputs import ClipInputs
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Progress, Stage
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import Settings, use_settings
from scripts.train_demo.control_net import canny_hint
from scripts.train_demo.world import Scene, render
from tests.clips import ArrayClip, noise_clip
from tests.pipeline import tiny
from tests.pipeline.sink import run

SIDE = 64
FRAMES = 6
WINDOW = 4  # of many
STEPS = 3  # two of them are left where a clip begins at pictures
LEAST = 5e-3  # that a part must change of a frame's latents, relative to them; the least seen is 9e-3
A_HASH = "0" * 64  # inputs are handed over opened, so any name does
STARTS = ("txt2vid", "img2vid", "vid2vid")
LORA = "<lora:demo-pan-left>"


def drawn(*scene: str) -> np.ndarray:
    """Frames of the procedural world, uint8 [FRAMES, SIDE, SIDE, 3]."""
    return render(Scene(*scene), height=SIDE, width=SIDE)[:FRAMES]


SOURCE = drawn("star", "red", "cyan", "large", "right")
EDGES = np.repeat(
    np.stack([canny_hint(one) for one in drawn("square", "white", "black", "large", "up")])[..., None], 3, 3
)
MASK = np.zeros_like(SOURCE)
for _number, _frame in enumerate(MASK):  # its edge moves
    _frame[:, 16 + 4 * _number :] = 255
NETS: tuple[dict[str, Any], ...] = ({"model": "demo-canny"}, {"model": "demo-scribble", "weight": "0: 0.4, 5: 1"})
SPARSE = {"model": "sparse", "key_frames": [0, 4]}
PICTURES = {"model": "adapter.safetensors", "pictures": [(0, A_HASH), (4, A_HASH)]}


class Case(NamedTuple):
    """One cell of the matrix."""

    start: str = "txt2vid"
    nets: int = 0
    windows: str = "one"
    travels: bool = False
    lora: bool = False
    masked: bool = False

    @property
    def refused(self) -> bool:
        """A mask says what of a source clip may change; there is nothing else for it to act on."""
        return self.masked and self.start != "vid2vid"

    def without(self) -> Iterator[tuple[str, "Case"]]:
        """The case without each of its parts in turn; a clip under a mask can't do without its source."""
        for part, least in self._field_defaults.items():
            if getattr(self, part) != least and not (part == "start" and self.masked):
                yield part, self._replace(**{part: self.nets - 1 if part == "nets" else least})

    def __str__(self) -> str:
        parts = (self.travels and "travel", self.lora and "lora", self.masked and "mask")
        return "-".join([self.start, f"{self.nets}nets", self.windows, *filter(None, parts)])


MATRIX = [Case(*cell) for cell in product(STARTS, (0, 1, 2), ("one", "many"), *[(False, True)] * 3)]


def richest(start: str) -> Case:
    """All parts of the matrix that go together."""
    return Case(start, nets=2, windows="many", travels=True, lora=True, masked=start == "vid2vid")


def asked(case: Case, **settings: Any) -> GenerationRequest:
    """The request of a case; settings come on top."""
    prompt = "0: a red circle moving right\n-1: a green star" if case.travels else "a red circle moving right"
    starts = {"txt2vid": {}, "img2vid": {"first_frame": A_HASH}, "vid2vid": {"source_video": A_HASH}}
    defaults = {
        "prompt": f"{LORA}\n{prompt}" if case.lora else prompt,
        "negative_prompt": "blurry",
        "seed": 5,
        "num_frames": FRAMES,
        "width": SIDE,
        "height": SIDE,
        "num_inference_steps": STEPS,
        "guidance_scale": 3.0,
        "context_length": WINDOW if case.windows == "many" else FRAMES,
        "controls": NETS[: case.nets],
        **({"mask": A_HASH} if case.masked else {}),
    }
    return GenerationRequest.build(**defaults | starts[case.start] | settings)


def everything(start: str, **settings: Any) -> GenerationRequest:
    """The richest case with a SparseCtrl and an IP-Adapter."""
    return asked(richest(start), **{"controls": [*NETS, SPARSE], "image_prompts": [PICTURES]} | settings)


def inputs_of(request: GenerationRequest) -> ClipInputs:
    """What a request of these names, opened."""
    edges = EDGES[np.minimum(np.arange(request.num_frames), FRAMES - 1)]
    follows = {SPARSE["model"]: noise_clip(2)}
    return ClipInputs(
        first_frame=ArrayClip(SOURCE[:1]) if request.first_frame else None,
        last_frame=ArrayClip(SOURCE[-1:]) if request.last_frame else None,
        source=ArrayClip(SOURCE) if request.source_video else None,
        mask=ArrayClip(MASK) if request.mask else None,
        controls=tuple(follows.get(unit.model, ArrayClip(edges)) for unit in request.controls),
        image_prompts=tuple((noise_clip(1, 1), noise_clip(1, 2)) for _ in request.image_prompts),
    )


@dataclass(frozen=True)
class Made:
    """A clip: its frames uint8 [F, H, W, 3], its states after every step, and the calls of the UNet it took."""

    frames: np.ndarray
    states: list[DenoiseState]
    calls: int

    @property
    def latents(self) -> torch.Tensor:
        """Those it was decoded from, float32 [1, 4, F, h, w]."""
        return self.states[-1].latents


class Studio:
    """A store whose clips are made once."""

    def __init__(self, store: ModelStore) -> None:
        self.store = store
        self._made: dict[str, Made] = {}

    def make(self, request: GenerationRequest) -> Made:
        recipe = request.to_json()
        if recipe not in self._made:
            self._made[recipe] = make(request, self.store)
        return self._made[recipe]


def make(request: GenerationRequest, store: ModelStore, **options: Any) -> Made:
    states: list[DenoiseState] = []
    frames, events = run(request, store=store, inputs=inputs_of(request), on_state=states.append, **options)
    told = [
        event
        for event in events
        if isinstance(event, Progress) and event.stage is Stage.DENOISE and event.share is None
    ]
    return Made(frames, states, len(told))


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Iterator[Studio]:
    store = ModelStore("cpu", torch.float32)
    unet = store.load("demo", "demo").unet
    root = tmp_path_factory.mktemp("models")
    image_unet = UNet2DConditionModel.from_config(unet.built_for[0])
    tiny.sparse_control(image_unet, "rgb").save_pretrained(root / "controlnets" / "sparse")
    tiny.image_encoder().save_pretrained(root / "ip_adapters" / "image_encoder")
    sizes = [tuple(layer.to_k.weight.shape) for layer in cross_attentions(unet)]
    save_file(tiny.ip_adapter(sizes, "plus"), root / "ip_adapters" / "adapter.safetensors")
    with use_settings(Settings(models_dir=root)):
        yield Studio(store)


def changes(one: Made, other: Made, request: GenerationRequest) -> list[float]:
    """How far two clips' latents lie apart in each frame that is not held, relative to the first's."""
    frames = range(1 if request.first_frame else 0, request.num_frames)
    pairs = ((one.latents[:, :, frame], other.latents[:, :, frame]) for frame in frames)
    return [float((a - b).norm() / a.norm()) for a, b in pairs]


def distance(made: Made) -> float:
    """Mean distance of a clip's pixels from the source clip's."""
    return float(np.abs(made.frames.astype(float) - SOURCE).mean())


def outside(frames: np.ndarray) -> np.ndarray:
    """The pixels that the mask lets stay."""
    return frames[MASK == 0]


@pytest.mark.parametrize("case", [case for case in MATRIX if not case.refused], ids=str)
def test_a_combination_makes_a_clip_in_which_each_part_acts(studio, case):
    request = asked(case)
    made = studio.make(request)
    assert made.frames.shape == (FRAMES, SIDE, SIDE, 3)
    assert len(made.states) == (STEPS if case.start == "txt2vid" else STEPS - 1)
    assert (made.calls > len(made.states)) == (case.windows == "many")
    for part, simpler in case.without():
        assert min(changes(made, studio.make(asked(simpler)), request)) > LEAST, f"{part} does nothing"
    if case.start == "img2vid":
        picture = encode_frames(studio.store.load("demo", "demo").vae, request, ArrayClip(SOURCE), [0])
        assert torch.equal(made.latents[:, :, :1], picture)
    if case.start == "vid2vid" and not case.masked:
        assert distance(made) < distance(studio.make(asked(case._replace(start="txt2vid"))))
        assert not np.array_equal(outside(made.frames), outside(SOURCE))
    if case.masked:
        assert np.array_equal(outside(made.frames), outside(SOURCE))
        assert not np.array_equal(made.frames, SOURCE)


@pytest.mark.parametrize("case", [case for case in MATRIX if case.refused], ids=str)
def test_a_mask_without_a_source_clip_is_refused(case):
    with pytest.raises(InvalidRequestError, match=r"^mask must come with a source_video, got none\. Choose"):
        asked(case)


ON_TOP: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    **{f"sparse_ctrl-{start}": (start, {}, {"controls": NETS}) for start in STARTS},
    **{f"ip_adapter-{start}": (start, {}, {"image_prompts": ()}) for start in STARTS},
    "inner_windows": ("vid2vid", {"inner_length": 2}, {}),
    "last_frame": ("img2vid", {"last_frame": A_HASH}, {}),
    "closed_loop": ("img2vid", {"closed_loop": "full"}, {}),
    "motion_by_frame": ("img2vid", {"motion_effect": "0: 0.5, 5: 0"}, {}),
    "travelling_lora": (
        "vid2vid",
        {"prompt": f"0: a circle {LORA[:-1]}:0.2>\n-1: a circle {LORA}"},
        {"prompt": "a circle"},
    ),
}


@pytest.mark.parametrize(("start", "settings", "without"), ON_TOP.values(), ids=ON_TOP)
def test_what_comes_on_top_of_everything_acts_too(studio, start, settings, without):
    request = everything(start, **settings)
    made, other = studio.make(request), studio.make(everything(start, **without))
    assert made.frames.shape == (FRAMES, SIDE, SIDE, 3)
    assert min(changes(made, other, request)) > LEAST
    if request.mask:
        assert np.array_equal(outside(made.frames), outside(SOURCE))


@pytest.mark.parametrize("start", STARTS)
def test_several_windows_a_call_change_nothing_but_the_rounding(studio, start):
    request = everything(start)
    several = make(request, ModelStore("cpu", torch.float32, windows_a_call=3))
    one = studio.make(request)
    assert several.calls < one.calls
    assert max(changes(one, several, request)) < 1e-4


def test_a_loop_that_fits_into_a_window_is_played_back_under_a_mask_too(studio):
    forth = studio.make(everything("vid2vid", context_length=FRAMES)).frames
    both = studio.make(everything("vid2vid", context_length=FRAMES, closed_loop="full")).frames
    assert np.array_equal(both, np.concatenate([forth, forth[-2:0:-1]]))


@pytest.mark.parametrize(
    ("start", "scheduler"),
    [
        *(("vid2vid", scheduler) for scheduler in Scheduler),
        ("txt2vid", Scheduler.EULER_A),
        ("img2vid", Scheduler.DPMPP_2M),
    ],
)
def test_every_sampler_takes_everything_and_resumes_to_the_identical_clip(studio, start, scheduler):
    request = everything(start, scheduler=scheduler)
    made = studio.make(request)
    assert made.latents.isfinite().all()
    if scheduler not in (Scheduler.DDIM, Scheduler.EULER):  # whose steps are the same
        assert min(changes(made, studio.make(everything(start)), request)) > LEAST
    if request.mask:
        assert np.array_equal(outside(made.frames), outside(SOURCE))
    resumed = make(request, studio.store, resume_from=made.states[0])
    assert len(resumed.states) == len(made.states) - 1
    assert np.array_equal(resumed.frames, made.frames)


@pytest.mark.parametrize("settings", [{"start": "txt2vid"}, {"start": "vid2vid", "strength": 1}], ids=["txt", "vid"])
def test_free_init_takes_everything_that_begins_at_noise(studio, settings):
    request = everything(**settings, free_init_iterations=2)
    made = studio.make(request)
    assert len(made.states) == 2 * STEPS
    assert min(changes(made, studio.make(everything(**settings)), request)) > LEAST
    resumed = make(request, studio.store, resume_from=made.states[STEPS])
    assert np.array_equal(resumed.frames, made.frames)
    if request.mask:
        assert np.array_equal(outside(made.frames), outside(SOURCE))


def test_every_round_of_free_init_begins_with_the_source_outside_the_mask(studio):
    request = asked(Case("vid2vid", masked=True), strength=1, free_init_iterations=2)
    stays = 1 - latent_masks(request, ArrayClip(MASK))
    seen: list[torch.Tensor] = []
    unet = studio.store.load("demo", "demo").unet
    hook = unet.register_forward_pre_hook(lambda _, args: seen.append(args[0][:1].clone()))
    try:
        make(request, studio.store)
    finally:
        hook.remove()
    assert torch.equal(seen[STEPS] * stays, seen[0] * stays)
    assert not torch.equal(seen[STEPS], seen[0])


@pytest.mark.parametrize("start", ["img2vid", "vid2vid"])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"free_init_iterations": 2}, "free_init_iterations must be 0 where a clip begins at pictures, got 2. Set"),
        ({"extended_from": FRAMES, "num_frames": FRAMES + 2}, "extended_from must be empty for a clip that begins at"),
    ],
    ids=["free_init", "extension"],
)
def test_what_cannot_begin_at_pictures_is_refused(start, settings, words):
    with pytest.raises(InvalidRequestError, match=f"^{words}"):
        everything(start, **settings)


def test_an_extension_keeps_the_frames_there_were_and_is_steered_behind_them(studio):
    before = everything("txt2vid")
    longer = before.extended_by(2)
    made = studio.make(longer)
    assert np.array_equal(made.frames[:FRAMES], studio.make(before).frames)
    assert made.frames.shape == (FRAMES + 2, SIDE, SIDE, 3)
    for part in ("controls", "image_prompts"):
        free = studio.make(longer.model_copy(update={part: ()}))
        assert min(changes(made, free, longer)) > LEAST, f"{part} do nothing"


def test_a_key_frame_counted_from_the_end_stays_where_it_was_in_an_extension(studio):
    unit = NETS[0] | {"key_frames": [-1]}
    before = everything("txt2vid", controls=[unit])
    assert np.array_equal(studio.make(before.extended_by(2)).frames[:FRAMES], studio.make(before).frames)


def test_control_clips_that_end_before_an_extension_does_are_refused(studio):
    before = everything("txt2vid")
    with pytest.raises(
        InvalidRequestError, match=r"^controls must have a clip of 1 or 8 frames for 'demo-canny', got 6"
    ):
        run(before.extended_by(2), store=studio.store, inputs=inputs_of(before))


def test_everything_leaves_the_models_as_they_were(studio):
    plain = asked(Case())
    for start in STARTS:
        studio.make(everything(start))
    assert np.array_equal(make(plain, studio.store).frames, make(plain, ModelStore("cpu", torch.float32)).frames)
