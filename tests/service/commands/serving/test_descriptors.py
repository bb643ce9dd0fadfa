"""A server has as many descriptors as it may have."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such bounds")
BEGUN_WITH = """
import resource
from lexiseg_service.commands.serving.descriptors import take_all_descriptors
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))
take_all_descriptors()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("hard", "soft"), [("200", "200"), ("64", "64")])
def test_a_process_may_have_as_many_as_the_system_lets_it(hard: str, soft: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", BEGUN_WITH.format(hard=hard)], capture_output=True, text=True, check=True
    )

    assert ran.stdout.split() == [soft, hard]
