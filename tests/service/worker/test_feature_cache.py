"""What is remembered of images, for whom, and for how long."""

from __future__ import annotations

import torch

from model.segmenter import Features
from service.worker.feature_cache import FeatureCache, FeatureKey, Remembered


def key(name: str = "image", owner: str = "", max_side: int | None = None) -> FeatureKey:
    return FeatureKey(owner, name, "digest", max_side)


def entry(n_bytes: int = 100) -> Remembered:
    return Remembered(Features((8, 8), {"pixels": torch.zeros(n_bytes, dtype=torch.uint8)}), b"")


def test_what_was_kept_is_found() -> None:
    cache, kept = FeatureCache(1000), entry()

    cache.keep(key(), kept)

    assert cache.find(key()) is kept


def test_another_key_does_not_find_it() -> None:
    cache = FeatureCache(1000)
    cache.keep(key(owner="alice"), entry())

    assert cache.find(key(owner="bob")) is None
    assert cache.find_image("bob", "image") is None


def test_other_options_are_another_entry() -> None:
    cache = FeatureCache(1000)
    cache.keep(key(), entry())

    assert cache.find(key(max_side=64)) is None


def test_the_image_is_found_under_any_options() -> None:
    cache = FeatureCache(1000)
    cache.keep(key(max_side=64), Remembered(entry().features, b"encoded"))

    assert cache.find_image("", "image") == b"encoded"


def test_the_least_recently_used_goes_first() -> None:
    cache = FeatureCache(250)
    cache.keep(key("a"), entry())
    cache.keep(key("b"), entry())
    cache.find(key("a"))

    cache.keep(key("c"), entry())

    assert [name for name in "abc" if cache.find(key(name))] == ["a", "c"]
    assert cache.nbytes == 200


def test_keeping_again_does_not_count_twice() -> None:
    cache = FeatureCache(1000)

    cache.keep(key(), entry(100))
    cache.keep(key(), entry(60))

    assert cache.nbytes == 60


def test_an_entry_larger_than_the_cache_is_not_kept() -> None:
    cache = FeatureCache(50)
    cache.keep(key("small"), entry(40))

    cache.keep(key("large"), entry(60))

    assert cache.find(key("large")) is None
    assert cache.find(key("small")) is not None
