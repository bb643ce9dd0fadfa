"""Fixtures of the tests of MCP."""

from pathlib import Path

import pytest

from tests.service.adapters.asking import PICTURE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "a.png").write_bytes(PICTURE)
    (tmp_path / "secret.png").write_bytes(PICTURE)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    return folder
