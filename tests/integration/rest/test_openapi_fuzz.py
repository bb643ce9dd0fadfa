"""What OpenAPI promises against what the server does: made-up requests to every operation, by schemathesis."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case as AnyCase
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.transport.serialization import Binary

from lexiseg_model.catalogue import bundled, read_card
from tests import pictures
from tests.integration.server import Server

Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
Case: TypeAlias = AnyCase[Any]
Values: TypeAlias = st.SearchStrategy[Any]

EXAMPLES = 24
FORM, JSON, FILE = "multipart/form-data", "application/json", "application/octet-stream"
# Operation, form of its body, and the least of EXAMPLES that must get past every check and be served. Hypothesis draws
# constants of whatever modules are loaded, too, so the number is not the same in every process.
OPERATIONS: dict[tuple[str, str | None], int] = {
    ("POST /v1/segment", FORM): 1,
    ("POST /v1/segment", JSON): 1,
    ("POST /v1/segment", FILE): 1,
    ("GET /v1/models", None): EXAMPLES,
    ("GET /v1/models/available", None): EXAMPLES,
    ("GET /v1/models/{name}", None): 1,
    ("GET /livez", None): EXAMPLES,
    ("GET /readyz", None): EXAMPLES,
    ("GET /metrics", None): EXAMPLES,
    ("GET /v1/vocabularies", None): EXAMPLES,
    ("GET /v1/vocabularies/{name}", None): 1,
    ("PUT /v1/vocabularies/{name}", JSON): 1,
    ("DELETE /v1/vocabularies/{name}", None): 1,
    ("POST /v1/streams", JSON): 0,  # places run out; no id of a stream is made up
    ("PUT /v1/streams/{stream}", JSON): 0,
    ("POST /v1/streams/{stream}/frames", JSON): 0,
    ("DELETE /v1/streams/{stream}", None): 0,
}
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SECONDS = 60  # for one answer; a slow machine is no failure
OURS = ("room", "street-2")  # vocabularies

IMAGES = [
    pictures.encoded(pictures.small("china", 32), "JPEG"),
    pictures.encoded(pictures.small("flower", 24).crop((0, 0, 16, 16))),
    pictures.encoded(pictures.small("chelsea", 32).convert("L"), "WEBP"),
    pictures.encoded(pictures.small("coffee", 24).resize((16, 24)).convert("RGBA")),
]
words = st.lists(st.sampled_from(["sky", "Baum", "дорога", "猫", "a cup", "sea/lake"]), min_size=1, unique=True)
classes: Values = words | words.map(lambda names: [{"name": names[0], "synonyms": names[1:], "threshold": 0.25}])
asked = st.fixed_dictionaries({"classes": classes}) | st.sampled_from([{"vocabulary": "voc20"}, {"vocabulary": "room"}])
model = st.sampled_from(["tiny", None])
task = st.sampled_from(read_card(bundled()["tiny"]).tasks)
places = st.integers(0, 16) | st.floats(0, 16)  # inside every image
points = st.fixed_dictionaries({"x": places, "y": places}, optional={"positive": st.just(True)})
boxes = st.tuples(st.floats(0, 7), st.floats(0, 7), st.floats(8, 16), st.floats(8, 16)).map(list)
prompts = st.lists(
    st.fixed_dictionaries({"points": st.lists(points, min_size=1, max_size=3)}, optional={"box": boxes})
    | st.fixed_dictionaries({"box": boxes}),
    min_size=1,
    max_size=3,
)
truth = st.sampled_from(["true", "TRUE", "1", "", '{"threshold": 0.2}', '{"words": ["wall"]}'])
background: Values = st.sampled_from([True, {"threshold": 0.2}, {"words": ["wall"]}])
# Beside the request: no route may stumble over these. The header values are those that `requests` sends.
query = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=2)
identity = st.from_regex(r"[!-~]([ -~]{0,80}[!-~])?", fullmatch=True)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: others' vocabularies stay as they are."""
    with Server(tmp_path_factory.mktemp("fuzzed") / "log.jsonl") as running:
        yield running


@pytest.fixture(scope="module")
def schema(fuzzed: Server) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def operations(schema: BaseSchema) -> dict[str, Operation]:
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    return {operation.label: operation for operation in found}


class Attempt(NamedTuple):
    """A request, and what must hold for its answer."""

    case: Case
    checks: list[CheckFunction]


