"""Groups of commands that other distributions join, by the entry points `lexiseg.commands`.

An entry point is named as its command, `eval`, or `models.prove` below a group, and loads a `typer.Typer`: of one
command without a callback, or of a group. It is loaded when its command is called or listed.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

ENTRY_POINTS = "lexiseg.commands"
# Said of a command that is not installed.
HOMES = dict.fromkeys(("calibrate", "compare", "data", "eval", "models.prove", "train"), "lexiseg-train")


class Commands(TyperGroup):
    """A group that takes in joined commands, and words pydantic's errors about options plainly."""

    def list_commands(self, ctx: Any) -> list[str]:
        prefix = self._prefix(ctx)
        names = (name.removeprefix(prefix) for name in joined() if name.startswith(prefix))
        return [*super().list_commands(ctx), *(name for name in names if "." not in name)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        name = self._prefix(ctx) + cmd_name
        if (point := joined().get(name)) is not None:
            command = get_command(point.load())
            command.name = cmd_name
            return command
        if (home := HOMES.get(name)) is not None:
            ctx.fail(f"`lexiseg {name.replace('.', ' ')}` comes with {home}: pip install {home}")
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


@cache
def joined() -> dict[str, EntryPoint]:
    """Entry points by name, read once in a process: it takes 10 to 30 ms."""
    return {point.name: point for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)}
