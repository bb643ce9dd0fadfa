"""From the prompts of a request to Prompts, or to a 422 that names what is wrong."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Protocol

from lexiseg_model.types import Point, Prompt, Task
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.schemas import PromptInput, Question
from lexiseg_service.settings import Limits


class WithPoints(Protocol):
    """A prompt in the form of any protocol."""

    @property
    def points(self) -> Sized: ...


def resolve_prompts(question: Question, task: Task, limits: Limits) -> tuple[Prompt, ...]:
    """The prompts that a question asks with; none for a task that takes none.

    Whether they lie inside the image is for `check_inside`, as soon as its size is known.

    Raises:
        InvalidValue: prompts for another task, none for the task prompt, too many of them or of their points, a prompt
            that shows nothing, a box without an inside.
    """
    prompts = question.prompts or []
    if task != "prompt":
        if prompts:
            raise InvalidValue.of("task", task, f"prompt, or no task, where prompts come ({len(prompts)} came)")
        return ()
    if not prompts:
        raise InvalidValue.of("prompts", 0, "at least one prompt for the task prompt")
    refuse_crowd(prompts, limits)
    return tuple(_prompt(prompt, f"prompts.{index}") for index, prompt in enumerate(prompts))


def refuse_crowd(prompts: Sequence[WithPoints], limits: Limits) -> None:
    """Checks how many there are, without a look at any of them.

    Raises:
        InvalidValue: more prompts, or more points of one, than the limits allow.
    """
    if len(prompts) > limits.max_prompts:
        raise InvalidValue.of("prompts", f"{len(prompts)} prompts", f"at most {limits.max_prompts}")
    for index, prompt in enumerate(prompts):
        n_points = len(prompt.points)
        if n_points > limits.max_prompt_points:
            raise InvalidValue.of(
                f"prompts.{index}.points", f"{n_points} points", f"at most {limits.max_prompt_points}"
            )


def resolve_prompt(prompt: PromptInput, field: str, limits: Limits) -> Prompt:
    """One prompt, under the name that its field has.

    Raises:
        InvalidValue: it has too many points, shows nothing, or its box has no inside.
    """
    if len(prompt.points) > limits.max_prompt_points:
        raise InvalidValue.of(f"{field}.points", f"{len(prompt.points)} points", f"at most {limits.max_prompt_points}")
    return _prompt(prompt, field)


def _prompt(prompt: PromptInput, field: str) -> Prompt:
    points = tuple(Point(point.x, point.y, point.positive) for point in prompt.points)
    if prompt.box is None:
        if not points:
            raise InvalidValue.of(field, "neither", "points, a box, or both")
        if not any(point.positive for point in points):
            raise InvalidValue.of(
                f"{field}.points", f"{len(points)} negative", "at least one positive point where there is no box"
            )
        return Prompt(points)
    x0, y0, x1, y1 = prompt.box
    if x1 <= x0 or y1 <= y0:
        raise InvalidValue.of(f"{field}.box", prompt.box, "x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return Prompt(points, (x0, y0, x1, y1))
