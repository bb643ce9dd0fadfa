import base64
import errno
import json
import re
import tempfile
from typing import Any

import httpx
import pytest

from lexiseg_model.types import Background
from lexiseg_service.gateway.rest.body import FIELDS
from lexiseg_service.gateway.use_case import PASSED_ON
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend

IMAGE = pictures.encoded(pictures.small())
BASE64 = base64.b64encode(IMAGE).decode()
Fields = list[tuple[str, str]]
SKY = ("classes", "sky")
SEVERAL = "classes=sky and classes=tree"
FORM, CLASS = "multipart/form-data; boundary=sep", ('; name="classes"', b"sky")
AS_CURL = 'as curl sends it with -F image=@FILE.*, got "'


async def post_form(client: httpx.AsyncClient, fields: Fields, **files: Any) -> httpx.Response:
    parts = [(name, (None, value)) for name, value in fields]
    return await client.post("/segment", files=[*parts, *(files or {"image": ("a.png", IMAGE)}).items()])


async def post_json(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    content = json.dumps({"image": {"base64": BASE64}, "classes": ["sky"]} | fields)
    return await client.post("/segment", content=content, headers={"content-type": "application/json"})


async def test_flat_fields_are_what_they_stand_for(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    fields = [("classes", "sky, blue"), ("classes", "sea"), ("overlay", "1"), ("threshold", "0.25"), ("mask", "none")]

    answer = await post_form(client, fields)

    assert answer.status_code == 200, answer.text
    asked = backend.asked[0]
    assert [entry.name for entry in asked.vocabulary.classes] == ["sky, blue", "sea"]
    assert (asked.image, asked.overlay, asked.threshold, asked.mask) == (IMAGE, True, 0.25, "none")


async def test_empty_fields_of_a_form_are_as_not_sent(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    empty = [(name, "") for name in sorted(FIELDS - {"classes"})]

    answer = await post_form(client, [("classes", ""), ("classes", "sky"), ("classes", ""), *empty])
    plain = await post_form(client, [("classes", "sky")])

    assert (answer.status_code, plain.status_code) == (200, 200), answer.text
    first, second = backend.asked
    passed_on = ("vocabulary", "model", "task", "prompts", *PASSED_ON)
    assert [getattr(first, name) for name in passed_on] == [getattr(second, name) for name in passed_on]


async def test_the_request_may_come_as_a_file_as_a_blob_of_a_browser_does(
    client: httpx.AsyncClient, backend: KnownBackend
) -> None:
    question = ("blob", json.dumps({"classes": ["grün"], "threshold": 0.25}).encode())

    answer = await post_form(client, [], image=("a.png", IMAGE), request=question)

    assert answer.status_code == 200, answer.text
    (asked,) = backend.asked
    assert ([entry.name for entry in asked.vocabulary.classes], asked.threshold) == (["grün"], 0.25)


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [(b"{", 400, "JSON"), (b"\xff", 400, "not UTF-8"), (b'"' + b"x" * 2**21 + b'"', 413, "bytes")],
)
async def test_a_request_that_comes_as_a_file_has_the_limits_of_a_text(
    client: httpx.AsyncClient, content: bytes, status: int, said: str
) -> None:
    answer = await post_form(client, [], image=("a.png", IMAGE), request=("blob", content))

    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]


def form_of(*parts: tuple[str, bytes], image: str = 'filename="a.png"') -> bytes:
    """With the image; each part is what its head says beside its kind, and its content."""
    every = [(f'; name="image"; {image}', IMAGE), *parts]
    heads = [f"--sep\r\nContent-Disposition: form-data{said}\r\n\r\n".encode() for said, _ in every]
    return b"".join(head + content + b"\r\n" for head, (_, content) in zip(heads, every, strict=True)) + b"--sep--\r\n"


async def post_as(client: httpx.AsyncClient, content: bytes, kind: str = FORM, **headers: str) -> httpx.Response:
    return await client.post("/segment", content=content, headers={"content-type": kind, **headers})


@pytest.mark.parametrize(
    "name",
    [
        "filename*=UTF-8\'\'caf%C3%A9.jpg", "FileName*=ISO-8859-1\'\'%A3.jpg",
        "filename=a.jpg; filename*=UTF-8\'\'b.jpg", "filename*=nonsense\'\'x%FF.jpg",
    ],
)  # fmt: skip
async def test_a_file_whose_name_has_a_charset_is_a_file(
    client: httpx.AsyncClient, backend: KnownBackend, name: str
) -> None:
    answer = await post_as(client, form_of(CLASS, image=name))

    assert answer.status_code == 200, answer.text
    assert backend.asked[0].image == IMAGE


async def test_a_form_of_a_large_file_needs_no_disk(
    client: httpx.AsyncClient, backend: KnownBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    large = IMAGE + bytes(3 * 2**20)

    answer = await post_form(client, [("classes", "sky")], image=("a.png", large))

    assert answer.status_code == 200, answer.text
    assert backend.asked[0].image == large


async def test_a_field_in_the_query_beside_a_form_or_json_is_refused(
    client: httpx.AsyncClient, backend: KnownBackend
) -> None:
    form = await client.post("/segment?threshold=0.5", files={"image": ("a.png", IMAGE)}, data={"classes": "sky"})
    json_body = await client.post("/segment?classes=sky", json={"image": {"base64": BASE64}})

    for answer in (form, json_body):
        assert answer.status_code == 422
        assert "in the body" in answer.json()["detail"]
    assert not backend.asked


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("true", Background()),
        ("", Background()),
        ("False", None),
        ("0", None),
        ('{"threshold": 0.4, "words": ["wall"]}', Background(("wall",), 0.4)),
    ],
)
async def test_a_flat_background_is_a_word_or_json(
    client: httpx.AsyncClient, backend: KnownBackend, text: str, rule: Background | None
) -> None:
    answer = await post_form(client, [("classes", "sky"), ("background", text)])

    assert answer.status_code == 200, answer.text
    assert backend.asked[0].vocabulary.background == rule


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        pytest.param([SKY, ("threshold", "nan")], "threshold", "", id="threshold is no number"),
        pytest.param([SKY, ("threshold", "1.1")], "threshold", "", id="threshold over one"),
        pytest.param([SKY, ("threshold", "0.1"), ("threshold", "0.2")], "threshold", "", id="field twice"),
        pytest.param([SKY, ("colour", "red")], "colour", "no field of that name, got", id="unknown field"),
        pytest.param([SKY, ("treshold", "1")], "treshold", "name; is `threshold` meant", id="misspelt field"),
        pytest.param([SKY, ("treshold", "")], "treshold", "threshold", id="unknown and empty"),
        pytest.param([SKY, ("max_side", "31")], "max_side", "", id="small max_side"),
        pytest.param([SKY, ("background", "maybe")], "background", "", id="unclear background"),
        pytest.param([SKY, ("request", '{"classes": ["a"]}')], "request", "", id="both forms"),
        pytest.param([("request", "[]")], "request", "", id="request is a list"),
        pytest.param([("request", '{"classes": [""]}')], "classes.0", "", id="empty class"),
        pytest.param([("request", '{"classes": [{"name": "a", "colour": 1}]}')], "classes.0", "", id="in a class"),
        pytest.param([("classes", "sky,tree")], "classes", SEVERAL, id="several in one field"),
        pytest.param([("classes", '["sky", "tree"]')], "classes", SEVERAL, id="a list in one field"),
        pytest.param([], "classes", "", id="no classes"),
        pytest.param([("classes", "")], "classes", "", id="all classes empty"),
        pytest.param([("image", "china.jpg"), SKY], "image", AS_CURL + "the text 'china.jpg'", id="curl without @"),
        pytest.param([("file", ("a", IMAGE)), SKY], "image", AS_CURL + "0 files, and one in 'file'", id="other field"),
    ],
)
async def test_a_wrong_field_of_a_form_is_named(
    client: httpx.AsyncClient, backend: KnownBackend, fields: list[Any], field: str, said: str
) -> None:
    image = [] if {name for name, _ in fields} & {"image", "file"} else [("image", ("a.png", IMAGE))]
    parts = [(name, (None, value) if isinstance(value, str) else value) for name, value in fields]

    answer = await client.post("/segment", files=[*image, *parts])

    assert (answer.status_code, answer.json()["type"], backend.asked) == (422, "invalid-value", [])
    assert answer.json()["errors"][0]["field"].startswith(field)
    assert re.search(said, answer.json()["detail"])


