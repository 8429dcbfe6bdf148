"""Jobs go on without a page, are found again by their id alone, and end when nobody wants them."""

import asyncio
import contextvars
import time
from pathlib import Path

import gradio as gr
import pytest

from api.jobs import Job, Jobs, View
from api.line import Line, in_line
from pipelines.errors import UserError
from pipelines.events import Clip, Progress, Stage
from pipelines.request import GenerationRequest
from tests.app.fake_engine import REFUSAL, FakeEngine
from tests.app.test_page import wait_until
from tests.app.test_wiring import follow_event, generate_event, on_the_page
from ui.page import build_page


def asked(prompt: str, *, seed: int = 7, steps: int = 3) -> GenerationRequest:
    return GenerationRequest.build(prompt=prompt, seed=seed, num_inference_steps=steps)


def started(jobs: Jobs, *requests: GenerationRequest) -> Job:
    found = jobs.find(jobs.start(lambda: list(requests)))
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
    jobs = Jobs(FakeEngine(step_s=0.02).make_clip)
    job_id = jobs.start(lambda: [asked("a star", steps=30)])
    first = follow(jobs.find(job_id), until=lambda view: view.progress is not None)[-1]
    again = follow(jobs.find(job_id))
    assert again[0].progress.step >= first.progress.step
    assert [path.exists() for clip in again[-1].clips for path in clip.files] == [True]
    assert not again[-1].cancelled
    assert follow(jobs.find(job_id))[-1] == again[-1]


def test_a_job_is_found_by_its_whole_id_alone():
    jobs = Jobs(FakeEngine(step_s=0).make_clip)
    ids = {jobs.start(lambda: [asked("x")]) for _ in range(8)}
    assert len(ids) == 8
    assert min(map(len, ids)) >= 22  # 128 bits
    assert jobs.find(next(iter(ids))[:-1]) is None
    assert [jobs.find(other) for other in (None, "", 7, [], {})] == [None] * 5


def test_a_cancelled_job_ends_at_the_next_step_and_leaves_no_folder():
    engine = FakeEngine(step_s=0.05)
    job = started(Jobs(engine.make_clip), asked("slow"))
    follow(job, until=lambda view: view.progress and view.progress.stage is Stage.DENOISE)
    at = job.view.progress.step
    job.cancel()
    view = ended(job)
    assert (view.cancelled, view.clips, view.progress) == (True, (), None)
    assert engine.closed_at[-1] <= at + 2
    assert not job.folder.exists()


def test_finished_clips_of_a_cancelled_batch_stay():
    engine = FakeEngine(step_s=0.02)
    jobs = Jobs(engine.make_clip)  # the files go with it
    job = started(jobs, *(asked("x", seed=seed) for seed in (1, 2, 3)))
    follow(job, until=lambda view: view.clips)
    job.cancel()
    view = ended(job)
    assert view.cancelled
    assert 1 <= len(view.clips) < 3
    assert all(path.exists() for clip in view.clips for path in clip.files)


def test_a_job_that_nobody_follows_is_cancelled_and_one_that_is_followed_is_not():
    engine = FakeEngine(step_s=0.02)
    jobs = Jobs(engine.make_clip, patience_s=0.3)
    left = started(jobs, asked("slow"))
    assert ended(left).cancelled
    kept = started(jobs, asked("x", steps=30))
    assert follow(kept)[-1].clips


def test_a_job_is_forgotten_some_time_after_its_end_with_its_files():
    jobs = Jobs(FakeEngine(step_s=0).make_clip, keep_s=0.2)
    job_id = jobs.start(lambda: [asked("x")])
    job = jobs.find(job_id)
    files = [path for clip in ended(job).clips for path in clip.files]
    assert jobs.find(job_id) is job
    time.sleep(0.3)
    assert jobs.find(job_id) is None
    assert not any(path.exists() for path in files)


def test_refusals_and_faults_are_the_job_s_to_tell(caplog):
    jobs = Jobs(FakeEngine(step_s=0).make_clip)
    assert ended(started(jobs, asked("refuse"))).fault == REFUSAL
    assert "Something went wrong on our side" in ended(started(jobs, asked("break"))).fault
    assert "secret detail" in caplog.text

    def build() -> list[GenerationRequest]:
        raise UserError("controls 1 must be so.")

    found = jobs.find(jobs.start(build, lambda text: text.replace("controls 1", "Unit 3")))
    assert ended(found).fault == "Unit 3 must be so."


