"""The Hub's rules for a Space, checked in this folder before anything is sent.

Sources: the Hub's documentation of Spaces' configuration, dependencies and ZeroGPU, and what its git server refuses:
binary files outside Xet and LFS, and files above 10 MB.
"""

import re
import subprocess
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import SpaceHardware
from packaging.requirements import InvalidRequirement, Requirement

from pipelines.plan import catalog

GIT_MOST_BYTES = 10_000_000
_SAMPLE = 1 << 13
_COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
_KEYS = (
    *("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "app_port"),
    *("base_path", "fullWidth", "header", "short_description", "models", "datasets", "tags", "thumbnail", "pinned"),
    *("hf_oauth", "hf_oauth_scopes", "hf_oauth_expiration_minutes", "hf_oauth_authorized_org", "disable_embedding"),
    *("startup_duration_timeout", "custom_headers", "preload_from_hub", "suggested_hardware", "suggested_storage"),
    *("license", "license_name", "license_link"),
)
_MOST_DESCRIBED = 60
_ZERO_GPU_TORCH = ("2.8.0", "2.9.1", "2.10.0", "2.11.0")
_ZERO_GPU_PYTHON = ("3.10", "3.10.13", "3.12", "3.12.12")
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_IGNORED = (".git", ".venv", "build", "__pycache__", ".gradio", ".hypothesis")


def space_files(root: Path) -> list[str]:
    """The files that make the Space, by their paths: all that git tracks, or without git all but what it ignores."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode == 0 and done.stdout:
        return sorted(name for name in done.stdout.split("\0") if name and (root / name).is_file())
    names = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if not any(part.startswith(_IGNORED) for part in name.parts))


def is_binary(path: Path) -> bool:
    """Whether the Hub takes it for no text: it has a zero byte, or is no UTF-8."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
    try:
        getincrementaldecoder("utf-8")().decode(sample)  # which waits for the rest of a character that is cut off
    except UnicodeDecodeError:
        return True
    return b"\0" in sample


def outside_git(root: Path, files: Sequence[str]) -> list[str]:
    """The files that a plain `git push` to the Hub would be refused for; an upload sends them its own way."""
    return [name for name in files if (root / name).stat().st_size > GIT_MOST_BYTES or is_binary(root / name)]


def folder_faults(root: Path, *, zero_gpu: bool) -> list[str]:
    """What would keep the folder from running as a Space, a sentence each; empty if nothing would.

    Args:
        root: The folder.
        zero_gpu: Whether it is to run on ZeroGPU.
    """
    try:
        front = front_matter((root / "README.md").read_text("utf-8"))
        requirements = (root / "requirements.txt").read_text("utf-8")
    except (OSError, ValueError) as err:
        return [f"README.md and requirements.txt must be readable, got {err}. Restore them."]
    return [
        *front_faults(front, root),
        *preload_faults(front),
        *requirement_faults(requirements, front, zero_gpu=zero_gpu),
    ]


def front_matter(readme: str) -> dict[str, Any]:
    """The YAML block at the top of README.md.

    Raises:
        ValueError: There is none, or it can't be read.
    """
    found = re.match(r"---\n(.*?)\n---\n", readme, re.S)
    try:
        front = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as err:
        raise ValueError(f"README.md must begin with YAML that can be read, got: {err}") from err
    if not isinstance(front, dict):
        raise ValueError("README.md must begin with a block of YAML between two lines ---")
    return front


def front_faults(front: Mapping[str, Any], root: Path) -> Iterator[str]:
    """What the Hub would not take in the front matter."""
    rules = {
        "title": lambda value: isinstance(value, str) and value.strip() != "",
        "emoji": lambda value: isinstance(value, str) and 1 <= len(value) <= 4 and not value.isascii(),
        "colorFrom": _COLORS.__contains__,
        "colorTo": _COLORS.__contains__,
        "sdk": lambda value: value == "gradio",
        "sdk_version": lambda value: isinstance(value, str) and re.fullmatch(r"\d+\.\d+\.\d+", value),
        "python_version": lambda value: isinstance(value, str) and re.fullmatch(r"3\.\d+(\.\d+)?", value),
        "app_file": lambda value: isinstance(value, str) and (root / value).is_file(),
        "short_description": lambda value: isinstance(value, str) and len(value) <= _MOST_DESCRIBED,
        "suggested_hardware": [kind.value for kind in SpaceHardware].__contains__,
        "startup_duration_timeout": lambda value: isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)? ?[smh]", value),
        "models": lambda value: isinstance(value, list) and all(_REPO.fullmatch(str(one)) for one in value),
        "preload_from_hub": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
        "tags": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
        "license": lambda value: isinstance(value, str) and re.fullmatch(r"[a-z0-9.-]+", value),
    }
    for key in ("title", "sdk", "sdk_version", "python_version", "app_file"):
        if key not in front:
            yield f"README.md must say '{key}' at its top. Add it."
    for key, value in front.items():
        if key not in _KEYS:
            yield f"README.md must have only keys of the Hub at its top, got '{key}'. Remove it."
        elif key in rules and not rules[key](value):
            yield f"README.md must have a '{key}' that the Hub takes, got '{value}'. Change it."


