"""The cache of image features: LRU and bytes."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_model.features import Features, InferenceOptions
from lexiseg_service.worker import feature_cache
from lexiseg_service.worker.feature_cache import FeatureCache, FeatureKey, Remembered


@pytest.fixture(autouse=True, scope="module")
def _numbers_alone() -> Iterator[None]:
    """Entries of a hundred bytes: what else they take is a test of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_cache, "ENTRY_BYTES", 0)
        yield


def key(name: str = "image") -> FeatureKey:
    return FeatureKey("", name, "digest", InferenceOptions())


def entry(n_bytes: int = 100) -> Remembered:
    return Remembered(Features((8, 8), {"pixels": torch.zeros(n_bytes, dtype=torch.uint8)}), b"")


def test_concurrent_requests_use_the_first_features() -> None:
    cache, first = FeatureCache(1000), entry(100)
    cache.add(key(), first)

    assert cache.add(key(), entry(60)) is first
    assert cache.get(key()) is first
    assert cache.weight == 100


def derive(kept: Remembered, n_bytes: int, name: str = "proposals") -> None:
    kept.features.derived.once(name, lambda: (torch.zeros(n_bytes, dtype=torch.uint8),))


@given(st.lists(st.tuples(st.sampled_from(["keep", "grow", "weigh", "find"]), st.integers(0, 3)), max_size=60))
def test_the_bytes_held_never_drift(steps: list[tuple[str, int]]) -> None:
    cache = FeatureCache(500)
    entries = [entry(100) for _ in range(4)]
    for number, (step, index) in enumerate(steps):
        if step == "keep":
            cache.add(key(str(index)), entries[index])
        elif step == "grow":
            derive(entries[index], 30, str(number))
        elif step == "weigh":
            cache.weigh(key(str(index)))
        else:
            cache.get(key(str(index)))
    for index in range(4):
        cache.weigh(key(str(index)))

    assert cache.weight == sum(entries[index].nbytes for index in range(4) if cache.get(key(str(index))))
    assert cache.weight <= 500
