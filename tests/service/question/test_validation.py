"""Validation errors name the first fault of each list; large requests are parsed in one thread."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from lexiseg_service.adapters.hugging_face import Body as HuggingFace
from lexiseg_service.adapters.label_studio import Predict as LabelStudio
from lexiseg_service.adapters.roboflow import Body as Roboflow
from lexiseg_service.adapters.x_anylabeling import Predict as XAnyLabeling
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.heads.schemas import HeadInput
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.question.prompts import decode_base64
from lexiseg_service.question.schemas import FrameInput, JsonRequest, Question, StreamInput
from lexiseg_service.question.validation import MAX_BYTES_ON_EVENT_LOOP, off_event_loop, validate

FROM_OUTSIDE = (
    JsonRequest, StreamInput, FrameInput, VocabularyInput, HuggingFace, LabelStudio, Roboflow, XAnyLabeling,
)  # fmt: skip
FEW = 256


def lists_of(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every list in pydantic's own description of a model."""
    if isinstance(schema, dict):
        if schema.get("type") == "list" and "any" not in str(schema.get("items_schema", {"type": "any"}).get("type")):
            yield where, schema
        for name, inner in schema.items():
            if name not in ("metadata", "serialization", "default"):
                yield from lists_of(inner, f"{where}.{name}")
    elif isinstance(schema, list | tuple):
        for inner in schema:
            yield from lists_of(inner, where)


@pytest.mark.parametrize("schema", FROM_OUTSIDE)
def test_of_a_list_from_outside_the_first_fault_is_enough(schema: type[BaseModel]) -> None:
    lists = list(lists_of(schema.__pydantic_core_schema__))

    assert lists
    endless = [where for where, each in lists if not each.get("fail_fast") and each.get("max_length", FEW + 1) > FEW]
    assert endless == []


def fields_of(error: InvalidValue) -> list[str]:
    return [finding["field"] for finding in error.extra["errors"]]


def test_the_first_wrong_class_is_told_with_what_is_wrong_beside_the_list() -> None:
    with pytest.raises(InvalidValue) as caught:
        validate(Question, {"classes": ["sky", 1, "tree", *[{"name": ""}] * 40_000], "threshold": 7})

    assert fields_of(caught.value) == ["classes.1", "threshold"]


def test_a_class_is_told_by_its_place_alone() -> None:
    with pytest.raises(InvalidValue) as caught:
        validate(HeadInput, {"classes": ["mug", ""]})

    assert fields_of(caught.value) == ["classes.1"]


CONTENT = bytes(range(256)) * 100
TEXT = base64.b64encode(CONTENT).decode()


@pytest.mark.parametrize("text", [TEXT, "data:image/png;base64," + TEXT, "\r\n".join([TEXT[:76], TEXT[76:]])])
def test_base64_comes_with_or_without_a_data_uri_and_line_breaks(text: str) -> None:
    assert decode_base64(text, "image.base64") == CONTENT


@pytest.mark.parametrize("text", ["A" * 9001, "A" * 8000 + "-_==", "data:,base64," + "A" * 8000, "hello!"])
def test_what_is_no_base64_names_its_field(text: str) -> None:
    with pytest.raises(InvalidValue, match=rf"a: expected base64 \(RFC 4648\), got '{len(text)} characters'"):
        decode_base64(text, "a")


@pytest.mark.parametrize(("n_bytes", "here"), [(MAX_BYTES_ON_EVENT_LOOP, True), (MAX_BYTES_ON_EVENT_LOOP + 1, False)])
async def test_large_work_runs_in_a_thread(n_bytes: int, here: bool) -> None:
    ran_in = await off_event_loop(n_bytes, threading.current_thread)

    assert (ran_in is threading.current_thread()) is here


async def test_small_work_passes_large_work_that_waits_for_the_thread() -> None:
    may_go_on = threading.Event()
    large = [asyncio.ensure_future(off_event_loop(2**20, may_go_on.wait)) for _ in range(2)]
    await asyncio.sleep(0)

    assert await off_event_loop(10, lambda: "small") == "small"

    may_go_on.set()
    assert await asyncio.gather(*large) == [True] * len(large)


async def test_large_work_of_all_callers_shares_one_thread() -> None:
    ran_in = await asyncio.gather(*(off_event_loop(2**20, threading.current_thread) for _ in range(3)))

    assert len(set(ran_in)) == 1
