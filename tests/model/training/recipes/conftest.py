from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model.training.recipes.contributed import install_with_recipes


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The method acme with its recipes is installed."""
    install_with_recipes(tmp_path / "site")
    forget()  # another test's package of that name
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith("acme_seg")]:
        del sys.modules[name]
