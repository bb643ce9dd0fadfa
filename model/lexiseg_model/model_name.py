"""Names of models in requests."""

from __future__ import annotations

from dataclasses import dataclass

from lexiseg_model.cards import ModelCard
from lexiseg_model.errors import UnknownModelError

MAX_SHOWN_NAME = 80  # characters of an unknown name in an error


@dataclass(frozen=True)
class ModelName:
    """A model name in a request: NAME (`version` None, matches every version) or NAME@VERSION."""

    name: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Parse NAME or NAME@VERSION. Raises UnknownModelError: a part is empty, or there are two versions."""
        name, at, version = text.partition("@")
        if not name or (at and not version) or "@" in version:
            raise UnknownModelError(f"no model {text[:MAX_SHOWN_NAME]!r}; expected NAME or NAME@VERSION")
        return cls(name, version if at else None)

    @classmethod
    def from_card(cls, card: ModelCard) -> ModelName:
        """The name and version of a card."""
        return cls(card.name, card.version)

    def fits(self, card: ModelCard) -> bool:
        """Whether the name matches a card."""
        return self.name == card.name and self.version in (None, card.version)

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"
