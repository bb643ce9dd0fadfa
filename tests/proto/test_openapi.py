"""The promised REST interface is what the routes make, and a change that breaks clients is noticed."""

import copy
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "proto/openapi.py"
Document = dict[str, Any]


@pytest.fixture(scope="module")
def promise() -> ModuleType:
    spec = importlib.util.spec_from_file_location("openapi_promise", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(promise: ModuleType) -> Document:
    document: Document = promise.document()
    return document


NEW_PARAMETER = {"name": "tenant", "in": "query", "schema": {"type": "string"}}
GONE = object()
SEGMENT, SCHEMAS = "paths /v1/segment post", "components schemas"
MAX_SIDE = f"{SCHEMAS} JsonRequest properties max_side anyOf"
BODY, ANSWER = "POST /v1/segment, body application/json", "POST /v1/segment 200 application/json"
# What is said of a change: its place in the document, and the value there.
BREAKING: dict[str, tuple[str, Any]] = {
    "GET /v1/models: the operation is gone": ("paths /v1/models", GONE),
    "DELETE /v1/vocabularies/{name}: the operation is gone": ("paths /v1/vocabularies/{name} delete", GONE),
    "POST /v1/segment: operationId segment became ask": (f"{SEGMENT} operationId", "ask"),
    "POST /v1/segment: needs a key now": (f"{SEGMENT} security", [{"bearer": []}]),
    "POST /v1/segment, body: multipart/form-data is gone": (f"{SEGMENT} requestBody content multipart/form-data", GONE),
    "POST /v1/segment: no longer answers 200": (f"{SEGMENT} responses 200", GONE),
    "POST /v1/segment, header x-request-id: the parameter is gone": (f"{SEGMENT} parameters", GONE),
    "POST /v1/segment, query tenant: a new parameter that is required": (
        f"{SEGMENT} parameters 0",
        {**NEW_PARAMETER, "required": True},
    ),
    f"{BODY}.overlay: the field is gone": (f"{SCHEMAS} JsonRequest properties overlay", GONE),
    f"{BODY}.threshold: is required now": (f"{SCHEMAS} JsonRequest required", ["image", "threshold"]),
    f"{BODY}.mask: the value png is gone": (f"{SCHEMAS} JsonRequest properties mask enum", ["rle", "polygon", "none"]),
    f"{BODY}.max_side: minimum 32 became 64": (f"{MAX_SIDE} 0 minimum", 64),
    f"{BODY}.max_side: null is no longer taken": (f"{MAX_SIDE} 1", GONE),
    f"{BODY}.simplify: number is no longer taken": (f"{SCHEMAS} JsonRequest properties simplify type", "string"),
    f"{BODY}.classes[]: object is no longer taken": (
        f"{SCHEMAS} JsonRequest properties classes anyOf 0 items anyOf 1",
        GONE,
    ),
    f"{ANSWER}.segments[].area: the field is gone": (f"{SCHEMAS} SegmentOutput properties area", GONE),
    f"{ANSWER}.segments[].area: string may come now": (f"{SCHEMAS} SegmentOutput properties area type", "string"),
    f"{ANSWER}.model: null may come now": (f"{SCHEMAS} SegmentAnswer properties model type", ["string", "null"]),
    f"{ANSWER}.segments: may be left out now": (f"{SCHEMAS} SegmentAnswer required", ["id"]),
    f"{ANSWER}.size: 2 places became 3": (
        f"{SCHEMAS} SegmentAnswer properties size prefixItems",
        [{"type": "integer"}] * 3,
    ),
}
ADDING: dict[str, tuple[str, Any]] = {
    "an operation": ("paths /v1/new", {"get": {}}),
    "an optional parameter": ("paths /v1/models get parameters", [NEW_PARAMETER]),
    "an optional field of a request": (f"{SCHEMAS} JsonRequest properties new", {"type": "string"}),
    "a value of a request": (f"{SCHEMAS} JsonRequest properties mask enum", ["rle", "polygon", "png", "none", "svg"]),
    "a wider bound": (f"{MAX_SIDE} 0 minimum", 16),
    "a further form of a request's value": (f"{SCHEMAS} JsonRequest properties simplify type", ["number", "null"]),
    "a field of an answer": (f"{SCHEMAS} SegmentAnswer properties new", {"type": "string"}),
    "a field of an answer that is always there": (f"{SCHEMAS} SegmentAnswers required", ["answers", "new"]),
    "a form of a body": (f"{SEGMENT} requestBody content image/png", {}),
    "a problem": (f"{SEGMENT} responses 402", {"description": "pay"}),
    "another description": (f"{SEGMENT} description", "Masks."),
}


def changed(document: Document, place: str, value: Any) -> Document:
    """The document with another value at a place, keys and indices with blanks between them."""
    copied = copy.deepcopy(document)
    *above, last = [int(key) if key in ("0", "1") else key for key in place.split()]
    inside: Any = copied
    for key in above:
        inside = inside[key]
    if value is GONE:
        del inside[last]
    else:
        inside[last] = value
    return copied


def test_the_promised_file_is_what_the_routes_make(promise: ModuleType, made: Document) -> None:
    assert promise.FILE.read_text(encoding="utf-8") == promise.text(made), "run `make openapi`"


@pytest.mark.parametrize("said", BREAKING)
def test_what_breaks_a_client_is_named(promise: ModuleType, made: Document, said: str) -> None:
    assert said in promise.breaks(made, changed(made, *BREAKING[said]))


@pytest.mark.parametrize("what", ADDING)
def test_what_only_adds_breaks_nothing(promise: ModuleType, made: Document, what: str) -> None:
    richer = changed(made, *ADDING[what])

    assert richer != made
    assert promise.breaks(made, richer) == []


def test_a_breaking_change_is_written_only_by_force(
    promise: ModuleType, made: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    richer = changed(made, "paths /v1/promised", {"get": made["paths"]["/v1/models"]["get"]})
    file = tmp_path / "openapi.json"
    file.write_text(promise.text(richer))
    monkeypatch.setattr(promise, "FILE", file)

    monkeypatch.setattr(sys, "argv", ["openapi.py", "write"])
    with pytest.raises(SystemExit, match="GET /v1/promised: the operation is gone"):
        promise.main()
    assert file.read_text() == promise.text(richer)
    monkeypatch.setattr(sys, "argv", ["openapi.py", "write", "--break-the-promise"])
    promise.main()
    monkeypatch.setattr(sys, "argv", ["openapi.py", "check"])
    promise.main()

    assert file.read_text() == promise.text(made)