def test_too_many_jobs_are_refused():
    jobs = Jobs(FakeEngine().make_clip, most=2)
    running = [started(jobs, asked("slow")) for _ in range(2)]
    with pytest.raises(UserError, match=r"jobs must be at most 2"):
        jobs.start(lambda: [asked("x")])
    for job in running:
        job.cancel()
        ended(job)
    assert jobs.start(lambda: [asked("x")])


def test_the_engine_runs_in_the_context_of_the_call_that_started_the_job():
    token = contextvars.ContextVar("token", default="nobody's")
    seen = []

    def make_clip(request, folder):  # noqa: ARG001
        seen.append(token.get())
        yield Progress(Stage.LOAD, 0, 1)

    jobs = Jobs(make_clip)
    context = contextvars.copy_context()
    context.run(token.set, "the visitor's")
    ended(jobs.find(context.run(jobs.start, lambda: [asked("x")])))
    assert seen == ["the visitor's"]


def test_runs_take_turns_in_the_order_they_came_and_say_their_place():
    engine = FakeEngine(step_s=0.02)
    jobs = Jobs(in_line(engine.make_clip, Line()))
    found = []
    for number in range(3):
        found.append(started(jobs, asked(f"clip {number}", steps=10)))
        time.sleep(0.05)
    notes = [view.progress.note for view in follow(found[2]) if view.progress and view.progress.stage is Stage.WAIT]
    assert list(dict.fromkeys(notes)) == ["2 clips are ahead", "1 clip is ahead"]
    assert [request.prompt for request in engine.requests] == ["clip 0", "clip 1", "clip 2"]
    assert engine.most_running == 1


def test_who_leaves_the_line_or_fails_lets_the_next_one_go(tmp_path):
    engine, line = FakeEngine(step_s=0.02), Line()
    make = in_line(engine.make_clip, line)
    first = make(asked("slow"), tmp_path)
    next(first)
    second = make(asked("x"), tmp_path)
    assert next(second) == Progress(Stage.WAIT, 0, 1, note="1 clip is ahead")
    second.close()
    first.close()
    with pytest.raises(UserError):
        list(make(asked("refuse"), tmp_path))
    assert isinstance(list(make(asked("x"), tmp_path))[-1], Clip)


def test_the_page_and_the_endpoints_wait_in_the_same_line():
    engine = FakeEngine(step_s=0.02)
    page = build_page(engine.make_clip)
    event = generate_event(page)
    (endpoint,) = (event for event in page.fns.values() if event.name == "txt2vid")
    event.fn(*on_the_page(event, prompt="from the page", num_inference_steps=20))
    assert wait_until(lambda: engine.running)
    told = [progress["stage"] for answer, progress in endpoint.fn(prompt="x", num_inference_steps=2) if not answer]
    assert told[0] == "wait"
    assert told[-1] == "denoise"
    assert engine.most_running == 1


def test_an_id_from_elsewhere_shows_nothing():
    page = build_page(FakeEngine(step_s=0).make_clip)
    event = generate_event(page)
    own = event.fn(*on_the_page(event, prompt="x"))

    async def shown(job_id) -> list:
        return [update async for update in follow_event(page).fn(job_id)]

    for other in ("", None, own[:-1], "../x", {"path": "/etc/passwd"}):
        (update,) = asyncio.run(shown(other))
        assert list(update.values()) == [gr.skip()]
    assert any(isinstance(value, str) and "Done" in value for one in asyncio.run(shown(own)) for value in one.values())


def test_a_page_is_told_of_a_fault_even_when_it_comes_later():
    page = build_page(FakeEngine(step_s=0).make_clip)
    event = generate_event(page)
    job_id = event.fn(*on_the_page(event, prompt="refuse"))

    async def shown() -> None:
        async for _ in follow_event(page).fn(job_id):
            pass

    for _ in range(2):
        with pytest.raises(gr.Error, match="must be downloadable"):
            asyncio.run(shown())


def test_the_folder_of_all_jobs_goes_with_them():
    jobs = Jobs(FakeEngine(step_s=0).make_clip)
    parent = started(jobs, asked("x")).folder.parent
    assert parent.is_dir()
    ended(started(jobs, asked("y")))
    jobs._folder.cleanup()
    assert not Path(parent).exists()
