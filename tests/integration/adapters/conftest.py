"""A photograph in a folder of its own."""

from pathlib import Path

import pytest

from tests import pictures


@pytest.fixture(scope="package")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "china.jpg"
    path.write_bytes(pictures.file("china.jpg"))
    return path
