"""A server's models and its health."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lexiseg_client.checked import optional, text, truth


@dataclass(frozen=True)
class Model:
    """A model that a question may name. `card` holds every field of the server's answer."""

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


def model_of(card: dict[str, Any]) -> Model:
    """A model of its JSON.

    Raises:
        TypeError, ValueError, LookupError: the JSON is not one of a model.
    """
    return Model(
        name=text(card["name"]),
        version=text(card["version"]),
        summary=text(card.get("summary", "")),
        tasks=tuple(text(task) for task in card["tasks"]),
        licence=text(card.get("licence", "")),
        digest=optional(card.get("digest"), text),
        loaded=truth(card["loaded"]),
        card=card,
    )
