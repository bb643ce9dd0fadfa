"""Why a request for masks failed, in the few words that a metric can hold."""

from __future__ import annotations

from lexiseg_service.errors import (
    DeadlineExceeded,
    NotReady,
    QueueFull,
    ServiceError,
    TooLarge,
    UndecodableImage,
    UnsupportedImage,
)

REASONS: tuple[tuple[type[ServiceError], str], ...] = (
    (QueueFull, "rejected"),
    (DeadlineExceeded, "timeout"),
    (TooLarge, "decode"),
    (UnsupportedImage, "decode"),
    (UndecodableImage, "decode"),
    (NotReady, "backend"),
)


def reason_of(error: Exception) -> str:
    """rejected, timeout, decode, backend or other; what nobody foresaw is the backend's."""
    if not isinstance(error, ServiceError):
        return "backend"
    return next((reason for kind, reason in REASONS if isinstance(error, kind)), "other")
