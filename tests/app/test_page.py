"""The page's own behaviour, through `gradio_client`, with a stand-in engine."""

import json
import time
from pathlib import Path

import httpx
import imageio_ffmpeg
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from media.read import read_recipe
from pipelines.plan.request import GenerationRequest
from studio.faults import OUR_FAULT
from tests.app.fake_engine import REFUSAL


def wait_until(condition, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_prompt_alone_gives_a_playable_video_and_its_recipe(client, engine):
    video, recipe, _ = client.predict(prompt="a red circle", api_name="/txt2vid")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(video)
    assert (frames, seconds) == (16, 2.0)
    assert GenerationRequest.from_json(json.dumps(recipe)) == engine.requests[-1]
    assert recipe["prompt"] == "a red circle"
    assert "red" not in Path(video).name


def test_the_files_of_further_formats_come_beside_the_clip(client):
    formats = ["GIF", "MP4", "TXT"]
    clip, recipe, others = client.predict(prompt="x", formats=formats, num_inference_steps=1, api_name="/txt2vid")
    assert [Path(path).suffix for path in (clip, *others)] == [".gif", ".mp4", ".txt"]
    assert [json.loads(read_recipe(Path(path)))["seed"] for path in (clip, *others)] == [recipe["seed"]] * 3


def test_minus_one_draws_a_new_seed_and_a_given_seed_is_kept(client):
    seeds = [client.predict(prompt="x", num_inference_steps=1, api_name="/txt2vid")[1]["seed"] for _ in range(2)]
    kept = client.predict(prompt="x", num_inference_steps=1, seed=42, api_name="/txt2vid")[1]["seed"]
    assert seeds[0] != seeds[1]
    assert kept == 42


def test_what_is_left_out_is_the_models_own_default(client):
    _, recipe, _ = client.predict(prompt="x", num_inference_steps=1, base_model="demo", api_name="/txt2vid")
    assert (recipe["width"], recipe["height"], recipe["motion_module"]) == (128, 128, "demo")


def test_a_caller_can_follow_the_steps(client):
    job = client.submit(prompt="x", num_inference_steps=5, api_name="/txt2vid")
    job.result()
    told = [progress for _, progress, _ in job.outputs()[:-1]]
    steps = [progress["step"] for progress in told if progress["stage"] == "denoise"]
    assert steps == sorted(steps)
    assert steps[-1] == told[-1]["total"] == 5


def test_cancelling_a_call_stops_the_engine_and_removes_its_files(client, engine):
    before = len(engine.closed_at)
    job = client.submit(prompt="slow", api_name="/txt2vid")
    assert wait_until(lambda: len(job.outputs()) > 3)
    job.cancel()
    assert wait_until(lambda: len(engine.closed_at) > before)
    assert engine.closed_at[-1] < 100
    assert wait_until(lambda: not engine.folders[-1].exists())


def test_a_user_error_reaches_the_caller_word_for_word(client, engine):
    with pytest.raises(AppError) as caught:
        client.predict(prompt="refuse this", api_name="/txt2vid")
    assert str(caught.value) == REFUSAL
    assert not engine.folders[-1].exists()


def test_our_own_fault_is_not_shown_in_detail(client, caplog):
    with pytest.raises(AppError) as caught:
        client.predict(prompt="break this", api_name="/txt2vid")
    assert str(caught.value) == OUR_FAULT
    assert "secret detail" in caplog.text


def test_a_caller_who_follows_hears_the_engine_s_notes(client):
    job = client.submit(prompt="warn me", num_inference_steps=2, api_name="/txt2vid")
    job.result()
    assert [progress["note"] for _, progress, _ in job.outputs()[:-1]] == ["", "Step 1 of 2", "Step 2 of 2"]


def test_a_broken_rule_starts_nothing(client, engine):
    before = len(engine.requests)
    with pytest.raises(AppError, match=r"^num_frames must be .*, got -1\. Change 'Frames'\.$"):
        client.predict(prompt="x", num_frames=-1, api_name="/txt2vid")
    assert len(engine.requests) == before


def test_several_clips_come_one_after_the_other_each_with_its_recipe(client):
    job = client.submit(prompt="x", num_inference_steps=1, seed=7, batch_count=3, api_name="/txt2vid")
    last = job.result()
    clips = [answer for answer in job.outputs() if answer[0]]
    assert [recipe["seed"] for _, recipe, _ in clips] == [7, 8, 9]
    assert len({Path(video).read_bytes()[4:8] for video, _, _ in clips}) == 1
    assert last[1] == clips[-1][1]
    with pytest.raises(AppError, match=r"batch_count must be a whole number from 1 to 16, got 17\."):
        client.predict(prompt="x", batch_count=17, api_name="/txt2vid")


def test_finished_runs_leave_no_folder_behind(client, engine):
    client.predict(prompt="x", num_inference_steps=1, api_name="/txt2vid")
    assert wait_until(lambda: not any(folder.exists() for folder in engine.folders))


def test_visitors_wait_in_line_and_do_not_meet(url, engine, tmp_path):
    clients = [Client(url, verbose=False, download_files=tmp_path / str(i)) for i in range(3)]
    engine.most_running = 0
    jobs = [c.submit(prompt=f"clip {i}", num_inference_steps=8, api_name="/txt2vid") for i, c in enumerate(clients)]
    recipes = [job.result()[1] for job in jobs]
    assert [recipe["prompt"] for recipe in recipes] == ["clip 0", "clip 1", "clip 2"]
    assert engine.most_running == 1
    for c in clients:
        c.close()


def test_rest_gives_the_same_answer(url):
    start = httpx.post(f"{url}gradio_api/call/v2/txt2vid", json={"prompt": "a star", "seed": 7}, timeout=30)
    start.raise_for_status()
    answer = httpx.get(f"{url}gradio_api/call/txt2vid/{start.json()['event_id']}", timeout=60).text
    last = answer.strip().rsplit("event: complete\ndata: ", 1)[1]
    video, recipe, others = json.loads(last)
    assert others == []
    assert recipe["seed"] == 7
    assert httpx.get(video["url"], timeout=30).content[4:8] == b"ftyp"


def test_the_page_handler_is_not_offered_to_callers(client):
    with pytest.raises(ValueError, match="Cannot find a function"):
        client.predict(api_name="/generate")
