"""Jobs go on without a page, are found again by their id alone, and end when nobody wants them."""

import asyncio
import contextvars
import time
from functools import partial
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from pipelines.plan.errors import UserError
from pipelines.plan.events import Clip, Progress, Stage
from pipelines.plan.faults import Fault
from pipelines.plan.request import GenerationRequest
from studio.device_queue import DeviceQueue
from studio.gallery import Gallery, new_visitor
from studio.job_runs import RunEvent, clips_run
from studio.jobs import Job, Jobs, View
from tests.app.conftest import page_of
from tests.app.fake_engine import REFUSAL, FakeEngine
from tests.app.test_page import wait_until
from tests.app.test_wiring import follow_event, generate_event, on_the_page
from ui.words.refusals import page_words, renumber_unit


def asked(prompt: str, *, seed: int = 7, steps: int = 3) -> GenerationRequest:
    return GenerationRequest.build(prompt=prompt, seed=seed, num_inference_steps=steps)


def run_of(make_clip, *requests: GenerationRequest, keep=lambda clip: clip):
    """Makes a clip of each."""
    return clips_run(make_clip, lambda: list(requests), keep)


def started(jobs: Jobs, run, **given) -> Job:
    found = jobs.find(jobs.start(run, **given))
    assert found is not None
    return found


def ended(job: Job) -> View:
    assert wait_until(lambda: job.view.ended)
    return job.view


def follow(job: Job, until=lambda view: view.ended) -> list[View]:
    async def followed() -> list[View]:
        views = []
        async for view in job.follow():
            views.append(view)
            if until(view):
                break
        return views

    return asyncio.run(followed())


def test_a_job_goes_on_when_its_follower_has_gone_and_is_found_again():
    jobs = Jobs()
    job_id = jobs.start(run_of(FakeEngine(step_s=0.02).make_clip, asked("a star", steps=30)))
    first = follow(jobs.find(job_id), until=lambda view: view.progress is not None)[-1]
    again = follow(jobs.find(job_id))
    assert again[0].progress.step >= first.progress.step
    assert [path.exists() for clip in again[-1].clips for path in clip.files] == [True]
    assert not again[-1].cancelled
    assert follow(jobs.find(job_id))[-1] == again[-1]


def test_a_job_is_found_by_its_whole_id_alone():
    engine, jobs = FakeEngine(step_s=0), Jobs()
    ids = {jobs.start(run_of(engine.make_clip, asked("x"))) for _ in range(8)}
    assert len(ids) == 8
    assert min(map(len, ids)) >= 22  # 128 bits
    assert jobs.find(next(iter(ids))[:-1]) is None
    assert [jobs.find(other) for other in (None, "", 7, [], {})] == [None] * 5


def test_a_cancelled_job_ends_at_the_next_step_and_leaves_no_folder():
    engine = FakeEngine(step_s=0.05)
    job = started(Jobs(), run_of(engine.make_clip, asked("slow")))
    follow(job, until=lambda view: view.progress and view.progress.stage is Stage.DENOISE)
    at = job.view.progress.step
    job.cancel()
    view = ended(job)
    assert (view.cancelled, view.clips, view.progress) == (True, (), None)
    assert engine.closed_at[-1] <= at + 2
    assert not job.folder.exists()


def test_finished_clips_of_a_cancelled_batch_stay():
    engine = FakeEngine(step_s=0.02)
    kept = []
    jobs = Jobs()  # the files go with it
    batch = [asked("x", seed=seed) for seed in (1, 2, 3)]
    job = started(jobs, run_of(engine.make_clip, *batch, keep=lambda clip: kept.append(clip) or clip))
    follow(job, until=lambda view: view.clips)
    job.cancel()
    view = ended(job)
    assert view.cancelled
    assert 1 <= len(view.clips) < 3
    assert tuple(kept) == view.clips
    assert all(path.exists() for clip in view.clips for path in clip.files)


def test_a_job_that_nobody_follows_is_cancelled_and_one_that_is_followed_is_not():
    engine = FakeEngine(step_s=0.02)
    jobs = Jobs(patience_s=0.3)
    left = started(jobs, run_of(engine.make_clip, asked("slow")))
    assert ended(left).cancelled
    kept = started(jobs, run_of(engine.make_clip, asked("x", steps=30)))
    assert follow(kept)[-1].clips


def test_a_job_is_forgotten_some_time_after_its_end_with_its_files():
    jobs = Jobs(keep_s=0.2)
    job_id = jobs.start(run_of(FakeEngine(step_s=0).make_clip, asked("x")))
    job = jobs.find(job_id)
    files = [path for clip in ended(job).clips for path in clip.files]
    assert jobs.find(job_id) is job
    time.sleep(0.3)
    assert jobs.find(job_id) is None
    assert not any(path.exists() for path in files)


