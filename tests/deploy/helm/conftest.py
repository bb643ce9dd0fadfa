"""Skip the Helm tests where its library is not available."""

from pathlib import Path

import pytest

from tests.deploy.helm.installing import THERE_IS_ONE

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not THERE_IS_ONE:
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.skip(reason="no library of Helm for this machine"))
