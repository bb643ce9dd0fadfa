"""Names of what does not come in countable pieces: sky, grass, water. Instances are asked of everything else."""

from __future__ import annotations

from functools import cache
from importlib import resources

import orjson


@cache
def _names() -> frozenset[str]:
    content = resources.files("lexiseg_service.question").joinpath("stuff.json").read_bytes()
    return frozenset(orjson.loads(content)["names"])


def is_thing(name: str) -> bool | None:
    """False for known stuff; None where nobody knows."""
    return False if name.casefold() in _names() else None
