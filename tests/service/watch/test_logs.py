import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import structlog
from numpy.typing import NDArray
from pydantic import SecretStr

from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.settings import Settings
from lexiseg_service.watch import logs
from tests import pictures
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.serving import form, serving
from tests.service.worker.gated_colours import GatedColours


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, access = root.handlers[:], root.level, logging.getLogger("uvicorn.access").disabled
    configuration = structlog.get_config()
    yield
    root.handlers[:], root.level = handlers, level
    for name in logs.CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.getLogger("uvicorn.access").disabled = access
    structlog.configure(**configuration)
    for name, module in tuple(sys.modules.items()):  # loggers keep their configuration after the first line
        if name.startswith("lexiseg_service."):
            vars(vars(module).get("logger", structlog)).pop("bind", None)


def test_a_client_that_resets_its_call_leaves_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings())
    grpc_logger = logging.getLogger("grpc._cython.cygrpc")
    for error in (type("ExecuteBatchError", (Exception,), {})("reset"), RuntimeError("something else")):
        grpc_logger.error("raised by servicer method", exc_info=error)

    (line,) = lines(capsys)
    assert "something else" in line["exception"]


async def test_the_services_own_http_calls_are_no_lines_of_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings())

    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client:
        await client.get("http://label.studio/upload?signature=secret")

    assert lines(capsys) == []


class TalkativeColours(GatedColours):
    """Logs from within a stage, as a library would."""

    def encode_texts(self, texts: list[str]) -> NDArray[np.float16]:
        logging.getLogger("library").warning("looked up")
        return super().encode_texts(texts)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings())

    structlog.get_logger("lexiseg.test").info("hello", n=1)

    (line,) = lines(capsys)
    assert (line["event"], line["n"], line["level"], line["logger"]) == ("hello", 1, "info", "lexiseg.test")
    assert "timestamp" in line


@pytest.mark.parametrize("classes", [["unicorn"], ["unicorn", "unicorn"], ["unicorn\x00"]])
async def test_a_request_is_logged_without_its_words_or_its_image(
    capsys: pytest.CaptureFixture[str], classes: list[str]
) -> None:
    logs.configure(Settings(log_level="debug"))
    files = [("image", ("secret.png", pictures.encoded(pictures.small())))]
    async with serving() as client:
        capsys.readouterr()

        await client.post("/segment", files=[*files, *(("classes", (None, name)) for name in classes)])

    written = capsys.readouterr().err
    requests = [line for line in map(json.loads, written.splitlines()) if line["event"] == "request"]
    assert [(line["route"], line["method"]) for line in requests] == [("/segment", "POST")]
    assert "unicorn" not in written
    assert "secret" not in written
    assert "PNG" not in written


@pytest.mark.parametrize(
    ("failures", "events"),
    [([RuntimeError("the device is gone")], ["image pass failed", "unexpected error"]), ([], ["looked up"])],
)
async def test_lines_of_a_worker_name_the_request_and_its_key_and_no_word_or_image(
    capsys: pytest.CaptureFixture[str], failures: list[Exception], events: list[str]
) -> None:
    logs.configure(Settings(log_level="debug"))
    segmenter = TalkativeColours()
    segmenter.failures += failures
    backend = EngineBackend(segmenter)
    headers = {"X-API-Key": "secret", "X-Request-Id": "request-7"}
    async with serving(backend=backend, api_keys=SecretStr(line_of("camera", "secret"))) as client:
        await client.post("/segment", files=form("unicorn"), headers=headers)
    backend.engine.close(20)

    written = capsys.readouterr().err
    assert not [secret for secret in ("unicorn", "secret", "PNG") if secret in written]
    about = [line for line in map(json.loads, written.splitlines()) if line["event"] in (*events, "request")]
    assert [line["event"] for line in about] == [*events, "request"]
    assert {(line["request_id"], line["key_id"]) for line in about} == {("request-7", "camera")}
