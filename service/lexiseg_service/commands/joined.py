"""Groups of commands that are imported when they are called: ours, and what entry points `lexiseg.commands` join.

An entry point is named as its command, `eval`, or `models.prove` below a group, and names the command's function, or a
`typer.Typer`: of one command without a callback, or of a group. It is loaded when its command is called or listed.

A parameter `program: Annotated[..., "eval"]` of such a command is replaced by the options of the settings that the
command named there reads, and gets what `lexiseg` does for it: `lexiseg_service.commands.program`.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from lexiseg_model.command_line.options import Grouped
from lexiseg_service.commands.options import options_of, replace_parameter, settings_of
from lexiseg_service.entry_points import COMMANDS, EntryPointError, entry_points_of, load

# Ours, in the order of the help.
MODULES = {
    "serving.app": ("serve", "gateway", "worker", "trainer"),
    "segment.app": ("segment",),
    "heads": ("teach", "heads"),
    "models.app": ("models",),
    "serving.vocabularies": ("vocabularies",),
}
OWN = {
    name: EntryPoint(name, f"lexiseg_service.commands.{module}:{name}", COMMANDS)
    for module, names in MODULES.items()
    for name in names
}
# Said of a command that is not installed.
HOMES = dict.fromkeys(("calibrate", "compare", "data", "eval", "models.prove", "train"), "lexiseg-train")


class Commands(TyperGroup):
    """A group that takes in joined commands, refuses options given twice, and words pydantic's errors plainly."""

    def list_commands(self, ctx: Any) -> list[str]:
        prefix = self._prefix(ctx)
        joined = [name.removeprefix(prefix) for name in entry_points_of(COMMANDS) if name.startswith(prefix)]
        named = [*(() if prefix else OWN), *super().list_commands(ctx), *(name for name in joined if "." not in name)]
        return list(dict.fromkeys(named))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return without_repeats(own)
        name = self._prefix(ctx) + cmd_name
        if (point := OWN.get(name) or entry_points_of(COMMANDS).get(name)) is not None:
            command = get_command(_with_program(_app_of(point)))
            command.name = cmd_name
            if name in OWN:  # those of others may change
                self.add_command(command)
            return without_repeats(command)
        if (home := HOMES.get(name)) is not None:
            ctx.fail(f"`lexiseg {name.replace('.', ' ')}` comes with {home}: pip install {home}, or make full")
        for near in [] if ctx.parent else get_close_matches(cmd_name, OWN):
            self.get_command(ctx, near)  # Typer suggests the names of commands that are imported
        return None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands: dict[str, Any] = {}
        for name in self.list_commands(ctx):
            try:
                commands[name] = self.get_command(ctx, name)
            except EntryPointError:  # an error of others, which is said where their command is called
                commands[name] = TyperCommand(name)
        TyperGroup(name=self.name, commands=commands).format_commands(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = re.sub("^Input should be ", "expected ", error.message.removeprefix("Value error, "))
            raise

    def _prefix(self, ctx: Any) -> str:
        """Of the names of its entry points: empty for the commands at the top."""
        return "" if ctx.parent is None else f"{self.name}."


def _app_of(point: EntryPoint) -> typer.Typer:
    what = f"`lexiseg {point.name.replace('.', ' ')}`"
    named = load(point, what)
    if isinstance(named, typer.Typer):
        return named
    if not callable(named):
        kind = type(named).__name__
        raise EntryPointError(f"{what}: expected {point.value} to be a function or a typer.Typer, got {kind}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=Grouped)(named)
    return app


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
        values, rest, order = parse(args)
        for parameter, count in Counter(order).items():
            if count > 1 and parameter.param_type_name == "option" and not parameter.multiple:
                raise typer.BadParameter(f"given {count} times; expected once", ctx=ctx, param=parameter)
        return values, rest, order

    parser.parse_args = parse_args
    return parser


def _with_program(app: typer.Typer) -> typer.Typer:
    """The same group, with commands that get what they ask of the program."""
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
