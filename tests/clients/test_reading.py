"""Answers that are damaged anywhere: read, or refused as unreadable, and nothing else."""

import base64
import copy
import dataclasses
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lexiseg_client
from lexiseg_client import NoMasks, Point, Prompt, Segment, Segmentation, UnreadableAnswer, errors
from lexiseg_client.question import Options
from lexiseg_client.rest import model_of, read
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import StreamOptions
from lexiseg_client.vocabularies import vocabulary_of
from lexiseg_labels import answers
from lexiseg_labels.masks import png
from lexiseg_model import types
from lexiseg_service.gateway.rest.openapi import SEGMENT
from lexiseg_service.question import schemas
from lexiseg_service.question.messages import WorkerAnswer
from tests.clients.scripted_server import MODELS, VOCABULARY

POLYGON = {"format": "polygon", "rings": [{"exterior": [0, 0, 2, 0, 2, 4, 0, 4], "holes": [[0, 0, 1, 0, 1, 1, 0, 1]]}]}
MAP = base64.b64encode(png.encode(np.eye(4, dtype=np.uint8))).decode()
SENSES = [{"class_index": 0, "gloss": "the sky", "others": ["a colour", "a heaven"]}]
ANSWERS: list[dict[str, Any]] = [
    {**SEGMENT, "senses": SENSES},
    {**SEGMENT, "segments": [{**SEGMENT["segments"][0], "mask": POLYGON}]},
    {**SEGMENT, "segments": [{**SEGMENT["segments"][0], "mask": None}], "label_map": {"base64": MAP, "bits": 8}},
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value inside a document."""
    entries = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path_inside for name, value in entries for path_inside in ((*path, name), *places(value, (*path, name)))]


def damaged(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> bytes:
    broken = copy.deepcopy(document)
    at: Any = broken
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return json.dumps(broken).encode()


@given(st.data())
def test_a_damaged_answer_is_read_or_unreadable(data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(ANSWERS))
    content = damaged(document, data.draw(st.sampled_from(places(document))), data.draw(JSON))

    with suppress(UnreadableAnswer, NoMasks):
        answer = read(content, Segmentation.from_dict)
        for segment in answer:
            _ = segment.mask.shape
        _ = answer.label_map.max(initial=0)


@given(st.data())
def test_damaged_cards_and_vocabularies_are_read_or_unreadable(data: st.DataObject) -> None:
    for document, build in (
        (MODELS["models"][0], model_of),
        (VOCABULARY, lambda document_read: vocabulary_of(document_read, "")),
    ):
        content = damaged(document, data.draw(st.sampled_from(places(document))), data.draw(JSON))
        with suppress(UnreadableAnswer):
            read(content, build)


@pytest.mark.parametrize("content", [b"", b"null", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        read(content, dict)


def test_a_label_map_of_another_size_is_unreadable() -> None:
    document = {**ANSWERS[2], "size": [4, 5]}

    answer = read(json.dumps(document).encode(), Segmentation.from_dict)

    with pytest.raises(UnreadableAnswer, match="a label map of"):
        _ = answer.label_map


@pytest.mark.parametrize("document", ANSWERS)
def test_an_answer_comes_back_from_its_json(document: dict[str, Any]) -> None:
    answer = Segmentation.from_dict(document)

    again = Segmentation.from_dict(json.loads(json.dumps(answer.to_dict())))

    assert {name: answer.to_dict()[name] for name in answers.FIELDS if name in document} == {
        name: document[name] for name in answers.FIELDS if name in document
    }
    assert again == answer
    assert np.array_equal(again.label_map, answer.label_map)
    assert again.request_id == document["id"]


def fields_of(kind: Any) -> set[str]:
    """Names of the fields of a message or a dataclass."""
    if dataclasses.is_dataclass(kind):
        return {field.name for field in dataclasses.fields(kind)}
    return set(kind.DESCRIPTOR.fields_by_name)


ANSWER, CONFIG, ONE = fields_of(pb.SegmentResponse), fields_of(pb.StreamConfig), fields_of(pb.Segment)
ENCODED = {"map_file", "confidence_png", "image"}  # of the client's answer in place of files in base64


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(Options.__annotations__.keys() | {"classes"}, schemas.Question.model_fields, id="question"),
        pytest.param(StreamOptions.__annotations__.keys() | {"classes"}, CONFIG, id="stream"),
        pytest.param(CONFIG | {"image", "prompts"}, fields_of(pb.SegmentRequest) | CONFIG, id="frames and images"),
        pytest.param(vars(Prompt()), schemas.PromptInput.model_fields, id="prompt"),
        pytest.param(vars(Point(0, 0)), fields_of(schemas.PointInput), id="point"),
        pytest.param(fields_of(schemas.SegmentAnswer), ANSWER, id="answer of REST"),
        pytest.param(fields_of(Segmentation) - ENCODED | {"label_map", "confidence"}, ANSWER, id="answer of a client"),
        pytest.param(fields_of(WorkerAnswer) - {"mask"} | {"id"}, ANSWER, id="answer of a worker, with its id"),
        pytest.param(fields_of(schemas.SegmentOutput), ONE, id="segment of REST"),
        pytest.param(fields_of(Segment) - {"shape"} | {"mask"}, ONE, id="segment of a client"),
        pytest.param(fields_of(types.Segment) - {"rings"} | {"area", "bbox"}, ONE, id="segment of a model"),
        *(
            pytest.param(fields_of(kind), {*message.fields_by_name}, id=name)
            for name, kind in answers.KINDS.items()
            if (message := pb.SegmentResponse.DESCRIPTOR.fields_by_name[name].message_type)
        ),
    ],
)
def test_a_question_and_an_answer_have_the_same_fields_everywhere(ours: Iterable[str], theirs: Iterable[str]) -> None:
    assert {*ours} == {*theirs}


def test_every_error_is_public() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}

    assert kinds <= vars(lexiseg_client).keys()
