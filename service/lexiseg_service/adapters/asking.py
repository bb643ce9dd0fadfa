"""What adapters share: a tool's question, asked as `POST /segment` asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.requests import Request

from lexiseg_service.adapters.reading import image_beside
from lexiseg_service.gateway.rest.asking import answer_of
from lexiseg_service.question.asked import Asked
from lexiseg_service.question.findings import validate
from lexiseg_service.question.messages import WorkerAnswer
from lexiseg_service.question.schemas import Question


def prompt_of(points: Iterable[tuple[float, float, bool]], boxes: Sequence[Sequence[float]]) -> dict[str, Any]:
    """One prompt of what an annotator has marked: all points, each on the object or beside it, and the last box."""
    marked = [{"x": x, "y": y, "positive": positive} for x, y, positive in points]
    return {"prompts": [{"points": marked, "box": list(boxes[-1]) if boxes else None}], "task": "prompt"}


async def ask_about(request: Request, fields: Mapping[str, Any], text: str, field: str) -> WorkerAnswer:
    """As `ask`, about an image that a tool sent as text in a field.

    Raises:
        ServiceError: of any kind.
        ClientDisconnect: the client hung up.
    """
    return await ask(request, fields, *await image_beside(text, field))


async def ask(
    request: Request, fields: Mapping[str, Any], image: bytes | None = None, url: str | None = None
) -> WorkerAnswer:
    """The answer to a question about an image, by the way of `POST /segment`. Fields that are None are left out.

    Raises:
        ServiceError: of any kind.
        ClientDisconnect: the client hung up.
    """

    async def reading() -> Asked:
        question = validate(Question, {name: value for name, value in fields.items() if value is not None})
        return Asked(image, question, image_url=url)

    return await answer_of(request, reading())
