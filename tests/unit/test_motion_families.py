"""Families of motion modules: what is advised against, and what their records promise."""

import pytest

from pipelines.choices import Scheduler
from pipelines.motion.families import ANIMATE_LCM, FAMILIES, LIGHTNING, V3, advise
from pipelines.request import GenerationRequest


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_settings_of_every_family_make_a_request_and_are_not_advised_against(family):
    request = GenerationRequest.build(seed=1, **family.settings)
    assert request.context_length <= family.max_positions
    recommended = {
        "scheduler": family.scheduler,
        "num_inference_steps": family.num_inference_steps,
        "guidance_scale": family.guidance_scale,
    }
    assert advise(family, recommended) == []


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
    (told,) = advise(family, {**family.settings, **change})
    assert words in told


def test_a_family_that_is_not_distilled_takes_any_settings():
    assert advise(V3, {"scheduler": Scheduler.LCM, "num_inference_steps": 150, "guidance_scale": 30}) == []
