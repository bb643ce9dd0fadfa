"""The promised REST interface is what the routes make, and a change that breaks clients is noticed."""

import copy
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.command import ended

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


def schemas(document: Document) -> Any:
    return document["components"]["schemas"]


def segment(document: Document) -> Any:
    return document["paths"]["/v1/segment"]["post"]


def segment_parameters(document: Document) -> Any:
    return segment(document)["parameters"]


def field(document: Document, schema: str, name: str) -> Any:
    return schemas(document)[schema]["properties"][name]


NEW_PARAMETER = {"name": "tenant", "in": "query", "schema": {"type": "string"}}
BREAKING: dict[str, Callable[[Document], Any]] = {
    "GET /v1/models: the operation is gone": lambda d: d["paths"].pop("/v1/models"),
    "DELETE /v1/vocabularies/{name}: the operation is gone": lambda d: d["paths"]["/v1/vocabularies/{name}"].pop(
        "delete"
    ),
    "POST /v1/segment: operationId segment became ask": lambda d: segment(d).update(operationId="ask"),
    "POST /v1/segment: needs a key now": lambda d: segment(d).update(security=[{"bearer": []}]),
    "POST /v1/segment, body: multipart/form-data is gone": lambda d: segment(d)["requestBody"]["content"].pop(
        "multipart/form-data"
    ),
    "POST /v1/segment: no longer answers 200": lambda d: segment(d)["responses"].pop("200"),
    "POST /v1/segment, header x-request-id: the parameter is gone": lambda d: segment(d).pop("parameters"),
    "POST /v1/segment, query tenant: a new parameter that is required": lambda d: segment_parameters(d).append(
        {**NEW_PARAMETER, "required": True}
    ),
    "POST /v1/segment, body application/json.overlay: the field is gone": lambda d: schemas(d)["JsonRequest"][
        "properties"
    ].pop("overlay"),
    "POST /v1/segment, body application/json.threshold: is required now": lambda d: schemas(d)["JsonRequest"][
        "required"
    ].append("threshold"),
    "POST /v1/segment, body application/json.mask: the value png is gone": lambda d: field(d, "JsonRequest", "mask")[
        "enum"
    ].remove("png"),
    "POST /v1/segment, body application/json.max_side: minimum 32 became 64": lambda d: field(
        d, "JsonRequest", "max_side"
    )["anyOf"][0].update(minimum=64),
    "POST /v1/segment, body application/json.max_side: null is no longer taken": lambda d: field(
        d, "JsonRequest", "max_side"
    )["anyOf"].pop(),
    "POST /v1/segment, body application/json.simplify: number is no longer taken": lambda d: field(
        d, "JsonRequest", "simplify"
    ).update(type="string"),
    "POST /v1/segment, body application/json.classes[]: object is no longer taken": lambda d: field(
        d, "JsonRequest", "classes"
    )["anyOf"][0]["items"]["anyOf"].pop(1),
    "POST /v1/segment 200 application/json.segments[].area: the field is gone": lambda d: schemas(d)["SegmentOutput"][
        "properties"
    ].pop("area"),
    "POST /v1/segment 200 application/json.segments[].area: string may come now": lambda d: field(
        d, "SegmentOutput", "area"
    ).update(type="string"),
    "POST /v1/segment 200 application/json.model: null may come now": lambda d: field(
        d, "SegmentAnswer", "model"
    ).update(type=["string", "null"]),
    "POST /v1/segment 200 application/json.segments: may be left out now": lambda d: schemas(d)["SegmentAnswer"][
        "required"
    ].remove("segments"),
    "POST /v1/segment 200 application/json.size: 2 places became 3": lambda d: field(d, "SegmentAnswer", "size")[
        "prefixItems"
    ].append({"type": "integer"}),
}
ADDING: dict[str, Callable[[Document], Any]] = {
    "an operation": lambda d: d["paths"].update({"/v1/new": {"get": segment(d)}}),
    "an optional parameter": lambda d: segment_parameters(d).append(NEW_PARAMETER),
    "an optional field of a request": lambda d: schemas(d)["JsonRequest"]["properties"].update(new={"type": "string"}),
    "a value of a request": lambda d: field(d, "JsonRequest", "mask")["enum"].append("svg"),
    "a wider bound": lambda d: field(d, "JsonRequest", "max_side")["anyOf"][0].update(minimum=16),
    "a further form of a request's value": lambda d: field(d, "JsonRequest", "simplify").update(
        type=["number", "null"]
    ),
    "a field of an answer": lambda d: schemas(d)["SegmentAnswer"]["properties"].update(new={"type": "string"}),
    "a field of an answer that is always there": lambda d: schemas(d)["SegmentOutput"]["required"].append("is_thing"),
    "a form of a body": lambda d: segment(d)["requestBody"]["content"].update({"image/png": {}}),
    "a problem": lambda d: segment(d)["responses"].update({"402": {"description": "pay"}}),
    "another description": lambda d: segment(d).update(description="Masks."),
}


def test_the_promised_file_is_what_the_routes_make(promise: ModuleType, made: Document) -> None:
    assert promise.FILE.read_text(encoding="utf-8") == promise.text(made), "run `make openapi`"


@pytest.mark.parametrize("said", BREAKING)
def test_what_breaks_a_client_is_named(promise: ModuleType, made: Document, said: str) -> None:
    changed = copy.deepcopy(made)
    BREAKING[said](changed)

    assert said in promise.breaks(made, changed)


@pytest.mark.parametrize("what", ADDING)
def test_what_only_adds_breaks_nothing(promise: ModuleType, made: Document, what: str) -> None:
    changed = copy.deepcopy(made)
    ADDING[what](changed)

    assert changed != made
    assert promise.breaks(made, changed) == []


def test_a_breaking_change_is_written_only_by_force(
    promise: ModuleType, made: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    richer = copy.deepcopy(made)
    richer["paths"]["/v1/promised"] = {"get": segment(made)}
    file = tmp_path / "openapi.json"
    file.write_text(promise.text(richer))
    monkeypatch.setattr(promise, "FILE", file)

    monkeypatch.setattr(sys, "argv", ["openapi.py", "write"])
    with pytest.raises(SystemExit, match="GET /v1/promised: the operation is gone"):
        promise.main()
    assert file.read_text() == promise.text(richer)
    monkeypatch.setattr(sys, "argv", ["openapi.py", "write", "--break-the-promise"])
    promise.main()

    assert file.read_text() == promise.text(made)


def test_the_check_passes_as_make_runs_it() -> None:
    answer = ended([sys.executable, SCRIPT, "check"], cwd=ROOT)

    assert answer.returncode == 0, answer.stderr
