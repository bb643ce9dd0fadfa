"""Masks are computed in two ways, compiled and by numpy: what holds for one holds for the other."""

from collections.abc import Iterator

import pytest

from benchmarks.kernel import kernel_disabled
from tests.kernel import require_kernel


@pytest.fixture(scope="module", params=["compiled", "numpy"])
def each_way(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "numpy":
        with kernel_disabled():
            yield
    else:
        require_kernel()
        yield
