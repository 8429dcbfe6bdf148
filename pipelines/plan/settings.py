"""The operator's settings: all environment variables the studio reads.

README's table is made from here (`make docs`). Variables of others that we heed, such as `CUDA_VISIBLE_DEVICES`,
`SPACES_ZERO_GPU` and `XDG_CACHE_HOME`, are none of ours and stand where they are read.

The environment is read once. A page has settings of its own (`studio/studio.py`), which hold in the context of all that
it calls; what there is once a process, such as the device, goes by the environment's.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.config import JsonDict

from pipelines.plan.errors import UserError
from pipelines.plan.request_fields.clip import MAX_NUM_FRAMES, MAX_SIDE

MAX_CLIPS = 16
"""Most clips of one press or call, wherever it comes from."""

_OWN_PREFIX = "STUDIO_"
_MOST_STEPS = 750  # 150 in each of five rounds
_VALUE_SHOWN = 60
_YES, _NO = ("public", "yes", "true", "1", "on"), ("private", "no", "false", "0", "off")


class SettingsError(UserError):
    """Environment variables can't be used; the text has a line for each."""


def _setting(default: object, variable: str, *, help: str, unit: str = "", fix: str = "", **rules: Any) -> Any:  # noqa: A002
    """Declare a field.

    Args:
        default: What holds where the variable is absent or empty.
        variable: Its name in the environment.
        help: One or two plain sentences.
        unit: Of a number.
        fix: What to do about a value that can't be used; "Change <variable>, or leave it out" if not given.
        rules: As pydantic's `Field` takes them.
    """
    extra: JsonDict = {"unit": unit, "fix": fix or f"Change {variable}, or leave it out"}
    return Field(default, alias=variable, description=help, json_schema_extra=extra, **rules)


def _read_yes(value: object) -> object:
    text = str(value).strip().lower()
    if text in (*_YES, *_NO):
        return text in _YES
    raise ValueError("must be public or private")


def _read_auth(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[^:\s]+:\S+", value):
        raise ValueError("must be a user's name, a colon and a password, without spaces")
    return value


class Settings(BaseModel):
    """The operator's settings, read from the environment.

    A limit of None leaves the request's own bound. Limits hold for visitors of the page and the endpoints; the command
    line is the operator's own.
    """

    # A fault never carries the value: `STUDIO_AUTH` holds a password.
    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, hide_input_in_errors=True)

    models_dir: Path | None = _setting(
        None,
        "MODELS_DIR",
        help="The folder of your own models, with `base_models`, `motion_modules`, `vaes`, `controlnets`, "
        "`ip_adapters`, `loras` and `embeddings` in it.",
    )
    checkpoint_dir: Path | None = _setting(
        None, "CHECKPOINT_DIR", help="The folder where interrupted runs are kept until they are finished."
    )
    inputs_dir: Path | None = _setting(
        None, "INPUTS_DIR", help="The folder where uploaded pictures and clips are kept; without it they go at the end."
    )
    gallery_dir: Path | None = _setting(
        None, "GALLERY_DIR", help="The folder of the visitors' galleries; without it they go at the end."
    )
    dropped_dir: Path | None = _setting(
        None, "DROPPED_DIR", help="The folder of LoRAs that visitors drop on the page; without it they go at the end."
    )
    gallery_max_gb: float = _setting(
        2.0, "GALLERY_MAX_GB", help="How large all galleries together may become.", unit="GB", ge=0, le=1_000_000
    )
    gallery_max_days: float = _setting(
        7.0, "GALLERY_MAX_DAYS", help="How long a clip stays in a gallery.", unit="days", ge=0, le=36_500
    )
    max_frames: int | None = _setting(
        None, "MAX_FRAMES", help="The longest clip a visitor may make.", unit="frames", ge=16, le=MAX_NUM_FRAMES
    )
    max_side: int | None = _setting(
        None,
        "MAX_SIDE",
        help="The longest side a visitor's clip may have where it is drawn, in a second pass too.",
        unit="pixels",
        ge=64,
        le=4 * MAX_SIDE,
    )
    max_steps: int | None = _setting(
        None,
        "MAX_STEPS",
        help="The most denoising steps of a visitor's clip, those of all FreeInit rounds together.",
        unit="steps",
        ge=1,
        le=_MOST_STEPS,
    )
    max_clips: int = _setting(
        MAX_CLIPS, "MAX_CLIPS", help="The most clips of one press or call.", unit="clips", ge=1, le=MAX_CLIPS
    )
    max_upload_mb: int = _setting(
        300, "MAX_UPLOAD_MB", help="The largest file a visitor may upload.", unit="MB", ge=1, le=100_000
    )
    queue_size: int = _setting(
        24, "QUEUE_SIZE", help="How many jobs may wait in line; more are refused.", unit="jobs", ge=1, le=10_000
    )
    max_per_visitor: int = _setting(
        8,
        "MAX_PER_VISITOR",
        help="How many jobs of one visitor, known by the name at the door or else by the address, may wait or run at "
        "once. 0 sets no limit.",
        unit="jobs",
        ge=0,
        le=10_000,
    )
    max_gpu_seconds: int = _setting(
        60,
        "MAX_GPU_SECONDS",
        help="For how long one call may hold a ZeroGPU device; a clip that takes longer takes several calls.",
        unit="s",
        ge=10,
        le=600,
    )
    default_model: str = _setting(
        "",
        "DEFAULT_MODEL",
        help="The base model that is chosen at first, by its id. Without it Stable Diffusion 1.5 where there is a GPU, "
        "the demo model elsewhere.",
    )
    auth: Annotated[SecretStr, BeforeValidator(_read_auth)] | None = _setting(
        None, "STUDIO_AUTH", help="`user:password`, asked for before anything is shown but `/health`."
    )
    sdapi_auth: Annotated[SecretStr, BeforeValidator(_read_auth)] | None = _setting(
        None,
        "SDAPI_AUTH",
        help="`user:password` of `/sdapi/v1` alone, in the place of the page's. On a Space it is served only with one.",
    )
    sdapi_files_dir: Path | None = _setting(
        None,
        "SDAPI_FILES_DIR",
        help="The one folder in which callers of `/sdapi/v1` may name clips and folders of frames.",
    )
    public: Annotated[bool, BeforeValidator(_read_yes)] = _setting(
        True,
        "STUDIO_PUBLIC",
        help="`public`, or `private` on the operator's own machine, where people may name any repository of the Hub.",
    )
    hub_models: Literal["listed", "any"] = _setting(
        "listed",
        "HUB_MODELS",
        help="`any` lets people name any `owner/repo` or `owner/repo/file` of the Hub on a public server, too.",
    )
    device: Literal["cpu"] | None = _setting(
        None,
        "STUDIO_DEVICE",
        help="`cpu` computes on the CPU; without it on the GPU that this PyTorch can use, if there is one.",
    )
    dtype: Literal["float32", "bfloat16", "float16"] | None = _setting(
        None, "STUDIO_DTYPE", help="The number type to compute in; without it the fastest, by a measurement."
    )
    threads: int | None = _setting(
        None, "STUDIO_THREADS", help="CPU threads; without it the fastest number, by a measurement.", ge=1, le=1024
    )
    windows: int = _setting(
        1, "STUDIO_WINDOWS", help="How many windows of a long clip go through the UNet together.", ge=1, le=64
    )
    port: int = _setting(7860, "GRADIO_SERVER_PORT", help="The port the page is served on.", ge=1, le=65_535)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read and check all variables; empty ones count as absent.

        Args:
            environment: Names and values; those of this process if not given.

        Raises:
            SettingsError: Some can't be used; a line for each names variable, rule, value and remedy.

        Example:
            >>> Settings.from_environment({"MAX_FRAMES": "64", "MODELS_DIR": ""}).max_frames
            64
        """
        source = os.environ if environment is None else environment
        values = {name: source[name] for name in variables() if source.get(name)}
        try:
            return cls.model_validate(values)
        except ValidationError as err:
            raise SettingsError("\n".join(_render_faults(err, values))) from None  # its cause may hold a password

    @property
    def any_model(self) -> bool:
        """Whether people may name any repository of the Hub."""
        return self.hub_models == "any" or not self.public

    @property
    def login(self) -> tuple[str, str] | None:
        """The user and the password asked for, if any."""
        if self.auth is None:
            return None
        user, password = self.auth.get_secret_value().split(":", 1)
        return user, password


_current: ContextVar[Settings] = ContextVar("settings")


@cache
def process_settings() -> Settings:
    """Read the settings from the environment, once a process.

    Raises:
        SettingsError: As `Settings.from_environment`; not where the start has checked them.
    """
    return Settings.from_environment()


def settings() -> Settings:
    """Return the settings of the page that is served, else the process's.

    Raises:
        SettingsError: As `process_settings`.
    """
    return _current.get(None) or process_settings()


@contextmanager
def use_settings(config: Settings) -> Iterator[None]:
    """Have `settings` return these in this context, inside the block."""
    token = _current.set(config)
    try:
        yield
    finally:
        _current.reset(token)


def variables() -> tuple[str, ...]:
    """Return the names of all variables, in the table's order."""
    return tuple(str(field.alias) for field in Settings.model_fields.values())


