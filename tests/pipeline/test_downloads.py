"""Downloads: told of while they run, stopped, resumed, and checked against what the Hub says."""

import errno
import hashlib
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from pipelines.engine.weights import digests, downloads, transfers
from pipelines.engine.weights.downloads import fetch, track_downloads
from pipelines.engine.weights.hub_answers import PASSING, HubAnswer, HubError
from pipelines.plan import catalog
from pipelines.plan.catalog_entries import PublishedFile
from pipelines.plan.errors import WeightsError
from pipelines.plan.events import Progress, Stage
from tests.stand_in_hub import COMMIT, Refusal, StandInHub, serving, use_hub

REPO, NAME = "owner/models", "motion.ckpt"
FILE = f"{REPO}/{NAME}"
CONTENT = bytes(range(256)) * 512


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[StandInHub]:
    """One large file; every piece that comes is told of, and nobody waits long for the Hub."""
    folder = tmp_path / "hub" / REPO
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    monkeypatch.setattr(downloads, "INTERVAL_S", 0)
    monkeypatch.setattr(downloads, "PAUSES_S", (0.0, 0.0, 0.0))
    with serving(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        yield hub


def get() -> Path:
    return fetch(REPO, NAME, "main", field="motion_module")


def followed(work: Callable[[], Path]) -> tuple[list[Progress], Path]:
    """What was told, and what came of it."""
    message: list[Progress] = []
    events = track_downloads(work)
    while True:
        try:
            message.append(next(events))
        except StopIteration as end:
            return message, end.value


def cached(tmp_path: Path) -> list[Path]:
    """Everything in the Hub's cache that holds bytes of the file."""
    return [path for path in tmp_path.rglob("blobs/*") if path.is_file()]


@pytest.mark.usefixtures("hub")
def test_a_download_is_told_of_until_it_is_whole():
    events, path = followed(get)
    *downloading, reading = events
    assert path.read_bytes() == CONTENT
    assert {(event.stage, event.total) for event in downloading} == {(Stage.LOAD, len(CONTENT))}
    steps = [event.step for event in downloading]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, len(CONTENT))
    assert len(steps) > 2
    assert downloading[1].note == "Downloading motion.ckpt: 0 of 0 MB"
    assert (reading.step, reading.total, reading.note) == (0, 1, "Reading motion.ckpt")


def test_large_numbers_can_be_read():
    watch = downloads._Watch()
    watch.report("v3_sd15_mm.ckpt", 412_000_000, 1_672_000_000)
    assert watch.events.get().note == "Downloading v3_sd15_mm.ckpt: 412 of 1,672 MB"


@pytest.mark.usefixtures("hub")
def test_of_what_is_there_nothing_is_told():
    there = get()
    assert followed(get) == ([], there)


def test_what_the_work_raises_comes_out(hub: StandInHub):
    hub.stop()
    with pytest.raises(WeightsError, match="the Hub can't be reached"):
        followed(get)


def test_a_stopped_download_goes_on_where_it_was_even_in_another_process(hub: StandInHub, tmp_path):
    hub.pausing.add(FILE)
    events = track_downloads(get)
    there = next(event.step for event in events if event.step)
    hub.go_on.set()
    events.close()
    (part,) = cached(tmp_path)
    assert there <= part.stat().st_size < len(CONTENT)
    script = (
        "import sys; from pathlib import Path; from huggingface_hub import constants\n"
        "constants.ENDPOINT, constants.HF_HUB_CACHE = sys.argv[1], sys.argv[2]\n"
        "constants.HUGGINGFACE_CO_URL_TEMPLATE = sys.argv[1] + '/{repo_id}/resolve/{revision}/{filename}'\n"
        "from pipelines.engine.weights.downloads import fetch\n"
        f"print(fetch({REPO!r}, {NAME!r}, 'main', field='motion_module'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, hub.url, str(constants.HF_HUB_CACHE)], capture_output=True, text=True, check=True
    )
    assert hub.resumed == [(FILE, hub.resumed[0][1])]
    assert hub.resumed[0][1] >= there
    assert Path(done.stdout.strip()).read_bytes() == CONTENT
    assert cached(tmp_path) == [Path(done.stdout.strip()).resolve()]


