"""Parts that join the gateway by entry points: routes, and the work behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, Protocol

from fastapi import APIRouter
from pydantic import BaseModel

from lexiseg_service.entry_points import PARTS, entry_points_of, load
from lexiseg_service.gateway.admission.access import AccessControl, Caller
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics


class Running(Protocol):
    """The work of a part."""

    async def start(self) -> None: ...

    async def close(self) -> None:
        """End, within the time that settings give."""
        ...

    async def remove_all(self, caller: Caller) -> int:
        """Erase everything that is kept of a caller; returns the number of things."""
        ...


class Part(NamedTuple):
    """One part, the object that an entry point names."""

    name: str  # its attribute of `app.state`, and the kind of what it keeps in `DELETE /v1/data`
    router: APIRouter
    schemas: Sequence[type[BaseModel]]  # of bodies that the routes read by themselves
    open: Callable[[Settings, UseCase, AccessControl, Metrics], Running | None]  # None: switched off
    max_upload: Callable[[Settings], int] | None = None  # bytes of a file that POST or PUT of a name takes; None: none


@cache
def joined() -> tuple[Part, ...]:
    """The parts that are installed, by name. Raises EntryPointError: one does not load."""
    return tuple(load(point, f"part {name}") for name, point in entry_points_of(PARTS).items())
