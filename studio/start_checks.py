"""Check settings before the page is built; faults stop the start."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from pipelines.plan import catalog
from pipelines.plan.errors import InvalidRequestError, UserError
from pipelines.plan.gpu import find_gpu
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import (
    Settings,
    SettingsError,
    misspelt_variables,
    process_settings,
    use_settings,
    without_secrets,
)
from studio.limits import check_limits

EXIT_SETTINGS = 2


def checked_settings() -> Settings:
    """Read and check settings; print faults and exit with code 2."""
    _say(misspelt_variables(os.environ))
    try:
        config = process_settings()
    except SettingsError as err:
        _say([str(err)])
        raise SystemExit(EXIT_SETTINGS) from None
    if faults := start_faults(config):
        _say(faults)
        raise SystemExit(EXIT_SETTINGS)
    if text := find_gpu().text:
        _say([text])
    return config


def start_faults(config: Settings) -> list[str]:
    """List well-formed settings that can't work here, for the operator."""
    faults = []
    if config.models_dir and not config.models_dir.is_dir():
        faults.append(
            f"MODELS_DIR must be a folder, got '{without_secrets(config.models_dir)}'. "
            "Make it, or leave MODELS_DIR out."
        )
    for name in ("checkpoint_dir", "inputs_dir", "gallery_dir", "dropped_dir"):
        path = getattr(config, name)
        if path and not _can_hold_files(path):
            variable = Settings.model_fields[name].alias
            faults.append(
                f"{variable} must be a folder that can be written to, got '{without_secrets(path)}'. Name another."
            )
    with use_settings(config):
        return [*faults, *_model_faults(config)]


def _model_faults(config: Settings) -> list[str]:
    try:
        model = catalog.default_base_model()
    except InvalidRequestError as err:
        reason = replace(err.fault, field="DEFAULT_MODEL") if err.fault else str(err)
        return [without_secrets(UserError(reason))]
    try:
        check_limits(GenerationRequest.build(**catalog.complete({"base_model": model.id})), config)
    except InvalidRequestError as err:
        return [
            f"MAX_FRAMES, MAX_SIDE and MAX_STEPS must allow what '{model.id}' makes by default, got less: {err} "
            "That, or raise the limit, or set DEFAULT_MODEL to another model."
        ]
    return []


def _can_hold_files(path: Path) -> bool:
    """Whether the path is, or can become, a writable folder."""
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _say(lines: list[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)  # noqa: T201 - nothing else is up yet