def test_refusals_and_faults_are_the_job_s_to_tell(caplog):
    make_clip, jobs = FakeEngine(step_s=0).make_clip, Jobs()
    assert str(ended(started(jobs, run_of(make_clip, asked("refuse")))).fault) == REFUSAL
    assert "Something went wrong on our side" in str(ended(started(jobs, run_of(make_clip, asked("break")))).fault)
    assert "secret detail" in caplog.text

    def build() -> list[GenerationRequest]:
        raise UserError(Fault("unit.so", "controls", "be so", "that", "Change it", place=(1, "weight")))

    run = clips_run(make_clip, build, lambda clip: clip)
    fault = ended(jobs.find(jobs.start(run, partial(renumber_unit, numbers=[3])))).fault
    assert fault.in_words(page_words("en")) == "Unit 3 weight must be so, got that. Change it."


def test_too_many_jobs_are_refused():
    engine, jobs = FakeEngine(), Jobs(most=2)
    running = [started(jobs, run_of(engine.make_clip, asked("slow"))) for _ in range(2)]
    with pytest.raises(UserError, match=r"jobs must be at most 2"):
        jobs.start(run_of(engine.make_clip, asked("x")))
    for job in running:
        job.cancel()
        ended(job)
    assert jobs.start(run_of(engine.make_clip, asked("x")))


def test_one_visitor_may_have_so_many_jobs_calls_of_the_endpoints_among_them():
    engine, jobs = FakeEngine(), Jobs(most_of_one=2)
    jobs.elsewhere = {"ann": 1, "bob": 0}.__getitem__
    run = run_of(engine.make_clip, asked("slow"))
    job = started(jobs, run, visitor="ann")
    assert [jobs.count(), jobs.count("ann"), jobs.count("bob")] == [1, 1, 0]
    with pytest.raises(UserError, match=r"^jobs must be at most 2 at once for one visitor, got one more\. Wait until"):
        jobs.start(run, visitor="ann")
    others = [started(jobs, run, visitor="bob") for _ in range(2)]
    job.cancel()
    ended(job)
    again = started(jobs, run, visitor="ann")
    for one in (*others, again):
        one.cancel()
        ended(one)


def test_the_engine_runs_in_the_context_of_the_call_that_started_the_job():
    token = contextvars.ContextVar("token", default="nobody's")
    seen = []

    def make_clip(request, folder):  # noqa: ARG001
        seen.append(token.get())
        yield Progress(Stage.LOAD, 0, 1)

    jobs = Jobs()
    context = contextvars.copy_context()
    context.run(token.set, "the visitor's")
    ended(jobs.find(context.run(jobs.start, run_of(make_clip, asked("x")))))
    assert seen == ["the visitor's"]


def test_runs_take_turns_in_the_order_they_came_and_say_their_place():
    engine = FakeEngine(step_s=0.02)
    jobs, make_clip = Jobs(), DeviceQueue().exclusive(engine.make_clip)
    found = []
    for number in range(3):
        found.append(started(jobs, run_of(make_clip, asked(f"clip {number}", steps=20))))
        time.sleep(0.05)
    notes = [view.progress.note for view in follow(found[2]) if view.progress and view.progress.stage is Stage.WAIT]
    assert list(dict.fromkeys(notes)) == ["2 clips are ahead", "1 clip is ahead"]
    assert [request.prompt for request in engine.requests] == ["clip 0", "clip 1", "clip 2"]
    assert engine.most_running == 1


def test_who_leaves_the_line_or_fails_lets_the_next_one_go(tmp_path):
    engine, device = FakeEngine(step_s=0.02), DeviceQueue()
    make = device.exclusive(engine.make_clip)
    first = make(asked("slow"), tmp_path)
    next(first)
    second = make(asked("x"), tmp_path)
    assert next(second) == Progress(Stage.WAIT, 0, 1, note="1 clip is ahead")
    assert device.length() == (1, 1)
    second.close()
    first.close()
    assert device.length() == (0, 0)
    with pytest.raises(UserError):
        list(make(asked("refuse"), tmp_path))
    assert isinstance(list(make(asked("x"), tmp_path))[-1], Clip)


def test_the_page_and_the_endpoints_wait_in_the_same_line():
    engine = FakeEngine(step_s=0.02)
    page = page_of(engine.make_clip)
    event = generate_event(page)
    (endpoint,) = (event for event in page.fns.values() if event.name == "txt2vid")
    event.fn(*on_the_page(event, prompt="from the page", num_inference_steps=20))
    assert wait_until(lambda: engine.running)
    told = [progress["stage"] for answer, progress, _ in endpoint.fn(prompt="x", num_inference_steps=2) if not answer]
    assert told[0] == "wait"
    assert told[-1] == "denoise"
    assert engine.most_running == 1


def test_an_id_from_elsewhere_shows_nothing():
    page = page_of(FakeEngine(step_s=0).make_clip)
    event = generate_event(page)
    own = event.fn(*on_the_page(event, prompt="x"))

    async def shown(job_id) -> list:
        return [update async for update in follow_event(page).fn(job_id, "")]

    for other in ("", None, own[:-1], "../x", {"path": "/etc/passwd"}):
        (update,) = asyncio.run(shown(other))
        assert list(update.values()) == [gr.skip()]
    assert any(isinstance(value, str) and "Done" in value for one in asyncio.run(shown(own)) for value in one.values())