@pytest.mark.parametrize(
    ("count", "request_", "headers", "value"),
    [
        (17, {"classes": ["sky"]}, {}, "17 files"),
        (2, {"prompts": [{"points": [{"x": 1, "y": 1}]}]}, {}, "2 files"),
        (2, {"classes": ["sky"]}, {"accept": "image/png"}, "2 files"),
    ],
)
async def test_more_images_than_one_question_may_have_are_refused(
    client: httpx.AsyncClient, count: int, request_: dict[str, Any], headers: dict[str, str], value: str
) -> None:
    files: list[tuple[str, Any]] = [("request", (None, json.dumps(request_)))]
    files += [("image", (f"{number}.png", IMAGE)) for number in range(count)]

    answer = await client.post("/segment", files=files, headers=headers)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "image")
    assert answer.json()["errors"][0]["value"] == value


@pytest.mark.parametrize(
    ("field", "status", "kind"), [("classes", 422, "invalid-value"), ("request", 413, "too-large")]
)
async def test_a_form_beyond_a_limit_is_told_so_as_json_is(
    client: httpx.AsyncClient, field: str, status: int, kind: str
) -> None:
    words = [f"word {n}" for n in range(3000)]
    fields = [("classes", word) for word in words] if field == "classes" else [("request", " " * 3_000_000)]

    answer = await post_form(client, fields)
    as_json = await client.post("/segment", json={"image": {"base64": BASE64}, "classes": words})

    assert (answer.status_code, answer.json()["type"]) == (status, kind)
    assert as_json.json()["errors"][0]["field"] == "classes"
    if field == "classes":
        same = ("field", "expected")
        assert [answer.json()["errors"][0][name] for name in same] == [
            as_json.json()["errors"][0][name] for name in same
        ]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"image": "china.jpg"}, "image", id="a name as the image"),
        pytest.param({"image": {"base64": "%%%"}}, "image.base64", id="no base64"),
        pytest.param({"image": {"base64": BASE64 + "="}}, "image.base64", id="base64 padded too far"),
        pytest.param({"image": {}}, "image", id="empty image"),
        pytest.param({"image": {"base64": BASE64, "id": "a"}}, "image", id="image two ways"),
        pytest.param({"image": BASE64}, "image", id="image as a string"),
        pytest.param({"classes": [7]}, "classes.0", id="a number as a class"),
        pytest.param({"threshold": True}, "threshold", id="truth as a number"),
        pytest.param({"max_side": 10**30}, "max_side", id="an integer of 30 digits"),
        pytest.param({"colour": 1}, "colour", id="unknown field"),
    ],
)
async def test_a_wrong_field_of_json_is_named(client: httpx.AsyncClient, fields: dict[str, Any], field: str) -> None:
    answer = await post_json(client, **fields)

    assert (answer.status_code, answer.json()["type"]) == (422, "invalid-value")
    assert answer.json()["errors"][0]["field"].startswith(field)
    assert field != "image" or '{"base64": ...}, {"url": ...} ' in answer.json()["detail"]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        pytest.param("application/json", b"{", id="half an object"),
        pytest.param("application/json", b"[]", id="a list"),
        pytest.param("application/json", b"\xff\xfe\x00", id="no text"),
        pytest.param("application/json", b"", id="nothing"),
        pytest.param("application/json", b"[" * 40_000, id="JSON of 40,000 levels"),
        pytest.param("application/json", b'{"classes": ["\\ud800"]}', id="half a surrogate pair"),
        pytest.param("application/json", b'{"classes": ["sky"], "threshold": NaN}', id="NaN"),
        pytest.param("application/json", b'{"max_side": ' + b"9" * 5_000 + b"}", id="an endless integer"),
        pytest.param("multipart/form-data", b"--a\r\n", id="a form without its boundary"),
        pytest.param("multipart/form-data; boundary=a", b"garbage", id="a form of garbage"),
        pytest.param("text/plain", b"sky", id="plain text"),
        pytest.param("application/x-www-form-urlencoded", b"classes=sky", id="an urlencoded form"),
    ],
)
async def test_a_body_of_another_form_is_malformed(client: httpx.AsyncClient, kind: str, content: bytes) -> None:
    answer = await post_as(client, content, kind)

    assert (answer.status_code, answer.json()["type"]) == (400, "malformed-request")


