"""The vocabulary that is calibrated: of this installation or of a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lexiseg_client.question.options import background_json, classes_json
from lexiseg_service.commands.question import Question
from lexiseg_service.commands.server import Server
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.vocabularies.collection import with_vocabularies
from lexiseg_service.gateway.vocabularies.named import Preconditions
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.settings import Settings

Thresholds = Mapping[str, float | None]  # by class


@dataclass(frozen=True)
class Calibrated:
    """A vocabulary: classes and background rule as of `POST /segment`, and how to keep it with other thresholds.

    `keep` takes the thresholds and the name of the list to write; it fails if the list has changed in the meantime.

    Raises:
        InvalidValue: every pixel gets a class, so that thresholds would mean nothing.
    """

    name: str
    classes: list[dict[str, Any]]
    background: Any
    keep: Callable[[Thresholds, str], None]

    def __post_init__(self) -> None:
        if not self.background:
            raise InvalidValue.of(
                "--vocabulary",
                self.name,
                "one whose `background` is on: where every pixel gets a class nothing is dropped",
            )

    @property
    def names(self) -> list[str]:
        """The names of the classes."""
        return [entry["name"] for entry in self.classes]

    def question(self) -> Question:
        """A question about the classes' words that drops no segment for its score."""
        classes = [
            {"name": entry["name"], "synonyms": entry.get("synonyms", []), "threshold": 0.0} for entry in self.classes
        ]
        return Question(tuple(classes), None, self.background)

    def with_thresholds(self, thresholds: Thresholds) -> list[dict[str, Any]]:
        """The classes; those without a new threshold keep theirs."""
        return [{**entry, "threshold": thresholds.get(entry["name"], entry.get("threshold"))} for entry in self.classes]


def of_installation(name: str, settings: Settings) -> Calibrated:
    """A vocabulary of this installation.

    Raises:
        ServiceError: there is no such vocabulary, or it has no background rule.
    """
    vocabulary = with_vocabularies(settings, lambda vocabularies: vocabularies.find(name))
    document = {field: value for field, value in vocabulary.document.items() if field in VocabularyInput.model_fields}

    def keep(thresholds: Thresholds, target: str) -> None:
        condition = Preconditions(if_match=vocabulary.etag) if target == name else Preconditions()
        written = VocabularyInput.model_validate({**document, "classes": calibrated.with_thresholds(thresholds)})
        with_vocabularies(settings, lambda vocabularies: vocabularies.put(target, written, condition))

    calibrated = Calibrated(name, document["classes"], document["background"], keep)
    return calibrated


def of_server(server: Server, name: str) -> Calibrated:
    """A vocabulary of a server.

    Raises:
        ServiceError: the server cannot be asked, there is no such vocabulary, or it has no background rule.
    """
    vocabulary = server.vocabulary(name)

    def keep(thresholds: Thresholds, target: str) -> None:
        server.keep_vocabulary(target, calibrated.with_thresholds(thresholds), vocabulary)

    classes = [entry if isinstance(entry, dict) else {"name": entry} for entry in classes_json(vocabulary.classes)]
    calibrated = Calibrated(name, classes, background_json(vocabulary.background), keep)
    return calibrated
