"""JSON from outside: what is taken as it stands, and what two readers might read differently."""

from __future__ import annotations

import base64
import json

import pytest

from lexiseg_service.errors import InvalidValue, MalformedRequest, TooLarge
from lexiseg_service.question.examples import content_of
from lexiseg_service.question.json_text import LONGEST_NAME, MOST_DIGITS, MOST_NAMES, parse_json, parse_object
from lexiseg_service.settings import Limits


def test_values_come_as_they_stand() -> None:
    assert parse_json('{"a": [1, {"a": null}], "b": {"a": 1.5}}', Limits()) == {"a": [1, {"a": None}], "b": {"a": 1.5}}


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "c": 2, "\\u0061": 3}}]', b'{"a": 1, "a": 1}'])
def test_a_name_that_stands_twice_in_one_object_is_malformed(text: str | bytes) -> None:
    with pytest.raises(MalformedRequest, match="'a' stands twice in one object"):
        parse_json(text, Limits())


@pytest.mark.parametrize("text", ["{", "", "[" * 5000, "9" * 5000, '"\x00"', "nul"])
def test_what_is_no_json_is_malformed(text: str) -> None:
    with pytest.raises(MalformedRequest, match="the JSON cannot be parsed"):
        parse_json(text, Limits())


def test_more_values_than_a_request_can_need_are_too_large() -> None:
    with pytest.raises(TooLarge, match="more than"):
        parse_json("[" + "1," * 1_000_000 + "1]", Limits())


def test_all_texts_and_some_of_the_base64_may_be_escaped_and_no_more() -> None:
    limits = Limits()
    texts = r"\u6a39" * limits.max_text_bytes
    base64 = ("A" * 63 + r"\u002b") * 10_000

    assert parse_json(f'["{texts}", "{base64}"]', limits) == [
        "\u6a39" * limits.max_text_bytes,
        ("A" * 63 + "+") * 10_000,
    ]
    with pytest.raises(TooLarge, match="escaped characters"):
        parse_json('"' + r"\u002B" * (4 * limits.max_text_bytes) + '"', limits)


@pytest.mark.parametrize(("body", "kind"), [(b"[]", "list"), (b"null", "NoneType"), (b'"a"', "str")])
def test_a_body_that_is_no_object_says_what_it_is(body: bytes, kind: str) -> None:
    with pytest.raises(MalformedRequest, match=f"the JSON body is a {kind}; expected an object"):
        parse_object(body, Limits())


def test_an_object_of_countless_names_is_too_large() -> None:
    text = json.dumps({f"name {index}": index for index in range(MOST_NAMES + 1)})

    with pytest.raises(TooLarge, match="256 names"):
        parse_json(text, Limits())


@pytest.mark.parametrize("character", ["a", "\u6a39", "-"])
@pytest.mark.parametrize("within", ["{}", '[{{"b": {}}}]'])
def test_a_name_of_countless_characters_is_malformed_and_a_text_of_them_is_none(character: str, within: str) -> None:
    for length in (LONGEST_NAME + 1, 1_000_000):  # the second is cut out before, where it may be base64
        text = within.format(json.dumps({character * length: 1}, ensure_ascii=False))
        with pytest.raises(MalformedRequest, match=r"a name of [0-9,]+ characters") as refused:
            parse_json(text, Limits())
        assert len(refused.value.detail) < 100

    assert parse_json(json.dumps({character * LONGEST_NAME: character * 5000}), Limits()) == {
        character * LONGEST_NAME: character * 5000
    }


def test_a_number_of_countless_digits_is_malformed_and_a_text_of_them_is_none() -> None:
    digits = "7" * (MOST_DIGITS + 1)

    assert parse_json(f'["{digits}", 7]', Limits()) == [digits, 7]
    assert parse_json(digits[1:], Limits()) == int(digits[1:])
    with pytest.raises(MalformedRequest, match="1,001 digits"):
        parse_json(f'["a", {digits}]', Limits())


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_long_picture_comes_as_what_it_stands_for(prefix: str) -> None:
    content = bytes(range(256)) * 100
    text = prefix + base64.b64encode(content).decode()

    parsed = parse_json(json.dumps({"image": {"base64": text, "id": text}}), Limits())

    assert content_of(parsed["image"]["base64"], "image") is parsed["image"]["base64"].content
    assert parsed["image"]["base64"].content == content
    assert parsed["image"]["id"] == text  # where no picture is expected, it is the text that it is


@pytest.mark.parametrize("text", ["A" * 9001, "A" * 8000 + "-_==", "data:,base64," + "A" * 8000, "AA==" * 3000])
def test_what_only_looks_like_a_long_picture_is_the_text_that_it_is(text: str) -> None:
    assert parse_json(json.dumps({"base64": text}), Limits()) == {"base64": text}
    with pytest.raises(InvalidValue, match=rf"a: expected base64 \(RFC 4648\), got '{len(text)} characters'"):
        content_of(text, "a")
