"""The infotext that a call of the web UI's API answers makes the same clip when it is restored."""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api.recipes.read import restore
from api.sdapi.answers import infotext_of
from api.sdapi.mapping import read_call
from api.sdapi.models import Txt2Img
from pipelines.plan.choices import OutputFormat
from pipelines.plan.request import GenerationRequest

_WORDS = st.text(st.sampled_from(list("abcxyz ,.:;\"\\()[]{}'|0123456789éあ✂<>=#%&-_")), max_size=40)
_LINES = st.lists(_WORDS, max_size=3).map("\n".join)
_NOT_WRITTEN = {"formats", "motion_effect"}  # what the files are, and that a picture does not move


def _is_plain(text: str) -> bool:
    """Whether nothing in a prompt is a key or a tag, nor read as another line of the infotext."""
    from pipelines.plan.prompt.travel import read_script

    script = read_script(text, num_frames=4)
    return not script.keys and not script.faults and "<" not in text


BODIES = st.fixed_dictionaries(
    {"prompt": _LINES.filter(_is_plain), "negative_prompt": _LINES.filter(_is_plain)},
    optional={
        "seed": st.integers(0, 2**32 - 1),
        "steps": st.integers(10, 150),
        "cfg_scale": st.one_of(st.integers(1, 30), st.floats(1, 30)),
        "width": st.integers(8, 128).map(lambda side: 8 * side),
        "height": st.integers(8, 128).map(lambda side: 8 * side),
        "sampler_name": st.sampled_from(
            ["Euler a", "Euler", "DPM++ 2M", "DPM++ 2M Karras", "DDIM", "LCM", "k_euler_a"]
        ),
        "n_iter": st.integers(1, 4),
        "override_settings": st.fixed_dictionaries(
            {},
            optional={"CLIP_stop_at_last_layers": st.integers(1, 12), "sd_model_checkpoint": st.just("dreamshaper_8")},
        ),
    },
)
HIRES = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {"enable_hr": st.just(True), "hr_scale": st.floats(1.01, 4), "denoising_strength": st.floats(0.1, 1)},
        optional={"hr_upscaler": st.sampled_from(["Latent", "Lanczos", "Latent (bicubic)"])},
    ),
)
ARGS = st.fixed_dictionaries(
    {"enable": st.just(True), "video_length": st.sampled_from([0, *range(24, 91)]), "batch_size": st.integers(16, 32)},
    optional={
        "model": st.sampled_from(["demo", "mm_sd_v15_v2.ckpt", ""]),
        "fps": st.one_of(st.integers(1, 120), st.sampled_from([23.976, 29.97, 12.5, "24"])),
        "loop_number": st.integers(0, 9),
        "closed_loop": st.sampled_from(["N", "R-P", "R+P", "A", True, False]),
        "stride": st.integers(1, 8),
        "overlap": st.sampled_from([-1, 0, 1]),
        "interp": st.sampled_from(["Off", "NO", "FILM"]),
        "interp_x": st.integers(1, 14),
        "reverse": st.lists(st.integers(0, 2), max_size=3),
        "freeinit_enable": st.booleans(),
        "freeinit_filter": st.sampled_from(["butterworth", "gaussian", "box", "ideal"]),
        "freeinit_ds": st.floats(0, 1, allow_subnormal=False).map(lambda part: round(part, 9)),
        "freeinit_dt": st.floats(0, 1, allow_subnormal=False).map(lambda part: round(part, 9)),
        "freeinit_iters": st.integers(2, 5),
    },
)


def _effective(request: GenerationRequest) -> dict:
    """What decides the clip: shared frames as they count, numbers of what is off left out."""
    values = request.model_copy(update={"context_overlap": request.effective_overlap}).model_dump(mode="json")
    values["prompt"], values["negative_prompt"] = request.prompt.strip(), request.negative_prompt.strip()
    if not request.free_init_iterations:
        values = {name: value for name, value in values.items() if not name.startswith("free_init")}
    return {name: value for name, value in values.items() if name not in _NOT_WRITTEN}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(BODIES, HIRES, st.one_of(st.none(), ARGS))
@example({"prompt": '"', "negative_prompt": ""}, {}, {"enable": True, "video_length": 0, "batch_size": 16})
@example({"prompt": "", "negative_prompt": "", "seed": 2**32 - 1, "n_iter": 2}, {}, None)
def test_an_infotext_restores_the_same_clip(body, hires, args):
    scripts = {} if args is None else {"AnimateDiff": {"args": [args]}}
    call = read_call(Txt2Img(**body | hires, alwayson_scripts=scripts), base_model="demo")
    for request in call.requests:
        restored = restore(infotext_of(request, is_clip=call.is_clip))
        values = restored.values if call.is_clip else restored.values | {"num_frames": 1}
        actual = GenerationRequest.build(**values | {"formats": [OutputFormat.GIF]})
        assert _effective(actual) == _effective(request)
        assert [note for note in restored.notes if " has '" not in note] == []