def misspelt_variables(environment: Mapping[str, str]) -> list[str]:
    """Describe each variable that looks like ours and is none.

    Example:
        >>> misspelt_variables({"STUDIO_THREAD": "2"})
        ["STUDIO_THREAD is no setting of the studio and changes nothing. Did you mean 'STUDIO_THREADS'?"]
    """
    names = [name for name in variables() if name.startswith(_OWN_PREFIX)]
    lines = []
    for name in sorted(set(environment) - set(names)):
        if name.startswith(_OWN_PREFIX):
            near = difflib.get_close_matches(name, names, n=1, cutoff=0) or names
            lines.append(f"{name} is no setting of the studio and changes nothing. Did you mean '{near[0]}'?")
    return lines


def without_secrets(value: object) -> str:
    """Redact logins in addresses and the Hub's tokens in a value.

    Example:
        >>> without_secrets("https://ann:pa55word@proxy.example/models?token=hf_abcdefghij"), without_secrets("models")
        ('https://…@proxy.example/models?token=…', 'models')
    """
    text = re.sub(r"(:/{1,2})[^/\s]+@", r"\1…@", str(value))  # of two slashes a path keeps one
    return re.sub(r"hf_\w{8,}|(?<=token=)[^&\s]+", "…", text)


def _holds_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def _render_faults(err: ValidationError, values: Mapping[str, str]) -> list[str]:
    fields = {field.alias: field for field in Settings.model_fields.values()}
    lines = []
    for fault in err.errors(include_url=False, include_context=False, include_input=False):
        name = str(fault["loc"][0])
        rule = re.sub(r"^(Value error, must be|Input should be) ", "", fault["msg"])
        rule = rule.split(", unable", 1)[0]
        secret = _holds_secret(fields[name].annotation)
        got = "a value that is not shown" if secret else f"'{without_secrets(values[name])[:_VALUE_SHOWN]}'"
        extra = fields[name].json_schema_extra
        assert isinstance(extra, dict)
        lines.append(f"{name} must be {rule}, got {got}. {extra['fix']}.")
    return lines