@pytest.mark.parametrize("swarm", ['"a"', "0", "[]", "{}"])
async def test_json_with_too_many_values_is_refused_before_parsing(client: httpx.AsyncClient, swarm: str) -> None:
    content = f'{{"image": {{"base64": "{BASE64}"}}, "classes": [{",".join([swarm] * 100_000)}]}}'

    answer = await post_as(client, content.encode(), "application/json")

    assert (answer.status_code, answer.json()["type"]) == (413, "too-large")


async def test_a_text_of_a_form_that_is_no_utf_8_is_malformed(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    answer = await post_as(client, form_of(('; name="classes"', b"\xff\xfe")))

    assert (answer.status_code, backend.asked) == (400, [])
    assert "the text of 'classes' is not UTF-8" in answer.json()["detail"]


@pytest.mark.parametrize("cut", [8, 9, 20, 60])
async def test_a_form_that_ends_too_early_is_malformed(
    client: httpx.AsyncClient, backend: KnownBackend, cut: int
) -> None:
    answer = await post_as(client, form_of(CLASS, CLASS)[:-cut])

    assert (answer.status_code, backend.asked) == (400, [])
    assert "ends before its last boundary" in answer.json()["detail"]


@pytest.mark.parametrize("coding", ["gzip", "br", "x", "identity, gzip"])
@pytest.mark.parametrize("kind", [FORM, "application/json", "image/png"])
async def test_a_compressed_body_is_refused(client: httpx.AsyncClient, kind: str, coding: str) -> None:
    answer = await post_as(client, b"", kind, **{"content-encoding": coding})

    assert answer.status_code == 400
    assert f"content-encoding {coding!r}; send the content as it is" in answer.json()["detail"]
