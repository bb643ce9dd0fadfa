"""JSON from clients: what is parsed, and what is refused with a reason."""

from __future__ import annotations

import base64

import pytest

from lexiseg_service.errors import InvalidValue, MalformedRequest, TooLarge
from lexiseg_service.question.examples import decode_base64
from lexiseg_service.question.validation import parse_json, parse_object
from lexiseg_service.settings import Limits


def test_values_come_as_they_stand() -> None:
    assert parse_json('{"a": [1, {"a": null}], "b": {"a": 1.5}}', Limits()) == {"a": [1, {"a": None}], "b": {"a": 1.5}}


@pytest.mark.parametrize("text", ["{", "", "[" * 5000, '"\x00"', "nul", "NaN", '"\ud800"'])
def test_what_is_no_json_is_malformed(text: str) -> None:
    with pytest.raises(MalformedRequest, match="the JSON cannot be parsed"):
        parse_json(text, Limits())


def test_more_values_than_a_request_can_need_are_too_large() -> None:
    with pytest.raises(TooLarge, match="more than"):
        parse_json("[" + "1," * 1_000_000 + "1]", Limits())


@pytest.mark.parametrize(("body", "kind"), [(b"[]", "list"), (b"null", "NoneType"), (b'"a"', "str")])
def test_a_body_that_is_no_object_says_what_it_is(body: bytes, kind: str) -> None:
    with pytest.raises(MalformedRequest, match=f"the JSON body is a {kind}; expected an object"):
        parse_object(body, Limits())


CONTENT = bytes(range(256)) * 100
TEXT = base64.b64encode(CONTENT).decode()


@pytest.mark.parametrize("text", [TEXT, "data:image/png;base64," + TEXT, "\r\n".join([TEXT[:76], TEXT[76:]])])
def test_base64_comes_with_or_without_a_data_uri_and_line_breaks(text: str) -> None:
    assert decode_base64(text, "image.base64") == CONTENT


@pytest.mark.parametrize("text", ["A" * 9001, "A" * 8000 + "-_==", "data:,base64," + "A" * 8000, "hello!"])
def test_what_is_no_base64_names_its_field(text: str) -> None:
    with pytest.raises(InvalidValue, match=rf"a: expected base64 \(RFC 4648\), got '{len(text)} characters'"):
        decode_base64(text, "a")
