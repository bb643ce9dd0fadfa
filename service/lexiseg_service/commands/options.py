"""Options of the commands, most of them generated from the fields of `Settings`.

LEXISEG_* in the environment -> Settings <- options of the command line, which take precedence
"""

from __future__ import annotations

import difflib
import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args

import typer
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from lexiseg_model.command_line.options import MAIN
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import SERVERS, Command, Folder, Limits, Read, Settings

# Options of several commands; more are in lexiseg_model.command_line.options.
Points = Annotated[
    list[str] | None,
    typer.Option("--point", metavar="X,Y", help="A click on an object, in pixels; repeat it for other objects"),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option("--box", metavar="LEFT,TOP,RIGHT,BOTTOM", help="A box around an object; repeat it for others"),
]
Prompts = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt",
        metavar="'PART PART ...'",
        help="One object by several parts: points X,Y on it, -X,Y beside it, a box; repeat it for other objects",
    ),
]
Threshold = Annotated[
    float | None, typer.Option(help="Drop segments with a lower score, 0..1 (default: that of the model's card)")
]
Doubtful = Annotated[
    bool,
    typer.Option(
        "--doubtful",
        help="Also paint, faintly, segments under the threshold where a class has no other; files of labels have none",
    ),
]
Language = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="Language of the class names, as es; en: they stay [default: guessed]"),
]
MaxSide = Annotated[int | None, typer.Option(help="Cap the network's input, in pixels")]
FIELDS: Mapping[str, FieldInfo] = {
    name: info for kind in (Settings, Limits) for name, info in kind.model_fields.items() if name != "limits"
}
# Read by docker-compose.yml: its env_file may pass them on, and by the client.
ELSEWHERE = re.compile(r"LEXISEG_(\w+_IMAGE|BASE_URL|DATA|ENV_FILE|SHM|RECIPE)")
# Settings that are gone, and what to use instead.
CERTIFICATES = "put ca.crt, tls.crt and tls.key into the folder of LEXISEG_WORKER_TLS"
REMOVED = {
    "LEXISEG_ROLLOUTS_FILE": "name a version in the request, as tcl@2, or exchange it by `lexiseg models use`",
    "LEXISEG_WORKER_TLS_CA": CERTIFICATES,
    "LEXISEG_WORKER_TLS_CERTIFICATE": CERTIFICATES,
    "LEXISEG_WORKER_TLS_KEY": CERTIFICATES,
    "LEXISEG_RATE_BURST": "after a pause a client may send LEXISEG_RATE_LIMIT's requests of one second at once",
    "LEXISEG_JOB_PICTURES": "a job has at most 100,000 pictures",
    "LEXISEG_JOBS_PER_CLIENT": "a client has at most 500 jobs",
    "LEXISEG_JOB_ARCHIVE_BYTES": "an archive has at most a tenth of LEXISEG_JOB_BYTES_PER_CLIENT",
    "LEXISEG_TRAINING_BYTES": "set LEXISEG_JOB_BYTES_PER_CLIENT, which holds for trainings, too",
}
HeadName = Annotated[
    str | None,
    typer.Option("--head", help="Taught classes, before the others: NAME or NAME@VERSION of `lexiseg teach`"),
]
# Options of a server that most people need.
MAIN_OPTIONS = (
    *("http_port", "grpc_port", "worker_port", "host", "workers", "model", "models_dir", "device"),
    *("api_keys_file", "redis_url", "log_level"),
)
ALIASES = {"http_port": ("--port",)}
PLAIN = (bool, int, float, Path)  # typer parses them; any other type is text that the settings parse


def settings_of(options: Mapping[str, Any]) -> Settings:
    """Settings and their limits; None leaves an option to the environment."""
    refuse_unknown(os.environ)
    values = {name: value for name, value in options.items() if value is not None}
    try:
        limits = {name: values.pop(name) for name in Limits.model_fields if name in values}
        return Settings(**values, limits=Limits(**limits)) if limits else Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        annotation = FIELDS[name].annotation
        raise InvalidValue.of(
            f"{flag(name)} / {variable(name)}",
            "***" if SecretStr in (annotation, *get_args(annotation)) else first["input"],
            _expected(first),
        ) from None


def _expected(finding: Any) -> str:
    if finding["type"] == "too_short":  # of a secret it counts "items"
        return f"at least {finding['ctx']['min_length']} characters"
    message: str = finding["msg"]
    return message.removeprefix("Input should be ").removeprefix("Value error, ")


