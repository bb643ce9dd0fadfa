"""What `lexiseg segment` asks of every file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import typer

from lexiseg_model.types import Task
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.classes import refuse_unsplit
from lexiseg_service.question.schemas import Question as RestQuestion
from lexiseg_service.question.validation import validate


@dataclass(frozen=True)
class Question:
    """Classes or a vocabulary, or prompts with either or neither; a background of None is the vocabulary's own.

    `prompts` are those of the task prompt, in the form of POST /segment.
    """

    classes: tuple[str | dict[str, Any], ...]
    vocabulary: str | None
    background: bool | None
    threshold: float | None  # None: that of the model's card
    max_side: int | None
    task: Task = "semantic"
    prompts: tuple[dict[str, Any], ...] = ()
    examples: tuple[str, ...] = ()  # as they were given; `classes` hold them

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of POST /segment, without those that say nothing."""
        values = asdict(self) | {"classes": list(self.classes) or None, "prompts": list(self.prompts) or None}
        return {name: value for name, value in values.items() if value is not None and name != "examples"}

    def validated(self) -> RestQuestion:
        """By the rules of POST /segment.

        Raises:
            InvalidValue: a field is out of range.
        """
        return validate(RestQuestion, self.fields)


def refuse_lists(classes: Sequence[str]) -> None:
    """Of `-c a,b`, which would look for one class of that name.

    Raises:
        typer.BadParameter: a lone class with a comma, or a JSON list; it says how several are given.
    """
    try:
        refuse_unsplit(classes, "repeat the option, as -c sky -c tree")
    except InvalidValue as error:
        raise typer.BadParameter(error.detail, param_hint="'-c' / '--class'") from None
