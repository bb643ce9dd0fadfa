"""The vocabulary that is calibrated: of this installation or of a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from lexiseg_client.question.options import background_json, classes_json
from lexiseg_service.commands.question import Question
from lexiseg_service.commands.server import Server
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.vocabularies.collection import with_vocabularies
from lexiseg_service.gateway.vocabularies.named import Preconditions
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.settings import Settings


@dataclass(frozen=True)
class Calibrated:
    """A vocabulary, with `classes` and `background` of its document as in `PUT /vocabularies/NAME`.

    `put` writes other classes into the list of a name; it fails if that is this one and has changed in the meantime.

    Raises:
        InvalidValue: every pixel gets a class, so that thresholds would mean nothing.
    """

    name: str
    classes: list[dict[str, Any]]
    background: Any
    put: Callable[[str, list[dict[str, Any]]], object]

    def __post_init__(self) -> None:
        if not self.background:
            expected = "one whose `background` is on: where every pixel gets a class nothing is dropped"
            raise InvalidValue.of("--vocabulary", self.name, expected)

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

    def keep(self, thresholds: Mapping[str, float], target: str) -> None:
        """Write the list as `target`; classes without a new threshold keep theirs."""
        new = [{**entry, "threshold": thresholds.get(entry["name"], entry.get("threshold"))} for entry in self.classes]
        self.put(target, new)


def of_installation(name: str, settings: Settings) -> Calibrated:
    """A vocabulary of this installation.

    Raises:
        ServiceError: there is no such vocabulary, or it has no background rule.
    """
    vocabulary = with_vocabularies(settings, lambda vocabularies: vocabularies.find(name))
    document = {field: value for field, value in vocabulary.document.items() if field in VocabularyInput.model_fields}

    def put(target: str, classes: list[dict[str, Any]]) -> None:
        condition = Preconditions(if_match=vocabulary.etag if target == name else None)
        written = VocabularyInput.model_validate({**document, "classes": classes})
        with_vocabularies(settings, lambda vocabularies: vocabularies.put(target, written, condition))

    return Calibrated(name, document["classes"], document["background"], put)


def of_server(server: Server, name: str) -> Calibrated:
    """A vocabulary of a server.

    Raises:
        ServiceError: the server cannot be asked, there is no such vocabulary, or it has no background rule.
    """
    vocabulary = server.vocabulary(name)
    classes = [entry if isinstance(entry, dict) else {"name": entry} for entry in classes_json(vocabulary.classes)]
    background = background_json(vocabulary.background)
    return Calibrated(name, classes, background, partial(server.keep_vocabulary, base=vocabulary))
