"""How a model is named: NAME, or NAME@VERSION for that version alone. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from lexiseg_model.errors import UnknownModelError
from lexiseg_model.types import ModelCard

LONGEST_SHOWN = 80  # characters of a name that is none


@dataclass(frozen=True)
class ModelName:
    """`version` None fits every version."""

    name: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Reads NAME or NAME@VERSION.

        Raises:
            UnknownModelError: the name or the version is empty, or there are two versions: no model is called that.
        """
        name, at, version = text.partition("@")
        if not name or (at and not version) or "@" in version:
            raise UnknownModelError(f"no model {text[:LONGEST_SHOWN]!r}; expected NAME or NAME@VERSION")
        return cls(name, version if at else None)

    @classmethod
    def of(cls, card: ModelCard) -> ModelName:
        """The name of exactly that model."""
        return cls(card.name, card.version)

    def fits(self, card: ModelCard) -> bool:
        """Whether it names the model of a card."""
        return self.name == card.name and self.version in (None, card.version)

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"
