"""What the page sets when models are chosen: all that they decide, and nothing that was set on purpose."""

import gradio as gr
import pytest

from pipelines.plan import catalog
from studio.fields import MODEL_FIELDS
from tests.app.conftest import page_of
from tests.app.fake_engine import FakeEngine
from tests.app.test_wiring import answer
from ui.inputs.model_settings import changed_settings, motion_line
from ui.parts.page_values import PageValues

HOTSHOT = "hotshotco/Hotshot-XL/hsxl_temporal_layers.f16.safetensors"
LONG = "Lightricks/LongAnimateDiff/lt_long_mm_32_frames.ckpt"
V3 = "guoyww/animatediff/v3_sd15_mm.ckpt"
XL, SD15 = catalog.STABLE_DIFFUSION_XL, catalog.STABLE_DIFFUSION


def chosen(base: str, module: str, shown: tuple[object, object, object]) -> dict[str, object]:
    """New values of the fields that change."""
    page = PageValues(dict(zip(("width", "height", "motion_scale"), shown, strict=True)))
    own = catalog.complete({"base_model": base, "motion_module": module})
    family = catalog.find_motion_module(module).known_family
    changed = changed_settings(own, page, decided=family.settings)
    assert tuple(changed) == MODEL_FIELDS
    return {name: value for name, value in changed.items() if not isinstance(value, dict)}


def test_choosing_a_module_shows_what_its_authors_advise():
    changed = chosen(XL, HOTSHOT, (1024, 1024, "1"))
    wanted = {"width": 672, "height": 384, "scheduler": "euler_a", "num_inference_steps": 30, "guidance_scale": 5}
    assert wanted.items() <= changed.items()
    assert "motion_scale" not in changed
    assert chosen(SD15, LONG, (512, 512, "1"))["motion_scale"] == "1.15"
    assert "its authors take 25 steps" in motion_line(LONG)
    assert "its authors take sampler euler_a, 30 steps" in motion_line(HOTSHOT)


@pytest.mark.parametrize(
    ("shown", "taken"),
    [
        ((640, 360, "0.8"), {}),
        ((672, 384, "0.8"), {"width": 512, "height": 512}),
        ((640, 360, "1.15"), {"motion_scale": "1"}),
        ((640, 384, "0: 0.5, 15: 1.5"), {}),
    ],
)
def test_what_was_set_on_purpose_stays_and_what_a_module_set_goes_with_it(shown, taken):
    changed = chosen(SD15, V3, shown)
    assert {name: changed[name] for name in ("width", "height", "motion_scale") if name in changed} == taken


@pytest.mark.parametrize("name", ["base_model", "motion_module"])
def test_an_unknown_model_is_refused_where_it_is_chosen_and_nowhere_else(name):
    page = page_of(FakeEngine().make_clip)
    shown = answer(page, "num_frames", "input", num_frames=40, **{name: "gone/model"})
    assert "<svg" in shown["windows"]
    assert shown["advice"] == gr.update(visible=False)
    with pytest.raises(gr.Error, match=f"{name} must be"):
        answer(page, name, "input", **{name: "gone/model"})