def refuse_unknown(environment: Iterable[str]) -> None:
    """Refuse a misspelt setting, which would silently be the default."""
    variables = {variable(name) for name in FIELDS}
    for name in sorted(environment):
        upper = name.upper()  # names are read in any case
        if not upper.startswith("LEXISEG_") or upper in variables or ELSEWHERE.fullmatch(upper):
            continue
        if upper in REMOVED:
            raise InvalidValue.of("the environment", name, f"no removed setting; {REMOVED[upper]}")
        near = difflib.get_close_matches(upper.removeprefix("LEXISEG_").lower(), FIELDS, 1)
        raise InvalidValue.of("the environment", name, f"a setting{f', such as {variable(near[0])}' if near else ''}")


def takes_settings(command: Command) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command: replace its parameter `settings` by one option for each setting that it reads."""
    return lambda function: replace_parameter(
        function, "settings", options_of(command), lambda named: _with_folders(settings_of(named), command)
    )


def _with_folders(settings: Settings, command: Command) -> Settings:
    """Settings with folders that a command can use. Raises InvalidValue: one is not there, or cannot be made."""
    for name, info in FIELDS.items():
        folder = next((note for note in info.metadata if isinstance(note, Folder)), None)
        value = getattr(settings, name, None)
        if folder is None or value is None or command not in folder.commands or "://" in str(value):
            continue
        is_made = folder.is_made or (name == "models_dir" and settings.trainings is not None)  # trainings make models
        if not _can_be(Path(value), is_made=is_made):
            expected = "a folder that can be made" if is_made else "a folder that is there, to be read"
            raise InvalidValue.of(f"{flag(name)} / {variable(name)}", str(value), expected)
    return settings


def _can_be(path: Path, *, is_made: bool) -> bool:
    if path.exists() or not is_made:
        return path.is_dir() and os.access(path, os.R_OK | os.X_OK)
    parent = next(each for each in path.absolute().parents if each.exists())
    return parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)


def check_server(context: typer.Context, server: str | None) -> None:
    """Refuse an API key without --server, and settings of this process with it."""
    sources = {name: context.get_parameter_source(name) for name in FIELDS}
    named = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if server is None and "api_key" in named:
        raise typer.BadParameter("it is for a server; give --server", param_hint="'--api-key'")
    allowed = {"model", "api_key", *Limits.model_fields}
    refused = [] if server is None else [f"'{flag(name)}'" for name in named if name not in allowed]
    if refused:
        raise typer.BadParameter("the server has its own models and devices", param_hint=" / ".join(refused))


def check_installed(option: str, extra: str, *modules: str) -> None:
    """Refuse an option or a command for which modules of an extra of `lexiseg` are not installed."""
    if missing := [module for module in modules if find_spec(module) is None]:
        raise typer.BadParameter(f'needs {missing[0]}: pip install "lexiseg[{extra}]"', param_hint=f"'{option}'")


def read_by(info: FieldInfo) -> Read:
    """Which commands read a setting, and its group in their help."""
    return next(note for note in info.metadata if isinstance(note, Read))


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    return f"LEXISEG_{name.upper()}"


def options_of(command: Command) -> list[inspect.Parameter]:
    options = []
    for name, info in FIELDS.items():
        if command in read_by(info).commands:
            kinds = [kind for kind in (get_args(info.annotation) or (info.annotation,)) if kind is not NoneType]
            kind = next((kind for kind in kinds if kind in PLAIN), str)
            group = MAIN if command in SERVERS and name in MAIN_OPTIONS else read_by(info).group
            options.append(option(name, kind, described(name, info), group, also=ALIASES.get(name, ())))
    return options


def described(name: str, info: FieldInfo) -> str:
    """The help of a setting: its description, its variable, and its default."""
    default = "on" if info.default is True else "off" if info.default is False else info.default
    default = ",".join(default) if isinstance(default, tuple) else default
    default_text = "" if default in (None, "") else f"; default: {default}"
    return f"{info.description} [env: {variable(name)}{default_text}]"


def option(
    name: str, kind: Any, described: str, panel: str | None = None, required: bool = False, also: tuple[str, ...] = ()
) -> inspect.Parameter:
    """A command's parameter for an option, with other spellings in `also`; None by default unless it is `needed`."""
    spellings = (flag(name), *also) if also else ()
    info = typer.Option(*spellings, help=described, rich_help_panel=panel, show_default=False)
    default, kind = (inspect.Parameter.empty, kind) if required else (None, kind | None)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])


def replace_parameter(
    command: Callable[..., None],
    instead_of: str,
    options: Sequence[inspect.Parameter],
    gather: Callable[[Mapping[str, Any]], Any],
) -> Callable[..., None]:
    """Replace a command's parameter by options; it gets `gather` of the ones named on the command line."""
    signature = inspect.signature(command, eval_str=True)
    names = [parameter.name for parameter in options]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        named = {name: value for name in names if (value := values.pop(name)) is not None}
        command(**values, **{instead_of: gather(named)})

    others = [parameter for name, parameter in signature.parameters.items() if name != instead_of]
    parameters = [*(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in others), *options]
    # Read by inspect and typer.
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    return run
