"""Gateways that take jobs, archives of pictures, and jobs asked over HTTP."""

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from lexiseg_service.question.backend import Backend
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports
from tests.waiting import until

QUESTION = {"classes": ["sky"]}
PNG = pictures.encoded(pictures.small(side=32))


@contextmanager
def gateway(folder: Path, backend: Backend | None = None, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a gateway with the state directory `folder`."""
    with (
        on_ports(backend or KnownBackend(), **{"jobs": True, "state_dir": folder, **settings}) as ports,
        httpx.Client(base_url=ports.url, timeout=60) as client,
    ):
        yield client


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, file in files.items():
            archive.writestr(name, file)
    return content.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, file in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(file)
            archive.addfile(entry, io.BytesIO(file))
    return content.getvalue()


def create(client: httpx.Client, archive: bytes | None = None, **fields: Any) -> httpx.Response:
    """POST /v1/jobs; `question` is `QUESTION` unless it is among the fields."""
    asked = {"question": QUESTION, **fields}
    if archive is None:
        return client.post("/v1/jobs", json=asked)
    return client.post("/v1/jobs", data={"request": json.dumps(asked)}, files={"archive": ("pictures.zip", archive)})


def finished(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The job of an answer once it is done."""
    assert answer.status_code == 202, answer.text
    location = answer.headers["Location"]
    until(lambda: client.get(location).json()["state"] == "done", told=lambda: client.get(location).text)
    job: dict[str, Any] = client.get(location).json()
    return job


def lines(client: httpx.Client, identity: str) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/jobs/{identity}/results", params={"to": "jsonl"})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]