def test_the_newest_preview_stays_until_the_clip_is_finished():
    job = Job(Path(), "", {})
    preview = np.zeros((8, 4, 4, 3), np.uint8)
    for shown in (preview, None):
        job.take(RunEvent(Progress(Stage.DENOISE, 1, 9, preview=shown), 7))
        assert job.view.preview is preview
    job.take(RunEvent(Clip((), "{}", 1, 0), 7))
    assert job.view.preview is None


def test_two_visitors_at_once_see_and_keep_only_their_own(tmp_path):
    gallery = Gallery(tmp_path / "gallery", 10**9, 3600)
    engine = FakeEngine(step_s=0.05)
    page = page_of(engine.make_clip, gallery=gallery)
    event, visitors = generate_event(page), {"blue": new_visitor(), "green": new_visitor()}
    ids = {}
    for prompt, visitor in visitors.items():
        ids[prompt] = event.fn(*on_the_page(event, prompt=prompt, visitor=visitor))
        assert wait_until(lambda: engine.requests)  # the first has the device before the second asks for it

    async def shown(prompt: str) -> list[dict]:
        told = follow_event(page).fn(ids[prompt], visitors[prompt])
        return [{control.elem_id: value for control, value in update.items()} async for update in told]

    async def both() -> list[list[dict]]:
        return await asyncio.gather(*map(shown, visitors))

    first, second = asyncio.run(both())
    lines = ["".join(str(update.get("status")) for update in updates) for updates in (first, second)]
    assert ["1 clip is ahead" in line for line in lines] == [False, True]
    strips, files = [], []
    for updates in (first, second):
        previews = [update["preview"]["value"] for update in updates if "preview" in update]
        strips.append({told.partition("base64,")[2] for told in previews if told})
        files.append({name for update in updates for name in (update.get("files") or {}).get("value", ())})
    assert all(strips)
    assert not strips[0] & strips[1]
    assert [len(names) for names in files] == [1, 1]
    assert not files[0] & files[1]
    for prompt, visitor in visitors.items():
        (entry,) = gallery.entries(visitor)
        assert GenerationRequest.from_json(entry.recipe).prompt == prompt
    choose = next(one for one in page.fns.values() if one.name == "choose")
    click = gr.SelectData(None, {"index": 0, "value": None})
    (theirs,) = gallery.entries(visitors["green"])
    found = {one.elem_id: value for one, value in choose.fn(visitors["blue"], [theirs.id], click).items()}
    assert found["gallery_details"] == gr.update(visible=False)
    assert "gallery_files" not in found
    assert [caption.split()[0] for _, caption in found["gallery"]["value"]] == ["blue"]


def test_a_page_is_told_of_a_fault_even_when_it_comes_later():
    page = page_of(FakeEngine(step_s=0).make_clip)
    event = generate_event(page)
    job_id = event.fn(*on_the_page(event, prompt="refuse"))

    async def shown() -> None:
        async for _ in follow_event(page).fn(job_id, ""):
            pass

    for _ in range(2):
        with pytest.raises(gr.Error, match="must be downloadable"):
            asyncio.run(shown())


def test_the_folder_of_all_jobs_goes_with_them():
    jobs, run = Jobs(), run_of(FakeEngine(step_s=0).make_clip, asked("x"))
    parent = started(jobs, run).folder.parent
    assert parent.is_dir()
    ended(started(jobs, run))
    jobs._folder.cleanup()
    assert not Path(parent).exists()


def test_a_draft_s_way_to_its_clip_in_full_is_there_after_a_reload():
    page = page_of(FakeEngine(step_s=0).make_clip)
    event = next(event for event in page.fns.values() if event.name == "draft")
    job_id = event.fn(*on_the_page(event, prompt="a star", width=256, height=256, seed="7, 42"))

    async def shown() -> dict:
        updates = [update async for update in follow_event(page).fn(job_id, "")]
        return {control.elem_id: value for update in updates for control, value in update.items()}

    first, again = asyncio.run(shown()), asyncio.run(shown())
    assert first["full"]["visible"]
    assert again["full"]["visible"]
    assert GenerationRequest.from_json(again["full_recipe"]).width == 256
    assert again["full_recipe"] == first["full_recipe"]


def test_a_clip_that_is_finished_while_nobody_looks_is_kept_once(tmp_path):
    gallery = Gallery(tmp_path / "gallery", 10**9, 3600)
    page, visitor = page_of(FakeEngine(step_s=0).make_clip, gallery=gallery), new_visitor()
    event = generate_event(page)
    job_id = event.fn(*on_the_page(event, prompt="x", visitor=visitor))
    assert wait_until(lambda: len(gallery.entries(visitor)) == 1)

    async def shown() -> list:
        return [update async for update in follow_event(page).fn(job_id, visitor)]

    for _ in range(2):
        lists = [value for update in asyncio.run(shown()) for one, value in update.items() if one.elem_id == "gallery"]
        assert [len(told["value"]) for told in lists] == [1]
    assert len(gallery.entries(visitor)) == 1
