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
from lexiseg_client import NoMasks, Point, Prompt, Segmentation, UnreadableAnswer, errors
from lexiseg_client.question import Options
from lexiseg_client.rest import model_of, read
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import StreamOptions
from lexiseg_client.vocabularies import vocabulary_of
from lexiseg_labels import answers, segmentation, segments
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


def fields_of(message: Any) -> set[str]:
    return set(message.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Options.__annotations__.keys() | {"classes"}, schemas.Question.model_fields),
        (StreamOptions.__annotations__.keys() | {"classes"}, fields_of(pb.StreamConfig)),
        (fields_of(pb.StreamConfig) | {"image", "prompts"}, fields_of(pb.SegmentRequest) | fields_of(pb.StreamConfig)),
        (vars(Prompt()), schemas.PromptInput.model_fields),
        (vars(Point(0, 0)), {field.name for field in dataclasses.fields(schemas.PointInput)}),
    ],
    ids=["question", "stream", "frames and images", "prompt", "point"],
)
def test_every_field_can_be_asked(ours: Iterable[str], theirs: Iterable[str]) -> None:
    assert {*ours} == {*theirs}


ANSWER_KINDS: dict[str, tuple[type[Any], dict[str, str], set[str]]] = {  # other names, and what is its own
    "REST": (schemas.SegmentAnswer, {}, set()),
    "client": (segmentation.Segmentation, {"map_file": "label_map", "confidence_png": "confidence"}, {"image"}),
    "worker": (WorkerAnswer, {}, {"mask"}),
}


@pytest.mark.parametrize(("kind", "renamed", "own"), ANSWER_KINDS.values(), ids=ANSWER_KINDS.keys())
def test_an_answer_has_the_fields_of_its_message_everywhere(
    kind: type[Any], renamed: dict[str, str], own: set[str]
) -> None:
    names = {renamed.get(field.name, field.name) for field in dataclasses.fields(kind)} - own

    assert names | {"id"} == set(pb.SegmentResponse.DESCRIPTOR.fields_by_name)  # a worker's answer has no id yet


@pytest.mark.parametrize("name", answers.KINDS)
def test_a_value_of_an_answer_has_the_fields_of_its_message(name: str) -> None:
    message = pb.SegmentResponse.DESCRIPTOR.fields_by_name[name].message_type

    assert message is not None
    assert {field.name for field in dataclasses.fields(answers.KINDS[name])} == set(message.fields_by_name)


@pytest.mark.parametrize(
    ("kind", "lacks", "has"),
    [
        pytest.param(schemas.SegmentOutput, set(), set(), id="REST"),
        pytest.param(segments.Segment, {"shape"}, {"mask"}, id="client"),
        pytest.param(types.Segment, {"rings"}, {"area", "bbox"}, id="model"),
    ],
)
def test_a_segment_has_the_fields_of_its_message_everywhere(kind: type[Any], lacks: set[str], has: set[str]) -> None:
    names = {field.name for field in dataclasses.fields(kind)}

    assert names - lacks | has == set(pb.Segment.DESCRIPTOR.fields_by_name)


def test_every_error_is_public() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}

    assert kinds <= vars(lexiseg_client).keys()
