"""Addresses of the workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from lexiseg_service.image.url_fetch import Resolve, SystemResolver
from lexiseg_service.wire.server import UNIX, bracketed

logger = structlog.get_logger("lexiseg.workers")
LOOKUP_SECONDS = 2.0


class Discovery:
    """Resolves host names; one that cannot be resolved keeps its previous addresses."""

    def __init__(self, targets: Sequence[str], resolve: Resolve | None = None) -> None:
        self._sockets = [target for target in targets if target.startswith(UNIX)]
        self._targets = [split(target) for target in targets if not target.startswith(UNIX)]
        self._resolve = resolve or SystemResolver(max(1, len(self._targets)))
        self._addresses: dict[tuple[str, int], list[str]] = {}
        self._logged: set[tuple[str, int]] = set()  # hosts without an address

    @property
    def missing(self) -> list[str]:
        """HOST:PORT of the names that have had no address yet; each should have at least one worker."""
        return [f"{host}:{port}" for host, port in self._targets if not self._addresses.get((host, port))]

    async def addresses(self) -> list[str]:
        """HOST:PORT or unix:PATH of every worker, each once."""
        of_each = await asyncio.gather(*(self._look_up(host, port) for host, port in self._targets))
        return list(dict.fromkeys([*self._sockets, *(address for addresses in of_each for address in addresses)]))

    async def _look_up(self, host: str, port: int) -> list[str]:
        with suppress(OSError, TimeoutError, UnicodeError):
            resolved = set(await asyncio.wait_for(self._resolve(host, port), LOOKUP_SECONDS))
            # A machine with IPv4 and IPv6 addresses must not count as two workers.
            six = {address for address in resolved if ":" in address}
            self._addresses[host, port] = [f"{bracketed(address)}:{port}" for address in sorted(resolved - six or six)]
        addresses = self._addresses.get((host, port), [])
        if addresses:
            self._logged.discard((host, port))
        elif (host, port) not in self._logged:
            self._logged.add((host, port))
            logger.warning("no address", worker=f"{host}:{port}")
        return addresses


def split(target: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[IPV6]:PORT` or `dns:///HOST:PORT`."""
    host, _, port = target.removeprefix("dns:///").rpartition(":")
    return host.strip("[]"), int(port)
