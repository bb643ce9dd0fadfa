"""What every test of the kernel needs: the kernel."""

import pytest

from tests.kernel import require_kernel


@pytest.fixture(scope="session", autouse=True)
def kernel() -> None:
    require_kernel()
