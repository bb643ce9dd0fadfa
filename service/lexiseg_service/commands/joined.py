"""Groups of commands that are imported when they are called: ours, and what entry points `lexiseg.commands` join.

An entry point is named as its command, `eval`, or `models.prove` below a group, and names the command's function, or a
`typer.Typer`: of one command without a callback, or of a group. It is loaded when its command is called.

A parameter `program: Annotated[..., "eval"]` of such a command is replaced by the options of the settings that the
command named there reads, and gets what `lexiseg` does for it: `lexiseg_service.commands.program`.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
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
        own = {name: super(Commands, self).get_command(ctx, name) for name in self.list_commands(ctx)}
        points = entry_points_of(COMMANDS) | OWN
        listed = {
            name: command or TyperCommand(name, help=_help_of(points[self._prefix(ctx) + name]))
            for name, command in own.items()
        }
        TyperGroup(name=self.name, commands=listed).format_commands(ctx, formatter)

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


def _help_of(point: EntryPoint) -> str:
    """The help of a command as its source has it: a list of commands imports none of them; "" if it has none."""
    try:
        parsed = ast.parse(_source_of(point.module).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeError):  # an error of others, which is said where their command is called
        return ""
    for node in parsed.body:
        if isinstance(node, ast.FunctionDef):
            decorators = [ast.unparse(each) for each in node.decorator_list]
            if node.name == point.attr or any(each.startswith(f"{point.attr}.command(") for each in decorators):
                return (ast.get_docstring(node) or "").partition("\n\n")[0]
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            texts = [each.value for each in node.value.keywords if each.arg == "help"]
            if [ast.unparse(each) for each in node.targets] == [point.attr] and texts:
                return str(ast.literal_eval(texts[0]))
    return ""


def _source_of(module: str) -> Path:
    """The file of a module; of its packages none is imported."""
    root, *rest = module.split(".")
    spec = find_spec(root)
    folders = spec.submodule_search_locations if spec is not None else None
    if not rest or not folders:
        return Path(str(spec and spec.origin))
    path = Path(folders[0], *rest)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


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
