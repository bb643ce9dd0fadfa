"""Every setting is an option of the commands that read it, with one name and one help text."""

import json
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from lexiseg_service.cli import app
from lexiseg_service.commands.options import (
    FIELDS,
    described,
    flag,
    read_by,
    settings_of,
    takes_settings,
)
from lexiseg_service.commands.serving.app import PortTaken, refuse_taken
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Command, Limits, Settings
from tests.command import ended
from tests.service.commands.command_line import CommandLine

COMMANDS: dict[str, list[str]] = {name: [name] for name in get_args(Command)} | {
    "eval": ["eval", "semantic"],
    "benchmark": ["eval", "benchmark"],
    "models": ["models", "list"],
    "vocabularies": ["vocabularies", "save"],
    "heads": ["heads", "list"],
}


def named(words: list[str]) -> tuple[typer.Context, Any]:
    """A command by its words, as the shell finds it."""
    shown: Any = typer.main.get_command(app)
    context = typer.Context(shown)
    for word in words:
        shown = shown.get_command(context, word)
        context = typer.Context(shown, parent=context)
    return context, shown


def test_every_setting_is_of_some_command() -> None:
    fields = {*Settings.model_fields, *Limits.model_fields} - {"limits"}

    assert fields == FIELDS.keys()
    assert all(read_by(info).commands for info in FIELDS.values())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_an_option_for_each_setting_that_it_reads_and_no_other(command: str) -> None:
    expected = {name for name, info in FIELDS.items() if command in read_by(info).commands}

    has = {each.name: each for each in named(COMMANDS[command])[1].params if each.name in FIELDS}

    assert has.keys() == expected
    for name, parameter in has.items():
        assert (parameter.opts[0], parameter.help) == (flag(name), described(name, FIELDS[name]))


def settings_by(*words: str) -> Settings:
    """What `lexiseg serve` makes of its command line."""
    heard: list[Settings] = []

    @takes_settings("serve")
    def command(settings: Settings) -> None:
        heard.append(settings)

    serve = typer.Typer()
    serve.command()(command)
    outcome = CliRunner().invoke(serve, words, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return heard[0]


def test_options_of_every_type_arrive_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXISEG_MAX_PROMPTS", "7")

    settings = settings_by(
        *("--http-port", "0", "--drain-seconds", "1.5", "--no-url-fetch", "--models-dir", "."),
        *("--cors-origins", "https://a.example, https://b.example", "--log-level", "debug"),
        *("--redis-url", "redis://host", "--adapters", "roboflow, label-studio", "--max-classes", "3"),
    )

    assert (settings.http_port, settings.drain_seconds, settings.metrics_need_key) == (0, 1.5, False)
    assert (str(settings.models_dir), settings.log_level) == (".", "debug")
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.adapters == ("roboflow", "label-studio")
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://host"
    limits = settings.limits
    assert (limits.max_classes, limits.max_prompts, limits.min_side) == (3, 7, 16)


def test_a_limit_out_of_range_is_named_with_its_option_and_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValue, match="--max-classes / LEXISEG_MAX_CLASSES: expected greater than 0, got 0"):
        settings_of({"max_classes": 0})
    monkeypatch.setenv("LEXISEG_MAX_PIXELS", "many")
    with pytest.raises(InvalidValue, match=r"--max-pixels / LEXISEG_MAX_PIXELS: .* got 'many'"):
        settings_of({})


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("LEXISEG_QUEU_LIMIT", "expected a setting, such as LEXISEG_QUEUE_LIMIT, got 'LEXISEG_QUEU_LIMIT'"),
        ("lexiseg_model_dir", "expected a setting, such as LEXISEG_MODELS_DIR, got 'lexiseg_model_dir'"),
        ("LEXISEG_HTPP_PORT", "expected a setting, such as LEXISEG_HTTP_PORT, got 'LEXISEG_HTPP_PORT'"),
        ("LEXISEG_ROLLOUTS_FILE", "lexiseg models use"),
        ("LEXISEG_WORKER_TLS_KEY", "folder of LEXISEG_WORKER_TLS"),
    ],
)
def test_a_variable_that_is_misspelt_or_gone_is_refused_with_another(
    monkeypatch: pytest.MonkeyPatch, variable: str, said: str
) -> None:
    for name in ("LEXISEG_GATEWAY_IMAGE", "LEXISEG_BASE_URL", "lexiseg_device"):  # of others, or a setting
        monkeypatch.setenv(name, "cpu")
    settings_of({})
    monkeypatch.setenv(variable, "1")

    with pytest.raises(InvalidValue, match=said):
        settings_of({})


