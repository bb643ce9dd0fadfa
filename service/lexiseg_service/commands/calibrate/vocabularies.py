"""The vocabulary that is calibrated: of this installation or of a server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from lexiseg_client.question.options import background_json, classes_json
from lexiseg_service.commands.question import Question, question_of
from lexiseg_service.commands.server import Server
from lexiseg_service.gateway.vocabularies.collection import with_vocabularies
from lexiseg_service.gateway.vocabularies.named import Preconditions
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.settings import Settings


class Calibrated(NamedTuple):
    """A vocabulary: `classes` and `background` of its document as in `PUT /vocabularies/NAME`.

    `put` writes other classes into the list of a name; it fails if that is this one and has changed in the meantime.
    """

    classes: list[dict[str, Any]]
    background: Any
    put: Callable[[str, list[dict[str, Any]]], object]

    def question(self) -> Question:
        """A question about the classes' words that drops no segment for its score."""
        classes = [
            {"name": entry["name"], "synonyms": entry.get("synonyms", []), "threshold": 0.0} for entry in self.classes
        ]
        return question_of(classes, None, background=self.background)


def of_installation(name: str, settings: Settings) -> Calibrated:
    """A vocabulary of this installation.

    Raises:
        ServiceError: there is no such vocabulary.
    """
    vocabulary = with_vocabularies(settings, lambda vocabularies: vocabularies.find(name))
    document = {field: value for field, value in vocabulary.document.items() if field in VocabularyInput.model_fields}

    def put(target: str, classes: list[dict[str, Any]]) -> None:
        condition = Preconditions(if_match=vocabulary.etag if target == name else None)
        written = VocabularyInput.model_validate({**document, "classes": classes})
        with_vocabularies(settings, lambda vocabularies: vocabularies.put(target, written, condition))

    return Calibrated(document["classes"], document["background"], put)


def of_server(server: Server, name: str) -> Calibrated:
    """A vocabulary of a server.

    Raises:
        ServiceError: the server cannot be asked, or there is no such vocabulary.
    """
    vocabulary = server.vocabulary(name)
    classes = [entry if isinstance(entry, dict) else {"name": entry} for entry in classes_json(vocabulary.classes)]
    background = background_json(vocabulary.background)
    return Calibrated(classes, background, partial(server.keep_vocabulary, base=vocabulary))
