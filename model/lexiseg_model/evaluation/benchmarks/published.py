"""Published figures, with their sources: what a measurement is set beside."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lexiseg_model.data.benchmark import Convention
from lexiseg_model.types import ModelCard, Refinement

FILE = Path(__file__).parent / "published.json"


class PublishedRow(BaseModel):
    """One row of a table: mIoU in percent by data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    variant: str
    model: dict[str, str]  # `method` of our card, and what its settings say
    refine: Refinement | None
    protocol: str | None  # ours that measures the same; None where theirs is not among ours
    convention: Convention | None  # of their mean; None where it is not stated
    miou: dict[str, float]
    source: str
    verified: bool
    notes: str = ""

    @property
    def label(self) -> str:
        """Method and variant, as a table names them."""
        return f"{self.method} ({self.variant})"

    def is_of(self, card: ModelCard) -> bool:
        """The card is of the method, and of the policy where it has several."""
        said = {"method": card.method} | card.settings
        return all(said.get(key) == value for key, value in self.model.items())


class _Table(BaseModel):
    about: str
    rows: list[PublishedRow]


@cache
def published() -> tuple[PublishedRow, ...]:
    """Every row, in the order of the table."""
    return tuple(_Table.model_validate_json(FILE.read_bytes()).rows)
