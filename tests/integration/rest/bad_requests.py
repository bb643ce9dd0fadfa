"""Generators of invalid HTTP requests, as bytes on the wire."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import httpx

from tests import pictures
from tests.integration.server import form

HOST = "http://localhost"
IMAGE = pictures.encoded(pictures.small("china", 48), "JPEG")
DEEP = b"[" * 50_000
HUGE = 10**9  # announced, never sent
WRONG: tuple[Any, ...] = (None, True, -1, 1e400, "", "\x00", "\ud800", [], [[]], [None], {}, {"a": 1}, "x" * 5000)
FIELDS = (
    "classes", "vocabulary", "task", "prompts", "model", "mask", "refine", "overlay", "background", "threshold",
    "max_side",
)  # fmt: skip


def wire(request: httpx.Request) -> bytes:
    """A request as HTTP/1.1."""
    head = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1".encode()]
    head += [name + b": " + value for name, value in request.headers.raw]
    return b"\r\n".join([*head, b"", request.read()])


def segment(**body: Any) -> bytes:
    """POST /segment with a body in one of httpx's ways."""
    return wire(httpx.Request("POST", f"{HOST}/segment", **body))


def by_hand(
    body: bytes, *headers: str, method: str = "POST", path: str = "/segment", length: int | None = None
) -> bytes:
    """A request whose parts need not fit each other."""
    announced = len(body) if length is None else length
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {announced}", *headers, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def _json(body: bytes) -> bytes:
    return by_hand(body, "Content-Type: application/json")


def _question(**fields: Any) -> bytes:
    image = {"base64": base64.b64encode(IMAGE).decode()}
    return _json(json.dumps({"image": image, "classes": ["sky"], **fields}).encode())


def _cut_short(chance: random.Random) -> bytes:
    image = pictures.encoded(pictures.small("china", 48), chance.choice(["JPEG", "PNG", "WEBP"]))
    return segment(files=form(image[: chance.randrange(len(image) // 2)], "sky"))


def _wrong_field(chance: random.Random) -> bytes:
    return _question(**{chance.choice(FIELDS): {"nobody": chance.choice(WRONG)}})  # an object that no field takes


def _damaged_json(chance: random.Random) -> bytes:
    body = bytearray(json.dumps({"image": {"id": "0" * 32}, "classes": ["sky"]}).encode())
    body[chance.randrange(len(body))] = chance.choice(b'\x00\xff"{}')
    return _json(bytes(body))


def _damaged_form(chance: random.Random) -> bytes:
    request = httpx.Request("POST", f"{HOST}/segment", files=form(IMAGE, "sky"))
    body = request.read()
    kind = chance.choice(
        ["multipart/form-data", "multipart/form-data; boundary=other", request.headers["content-type"]]
    )
    return by_hand(body[: chance.randrange(len(body) - 8)], f"Content-Type: {kind}")


# Whole requests: each is answered, with a 4xx.
REFUSED: tuple[Callable[[random.Random], bytes], ...] = (
    _cut_short,
    _wrong_field,
    _damaged_json,
    _damaged_form,
    lambda chance: segment(files=form(chance.randbytes(chance.randrange(2000)), "sky")),
    lambda chance: segment(files=form(IMAGE, *chance.choice([[], [""], ["sky", "SKY"], ["a" * 200], ["\x00"]]))),
    lambda chance: segment(files=form(IMAGE, "sky", **{chance.choice(["mask", "task", "sky"]): "nothing"})),
    lambda chance: segment(files=[("image", ("a", IMAGE)), ("image", ("b", IMAGE))]),
    lambda chance: _question(image=chance.choice([None, {}, {"base64": "*"}, {"id": "0", "url": "x"}, {"file": "x"}])),
    lambda chance: _question(**{chance.choice(["threshold", "max_side"]): chance.choice([-1, 1e9, "x", []])}),
    lambda chance: _question(prompts=[{"box": [chance.choice([-1, 1e400, None, "x", 9]), 0, 8, 1]}]),
    lambda chance: _question(prompts=[{"points": [{"x": chance.choice(WRONG), "y": 0}]}]),
    lambda chance: _json(chance.choice([b"", b"null", b"{", DEEP, b"[" + b"0," * 60_000 + b"0]", b"\xff\xfe"])),
    lambda chance: by_hand(chance.randbytes(99), f"Content-Type: {chance.choice(['', 'text/plain', ';', 'a/b/c'])}"),
    lambda chance: by_hand(b"", "Expect: 100-continue", "Content-Type: application/json", length=HUGE),
    lambda chance: by_hand(b"{}", method=chance.choice(["PUT", "DELETE", "PATCH", "TRACE"])),
    lambda chance: by_hand(
        b"", method="GET", path=chance.choice(["/nothing", "/models/%00", "/%ff", "/vocabularies/.."])
    ),
    lambda chance: by_hand(b"[]", "Content-Type: application/json", method="PUT", path="/vocabularies/room"),
    lambda chance: by_hand(b"", "If-Match: \xff", method="DELETE", path="/vocabularies/ade20k"),
)
# Not even HTTP, or too much of it: answered or not, but never with a 5xx.
BROKEN: tuple[Callable[[random.Random], bytes], ...] = (
    lambda chance: chance.randbytes(chance.randrange(1, 400)) + b"\r\n\r\n",
    lambda chance: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(64),  # a TLS greeting
    lambda chance: by_hand(IMAGE, "Content-Type: multipart/form-data; boundary=x", "X-Large: " + "x" * 200_000),
    lambda chance: by_hand(IMAGE, *(f"X-{number}: {number}" for number in range(2000))),
    lambda chance: by_hand(b"", "Transfer-Encoding: chunked") + b"zz\r\n",
    lambda chance: by_hand(b"", "Bad\x00Name: 1"),
    lambda chance: by_hand(IMAGE, length=chance.choice([-1, len(IMAGE) // 2, 10**30])),
    lambda chance: b"POST /segment HTTP/9.9\r\n\r\n",
    lambda chance: b"GET " + b"/x" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
)
