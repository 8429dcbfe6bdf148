"""What is checked before the page is built: settings that can't be used stop the start, in words."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from pipelines.plan import catalog
from pipelines.plan.errors import InvalidRequestError, UserError
from pipelines.plan.gpu import find_gpu
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import Settings, SettingsError, misspelt_variables, settings, without_secrets
from studio.limits import check_limits

EXIT_SETTINGS = 2


def checked_settings() -> Settings:
    """The settings to start with. Faults are printed, a line each, and end the process with exit code 2."""
    _say(misspelt_variables(os.environ))
    try:
        found = settings()
    except SettingsError as err:
        _say([str(err)])
        raise SystemExit(EXIT_SETTINGS) from None
    if faults := start_faults(found):
        _say(faults)
        raise SystemExit(EXIT_SETTINGS)
    if text := find_gpu().text:
        _say([text])
    return found


def start_faults(found: Settings) -> list[str]:
    """What can't be used on this computer though it is well written, a line each; they are the operator's to read."""
    faults = []
    if found.models_dir and not found.models_dir.is_dir():
        faults.append(
            f"MODELS_DIR must be a folder, got '{without_secrets(found.models_dir)}'. Make it, or leave MODELS_DIR out."
        )
    for name in ("checkpoint_dir", "inputs_dir", "gallery_dir"):
        path = getattr(found, name)
        if path and not _can_hold_files(path):
            variable = Settings.model_fields[name].alias
            faults.append(
                f"{variable} must be a folder that can be written to, got '{without_secrets(path)}'. Name another."
            )
    try:
        chosen = catalog.default_base_model()
    except InvalidRequestError as err:
        named = replace(err.fault, field="DEFAULT_MODEL") if err.fault else str(err)
        return [*faults, without_secrets(UserError(named))]
    try:
        check_limits(GenerationRequest.build(**catalog.complete({"base_model": chosen.id})), found)
    except InvalidRequestError as err:
        faults.append(
            f"MAX_FRAMES, MAX_SIDE and MAX_STEPS must allow what '{chosen.id}' makes by default, got less: {err} "
            "That, or raise the limit, or set DEFAULT_MODEL to another model."
        )
    return faults


def _can_hold_files(path: Path) -> bool:
    """Whether it is a folder that can be written to, or can become one."""
    there = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _say(lines: list[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)  # noqa: T201 - nothing else is up yet
