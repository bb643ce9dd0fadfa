"""One real server with every adapter, and a photograph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from lexiseg_service.settings import Adapter
from tests import pictures
from tests.integration.server import Server


@pytest.fixture(scope="package")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("adapters") / "log.jsonl"
    with Server(log, LEXISEG_ADAPTERS=",".join(get_args(Adapter))) as running:
        yield running


@pytest.fixture(scope="package")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "china.jpg"
    path.write_bytes(pictures.file("china.jpg"))
    return path
