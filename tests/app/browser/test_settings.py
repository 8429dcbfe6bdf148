"""What sets many controls at once, in a real browser: presets, models, and files that are dropped."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from pipelines.plan.request import GenerationRequest
from studio.stored_inputs import keep
from tests.app.browser.visiting import MARKS, SETTLE_MS, VIDEO_PLAYS, WAIT_MS, expect, open_section, start
from tests.app.fake_engine import FakeEngine

pytestmark = MARKS


def test_a_preset_sets_controls_and_says_which(visit, engine: FakeEngine):
    page = visit()
    for title in ("Model", "Picture", "Long clips"):
        open_section(page, title)
    expect(page.locator("#preset_lightning")).to_be_hidden()
    page.locator("#preset_loop").click()
    expect(page.locator("#preset_told")).to_contain_text("Sets Frames 32, Closed loop Full.", timeout=WAIT_MS)
    expect(page.locator("#closed_loop input")).to_have_value("Full")
    page.locator("#preset_lcm").click()
    expect(page.locator("#motion_module input")).to_have_value("Demo motion, 4 steps", timeout=WAIT_MS)
    expect(page.locator("#num_inference_steps input[type=number]")).to_have_value("4")
    expect(page.locator("#scheduler input")).to_have_value("LCM")
    page.wait_for_timeout(SETTLE_MS)
    start(page, "a star by presets")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    (made,) = (request for request in engine.requests if request.prompt == "a star by presets")
    assert (made.num_frames, made.closed_loop, made.motion_module, made.guidance_scale) == (32, "full", "demo-lcm", 1)
    page.locator("#preset_balanced").click()
    expect(page.locator("#closed_loop input")).to_have_value("Off", timeout=WAIT_MS)
    expect(page.locator("#motion_module input")).to_have_value("Demo motion")
    page.locator("#base_model input").click()
    page.get_by_role("option", name="Stable Diffusion 1.5").click()
    expect(page.locator("#preset_lightning")).to_be_visible(timeout=WAIT_MS)


def test_another_base_model_brings_its_own_settings(visit):
    page = visit()
    open_section(page, "Model")
    page.locator("#base_model input").click()
    page.get_by_role("option", name="Stable Diffusion 1.5").click()
    expect(page.locator("#model_line")).to_contain_text("Stable Diffusion 1.5")
    open_section(page, "Picture")
    expect(page.locator("#width input[type=number]")).to_have_value("512")


def carrier(folder, kind: OutputFormat | str, recipe: str):
    """A file that carries a recipe."""
    if kind not in list(OutputFormat):
        path = folder / f"told.{kind}"
        path.write_text(recipe, encoding="utf-8")
        return path
    with open_clip(
        folder, stem="clip", formats=(OutputFormat(kind),), fps=Fraction(8), width=32, height=32, recipe=recipe
    ) as writer:
        writer.write(np.zeros((2, 32, 32, 3), np.uint8))
    return writer.files[0]


@pytest.mark.parametrize("kind", [*OutputFormat, "json"])
def test_a_dropped_file_restores_every_control(visit, engine: FakeEngine, tmp_path, kind):
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(tmp_path / "picture.png")
    request = GenerationRequest.build(
        prompt="0: a <b>star</b>\n8: a heart",
        seed=2**32 - 1,
        num_frames=12,
        num_inference_steps=7,
        scheduler="euler_a",
        motion_module="demo-lcm",
        webp_lossless=True,
        context_length=9,
        closed_loop="prompts",
        first_frame=keep([tmp_path / "picture.png"], field="first_frame"),
        latent_scale=12,
    )
    page = visit()
    for title in ("Model", "Picture", "Long clips", "Files"):
        open_section(page, title)
    page.locator("#restore input[type=file]").set_input_files(carrier(tmp_path, kind, request.to_json()))
    expect(page.locator("#restore_told")).to_contain_text("Restored from", timeout=WAIT_MS)
    expect(page.locator("#prompt textarea")).to_have_value(request.prompt)
    expect(page.locator("#seed input")).to_have_value(str(request.seed))
    expect(page.locator("#num_frames input")).to_have_value("12")
    expect(page.locator("#num_inference_steps input[type=number]")).to_have_value("7")
    expect(page.locator("#scheduler input")).to_have_value("Euler ancestral")
    expect(page.locator("#motion_module input")).to_have_value("Demo motion, 4 steps")
    expect(page.locator("#webp_lossless input")).to_be_checked()
    expect(page.locator("#context_length input[type=number]")).to_have_value("9")
    expect(page.locator("#closed_loop input")).to_have_value("Windows and prompts")
    expect(page.locator("#tab_img2vid-button")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#kept img")).to_be_visible()
    expect(page.locator("#steering")).to_be_visible()
    page.wait_for_timeout(SETTLE_MS)
    page.locator("#generate").click()
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    assert engine.requests[-1] == request


def test_the_settings_of_the_clip_on_show_can_be_used_again(visit, engine: FakeEngine):
    page = visit()
    page.locator("#num_frames input").fill("9")
    start(page, "a star")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    page.locator("#prompt textarea").fill("a heart")
    page.locator("#num_frames input").fill("5")
    page.locator("#reuse_settings").click()
    expect(page.locator("#restore_told")).to_contain_text("Restored from the clip on show.", timeout=WAIT_MS)
    expect(page.locator("#prompt textarea")).to_have_value("a star")
    expect(page.locator("#num_frames input")).to_have_value("9")
    expect(page.locator("#seed input")).to_have_value(str(engine.requests[-1].seed))