def preload_faults(front: Mapping[str, Any]) -> Iterator[str]:
    """What `preload_from_hub` names that this app never asks for: the Space would download it for nothing."""
    kinds = (catalog.base_models(), catalog.motion_modules(), catalog.loras(), catalog.vaes(), catalog.controlnets())
    known = {entry.repo for kind in kinds for entry in kind if entry.source == "hub"}
    for line in front.get("preload_from_hub") or ():
        repo, *rest = str(line).split()
        if repo not in known:
            yield f"preload_from_hub must name repositories of the catalog, got '{repo}'. Correct it."
        if len(rest) > 2 or any(not name or "*" in name for names in rest[:1] for name in names.split(",")):
            yield f"preload_from_hub must be a repository, files with commas between and a revision, got '{line}'."


def requirement_faults(text: str, front: Mapping[str, Any], *, zero_gpu: bool) -> Iterator[str]:
    """What pip would not install together on a Space, which brings a gradio and a `spaces` of its own."""
    pins: dict[str, str] = {}
    for line in filter(None, (line.split("#")[0].strip() for line in text.splitlines())):
        try:
            found = Requirement(line)
        except InvalidRequirement:
            yield f"requirements.txt must hold requirements that pip reads, got '{line}'. Correct it."
            continue
        pins |= {_plain(found.name): one.version for one in found.specifier if one.operator == "=="}
    if pins.get("gradio", front.get("sdk_version")) != front.get("sdk_version"):
        yield f"gradio must be pinned to the Space's own, {front.get('sdk_version')}, got {pins['gradio']}. Change one."
    if "spaces" in pins:
        yield f"spaces must have no pin, since a Space brings its own, got {pins['spaces']}. Give it a lower bound."
    if zero_gpu and pins.get("torch") not in _ZERO_GPU_TORCH:
        yield f"torch must be one that ZeroGPU has ({', '.join(_ZERO_GPU_TORCH)}), got {pins.get('torch')}. Change it."
    if zero_gpu and front.get("python_version") not in _ZERO_GPU_PYTHON:
        yield f"python_version must be one that ZeroGPU has (3.10, 3.12), got {front.get('python_version')}. Change it."
    for name in pins:
        yield from _conflicts(name, pins)


def _conflicts(name: str, pins: Mapping[str, str]) -> Iterator[str]:
    """Where an installed package wants another version of one that is pinned."""
    try:
        wanted = [Requirement(line) for line in requires(name) or ()]
    except PackageNotFoundError:
        return
    for need in wanted:
        pin = pins.get(_plain(need.name))
        applies = need.marker is None or need.marker.evaluate({"extra": ""})
        if pin and applies and not need.specifier.contains(pin, prereleases=True):
            yield f"{need.name} must be {need.specifier} for {name}, got {pin}. Change one of the two."


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
