from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog

from service import logs
from service.gateway.app import create_app
from service.metrics import Metrics
from service.settings import Settings
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, access = root.handlers[:], root.level, logging.getLogger("uvicorn.access").disabled
    yield
    root.handlers[:], root.level = handlers, level
    logging.getLogger("uvicorn.access").disabled = access
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings())

    structlog.get_logger("lexiseg.test").info("hello", n=1)

    (line,) = lines(capsys)
    assert (line["event"], line["n"], line["level"], line["logger"]) == ("hello", 1, "info", "lexiseg.test")
    assert "timestamp" in line


def test_the_standard_library_logs_in_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings())

    logging.getLogger("uvicorn.error").warning("slow %s", "socket")

    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["logger"]) == ("slow socket", "warning", "uvicorn.error")


def test_an_error_with_its_trace_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings())

    try:
        raise ValueError("two\nlines")
    except ValueError:
        structlog.get_logger("lexiseg.test").exception("failed")

    (line,) = lines(capsys)
    assert "ValueError" in line["exception"]


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_level="warning"))

    structlog.get_logger("lexiseg.test").info("hello")

    assert lines(capsys) == []


def test_the_console_format_is_for_eyes(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="console"))

    structlog.get_logger("lexiseg.test").info("hello")

    assert "hello" in capsys.readouterr().err


@pytest.mark.parametrize("classes", [["unicorn"], ["unicorn", "unicorn"], ["unicorn\x00"]])
async def test_a_request_is_logged_without_its_words_or_its_image(
    capsys: pytest.CaptureFixture[str], classes: list[str]
) -> None:
    logs.configure(Settings(log_level="debug"))
    app = create_app(Settings(model="colours"), KnownBackend(), Metrics())
    files = [("image", ("secret.png", pictures.encoded(pictures.small())))]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        capsys.readouterr()

        await client.post("/segment", files=[*files, *(("classes", (None, name)) for name in classes)])

    written = capsys.readouterr().err
    requests = [line for line in map(json.loads, written.splitlines()) if line["event"] == "request"]
    assert [(line["route"], line["method"]) for line in requests] == [("/segment", "POST")]
    assert "unicorn" not in written
    assert "secret" not in written
    assert "PNG" not in written
