"""The text caches of one process: models with the same text tower share rows, and all towers share the memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from lexiseg_model.segmenter import Segmenter
from lexiseg_model.segmenter import TextRows as Encoded
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.texts.asked import AskedBefore
from lexiseg_service.worker.texts.cache import TextCache, Tiers
from lexiseg_service.worker.texts.tiers import MemoryRows

if TYPE_CHECKING:
    from lexiseg_service.worker.texts.redis_rows import RedisTier


class TextCaches:
    """Text caches by model; safe to use from any thread."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        encoded: Callable[[int, float], object] = lambda n_texts, seconds: None,
    ) -> None:
        """Nothing is kept yet. `encoded` hears how many texts a tower was asked for, and the seconds that it took."""
        self._encoded = encoded
        self._memory = MemoryRows(settings.text_cache_bytes)
        self._shared = _open_shared(settings, metrics)
        self._count = metrics.texts
        self._tiers: dict[str, Tiers] = {}  # by digest of the tower
        self._asked = AskedBefore()
        metrics.held("asked", lambda: self._asked.nbytes)
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are held in memory now."""
        return self._memory.nbytes

    @property
    def degraded(self) -> bool:
        """Whether Redis is given up, or takes no rows, at the moment."""
        return self._shared is not None and self._shared.degraded

    def of(self, segmenter: Segmenter) -> TextCache:
        """The cache of one model. Nothing that stays here keeps the model in memory."""
        return TextCache(
            segmenter.encode_texts, self._tiers_of(segmenter.text_digest), encoded=self._encoded, asked=self._asked
        )

    def beside(self, space: str, encode: Callable[[list[str]], Encoded]) -> TextCache:
        """A cache of other rows than a tower's, all of one length, under names that `space` tells from others."""
        return TextCache(encode, self._tiers_of(space))

    def _tiers_of(self, tower: str) -> Tiers:
        with self._guard:
            if tower not in self._tiers:
                shared = None if self._shared is None else self._shared.of(tower)
                self._tiers[tower] = Tiers(tower, self._memory, shared, self._count)
            return self._tiers[tower]

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()


def _open_shared(settings: Settings, metrics: Metrics) -> RedisTier | None:
    if settings.redis_url is None:
        return None
    from lexiseg_service.worker.texts.redis_rows import open_tier  # without an address nothing needs the client

    return open_tier(settings.redis_url, settings, metrics)