@pytest.mark.parametrize("command", ["serve", "gateway", "worker"])
def test_the_help_of_a_server_begins_with_the_options_that_most_people_need(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"]).output

    places = [shown.index(f"\n{title}:\n") for title in ("Main options", "Options", "Listening", "Models and work")]
    assert places == sorted(places)
    assert places[2] < shown.index("--drain-seconds <") < places[3]
    main = shown.partition("Main options:")[2].partition("\nOptions:")[0]
    assert {"--host", "--model", "--log-level"} <= set(main.split())
    assert sum(line.startswith("  --") for line in main.splitlines()) <= 10


def test_every_port_that_is_taken_is_named_with_its_variable() -> None:
    with ExitStack() as stack:
        taken = {}
        for name in ("http_port", "grpc_port"):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            taken[name] = listener.getsockname()[1]

        with pytest.raises(PortTaken) as refused:
            refuse_taken(settings_of(taken), *taken)

    for name, port in taken.items():
        assert f"127.0.0.1:{port}" in str(refused.value)
        assert f"LEXISEG_{name.upper()}" in str(refused.value)


LIGHT = (  # refused, but for the last; `test_outputs.py` has what is said
    "segment gone.jpg -c sky",
    "segment photo.jpg -c sky --model huge",
    "segment photo.jpg --vocabulary none",
    "segment photo.jpg -c sky --out photo.jpg",
    "segment photo.jpg --vocabulary lvis --format voc",
    "segment photo.jpg -c sky --model tcl --point 3,4",
    "segment-scene gone.tif -c sky",
    "segment-scene photo.jpg -c sky --model huge",
    "video gone.mp4 -c sky --out out.mp4",
    "models list",
)
RUN_EACH = """
import json, sys
from lexiseg_service.cli import main

for words in json.load(sys.stdin):
    sys.argv = ["lexiseg", *words]
    try:
        main()
    except SystemExit as end:
        print(sorted({"torch", "redis"} & sys.modules.keys()), bool(end.code))
"""


def test_arguments_are_checked_without_importing_torch_or_redis(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    commands = json.dumps([words.split() for words in LIGHT])

    answer = ended([sys.executable, "-c", RUN_EACH], input=commands, cwd=tmp_path)

    ends = [line for line in answer.stdout.splitlines() if line.startswith("[")]
    assert ends == ["[] True"] * (len(LIGHT) - 1) + ["[] False"], answer.stderr


def test_computing_in_the_own_process_imports_no_server() -> None:
    script = "import sys, lexiseg_service.in_process; sys.exit(str({'grpc', 'starlette'} & sys.modules.keys() or ''))"

    assert ended([sys.executable, "-c", script]).stderr.strip() == ""


@pytest.mark.parametrize(
    "words",
    [*COMMANDS.values(), ["keys", "new"], ["models", "import"], ["models", "prove"], ["data", "licences"], ["site"]],
    ids=" ".join,
)
def test_an_option_of_one_value_is_refused_twice_and_one_of_several_is_not(words: list[str]) -> None:
    context, command = named(words)
    options = [each for each in command.get_params(context) if each.param_type_name == "option" and not each.is_flag]
    parse = command.make_parser(context).parse_args

    for option in options:
        spelling = option.opts[-1]
        twice = [spelling, "1", f"{spelling}=2"] if spelling.startswith("--") else [spelling, "1", spelling, "2"]
        if option.multiple:
            assert parse([*twice])[0][option.name] == ["1", "2"]
        elif option.nargs == 1:
            with pytest.raises(typer.BadParameter, match="given 2 times; expected once"):
                parse([*twice])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("worker", "--models-dir", "none"), "--models-dir / LEXISEG_MODELS_DIR: expected a folder that is there"),
        (("serve", "--text-tower", "file"), "--text-tower / LEXISEG_TEXT_TOWER: expected a folder that is there"),
        (("serve", "--mcp-folder", "none"), "--mcp-folder / LEXISEG_MCP_FOLDER: expected a folder that is there"),
        (("serve", "--state-dir", "file/in"), "--state-dir / LEXISEG_STATE_DIR: expected a folder that can be made"),
        (("gateway", "--job-files", "file"), "--job-files / LEXISEG_JOB_FILES: expected a folder that can be made"),
        (("worker", "--host", "127.0.0.1:80"), "--host / LEXISEG_HOST: expected an address or a name of this machine"),
        (("serve", "--phrases-model", "tiny@7"), "--phrases-model / LEXISEG_PHRASES_MODEL: expected one of LEXISEG_MO"),
        (("serve", "--workers", "0"), "--workers / LEXISEG_WORKERS: expected 1 to 64 worker processes, or auto"),
        (("serve", "--workers", "65"), "--workers / LEXISEG_WORKERS: expected 1 to 64 worker processes, or auto"),
        (("gateway", "--workers", "auto"), "--workers / LEXISEG_WORKERS: expected HOST:PORT"),
        (("gateway", "--workers", ""), "--workers / LEXISEG_WORKERS: expected HOST:PORT"),
        (("gateway",), "--workers / LEXISEG_WORKERS: expected HOST:PORT"),
        (("serve", "--log-level", "loud"), "--log-level / LEXISEG_LOG_LEVEL: expected 'debug'"),
    ],
)
def test_a_server_with_a_value_that_it_cannot_use_does_not_begin(
    lexiseg: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    ports = (
        ("--worker-port", 0, "--metrics-port", 0) if options[0] == "worker" else ("--http-port", 0, "--grpc-port", 0)
    )

    outcome = lexiseg(*options, *ports)

    assert outcome.status == 1
    assert outcome.err.startswith(f"lexiseg: {expected}")
