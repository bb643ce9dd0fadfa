"""What is no HTTP, has no end, or might be read in two ways."""

from __future__ import annotations

from contextlib import suppress

import pytest

from lexiseg_service.gateway.admission.keys import line_of
from tests.service.gateway.rest.http1.messages import CHUNKED, QUESTION
from tests.service.gateway.rest.raw import HEAD, MODELS, listening


async def test_what_is_no_http_is_a_problem() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(b"HELO there\r\n\r\n")

        assert await raw.problem() == (400, "malformed-request")
        assert await raw.ended()


async def test_a_head_without_end_is_a_problem() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Long: 12345678\r\n" * 5000)

        assert await raw.problem() == (431, "too-large")


async def test_a_head_that_is_too_large_is_a_problem_even_where_its_end_comes_with_it() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"1" * 65_536 + b"\r\n\r\n")

        assert await raw.problem() == (431, "too-large")


async def test_a_head_of_countless_fields_is_too_large_before_all_of_them_are_heard_of() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + 3000 * b"a:b\r\n" + b"\r\n")

        assert await raw.problem() == (431, "too-large")
        raw = await server.open()
        await raw.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + 500 * b"a:b\r\n" + b"\r\n")

        assert (await raw.answer())[0] == 200


async def test_what_follows_a_body_is_no_part_of_its_head() -> None:
    async with listening(api_keys=line_of("known", "lexiseg_key")) as server:
        raw = await server.open()
        await raw.send(CHUNKED + b"X-API-Key: lexiseg_key\r\n\r\n")

        assert await raw.problem() == (401, "unauthorized")


@pytest.mark.parametrize(
    ("last", "beside"),
    [
        (b"0\r\n", b"X-Long: 12345678\r\n" * 5000),
        (b"0\r\nX: ", b"a" * 90_000),
        (b"1;", b"a" * 90_000),
        (b"", b"1\r\n{\r\n" * 20_000),
    ],
    ids=["trailers", "one trailer", "an extension", "chunks"],
)
async def test_what_stands_beside_a_body_in_chunks_has_an_end(last: bytes, beside: bytes) -> None:
    async with listening(body_seconds=1000, body_pace=1) as server:
        raw = await server.open()
        await raw.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n" + last)
        with suppress(ConnectionError):
            while not raw.reader.at_eof():
                await raw.send(beside)


async def test_small_chunks_are_a_body() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(QUESTION), 8):
            part = QUESTION[start : start + 8].encode()
            await raw.send(b"%x\r\n%s\r\n" % (len(part), part))
        await raw.send(b"0\r\n\r\n")

        assert (await raw.answer())[0] == 200


async def test_what_is_no_http_behind_requests_in_line_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(MODELS * 3 + b"HELO there\r\n\r\n")

        assert await raw.ended()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\n",
        b"GET /livez HTTP/1.1\r\nHost:\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a b/c\r\n",
        b"POST /segment HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"GET /models HTTP/1.1\r\nHost: x\r\nHost: y\r\n",
        b"GET /models HTTP/1.1\r\nHost: x\r\nX-API-Key: one\r\nX-API-Key: two\r\n",
        HEAD + b"Content-Type: multipart/form-data; boundary=x\r\n",
        b"GET /models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer one\r\nAuthorization: Bearer two\r\n",
    ],
)
async def test_what_two_servers_might_read_differently_is_malformed(head: bytes) -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(head + b"\r\n")

        assert await raw.problem() == (400, "malformed-request")


async def test_a_client_of_http_1_0_needs_no_host() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(b"GET /livez HTTP/1.0\r\n\r\n")

        assert (await raw.answer())[0] == 200
