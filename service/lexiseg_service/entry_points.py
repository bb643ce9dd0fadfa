"""What distributions bring by entry points, our own among them: adapters, commands, parts of the gateway."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lexiseg_service.errors import ServiceError

ADAPTERS = "lexiseg.adapters"  # the name in LEXISEG_ADAPTERS -> a function, as `lexiseg_service.gateway.adapter` says
PARTS = "lexiseg.gateway"  # its name -> a `Part`, as `lexiseg_service.gateway.parts` says
COMMANDS = "lexiseg.commands"  # the command's name -> a function or a Typer, as `lexiseg_service.commands.joined` says


class EntryPointError(ServiceError):
    """An entry point does not load, or gives something else than its group is for."""


@cache
def entry_points_of(group: str) -> dict[str, EntryPoint]:
    """Entry points by name, sorted; ours are not replaced. Read once in a process: it takes 10 to 30 ms."""
    points = sorted(entry_points(group=group), key=lambda point: (point.name, point.value.startswith("lexiseg_")))
    return {point.name: point for point in points}


def load(point: EntryPoint, what: str) -> Any:
    """Import what an entry point names; `what`, the start of an error's sentence, needs it."""
    try:
        return point.load()
    except Exception as error:  # the code of others raises anything
        home = "?" if point.dist is None else point.dist.name
        if isinstance(error, ModuleNotFoundError) and point.extras:
            install = f'pip install "{home}[{",".join(point.extras)}]"'
            raise EntryPointError(f"{what} needs {error.name}, which is not installed: {install}") from error
        cause = f"{type(error).__name__}: {error}"
        raise EntryPointError(
            f"{what}: entry point {point.name} = {point.value!r} of {home} does not load: {cause}"
        ) from error
