"""`Model` and `Health`: what a server reports about its models and itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast

T = TypeVar("T")


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
    unset = {"summary": "", "licence": "", "digest": None}
    return of_json(Model, unset | card, tasks=tuple(card["tasks"]), card=card)


def of_json(kind: type[T], document: Mapping[str, Any], **converted: Any) -> T:
    """A dataclass of the members of a JSON object that it has fields for; `converted` are fields with other values.

    Raises:
        TypeError: a member is missing.
    """
    names = {item.name for item in fields(cast("Any", kind))}
    return kind(**{name: value for name, value in document.items() if name in names} | converted)
