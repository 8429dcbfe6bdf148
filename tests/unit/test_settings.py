"""The operator's settings: what is read, what is refused and how, and the limits they set. No torch."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines.plan import catalog
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.request import GenerationRequest, field_bounds
from pipelines.plan.settings import (
    Settings,
    SettingsError,
    misspelt_variables,
    process_settings,
    settings,
    use_settings,
    variables,
)
from studio.limits import allowed_bounds, check_limits, within_limits
from studio.start_checks import checked_settings, start_faults

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, environment):
    environment(**dict.fromkeys(variables()))
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def faults(**environment: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environment)
    return str(caught.value).splitlines()


def test_without_variables_and_with_empty_ones_the_defaults_hold():
    assert Settings.from_environment({}) == Settings.from_environment(dict.fromkeys(variables(), "")) == Settings()


def test_the_environment_is_read_once_and_a_page_s_settings_hold_where_they_are_used(environment):
    environment(MAX_FRAMES="32")
    first = settings()
    os.environ["MAX_FRAMES"] = "64"
    assert settings() is first is process_settings()
    page = Settings(max_frames=48)
    with use_settings(page):
        assert settings() is page
        with use_settings(first):
            assert settings() is first
        assert settings() is page
        assert process_settings() is first
    assert settings() is first


def test_every_setting_has_its_own_variable_a_help_and_a_default_that_is_allowed():
    assert len(set(variables())) == len(Settings.model_fields)
    assert all(field.description.endswith(".") for field in Settings.model_fields.values())
    given = {name: value for name, value in Settings().model_dump().items() if value is not None}
    assert Settings.model_validate(given) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("MAX_FRAMES", "many", "MAX_FRAMES must be a valid integer, got 'many'. Change MAX_FRAMES, or leave it out."),
        ("MAX_FRAMES", "8", "MAX_FRAMES must be greater than or equal to 16, got '8'. Change MAX_FRAMES,"),
        ("MAX_SIDE", "9999", "MAX_SIDE must be less than or equal to 4096, got '9999'."),
        ("QUEUE_SIZE", "0", "QUEUE_SIZE must be greater than or equal to 1, got '0'."),
        ("QUEUE_SIZE", "10001", "QUEUE_SIZE must be less than or equal to 10000, got '10001'."),
        ("STUDIO_THREADS", "1.5", "STUDIO_THREADS must be a valid integer, got '1.5'."),
        ("STUDIO_DTYPE", "int8", "STUDIO_DTYPE must be 'float32', 'bfloat16' or 'float16', got 'int8'."),
        ("STUDIO_PUBLIC", "maybe", "STUDIO_PUBLIC must be public or private, got 'maybe'."),
        ("HUB_MODELS", "all", "HUB_MODELS must be 'listed' or 'any', got 'all'."),
        ("GALLERY_MAX_GB", "nan", "GALLERY_MAX_GB must be "),
        ("GRADIO_SERVER_PORT", "0", "GRADIO_SERVER_PORT must be greater than or equal to 1, got '0'."),
        ("MAX_STEPS", "9" * 5000, "MAX_STEPS must be "),
    ],
)
def test_a_value_that_cannot_be_used_is_told_in_one_line(variable, value, told):
    (line,) = faults(**{variable: value})
    assert line.startswith(told)
    assert line.endswith(f"Change {variable}, or leave it out.")
    assert len(line) < 300


def test_every_fault_has_a_line():
    lines = faults(MAX_FRAMES="x", MAX_SIDE="y", STUDIO_WINDOWS="0")
    assert [line.split()[0] for line in lines] == ["MAX_FRAMES", "MAX_SIDE", "STUDIO_WINDOWS"]


SECRETS = ("STUDIO_AUTH", "SDAPI_AUTH")


@pytest.mark.parametrize("variable", SECRETS)
@pytest.mark.parametrize("value", ["pa55word", "user:", ":pa55word", "user: pa55word", "us er:pa55word"])
def test_a_login_that_cannot_be_used_is_refused_without_being_shown(variable, value):
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({variable: value})
    assert str(caught.value).startswith(f"{variable} must be a user's name, a colon and a password, without spaces,")
    error = caught.value
    assert "pa55" not in repr((error, error.__cause__))
    assert error.__suppress_context__


def test_every_setting_that_holds_a_secret_is_known_as_one():
    """By its type, so that whoever adds one need not think of the messages."""
    by_type = {field.alias for field in Settings.model_fields.values() if "SecretStr" in str(field.annotation)}
    by_name = {name for name in variables() if re.search("AUTH|PASSWORD|TOKEN|SECRET|KEY", name)}
    assert by_type == by_name == set(SECRETS)


@pytest.mark.parametrize("variable", variables())
def test_no_setting_tells_a_login_or_a_token_that_stands_in_it(variable, environment, capsys):
    """Whatever it is for: in a refusal, at the start, or written out."""
    environment(**{variable: "https://ann:pa55word@example.org/x?token=hf_abcdefghijklmnop"})
    found = ""
    with suppress(SystemExit):
        found = repr(checked_settings())
    said = "".join(capsys.readouterr()) + (found if variable in SECRETS else "")
    assert variable in said or found
    assert "pa55word" not in said
    assert "hf_abc" not in said


def test_a_password_may_hold_colons_and_is_never_written_out():
    found = Settings.from_environment({"STUDIO_AUTH": "ann:pa55:word"})
    assert found.login == ("ann", "pa55:word")
    assert "pa55" not in f"{found} {found!r} {found.model_dump()} {found.model_dump_json()}"


@pytest.mark.parametrize(
    ("variables", "free"),
    [
        ({}, False),
        ({"HUB_MODELS": "any"}, True),
        ({"STUDIO_PUBLIC": "private"}, True),
        ({"STUDIO_PUBLIC": "NO"}, True),
        ({"STUDIO_PUBLIC": "1"}, False),
    ],
)
def test_people_may_name_any_repository_only_where_the_operator_lets_them(variables, free, environment):
    environment(**variables)
    if free:
        assert catalog.find_vae("anybody/anything").repo == "anybody/anything"
    else:
        with pytest.raises(InvalidRequestError):
            catalog.find_vae("anybody/anything")


def test_names_that_look_like_ours_are_told():
    assert misspelt_variables({"STUDIO_DTYPE": "float32", "PATH": "/bin", "MAX_FRAME": "7"}) == []
    (line,) = misspelt_variables({"STUDIO_THREDS": "2"})
    assert line == "STUDIO_THREDS is no setting of the studio and changes nothing. Did you mean 'STUDIO_THREADS'?"


def test_the_default_model_is_the_operator_s(environment):
    environment(DEFAULT_MODEL="Lykon/DreamShaper")
    assert catalog.default_base_model().id == catalog.complete({})["base_model"] == "Lykon/DreamShaper"


def test_the_start_stops_at_folders_and_models_that_are_not_there(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    folders = {"models_dir": tmp_path / "none", "inputs_dir": taken / "in", "gallery_dir": tmp_path / "new" / "one"}
    found = Settings(default_model="dreamshapr", **folders)
    models, inputs, default = start_faults(found)
    assert models == f"MODELS_DIR must be a folder, got '{tmp_path / 'none'}'. Make it, or leave MODELS_DIR out."
    assert inputs.startswith("INPUTS_DIR must be a folder that can be written to, got ")
    assert default.startswith("DEFAULT_MODEL must be one of the catalog, got 'dreamshapr'. Choose 'Lykon/DreamShaper'")
    assert taken.read_text() == "a file"
    assert not (tmp_path / "new").exists()


def test_limits_below_what_the_default_model_makes_stop_the_start():
    assert start_faults(Settings(max_side=128)) == []
    (line,) = start_faults(Settings(max_side=128, default_model=catalog.STABLE_DIFFUSION))
    assert line.startswith(f"MAX_FRAMES, MAX_SIDE and MAX_STEPS must allow what '{catalog.STABLE_DIFFUSION}' makes")
    assert "width must be at most 128 on this server, got 512." in line


def test_the_start_ends_with_code_2_and_a_line_for_each_fault(environment, capsys):
    environment(MAX_FRAMES="many", STUDIO_AUTH="pa55word", STUDIO_THREAD="2")
    with pytest.raises(SystemExit) as caught:
        checked_settings()
    told = capsys.readouterr().err
    assert caught.value.code == 2
    assert [line.split()[0] for line in told.splitlines()] == ["STUDIO_THREAD", "MAX_FRAMES", "STUDIO_AUTH"]
    assert "pa55word" not in told


@pytest.mark.parametrize("program", [["app.py"], ["-m", "api", "x", "-o", "clip.mp4"]])
def test_page_and_command_line_stop_at_a_bad_variable_without_a_traceback(program):
    done = subprocess.run(
        [sys.executable, *program],
        cwd=ROOT,
        env=os.environ | {"MAX_SIDE": "wide"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "MAX_SIDE must be a valid integer, got 'wide'. Change MAX_SIDE, or leave it out.\n"


def request(**values) -> GenerationRequest:
    return GenerationRequest.build(seed=1, width=64, height=64, **values)


@pytest.mark.parametrize(
    ("found", "given", "told"),
    [
        (
            {"max_frames": 32},
            {"num_frames": 33},
            "num_frames must be at most 32 on this server, got 33. Lower 'Frames'.",
        ),
        (
            {"max_side": 64},
            {"hires_scale": 2},
            "hires_scale must leave both sides at most 64 pixels on this server, got 2",
        ),
        (
            {"max_steps": 10},
            {"num_inference_steps": 11},
            "num_inference_steps must be at most 10 on this server, got 11.",
        ),
        (
            {"max_steps": 10},
            {"num_inference_steps": 5, "free_init_iterations": 3},
            "free_init_iterations must make at most 10 steps in all on this server, got 3 rounds of 5.",
        ),
    ],
)
def test_what_goes_beyond_a_limit_is_refused_before_the_engine_is_called(found, given, told, tmp_path):
    called = []

    def engine(request, folder):
        called.append(request)
        yield folder

    asked = request(**{"num_inference_steps": 5} | given)
    assert list(within_limits(engine, Settings())(asked, tmp_path)) == [tmp_path]
    with pytest.raises(InvalidRequestError) as caught:
        list(within_limits(engine, Settings(**found))(asked, tmp_path))
    assert str(caught.value).startswith(told)
    assert len(called) == 1


def test_what_lies_at_the_limits_is_allowed():
    found = Settings(max_frames=32, max_side=128, max_steps=10)
    asked = request(num_frames=32, hires_scale=2, num_inference_steps=5, free_init_iterations=2)
    assert check_limits(asked, found) is None


def test_controls_end_at_the_limits(configure):
    assert allowed_bounds("width") == field_bounds("width")
    configure(max_side=256, max_steps=600)
    assert allowed_bounds("width") == (64, 256)
    assert allowed_bounds("num_inference_steps") == (1, 150)
    assert allowed_bounds("guidance_scale") == field_bounds("guidance_scale")
