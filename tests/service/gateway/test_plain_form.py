"""What a plain form says is what the streaming parser says; whatever is not plain is left to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from lexiseg_service.gateway.rest.plain_form import plain_form

Items = list[tuple[str, str | bytes]]
BOUNDARY = "b0undary"
KIND = f"multipart/form-data; boundary={BOUNDARY}"
HEAD = b'--b0undary\r\nContent-Disposition: form-data; name="classes"'
END = b"\r\n--b0undary--\r\n"
LIMITS = {"max_files": 2, "max_fields": 40, "max_part_size": 2**16}


async def items_of(form: FormData) -> Items:
    return [
        (name, await value.read() if isinstance(value, UploadFile) else value) for name, value in form.multi_items()
    ]


async def streamed(body: bytes, content_type: str) -> Items | None:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    headers = Headers({"content-type": content_type})
    try:
        form = await MultiPartParser(headers, chunks(), **LIMITS).parse()
    except MultiPartException:
        return None
    try:
        return await items_of(form)
    finally:
        await form.close()


def sent(fields: list[str], image: bytes) -> tuple[bytes, str]:
    """As httpx writes it."""
    parts: list[tuple[str, tuple[str | None, bytes]]] = [("classes", (None, field.encode())) for field in fields]
    request = httpx.Request("POST", "http://host/", files=[*parts, ("image", ("a photo.jpg", image))])
    return request.read(), request.headers["content-type"]


async def test_a_form_of_httpx_is_plain() -> None:
    body, kind = sent(["sky", "Bäume", ""], b"\xff\xd8\r\n--\r\n\x00")

    form = plain_form(body, kind, **LIMITS)

    assert form is not None
    expected = [("classes", "sky"), ("classes", "Bäume"), ("classes", ""), ("image", b"\xff\xd8\r\n--\r\n\x00")]
    assert await items_of(form) == expected == await streamed(body, kind)


@given(st.data())
async def test_what_both_read_they_read_alike(data: st.DataObject) -> None:
    body, kind = sent(data.draw(st.lists(st.text(max_size=8), max_size=4)), data.draw(st.binary(max_size=40)))
    boundary = kind.partition("=")[2].encode()
    pieces = [b"\r\n", b"--", b'"', b"\x80", boundary, b"\r\n--" + boundary, b"\r\n\r\n", b"; filename=", b" ", b"\n"]
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(body)))
        end = min(len(body), start + data.draw(st.integers(0, 12)))
        body = body[:start] + data.draw(st.sampled_from([b"", *pieces])) + body[end:]

    form = plain_form(body, kind, **LIMITS)

    if form is not None:
        assert await items_of(form) == await streamed(body, kind)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (HEAD + b"\r\n\r\nsky" + END, f"multipart/form-data; charset=latin-1; boundary={BOUNDARY}"),
        (HEAD + b"\r\n\r\nsky" + END, "multipart/form-data"),
        (HEAD + b"\r\n\r\nsky" + END, "multipart/form-data; boundary=other"),
        (b"before\r\n" + HEAD + b"\r\n\r\nsky" + END, KIND),
        (HEAD + b"\r\n\r\nsky" + END + b"behind", KIND),
        (HEAD + b"\r\n\r\nsky", KIND),
        (HEAD + b"\r\n\r\n\xff" + END, KIND),
        (HEAD + b'; filename="\\"' + b"\r\n\r\nsky" + END, KIND),
        (HEAD + b"\r\nX-More: 1\r\n\r\nsky" + END, KIND),
        (HEAD + b"\r\n\r\nsky\r\n--b0undary?\r\n" + END, KIND),
        (HEAD + b"\r\n\r\n" + 70_000 * b"s" + END, KIND),
        (41 * (HEAD + b"\r\n\r\nsky\r\n") + END[2:], KIND),
        (b"", KIND),
    ],
)
def test_anything_unusual_is_left_to_the_other_parser(body: bytes, kind: str) -> None:
    assert plain_form(body, kind, **LIMITS) is None
