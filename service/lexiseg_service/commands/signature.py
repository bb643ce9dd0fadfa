"""Commands whose options are made of the fields of something else: of the settings, of a method's files."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

MAIN = "Main options"  # the group that stands first


def option(
    name: str,
    kind: Any,
    described: str,
    panel: str | None = None,
    needed: bool = False,
    also: tuple[str, ...] = (),
) -> inspect.Parameter:
    """An option `--NAME`; one that is not needed is None where it is left out.

    Args:
        name: of the field, in lower case with underscores.
        kind: a type that typer knows.
        described: its help.
        panel: under which it stands in the help of a command with many.
        needed: whether it must be given.
        also: other spellings.
    """
    spellings = (f"--{name.replace('_', '-')}", *also) if also else ()
    info = typer.Option(*spellings, help=described, rich_help_panel=panel, show_default=False)
    where = inspect.Parameter.KEYWORD_ONLY
    if needed:
        return inspect.Parameter(name, where, annotation=Annotated[kind, info])
    return inspect.Parameter(name, where, default=None, annotation=Annotated[kind | None, info])


def taking(
    command: Callable[..., None],
    instead_of: str,
    options: Sequence[inspect.Parameter],
    gather: Callable[[Mapping[str, Any]], Any],
) -> Callable[..., None]:
    """A command with these options instead of one parameter, which gets what `gather` makes of those that were given.

    Args:
        command: with the parameter `instead_of`, by keyword.
        instead_of: its name.
        options: of the command line; those that were left out are None and not gathered.
        gather: from values by name to the parameter's.
    """
    own = inspect.signature(command, eval_str=True)
    names = [parameter.name for parameter in options]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        named = {name: value for name in names if (value := values.pop(name)) is not None}
        command(**values, **{instead_of: gather(named)})

    kept = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for name, parameter in own.parameters.items()]
    parameters = [*(parameter for parameter in kept if parameter.name != instead_of), *options]
    # As inspect and typer read it.
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    return run


class Grouped(TyperCommand):
    """A command whose help shows its options in groups, its own first, in plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
        for title in sorted(groups, key=lambda title: (title != MAIN, title not in ("Arguments", "Options"))):
            with formatter.section(title):
                formatter.write_dl(groups[title])
