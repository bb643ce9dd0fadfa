"""Cards of a newer release are read without what this one does not know."""

import json
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from lexiseg_model.cards import ModelCard, PanopticRule, PromptQuality, Quality, ScoreRule, ThingBelief
from lexiseg_service.wire.cards import read_card
from tests.model.stand_in import card
from tests.service.wire.newer_release import UNKNOWN_WORD

BELIEF = ThingBelief(probability=1, area=1, presence=1, bias=0, least=0.5)
CARD = card(tasks=("semantic", "prompt"), panoptic=PanopticRule(source="proposals", things=BELIEF)).model_copy(
    update={
        "refine": "pamr",
        "refinements": ["none", "pamr"],
        "precision": "exact",
        "commercial_use": "no",
        "score": ScoreRule(presence=1, probability=1, classes=1, area=1, bias=0),
        "quality": {"voc21": Quality(miou=50, pixel_accuracy=90, images=10)},
        "prompt_quality": {"coco": PromptQuality(point=50, box=60, objects=10)},
    }
)
Place = tuple[str, ...]


def words_of(model: type[BaseModel], above: Place = ()) -> Iterator[Place]:
    """Every place of a card that takes one of several words."""
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if get_origin(kind) is Literal:
                yield *above, name
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from words_of(kind, (*above, name))


def changed(place: Place, value: Any) -> Any:
    """The JSON values of the card, with another one at a place; in a list it is one more item."""
    values = json.loads(CARD.model_dump_json())
    *above, last = place
    inside = reduce(getitem, above, values)
    inside[last] = [*inside[last], value] if isinstance(inside.get(last), list) else value
    return values


@pytest.mark.parametrize("place", list(words_of(ModelCard)), ids=".".join)
def test_an_unknown_word_is_left_out_and_the_rest_of_the_card_stays(place: Place) -> None:
    expected = json.loads(CARD.model_dump_json())
    *above, last = place
    inside = reduce(getitem, above, expected)
    if not isinstance(inside[last], list):  # a list keeps its items
        del inside[last]

    assert read_card(json.dumps(changed(place, UNKNOWN_WORD))) == ModelCard.model_validate(expected)


OBJECTS: list[Place] = [(), ("input",), ("background",), ("panoptic", "things"), ("score",), ("quality", "voc21")]


@pytest.mark.parametrize("place", OBJECTS)
def test_unknown_fields_are_left_out_wherever_they_are(place: Place) -> None:
    assert read_card(json.dumps(changed((*place, "new"), [{"of": None}]))) == CARD


def test_an_object_goes_with_a_field_that_it_needs() -> None:
    values = changed(("panoptic", "things", "least"), UNKNOWN_WORD)
    values["quality"]["voc21"]["miou"] = None

    read = read_card(json.dumps(values))

    assert read is not None
    assert (read.panoptic.things, read.panoptic.source, read.quality) == (None, "proposals", {})


def test_what_is_left_out_is_logged_once() -> None:
    text = json.dumps(changed(("tasks",), UNKNOWN_WORD) | {"version": "logged"})

    with capture_logs() as logs:
        for _ in range(3):
            read_card(text)

    assert [line["left_out"] for line in logs] == [["tasks.2"]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        json.dumps({**changed(("tasks",), ""), "tasks": [UNKNOWN_WORD]}),
        json.dumps(changed(("input", "short_side"), 1)),
        json.dumps(changed(("name",), None)),
    ],
    ids=["nothing", "no object", "a number", "no task", "no input size", "no name"],
)
def test_a_card_that_no_request_could_use_is_none(text: str) -> None:
    with capture_logs() as logs:
        read = read_card(text)

    assert read is None
    assert logs[-1]["event"] == "card not understood"
