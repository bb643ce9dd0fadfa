"""Write docs/settings.md, and which settings the chart takes, from our settings.

`python docs/write_settings.py`, or `make settings`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from lexiseg_service.commands.options import MAIN_OPTIONS
from lexiseg_service.settings import Limits, Read, Settings

PAGE = Path(__file__).with_name("settings.md")
SCHEMA = PAGE.parents[1] / "deploy/helm/lexiseg/values.schema.json"
# What has a value of the chart's own; secrets are references there.
SET_BY_CHART = {
    "gateway": frozenset(
        {"host", "http_port", "grpc_port", "workers", "redis_url", "drain_seconds", "api_keys_file"} | {"worker_tls"}
    ),
    "worker": frozenset(
        {"host", "worker_port", "metrics_port", "redis_url", "drain_seconds", "device", "model"} | {"worker_tls"}
    ),
}
MIB = 2**20
MAIN = "The ten that matter first"
HEAD = """\
# Settings

<!-- Written by docs/write_settings.py from service/lexiseg_service/settings.py; `make settings` writes it anew. -->

Every setting is an environment variable, and an option of the commands that read it: `LEXISEG_HTTP_PORT=8080` and
`--http-port 8080` are the same; the option goes before the variable. `lexiseg COMMAND --help` lists those of a command.
A value out of range, and a `LEXISEG_` variable that is no setting, end the start with one line that names it. Lists
stand between commas. Secrets are printed nowhere.
"""
KINDS: dict[type, str] = {bool: "`true`, `false`", int: "integer", float: "number", Path: "path", str: "text"}
IN_JSON = {bool: "boolean", int: "integer", float: "number"}


def page() -> str:
    """The whole page, as it should be."""
    every = [(name, field) for kind in (Settings, Limits) for name, field in kind.model_fields.items()]
    fields = {name: field for name, field in every if not _is_settings(field)}
    groups = {MAIN: {name: fields.pop(name) for name in MAIN_OPTIONS if "serve" in _read(fields[name]).commands}}
    for name, field in fields.items():
        groups.setdefault(_read(field).group, {})[name] = field
    return "\n".join([HEAD, *(_table(group, members) for group, members in groups.items())])


def chart(written: str) -> str:
    """values.schema.json with the settings that gateways and workers take, as it should be."""
    schema = json.loads(written)
    for command, own in SET_BY_CHART.items():
        schema["$defs"][f"{command}Settings"] = {
            "type": "object",
            "description": "settings of docs/settings.md: name in lower case without LEXISEG_",
            "properties": {
                name: _in_json(field)
                for name, field in _read_by(command).items()
                if name not in own and SecretStr not in _kinds(field.annotation)
            },
            "additionalProperties": False,
        }
    return json.dumps(schema, indent=2) + "\n"


def _read_by(command: str) -> dict[str, FieldInfo]:
    return {
        name: field
        for kind in (Settings, Limits)
        for name, field in kind.model_fields.items()
        if not _is_settings(field) and command in _read(field).commands
    }


def _in_json(field: FieldInfo) -> dict[str, Any]:
    """What a value may be; text as well, for that is what a variable holds."""
    (kind,) = (kind for kind in _kinds(field.annotation) if kind is not NoneType)
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if kind not in IN_JSON:
        return {"type": "string"}
    bounds = {
        word: value
        for mark in field.metadata
        for word, value in (
            ("minimum", getattr(mark, "ge", None)),
            ("exclusiveMinimum", getattr(mark, "gt", None)),
            ("maximum", getattr(mark, "le", None)),
        )
        if value is not None
    }
    return {"type": [IN_JSON[kind], "string"], **bounds}


def _table(title: str, fields: dict[str, FieldInfo]) -> str:
    head = [f"## {title}", "", "| variable | default | values | |", "|---|---|---|---|"]
    return "\n".join([*head, *(_row(name, field) for name, field in fields.items()), ""])


def _row(name: str, field: FieldInfo) -> str:
    cells = (f"`LEXISEG_{name.upper()}`", _default(name, field), _values(field), _means(field))
    return f"| {' | '.join(cells)} |"


def _is_settings(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _read(field: FieldInfo) -> Read:
    return next(mark for mark in field.metadata if isinstance(mark, Read))


def _means(field: FieldInfo) -> str:
    assert field.description is not None, field
    return field.description.replace("|", "\\|")


def _default(name: str, field: FieldInfo) -> str:
    value = field.get_default()
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if "_bytes" in name and value and value % MIB == 0:
        return f"`{value}` ({value // MIB} MiB)"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _values(field: FieldInfo) -> str:
    kinds = [kind for kind in _kinds(field.annotation) if kind is not NoneType]
    words = [_kind(kind) for kind in kinds]
    return " ".join([*words, *_bounds(field)])


def _kinds(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType):
        yield from get_args(annotation)
    else:
        yield annotation


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "list"
    return "secret" if kind is SecretStr else KINDS[kind]


def _bounds(field: FieldInfo) -> Iterator[str]:
    """What pydantic checks, in words."""
    lowest = next((mark for mark in field.metadata if isinstance(mark, Ge | Gt)), None)
    highest = next((mark.le for mark in field.metadata if isinstance(mark, Le)), None)
    if isinstance(lowest, Ge) and highest is not None:
        yield f"{lowest.ge} to {_number(highest)}"
    elif isinstance(lowest, Ge):
        yield f"from {lowest.ge}"
    elif isinstance(lowest, Gt):
        yield f"above {lowest.gt}" + (f", at most {_number(highest)}" if highest is not None else "")


def _number(value: Any) -> str:
    return f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(chart(SCHEMA.read_text(encoding="utf-8")), encoding="utf-8")
