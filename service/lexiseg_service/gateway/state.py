"""Where a gateway keeps what outlives a request: Redis if there is one, else this machine."""

from __future__ import annotations

from lexiseg_service.gateway.admission.key_file import Keys
from lexiseg_service.gateway.admission.limits import Gate, MemoryGate, Rule
from lexiseg_service.gateway.admission.redis_limits import RedisGate
from lexiseg_service.redis_link import RedisLink, open_link
from lexiseg_service.settings import Settings
from lexiseg_service.vocabularies.collection import Most, Vocabularies
from lexiseg_service.vocabularies.readings import Run, in_a_thread
from lexiseg_service.vocabularies.stores.directory import DirectoryStore
from lexiseg_service.vocabularies.stores.redis import RedisStore
from lexiseg_service.vocabularies.stores.store import MemoryStore, Store
from lexiseg_service.watch.metrics import Metrics

MAX_KEY_VOCABULARIES = 64  # of one API key


def open_vocabularies(settings: Settings, metrics: Metrics, run: Run = in_a_thread) -> Vocabularies:
    """The vocabularies of an installation; `run` checks class lists.

    Raises:
        OSError: the state directory cannot be used.
    """
    most = Most(settings.max_vocabularies, MAX_KEY_VOCABULARIES)
    return Vocabularies(_store(settings, metrics), settings.limits, most, run)


def open_gate(settings: Settings, metrics: Metrics, keys: Keys) -> Gate | None:
    """The limits that the settings ask for, and the keys; None where there are neither."""
    common = Rule.of(settings)
    if not common.on and not keys.needed:
        return None

    def rule(client: str) -> Rule:
        kind, _, identity = client.partition(":")
        return keys.rule(identity, common) if kind == "key" else common

    link = _link(settings, "limits", metrics)
    # Longer than any request for one image lives; the gate renews the lease of a stream.
    return MemoryGate(rule) if link is None else RedisGate(rule, link, max(60.0, 2 * settings.deadline_seconds))


def _store(settings: Settings, metrics: Metrics) -> Store:
    link = _link(settings, "vocabularies", metrics)
    if link is not None:
        return RedisStore(link)
    if settings.state_dir is not None:
        return DirectoryStore(settings.state_dir / "vocabularies")
    return MemoryStore()


def _link(settings: Settings, purpose: str, metrics: Metrics) -> RedisLink | None:
    """A link for one purpose: a slow call of one does not count against the others."""
    return None if settings.redis_url is None else open_link(settings, purpose, metrics)
