"""What every caller of a gateway passes, by any protocol: its key, its limits, and room for what it sends."""

from __future__ import annotations

from dataclasses import dataclass

from lexiseg_service.gateway.admission.key_file import Keys
from lexiseg_service.gateway.admission.limits import Gate
from lexiseg_service.settings import Settings
from lexiseg_service.shares import CLIENT_SHARE, Shares

MAX_CALLS = 1000  # gRPC calls and streams over REST at a time; more get 429's code


@dataclass(frozen=True)
class Door:
    """One for both protocols: what they take together is counted together. No gate: no limits of a client's own."""

    keys: Keys
    gate: Gate | None
    bytes: Shares  # of bodies and messages, from before they are read until they are answered
    fetched: Shares  # bytes of images by URL, likewise
    calls: Shares  # of gRPC

    @classmethod
    def of(cls, settings: Settings, keys: Keys, gate: Gate | None) -> Door:
        """The door that the settings ask for."""
        return cls(
            keys,
            gate,
            Shares("bytes of requests", settings.max_bytes_in_flight, CLIENT_SHARE),
            Shares("bytes of images by URL", settings.max_bytes_in_flight // 2, CLIENT_SHARE),
            Shares("calls", MAX_CALLS, CLIENT_SHARE),
        )
