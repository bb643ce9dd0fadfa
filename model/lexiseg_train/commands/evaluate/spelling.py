"""`lexiseg eval` without the name of a command: which one its options mean.

`--compare A B` stays. `--task`, `--protocol`, `--paper` and `--points`, which chose the way of measuring, stay until
0.5.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from typer.core import TyperGroup

N_VALUES = {"--compare": 2, "--paper": 1, "--protocol": 1, "--task": 1, "--points": 1, "--progress": 1}
GRID = "20"  # points along each side of `--points grid`


class Evaluations(TyperGroup):
    """A group with a command that may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args != ["--help"] and not ctx.resilient_parsing:
            args = with_command(args)
        return super().parse_args(ctx, args)


def with_command(args: Sequence[str]) -> list[str]:
    """The arguments after the command that they mean; options that do not go together stay, and are refused by it."""
    chosen, rest = _parted(args)
    if chosen.get("--task") == ["semantic"]:
        del chosen["--task"]
    if "--paper" in chosen:
        command = ["paper", *chosen.pop("--paper")]
    elif "--protocol" in chosen:
        command = ["benchmark", "--protocol", *chosen.pop("--protocol")]
    elif "--task" in chosen:
        command = chosen.pop("--task")
        if command == ["point"] and chosen.pop("--points", None) == ["grid"] and "--grid" not in rest:
            command += ["--grid", GRID]
    else:
        command = ["compare", *chosen.pop("--compare")] if "--compare" in chosen else ["semantic"]
        chosen.pop("--progress", None)  # they keep none, and took it
    return [*command, *(word for option, values in chosen.items() for word in (option, *values)), *rest]


def _parted(args: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Options that choose a command, with their values, and the other arguments in order."""
    chosen: dict[str, list[str]] = {}
    rest: list[str] = []
    words = iter(args)
    for word in words:
        option, equals, value = word.partition("=")
        if option in N_VALUES:
            values = [value] if equals else []
            chosen[option] = values + list(islice(words, N_VALUES[option] - len(values)))
        else:
            rest.append(word)
    return chosen, rest
