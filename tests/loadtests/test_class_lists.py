"""What attacks with class lists send is taken, and new each time."""

from __future__ import annotations

import itertools

import pytest

from lexiseg_service.question.classes import check
from lexiseg_service.question.examples import examples_of
from lexiseg_service.question.findings import validate
from lexiseg_service.question.json_text import parse_object
from lexiseg_service.question.schemas import JsonRequest
from lexiseg_service.settings import Limits
from lexiseg_service.vocabularies.schemas import VocabularyInput
from loadtests.attacks.class_lists import KINDS, NewLists
from tests import pictures

PICTURE = pictures.encoded(pictures.small())
LIMITS = Limits()


@pytest.mark.parametrize("kind", KINDS)
def test_lists_keep_the_limits_and_none_comes_twice(kind: str) -> None:
    requests = list(itertools.islice(NewLists(kind, "key", (PICTURE, PICTURE, PICTURE)), 2))
    bodies = [request.partition(b"\r\n\r\n")[2] for request in requests]

    for request, body in zip(requests, bodies, strict=True):
        parsed, is_kept = parse_object(body, LIMITS), request.startswith(b"PUT ")
        classes = validate(VocabularyInput, parsed).classes if is_kept else validate(JsonRequest, parsed).classes
        assert check(classes, True, LIMITS).classes
        assert len({example.image for example in examples_of(classes, LIMITS)}) in (0, 6, 16)
    assert len(bodies[0]) == len(bodies[1])
    assert bodies[0] != bodies[1]
