"""What the server is and has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Model:
    """A model that a question may name. `card` holds everything that the server says of it."""

    name: str
    version: str
    summary: str
    tasks: tuple[str, ...]
    licence: str
    digest: str | None  # of the loaded weights; None until they are
    loaded: bool
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Health:
    """Whether the server answers. `degraded`: what works less well than it should, without a change in the answers."""

    alive: bool
    ready: bool
    detail: str
    degraded: tuple[str, ...] = ()
