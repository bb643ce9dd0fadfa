"""What came with a request: an image in one of three forms, and the question about it."""

from __future__ import annotations

from dataclasses import dataclass

from lexiseg_service.question.schemas import Question


@dataclass(frozen=True)
class Asked:
    """The encoded image, the id of one sent before or the URL of one, and everything else of the request."""

    image: bytes | None
    question: Question
    image_id: str | None = None
    image_url: str | None = None
