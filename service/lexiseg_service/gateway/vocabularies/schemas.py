"""The JSON of the /vocabularies routes, as pydantic models; OpenAPI is made from them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from lexiseg_model.cards import StrictModel
from lexiseg_service.question.schemas import BackgroundInput, ClassInput, ExampleInput, Text

EXAMPLE: dict[str, JsonValue] = {
    "classes": ["floor", {"name": "sofa", "synonyms": ["couch"], "threshold": 0.3}, "lamp"],
    "background": True,
    "source": "our living-room survey",
}


# Fields of an answer that are not stored; ignored in a PUT, so that a backup can be sent back unchanged.
READ_ONLY = {"name", "n_classes", "built_in", "own"}


class VocabularyInput(StrictModel):
    """A class list to store under a name."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    classes: list[Text | ClassInput] = Field(
        fail_fast=True, description="classes in the order of `class_index`, validated like those of `POST /v1/segment`"
    )
    background: bool | BackgroundInput = Field(True, description="background rule of requests that set none")
    source: str | None = Field(None, description="origin of the list, for people")
    shared: bool | None = Field(
        None,
        description="whether every API key may use the list; null: unchanged, and false for a new list of an API key",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_read_only(cls, value: Any) -> Any:
        """Accept the body of a GET unchanged."""
        return (
            {name: each for name, each in value.items() if name not in READ_ONLY} if isinstance(value, dict) else value
        )


class StoredVocabulary(VocabularyInput):
    owner: str = ""


class VocabularySummary(BaseModel):
    """A vocabulary without its classes."""

    name: str = Field(description="name of the list, for `vocabulary` in a request")
    n_classes: int = Field(description="number of classes")
    background: bool | BackgroundInput = Field(description="background rule of requests that set none")
    built_in: bool = Field(description="whether the list is built in; such lists cannot be changed")
    source: str | None = Field(description="origin of the list, for people")
    shared: bool = Field(description="whether every API key may use the list; false: only the key that stored it")
    own: bool = Field(description="whether the caller's API key may replace and delete the list")


class VocabularyList(BaseModel):
    """Every vocabulary that a request may name."""

    vocabularies: list[VocabularySummary] = Field(description="built-in lists first, then stored ones by name")


class ClassOutput(BaseModel):
    """One class; its position is the `class_index` of segments."""

    name: str = Field(description="name to search for, and the `label` of its segments")
    synonyms: list[str] = Field(description="other names to search for; their segments carry `name` as label")
    threshold: float | None = Field(
        description="minimum score, 0 to 1, of this class's segments; null: that of the request"
    )
    examples: list[ExampleInput] | None = Field(
        None,
        description="image regions that show the class; their images are stored reduced, whatever form they were "
        "sent in",
    )
    negatives: list[ExampleInput] | None = Field(None, description="image regions that look like the class but are not")
    words: bool | None = Field(
        None, description="whether to search for the name and the synonyms as text, besides the examples"
    )


class VocabularyOutput(VocabularySummary):
    """A vocabulary with its classes."""

    classes: list[ClassOutput] = Field(description="classes in the order of `class_index`")
