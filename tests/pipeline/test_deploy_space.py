"""The folder as a Space: the Hub's rules, and the way there, against a stand-in that has them."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from scripts import space_rules
from scripts.deploy_space import main
from scripts.space_rules import folder_faults, front_matter, outside_git, space_files
from tests.stand_in_spaces import StandInSpaces, serving_spaces

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # which is not stood in; what comes is the same
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    with serving_spaces() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        huggingface_hub.close_session()
        yield hub
    huggingface_hub.close_session()


@pytest.mark.parametrize("zero_gpu", [True, False])
def test_this_folder_breaks_no_rule(zero_gpu):
    assert folder_faults(ROOT, zero_gpu=zero_gpu) == []


def test_a_plain_push_would_be_refused_for_models_and_pictures_and_for_nothing_else():
    files = space_files(ROOT)
    refused = outside_git(ROOT, files)
    kinds = {Path(name).suffix for name in refused}
    assert {".safetensors", ".webp", ".png", ".jpg", ".mp4"} <= kinds
    assert not kinds & {".py", ".md", ".toml", ".txt", ".json", ""}
    assert "assets/demo/unet/diffusion_pytorch_model.safetensors" in refused


@pytest.mark.parametrize(("option", "hardware"), [((), None), (("--zero-gpu",), "zero-a10g")])
def test_one_command_sends_the_folder_as_it_is(hub: StandInSpaces, capsys, option, hardware):
    hub.regular["old.py"] = b"of an earlier version"
    assert main(["ann/studio", *option]) == 0, capsys.readouterr().err
    assert hub.made["ann/studio"]["sdk"] == "gradio"
    assert hub.hardware.get("ann/studio") == hardware
    files = space_files(ROOT)
    assert {*hub.regular, *hub.large} == {*files, "old.py"}
    assert hub.removed == ["old.py"]
    assert set(outside_git(ROOT, files)) == set(hub.large)
    for name in hub.regular.keys() - {"old.py"}:
        assert hub.regular[name] == (ROOT / name).read_bytes(), name
    for name, sha256 in hub.large.items():
        assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == sha256, name
    assert capsys.readouterr().out.endswith(
        f"{hub.url}/spaces/ann/studio is being built; that takes some ten minutes, and its page tells how it goes.\n"
    )


@pytest.mark.parametrize(
    ("space", "token", "expected"),
    [
        ("ann/studio", "hf_other_token", "Log in with `hf auth login`"),
        ("bob/studio", "", "The token may not do this."),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(hub: StandInSpaces, monkeypatch, capsys, space, token, expected):
    monkeypatch.setenv("HF_TOKEN", token or hub.token)
    assert main([space]) == 1
    output = capsys.readouterr()
    assert expected in output.err
    assert hub.token not in output.err + output.out
    assert not hub.regular


@pytest.mark.parametrize("name", ["no name", "studio", "ann/b/studio", "ann/-studio", "ann/stu dio", "/studio", "ann/"])
def test_a_name_that_the_hub_takes_for_none_is_refused_before_anything_is_asked(hub: StandInSpaces, capsys, name):
    assert main([name]) == 2
    assert capsys.readouterr().err.startswith("USER/NAME must be an account, a slash and a name of letters, ")
    assert not hub.made


def test_the_address_of_a_space_is_its_name_too(hub: StandInSpaces, folder):
    assert main(["https://huggingface.co/spaces/ann/studio/"], root=folder) == 0
    assert list(hub.made) == ["ann/studio"]


@pytest.mark.parametrize(
    ("endpoint", "token", "expected"),
    [
        (
            "http://me:hunter2@127.0.0.1:9",
            "hf_hunter2",
            "The Hub can't be reached (ConnectError). Check the connection",
        ),
        ("hunter2", "hf_hunter2", "The Hub can't be reached (UnsupportedProtocol). Check the connection"),
        ("", "hf_hunter2ü", "HF_TOKEN must be letters and digits as the Hub gives them, got others. Copy it anew."),
    ],
)
def test_a_hub_that_cannot_be_asked_is_one_line_without_secrets(
    hub, monkeypatch, capsys, folder, endpoint, token, expected
):
    monkeypatch.setattr(constants, "ENDPOINT", endpoint or hub.url)
    monkeypatch.setenv("HF_TOKEN", token)
    assert main(["ann/studio"], root=folder) == 1
    output = capsys.readouterr().err
    assert output.startswith(expected)
    assert output.count("\n") == 1
    assert "hunter2" not in output


def test_a_dry_run_sends_nothing(hub: StandInSpaces, capsys):
    assert main(["ann/studio", "--dry-run"]) == 0
    assert re.match(r"\d+ files, \d+ MB; \d+ of them binary or above 10 MB", capsys.readouterr().out)
    assert not hub.made


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("README.md", "requirements.txt", "app.py"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("README.md", "colorFrom: indigo", "colorFrom: mauve", "a 'colorFrom' that the Hub takes, got 'mauve'"),
        ("README.md", "title: AnimateDiff Studio\n", "", "must say 'title' at its top"),
        ("README.md", "short_description: ", f"short_description: {'long ' * 9}", "'short_description' that the Hub"),
        ("README.md", "sdk: gradio", "sdk: streamlit", "a 'sdk' that the Hub takes, got 'streamlit'"),
        ("README.md", "sdk_version: 6.31.0", "sdk_version: 6.30.0", "gradio must be pinned to the Space's own, 6.30.0"),
        ("README.md", 'python_version: "3.12"', "python_version: 3.12", "a 'python_version' that the Hub takes"),
        ("README.md", 'python_version: "3.12"', 'python_version: "3.13"', "one that ZeroGPU has (3.10, 3.12)"),
        ("README.md", "app_file: app.py", "app_file: main.py", "a 'app_file' that the Hub takes, got 'main.py'"),
        ("README.md", "zero-a10g", "h2000", "a 'suggested_hardware' that the Hub takes, got 'h2000'"),
        ("README.md", "startup_duration_timeout: 1h", "startup_duration_timeout: soon", "'startup_duration_timeout'"),
        ("README.md", "license: apache-2.0", "licence: apache-2.0", "only keys of the Hub at its top, got 'licence'"),
        ("README.md", "  - guoyww/animatediff-motion-adapter-v1-5-3 config", "  - guoyww/gone config", "'guoyww/gone'"),
        ("README.md", "title: AnimateDiff", "title: [AnimateDiff", "must begin with YAML that can be read"),
        ("README.md", "---\n", "", "must begin with a block of YAML"),
        ("requirements.txt", "spaces>=0.51", "spaces==0.51.3", "spaces must have no pin"),
        ("requirements.txt", "torch==2.11.0", "torch==2.7.0", "torch must be one that ZeroGPU has"),
        ("requirements.txt", "pydantic==2.12.5", "pydantic==1.10.0", "got 1.10.0. Change one of the two."),
        ("requirements.txt", "numpy==2.4.6", "numpy 2.4.6", "requirements that pip reads, got 'numpy 2.4.6'"),
    ],
)
def test_what_breaks_a_rule_is_told_and_nothing_is_sent(hub: StandInSpaces, folder, capsys, file, old, new, expected):
    assert folder_faults(folder, zero_gpu=True) == []
    change(folder / file, old, new)
    assert main(["ann/studio", "--zero-gpu"], root=folder) == 2
    assert expected in capsys.readouterr().err
    assert not hub.made


def test_without_git_what_it_would_ignore_is_left_out(tmp_path):
    for name in ("app.py", "ui/page.py", ".venv/lib/x.py", "ui/__pycache__/page.pyc", "build/log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert space_files(tmp_path) == ["app.py", "ui/page.py"]


def test_text_in_any_script_is_no_binary_file(tmp_path):
    path = tmp_path / "text"
    for text in ("ü" * 9000, "a" + "語" * 9000, "🎞️" * 5000, ""):
        path.write_text(text, "utf-8")
        assert not space_rules.is_binary(path)
    path.write_bytes(b"RIFF\0\0")
    assert space_rules.is_binary(path)
    path.write_bytes(b"\xff\xd8\xff\xe0" + b"x" * 100)
    assert space_rules.is_binary(path)


def test_the_command_runs_as_the_readme_names_it():
    readme = (ROOT / "README.md").read_text("utf-8")
    commands = re.findall(r"^\.venv/bin/python -m scripts\.deploy_space (.+?)(?: +#.*)?$", readme, re.M)
    assert len(commands) >= 2
    for command in commands:
        words = [sys.executable, "-m", "scripts.deploy_space", *command.split(), "--dry-run"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert front_matter(readme)["sdk"] == "gradio"
