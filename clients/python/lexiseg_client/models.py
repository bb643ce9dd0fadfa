"""`Model` and `Health`: what a server reports about its models and itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Model:
    """A model of the server. `card` holds every field of the server's answer."""

    name: str
    version: str
    summary: str
    tasks: tuple[str, ...]
    licence: str
    digest: str | None  # of the weights; None while they are not loaded
    loaded: bool
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Health:
    """A server's health. `degraded`: parts that work below par without changing answers."""

    alive: bool
    ready: bool
    detail: str
    degraded: tuple[str, ...] = ()


def model_of(card: dict[str, Any]) -> Model:
    """A model from its JSON.

    Raises:
        TypeError, ValueError, LookupError: a member is missing or invalid.
    """
    return Model(
        name=card["name"],
        version=card["version"],
        summary=card.get("summary", ""),
        tasks=tuple(card["tasks"]),
        licence=card.get("licence", ""),
        digest=card.get("digest"),
        loaded=card["loaded"],
        card=card,
    )
