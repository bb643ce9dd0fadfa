"""Groups of commands that other distributions join, by the entry points `lexiseg.commands`.

An entry point is named as its command, `eval`, or `models.prove` below a group, and loads a `typer.Typer`: of one
command without a callback, or of a group. It is loaded when its command is called or listed.

A parameter `program: Annotated[..., "eval"]` of such a command is replaced by the options of the settings that the
command named there reads, and gets what `lexiseg` does for it: `lexiseg_service.commands.program`.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, get_args

import typer
from typer.core import TyperGroup
from typer.main import get_command

from lexiseg_service.commands.options import options_of, replace_parameter, settings_of
from lexiseg_service.entry_points import COMMANDS, entry_points_of, load

# Said of a command that is not installed.
HOMES = dict.fromkeys(("calibrate", "compare", "data", "eval", "models.prove", "train"), "lexiseg-train")


class Commands(TyperGroup):
    """A group that takes in joined commands, refuses options given twice, and words pydantic's errors plainly."""

    def list_commands(self, ctx: Any) -> list[str]:
        prefix = self._prefix(ctx)
        names = (name.removeprefix(prefix) for name in entry_points_of(COMMANDS) if name.startswith(prefix))
        return [*super().list_commands(ctx), *(name for name in names if "." not in name)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return without_repeats(own)
        name = self._prefix(ctx) + cmd_name
        if (point := entry_points_of(COMMANDS).get(name)) is not None:
            command = get_command(_with_program(load(point, f"`lexiseg {name.replace('.', ' ')}`")))
            command.name = cmd_name
            return without_repeats(command)
        if (home := HOMES.get(name)) is not None:
            ctx.fail(f"`lexiseg {name.replace('.', ' ')}` comes with {home}: pip install {home}, or make full")
        return None

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = re.sub("^Input should be ", "expected ", error.message.removeprefix("Value error, "))
            raise

    def _prefix(self, ctx: Any) -> str:
        """Of the names of its entry points: empty for the commands at the top."""
        return "" if ctx.parent is None else f"{self.name}."


def without_repeats(command: Any) -> Any:
    """The command, or all commands of a group, which refuse an option of one value that is given twice.

    By itself the last value would count, and `--model a --model b` drop the first without a word.
    """
    if isinstance(command, TyperGroup):
        if not isinstance(command, Commands) and "get_command" not in vars(command):
            find: Any = command.get_command
            vars(command)["get_command"] = lambda ctx, name: without_repeats(find(ctx, name))
    elif command is not None and "make_parser" not in vars(command):
        make = command.make_parser
        command.make_parser = lambda ctx: _checked(make(ctx), ctx)
    return command


def _checked(parser: Any, ctx: Any) -> Any:
    parse = parser.parse_args

    def parse_args(args: list[str]) -> Any:
        values, rest, given = parse(args)
        for parameter, count in Counter(given).items():
            if count > 1 and parameter.param_type_name == "option" and not parameter.multiple:
                raise typer.BadParameter(f"given {count} times; expected once", ctx=ctx, param=parameter)
        return values, rest, given

    parser.parse_args = parse_args
    return parser


def _with_program(app: typer.Typer) -> typer.Typer:
    """The same group, whose commands get what they ask of the program."""
    for command in app.registered_commands:
        assert command.callback is not None  # of a command there is always one
        parameter = inspect.signature(command.callback, eval_str=True).parameters.get("program")
        if parameter is not None:
            _, settings_of_command = get_args(parameter.annotation)
            command.callback = replace_parameter(command.callback, "program", options_of(settings_of_command), _program)
    return app


def _program(options: Mapping[str, Any]) -> Any:
    from lexiseg_service.commands.program import LexisegProgram

    return LexisegProgram(settings_of(options))
