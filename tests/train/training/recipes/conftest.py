from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model.acme import installed


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[None]:
    """The third-party method acme is installed with its recipes."""
    with installed(tmp_path / "site"):
        yield
