"""Which classes are phrases, and what becomes of words beside a phrase that is late."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from lexiseg_labels.answers import AnswerWarning
from lexiseg_model.cards import ModelCard
from lexiseg_model.types import ClassEntry, Rle, Segment, Vocabulary
from lexiseg_service.errors import DeadlineExceeded, InvalidValue, NotReady, QueueFull, ServiceError
from lexiseg_service.gateway.phrases import answer_by_kind, is_phrase
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from tests.model.stand_in import card
from tests.service.gateway.known_backend import KnownBackend, answer

PHRASE = "red car left of the bus"
CLASSES = tuple(map(ClassEntry, ("airplane", PHRASE, "sky")))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (PHRASE, True),
        ("red car", True),
        ("the largest dog", True),
        ("woman in orange suit", True),
        ("\u7ea2\u8272\u7684\u6c7d\u8f66", True),  # red car
        ("\u6811\u65c1\u8fb9\u7684\u72d7", True),  # the dog beside the tree
        ("\u516c\u5171\u6c7d\u8f66", False),  # bus
        ("\u7ea2\u7eff\u706f", False),  # traffic light
        ("hot air balloon", False),
        ("chest of drawers", False),
        ("polar bear", False),
        ("Red Panda", False),
        ("orange", False),
        ("left", False),
    ],
)
def test_an_attribute_or_a_relation_makes_a_phrase(name: str, expected: bool) -> None:
    assert is_phrase(ClassEntry(name)) is expected


@dataclass
class TwoModels(KnownBackend):
    """`colours` for words, whose answer has the second of its classes, and `phrases`, which may fail."""

    models: list[ModelCard] = field(
        default_factory=lambda: [card(), card().model_copy(update={"name": "phrases", "phrases": True})]
    )
    of_phrases: ServiceError | None = None

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.asked.append(request)
        if request.model == "phrases":
            await asyncio.sleep(0)
            if self.of_phrases is not None:
                raise self.of_phrases
            mask = Rle((4, 4), "484", 8, (1, 0, 2, 4))
            return replace(answer(), segments=(Segment(1, PHRASE, 0, 0.5, mask),))
        words = [entry.name for entry in request.vocabulary.classes]
        segment = Segment(1, "sky", words.index("sky"), 0.9, Rle((4, 4), "088", 8, (0, 0, 2, 4)))
        absent = tuple(word for word in words if word != "sky")
        return replace(answer(overlay=b"painted" if request.painted else None), segments=(segment,), absent=absent)


def question(**changes: Any) -> WorkerRequest:
    request = WorkerRequest(b"image", Vocabulary(CLASSES), "colours", deadline=time.monotonic() + 1000)
    return replace(request, **changes)


@pytest.mark.parametrize("failure", [DeadlineExceeded("late"), QueueFull("full", 1), NotReady("gone", 1)])
async def test_words_are_answered_though_a_phrase_is_not(failure: ServiceError) -> None:
    backend, request = TwoModels(of_phrases=failure), question()

    joined = await answer_by_kind(backend, request, "phrases")

    of_words, of_phrases = backend.asked
    assert of_phrases.deadline < of_words.deadline == request.deadline
    assert [(each.label, each.class_index) for each in joined.segments] == [("sky", 2)]
    assert joined.absent == ("airplane", PHRASE)
    assert joined.warnings == (AnswerWarning("phrase-unanswered", f"{PHRASE}: {failure.detail}", "classes.1"),)


async def test_a_refused_phrase_is_the_senders_error() -> None:
    with pytest.raises(InvalidValue, match="too long"):
        await answer_by_kind(TwoModels(of_phrases=InvalidValue("too long")), question(), "phrases")


async def test_polygons_are_asked_of_the_words_model_with_a_warning() -> None:
    backend = TwoModels()

    joined = await answer_by_kind(backend, question(mask="polygon"), "phrases")

    assert [request.model for request in backend.asked] == ["colours"]
    assert [(each.type, each.field) for each in joined.warnings] == [("phrase-unanswered", "classes.1")]


@pytest.mark.parametrize("mask", ["rle", "none"])
async def test_the_overlay_shows_words_and_phrases(mask: str) -> None:
    backend = TwoModels()

    joined = await answer_by_kind(backend, question(overlay=True, mask=mask), "phrases")

    *_, painting = backend.asked
    assert (joined.overlay, joined.mask) == (b"painted", mask)
    assert painting.painted == joined.segments
    assert [(each.id, each.label, each.class_index, each.area) for each in joined.segments] == [
        (1, PHRASE, 1, 8),
        (2, "sky", 2, 4),
    ]
