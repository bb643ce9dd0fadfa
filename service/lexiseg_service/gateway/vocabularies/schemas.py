"""The JSON of the /vocabularies routes, as pydantic models; OpenAPI is made from them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from lexiseg_model.types import StrictModel
from lexiseg_service.question.schemas import BackgroundInput, ClassInput, ExampleInput, Text

EXAMPLE: dict[str, JsonValue] = {
    "classes": ["floor", {"name": "sofa", "synonyms": ["couch"], "threshold": 0.3}, "lamp"],
    "background": True,
    "source": "our living-room survey",
}


# Fields of an answer that are not stored; ignored in a PUT, so that a backup can be sent back unchanged.
READ_ONLY = {"name", "n_classes", "built_in", "own"}


class VocabularyInput(StrictModel):
    """A class list to keep under a name."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    classes: list[Text | ClassInput] = Field(
        fail_fast=True, description="in the order of `class_index`; the rules of a request hold"
    )
    background: bool | BackgroundInput = Field(True, description="what holds when a request says nothing of it")
    source: str | None = Field(None, description="where the list comes from, for its readers")
    shared: bool | None = Field(
        None, description="for every key, or for yours alone; null: as it was, and new ones are your key's alone"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_read_only(cls, value: Any) -> Any:
        """Accept the body of a GET unchanged."""
        return (
            {name: each for name, each in value.items() if name not in READ_ONLY} if isinstance(value, dict) else value
        )


class StoredVocabulary(VocabularyInput):
    """A vocabulary as a store keeps it."""

    owner: str = ""


class VocabularySummary(BaseModel):
    """A vocabulary without its classes."""

    name: str = Field(description="what a request calls it, as `vocabulary`")
    n_classes: int = Field(description="how many classes it has")
    background: bool | BackgroundInput = Field(description="what holds when a request says nothing of it")
    built_in: bool = Field(description="built-in lists cannot be changed")
    source: str | None = Field(description="where the list comes from")
    shared: bool = Field(description="every key may name it; else yours alone")
    own: bool = Field(description="your key may replace and delete it")


class VocabularyList(BaseModel):
    """Every vocabulary that a request may name."""

    vocabularies: list[VocabularySummary] = Field(description="the built-in ones, then your own by name")


class ClassOutput(BaseModel):
    """One class; its position is the `class_index` of segments."""

    name: str = Field(description="what is looked for, and the `label` of its segments")
    synonyms: list[str] = Field(description="found ones answer under `name`")
    threshold: float | None = Field(description="segments of this class with a lower score are dropped")
    examples: list[ExampleInput] | None = Field(
        None, description="parts of images that show it; the images are kept small, whatever form they came in"
    )
    negatives: list[ExampleInput] | None = Field(None, description="parts of images that show what it is not")
    words: bool | None = Field(None, description="of a class with examples: whether it is looked for as a word, too")


class VocabularyOutput(VocabularySummary):
    """A vocabulary with its classes."""

    classes: list[ClassOutput] = Field(description="in the order of `class_index`")