def attempts(operation: Operation, form: str | None) -> st.SearchStrategy[Attempt]:
    """Requests by the schema, such requests with values that mean something here, and requests against the schema."""
    by_schema, against = (
        operation.as_strategy(generation_mode=mode).filter(lambda case: case.media_type == form)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    )
    if form != FILE:  # fields in the query are for that one alone, which no schema can say
        by_schema = by_schema.map(without_query)
    # Told apart here: schemathesis takes an image that was put into a request for something against the schema.
    taken = st.one_of(by_schema, by_schema.flatmap(meaningful), by_schema.flatmap(meaningful))
    # Two of them: `one_of` takes the same strategy but once.
    fits = [st.builds(Attempt, taken, st.just(CHECKS)) for _ in range(2)]
    return st.one_of(*fits, st.builds(Attempt, against, st.just([*CHECKS, negative_data_rejection])))


def without_query(case: Case) -> Case:
    case.query = {}
    return case


@st.composite
def meaningful(draw: st.DrawFn, case: Case) -> Case:
    """The request with an image, a vocabulary, a model that there are; everything else stays as it was made up."""
    if case.path.startswith("/v1/streams"):
        if isinstance(case.body, dict) and case.path.endswith("/frames"):
            encoded = base64.b64encode(draw(st.sampled_from(IMAGES))).decode()
            case.body = {**case.body, "image": {"base64": encoded}}
        return case
    if case.path_parameters:
        names = ("tiny", "tiny@1") if case.path.startswith("/v1/models") else (*OURS, "ade20k")
        case.path_parameters = {"name": draw(st.sampled_from(names))}
    if case.media_type == FILE:
        case.body, case.query = Binary(draw(st.sampled_from(IMAGES))), {"classes": draw(words)}
    if not isinstance(case.body, dict):
        return case
    if case.method == "PUT":
        case.body = {**case.body, "classes": draw(classes), "background": draw(background)}
        return case
    given: dict[str, Any] = {
        name: value for name, value in case.body.items() if name not in ("classes", "vocabulary", "prompts", "request")
    }
    given |= {"model": draw(model), "task": draw(task)}
    labelled = given["task"] != "prompt" or draw(st.booleans())
    given |= draw(asked) if labelled else {}
    if given["task"] == "prompt":
        given |= {"prompts": draw(prompts), "mask": draw(st.sampled_from(["rle", "polygon", "none"]))}
    # A rule for what no class explains needs classes.
    rule, written = (draw(background), draw(truth)) if labelled else (True, "true")
    image = draw(st.sampled_from(IMAGES))
    if case.media_type == JSON:
        encoded = base64.b64encode(image).decode()
        case.body = {**given, "image": {"base64": encoded}, "background": rule}
    elif draw(st.booleans()):
        del given["image"]
        case.body = {"image": Binary(image), "request": json.dumps({**given, "background": rule})}
    else:
        flat: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if "classes" in flat:
            flat["classes"] = draw(words)
        if "prompts" in flat:
            flat["prompts"] = json.dumps(flat["prompts"])
        case.body = {**flat, "image": Binary(image), "background": written}
    return case


def test_every_operation_is_tried(schema: BaseSchema) -> None:
    forms = {
        (label, body.media_type if body else None)
        for label, operation in operations(schema).items()
        for body in (operation.body or [None])
    }

    assert forms == set(OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize(("label", "form"), OPERATIONS)
def test_every_answer_is_as_documented(
    fuzzed: Server, schema: BaseSchema, session: requests.Session, label: str, form: str | None
) -> None:
    operation = operations(schema)[label]
    statuses: Counter[int] = Counter()

    # The same requests each time: a change is to blame for what it breaks, not the luck of the draw.
    @settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(attempt=attempts(operation, form), query=query, identity=identity)
    def ask(attempt: Attempt, query: dict[str, str], identity: str) -> None:
        case = attempt.case
        if case.method in ("GET", "DELETE") and (case.path_parameters or {}).get("name") in OURS:
            kept = session.put(f"{fuzzed.url}{case.formatted_path}", json={"classes": ["sky", "sea"]}, timeout=SECONDS)
            assert kept.status_code in (200, 201)
        beside = {} if form == FILE else query  # of a file the query is the question: what it does not know is refused
        answer = case.call(session=session, params=beside, headers={"X-Request-Id": identity}, timeout=SECONDS)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=attempt.checks)

    ask()

    assert statuses.total() >= EXAMPLES
    assert sum(count for status, count in statuses.items() if status < 300) >= OPERATIONS[label, form], statuses
