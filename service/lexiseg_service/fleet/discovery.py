"""Addresses of the workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

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
        self._logged: set[tuple[str, int]] = set()  # hosts with a failed lookup, until one succeeds

    @property
    def missing(self) -> list[str]:
        """HOST:PORT of the names that have had no address yet; each should have at least one worker."""
        return [f"{host}:{port}" for host, port in self._targets if not self._addresses.get((host, port))]

    async def addresses(self) -> list[str]:
        """HOST:PORT or unix:PATH of every worker, each once."""
        of_each = await asyncio.gather(*(self._look_up(host, port) for host, port in self._targets))
        return list(dict.fromkeys([*self._sockets, *(address for addresses in of_each for address in addresses)]))

    async def _look_up(self, host: str, port: int) -> list[str]:
        try:
            resolved = set(await asyncio.wait_for(self._resolve(host, port), LOOKUP_SECONDS))
        except Exception as error:  # a resolver raises many kinds; the gateway goes on with what it knows
            if (host, port) not in self._logged:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                logger.warning("name lookup failed", worker=f"{host}:{port}", reason=reason)
            self._logged.add((host, port))
        else:
            # A machine with IPv4 and IPv6 addresses must not count as two workers.
            six = {address for address in resolved if ":" in address}
            self._addresses[host, port] = [f"{bracketed(address)}:{port}" for address in sorted(resolved - six or six)]
            self._logged.discard((host, port))
        return self._addresses.get((host, port), [])


def split(target: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[IPV6]:PORT` or `dns:///HOST:PORT`."""
    host, _, port = target.removeprefix("dns:///").rpartition(":")
    return host.strip("[]"), int(port)
