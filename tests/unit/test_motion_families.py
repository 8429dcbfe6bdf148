"""Families of motion modules: what is advised against, and what their records promise."""

import pytest

from pipelines.plan.choices import Scheduler
from pipelines.plan.motion_families import ANIMATE_LCM, FAMILIES, HOTSHOT_XL, LIGHTNING, PIA, V3, advise
from pipelines.plan.request import GenerationRequest


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_settings_of_every_family_make_a_request_and_are_not_advised_against(family):
    request = GenerationRequest.build(seed=1, **family.settings)
    assert request.context_length <= family.max_positions
    notes = advise(family, request.model_dump())
    assert [line for line in notes if "here it runs without" not in line] == []
    assert bool(notes) is bool(family.missing_input)


#: What their authors' own programs and model cards set.
ADVICE = {
    "hotshot-xl": {
        "scheduler": "euler_a", "num_inference_steps": 30, "guidance_scale": 5, "width": 672, "height": 384,
        "context_length": 8,
    },
    "sdxl-beta": {"scheduler": "euler", "guidance_scale": 8.5, "context_length": 16},
    "animate-lcm": {"scheduler": "lcm", "num_inference_steps": 6, "guidance_scale": 1.5, "context_length": 16},
    "animate-lcm-i2v": {"scheduler": "lcm", "num_inference_steps": 4, "guidance_scale": 1, "context_length": 16},
    "long-animate-diff": {
        "num_inference_steps": 25, "guidance_scale": 7.5, "motion_scale": 1.15, "context_length": 64,
    },
    "long-animate-diff-32": {
        "num_inference_steps": 25, "guidance_scale": 7.5, "motion_scale": 1.15, "context_length": 32,
    },
    "lightning-8": {"scheduler": "euler", "num_inference_steps": 8, "guidance_scale": 1, "context_length": 16},
    **{name: {"context_length": 16} for name in ("v1", "v2", "v3", "pia")},
}  # fmt: skip


@pytest.mark.parametrize(("family", "expected"), ADVICE.items(), ids=ADVICE)
def test_a_family_sets_what_its_authors_do_and_nothing_else(family, expected):
    assert FAMILIES[family].settings == expected


def test_the_noise_of_the_distilled_ones_is_their_authors():
    configs = {name: FAMILIES[name].scheduler_config(prediction_type="epsilon") for name in FAMILIES}
    assert configs["animate-lcm-i2v"]["beta_end"] == 0.014
    steps = {name: config.get("original_inference_steps") for name, config in configs.items()}
    assert {name: count for name, count in steps.items() if count} == {"animate-lcm": 100, "animate-lcm-i2v": 200}
    assert {name for name in configs if configs[name]["timestep_spacing"] == "trailing"} == {
        f"lightning-{steps}" for steps in (1, 2, 4, 8)
    }


def test_a_size_far_from_the_trained_one_is_told():
    settings = HOTSHOT_XL.settings
    assert advise(HOTSHOT_XL, settings | {"width": 512, "height": 512}) == []
    (note,) = advise(HOTSHOT_XL, settings | {"width": 1024, "height": 1024})
    assert note == (
        "HotShot-XL was trained on areas near 672×384 pixels; got 1024×1024. Set Width to 672 and Height to 384."
    )


def test_what_a_family_should_see_and_does_not_is_told():
    (note,) = advise(PIA, {"width": 512, "height": 512})
    assert note == "PIA was trained to see the picture that it animates, and its mask; here it runs without."
    assert PIA.in_words.endswith("; runs here without the picture that it animates, and its mask")
    assert "its authors take sampler euler_a, 30 steps, a guidance of 5, 672×384 pixels" in HOTSHOT_XL.in_words


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        (ANIMATE_LCM, {"guidance_scale": 7.0}, "burns its colours"),
        (ANIMATE_LCM, {"num_inference_steps": 50}, "needs about 6 steps"),
        (ANIMATE_LCM, {"scheduler": Scheduler.DDIM}, "distilled for the sampler lcm"),
        (LIGHTNING[4], {"num_inference_steps": 5}, "Set Steps to 4."),
        (LIGHTNING[1], {"num_inference_steps": 2}, "Set Steps to 1."),
    ],
)
def test_what_is_known_to_fail_is_told(family, change, words):
    (note,) = advise(family, {**family.settings, **change})
    assert words in note


def test_a_family_that_is_not_distilled_takes_any_settings():
    assert advise(V3, {"scheduler": Scheduler.LCM, "num_inference_steps": 150, "guidance_scale": 30}) == []
