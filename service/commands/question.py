"""What `lexiseg segment` asks of every file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from service.gateway.body import validate
from service.gateway.schemas import Question as RestQuestion


@dataclass(frozen=True)
class Question:
    """Either classes or a vocabulary; a background of None is the vocabulary's own."""

    classes: tuple[str, ...]
    vocabulary: str | None
    background: bool | None
    threshold: float
    max_side: int | None

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of POST /segment, without those that say nothing."""
        given = asdict(self) | {"classes": list(self.classes) or None}
        return {name: value for name, value in given.items() if value is not None}

    def validated(self) -> RestQuestion:
        """By the rules of POST /segment.

        Raises:
            InvalidValue: a field is out of range.
        """
        return validate(RestQuestion, self.fields)