@pytest.mark.usefixtures("hub")
def test_a_server_without_ranges_is_asked_for_all_of_it(tmp_path, monkeypatch):
    part = tmp_path / "cache" / "models--owner--models" / "blobs" / f"{hashlib.sha256(CONTENT).hexdigest()}.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"something else that is not its beginning")
    monkeypatch.setattr("tests.stand_in_hub._Cdn.send_content", _without_ranges)
    assert get().read_bytes() == CONTENT


def _without_ranges(handler, file: str, etag: str, headers: dict, *, with_body: bool) -> None:
    handler.send(200, {"ETag": etag} | headers, (handler.hub.root / file).read_bytes(), with_body=with_body)


def test_a_broken_connection_is_taken_up_where_it_broke(hub: StandInHub):
    hub.breaking.add(FILE)
    events, path = followed(get)
    assert path.read_bytes() == CONTENT
    ((file, start),) = hub.resumed
    assert (file, 0 < start <= len(CONTENT) // 2) == (FILE, True)
    assert max(event.step for event in events) == len(CONTENT)


def test_a_file_with_another_sha256_is_removed_and_refused(hub: StandInHub, tmp_path):
    hub.spoiled[FILE] = CONTENT[::-1]
    with pytest.raises(WeightsError) as error:
        get()
    assert str(error.value) == (
        "motion_module must be what its publisher has on the Hub, got 'owner/models/motion.ckpt' with another "
        "sha256. What arrived was removed; try again or choose another model."
    )
    assert cached(tmp_path) == []
    hub.spoiled.clear()
    assert get().read_bytes() == CONTENT


@pytest.mark.parametrize("sent", [CONTENT[:-1], CONTENT + b"more"])
def test_a_file_of_another_size_is_refused(hub: StandInHub, tmp_path, sent):
    hub.spoiled[FILE] = sent
    with pytest.raises(WeightsError, match=f"got '{FILE}': it did not arrive whole"):
        get()
    assert cached(tmp_path) == []


@pytest.mark.usefixtures("hub")
def test_a_large_file_is_read_through_only_once(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(digests, "_WORTH_KEEPING", len(CONTENT))
    path = get()
    digests._sha256.cache_clear()  # as in a new process
    written = path.stat().st_mtime_ns
    path.write_bytes(CONTENT[::-1])  # which only reading would tell
    os.utime(path, ns=(written, written))
    assert digests.sha256_of(path) == hashlib.sha256(CONTENT).hexdigest()


def test_a_cache_that_can_not_be_written_costs_only_time(monkeypatch, tmp_path):
    (tmp_path / "xdg").write_bytes(b"no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(digests, "_WORTH_KEEPING", 0)
    (tmp_path / "file").write_bytes(CONTENT)
    assert digests.sha256_of(tmp_path / "file") == hashlib.sha256(CONTENT).hexdigest()


def test_a_file_at_a_fixed_commit_is_had_from_the_cache_or_refused_at_once_where_there_is_no_hub(hub):
    path = fetch(REPO, NAME, COMMIT, field="motion_module")
    assert path.read_bytes() == CONTENT
    hub.stop()
    assert fetch(REPO, NAME, COMMIT, field="motion_module") == path
    start = time.monotonic()
    with pytest.raises(WeightsError, match="the Hub can't be reached"):
        fetch(REPO, "other.ckpt", COMMIT, field="motion_module")
    assert time.monotonic() - start < 10


GATED = {"code": "GatedRepo", "message": "Access to model owner/models is restricted. Please log in."}
LIMITED = {"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300', "Retry-After": "700"}
TOKEN = "Invalid credentials in Authorization header"
ANSWERS = [
    (Refusal(401, "RepoNotFound", "Repository not found"), HubAnswer.MISSING, "or it is a private one"),
    (Refusal(401, "", "Invalid username or password."), HubAnswer.MISSING, "HF_TOKEN to a token of whoever may read"),
    (Refusal(404, "RepoNotFound"), HubAnswer.MISSING, "there is no such repository"),
    (Refusal(401, "", TOKEN), HubAnswer.BAD_TOKEN, "the Hub does not know the token in HF_TOKEN"),
    (Refusal(401, **GATED, at=("resolve",)), HubAnswer.GATED, "asks readers to accept terms"),
    (Refusal(403, **GATED, at=("resolve",)), HubAnswer.GATED, "set HF_TOKEN to a token of that account"),
    (Refusal(403, "", "Forbidden"), HubAnswer.FORBIDDEN, "the Hub forbids access to it"),
    (Refusal(403, "", "Access to this resource is disabled."), HubAnswer.DISABLED, "the Hub has disabled it"),
    (Refusal(404, "RevisionNotFound"), HubAnswer.NO_REVISION, "must be a revision on the Hub"),
    (Refusal(404, "EntryNotFound", at=("resolve",)), HubAnswer.NO_FILE, "must be a file on the Hub"),
    (Refusal(451, "", "Unavailable For Legal Reasons"), HubAnswer.WITHHELD, "for legal reasons"),
    (Refusal(429, headers=LIMITED), HubAnswer.TOO_MANY, "Try again in 55 s; with a token in HF_TOKEN it answers more."),
    (Refusal(429, headers={"Retry-After": "700"}), HubAnswer.TOO_MANY, "Try again in 700 s"),
    (Refusal(429), HubAnswer.TOO_MANY, "the Hub has had too many questions from here. Try again in a few minutes"),
    (Refusal(418), HubAnswer.REFUSED, "the Hub refuses the question (status 418)"),
    *((Refusal(status), HubAnswer.TROUBLE, "the Hub has trouble of its own") for status in (500, 502, 503, 504)),
    (Refusal(503, at=("cdn",)), HubAnswer.TROUBLE, "Try again in a few minutes."),
    (Refusal(403, message="AccessDenied", at=("cdn",)), HubAnswer.FORBIDDEN, "the Hub forbids access"),
]


@pytest.mark.parametrize(("refusal", "answer", "words"), ANSWERS)
def test_what_the_hub_refuses_is_told_as_it_is_with_what_helps(hub: StandInHub, monkeypatch, refusal, answer, words):
    monkeypatch.setattr(downloads, "PATIENCE_S", 50.0)  # nobody waits for 55 s
    hub.refusal = replace(refusal)
    with pytest.raises(HubError) as error:
        get()
    assert error.value.answer is answer
    assert words in str(error.value)
    assert f"got '{FILE}'" in str(error.value)
    assert "connect to the internet" not in str(error.value)
    num_questions = hub.questions.count(refusal.at[0])
    waits = answer in PASSING and not refusal.headers
    assert num_questions == (1 + len(downloads.PAUSES_S) if waits else 1)


@pytest.mark.parametrize("refusal", [refusal for refusal, *_ in ANSWERS])
def test_what_is_in_the_cache_serves_whatever_the_hub_answers(hub: StandInHub, refusal):
    there = get()
    hub.refusal = replace(refusal)
    start = time.monotonic()
    assert get() == there
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("at", ["api", "resolve", "cdn"])
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_hiccup_of_the_hub_ends_nothing(hub: StandInHub, at, status):
    hub.refusal = Refusal(status, at=(at,), times=2)
    assert get().read_bytes() == CONTENT
    assert hub.refusal.times == 0


def test_the_hub_s_own_pause_is_kept_and_told(hub: StandInHub):
    hub.refusal = Refusal(429, headers={"Retry-After": "1"}, times=1)
    start = time.monotonic()
    events, path = followed(get)
    assert path.read_bytes() == CONTENT
    assert time.monotonic() - start >= 1
    assert events[0].note == "The Hub is busy: asking again in 1 s"


def test_waiting_for_the_hub_can_be_cancelled(hub: StandInHub):
    hub.refusal = Refusal(429, headers={"Retry-After": "80"})
    events = track_downloads(get)
    assert next(events).note == "The Hub is busy: asking again in 80 s"
    start = time.monotonic()
    events.close()
    assert time.monotonic() - start < 10


def test_a_hub_that_says_nothing_is_given_up(hub: StandInHub, monkeypatch):
    monkeypatch.setattr(downloads, "_ASKING_S", 0.2)
    monkeypatch.setattr("tests.stand_in_hub._Hub.answer", lambda *_, **__: hub.go_on.wait())
    with pytest.raises(HubError, match="did not answer in time") as error:
        get()
    assert error.value.answer is HubAnswer.NO_ANSWER


def test_a_token_is_the_hub_s_alone(hub: StandInHub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert get().read_bytes() == CONTENT  # the other host refuses whoever brings one
    assert hub.questions == ["api", "resolve", "cdn"]


def test_a_token_of_other_letters_is_told_as_a_wrong_one(hub: StandInHub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_geheimü")
    with pytest.raises(HubError, match=r"the Hub does not know the token in HF_TOKEN") as refused:
        get()
    assert refused.value.answer is HubAnswer.BAD_TOKEN
    assert "geheim" not in str(refused.value)
    assert hub.questions == []


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    "proxy", ["http://ann:s3cret@host:port", "odd://ann:s3cret@host:1", "socks9://ann:s3cret@host"]
)
def test_a_proxy_that_can_not_be_asked_is_told_without_its_password(monkeypatch, caplog, proxy):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    close_session()
    with pytest.raises(HubError, match="set HTTPS_PROXY right") as error:
        fetch(REPO, NAME, "main", field="motion_module")
    close_session()
    assert error.value.answer is HubAnswer.PROXY
    text = f"{error.value}{error.value.__cause__}{caplog.text}{''.join(traceback.format_exception(error.value))}"
    assert "s3cret" not in text


def test_without_downloads_allowed_that_is_what_is_said(hub: StandInHub, monkeypatch):
    del hub
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE forbids downloads here") as error:
        get()
    assert error.value.answer is HubAnswer.OFFLINE


def test_a_full_disk_is_told_as_one(hub: StandInHub, monkeypatch):
    del hub

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfers, "_receive", full)
    with pytest.raises(HubError, match=r"there is no room on the disk\. Make some, or set HF_HOME"):
        get()


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("repo", ["owner/a--b", "owner/-x", f"owner/{'x' * 100}"])
def test_a_name_that_no_repository_can_have_is_told_as_one_that_is_not_there(repo):
    with pytest.raises(HubError, match="there is no such repository") as error:
        fetch(repo, NAME, "main", field="motion_module")
    assert error.value.answer is HubAnswer.MISSING


@pytest.mark.parametrize(
    ("name", "is_safe"),
    [("a/b.bin", True), ("../b", False), ("a/../../b", False), ("/etc/passwd", False), ("a\\b", False), ("c:b", False)],
)
def test_names_from_the_hub_stay_in_their_folder(name, is_safe):
    assert transfers.is_safe_name(name) == is_safe


def publish(monkeypatch, sha256: str) -> None:
    """Have the catalog know a file's sha256."""
    published = PublishedFile(NAME, sha256=sha256)
    monkeypatch.setattr(
        catalog, "published_file", lambda repo, name: published if (repo, name) == (REPO, NAME) else None
    )


def test_a_file_that_the_catalog_knows_is_taken_or_refused_by_its_sha256(hub: StandInHub, tmp_path, monkeypatch):
    publish(monkeypatch, hashlib.sha256(CONTENT).hexdigest())
    path = get()
    assert path.read_bytes() == CONTENT
    publish(monkeypatch, "ab" * 32)
    with pytest.raises(WeightsError, match=r"with another sha256\. What arrived was removed"):
        get()  # as it was cached before
    assert cached(tmp_path) == []
    with pytest.raises(HubError, match="must be the file that the catalog knows") as error:
        get()
    assert error.value.answer is HubAnswer.OTHER_FILE
    assert hub.downloads == [FILE], "what will be refused was fetched again"


def test_where_links_can_not_be_made_a_file_is_there_once(hub: StandInHub, tmp_path, monkeypatch):
    monkeypatch.setattr(transfers, "are_symlinks_supported", lambda _: False)
    path = get()
    assert not path.is_symlink()
    assert cached(tmp_path) == []
    assert get().read_bytes() == CONTENT
    assert hub.downloads == [FILE]


def test_two_who_want_a_file_at_once_fetch_it_once(hub: StandInHub):
    hub.pausing.add(FILE)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(get) for _ in range(2)]
        while not hub.downloads:
            time.sleep(0.01)
        hub.go_on.set()
        assert [future.result().read_bytes() for future in both] == [CONTENT, CONTENT]
    assert hub.downloads == [FILE]
