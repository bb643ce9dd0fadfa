from __future__ import annotations

from itertools import chain

import pytest

from lexiseg_model.data.benchmark import benchmark
from lexiseg_model.errors import OptionError
from lexiseg_model.evaluation.benchmarks.protocol import names, protocol, questions
from tests.model.stand_in import card

EIGHT = ["voc21", "context60", "coco-object", "voc20", "context59", "coco-stuff", "cityscapes", "ade20k"]
EVERY = [(name, dataset) for name in names() for dataset in protocol(name).datasets]


def texts(name: str, dataset: str) -> list[str]:
    return [entry.name for entry in questions(benchmark(dataset), protocol(name).rule(dataset)).entries]


def test_every_protocol_covers_the_eight_data_sets() -> None:
    assert set(names()) == {"tcl", "maskclip", "sclip", "clearclip", "naclip", "proxyclip", "clip-dinoiser"}
    for name in names():
        assert set(EIGHT) <= set(protocol(name).datasets)


def test_the_unified_protocol_covers_every_benchmark_alike() -> None:
    rules = protocol("tcl")

    assert set(rules.datasets) - set(EIGHT) == {
        "ade847", "pc459", "lvis", "imagenet-s50", "imagenet-s300", "imagenet-s919"
    }  # fmt: skip
    sight = rules.rule("voc21").sight
    assert (sight.short_side, sight.long_side, sight.window, sight.stride) == (448, 2048, 448, 224)
    for dataset, rule in rules.datasets.items():
        assert rule.sight == sight
        assert not rule.queries
        assert not rule.background
        assert rule.threshold == ("own" if benchmark(dataset).background else None)


@pytest.mark.parametrize(("name", "dataset"), EVERY)
def test_renamed_classes_are_classes_of_the_data_set(name: str, dataset: str) -> None:
    rule = protocol(name).rule(dataset)

    assert set(rule.queries) <= set(benchmark(dataset).classes)
    assert all(chain(*rule.queries.values()))
    assert "background" not in rule.queries  # it has a place of its own
    assert not rule.background or benchmark(dataset).background


def test_a_policy_asks_by_the_words_of_its_authors() -> None:
    asked = texts("sclip", "voc21")

    assert asked[:3] == ["sky", "wall", "tree"]
    assert len(asked) == 26 + 16 + 1 + 1 + 7 + 5  # background words, unchanged names, boat, table, person, television
    assert {"ship", "table", "person in shirt", "tv monitor"} < set(asked)
    assert not {"boat", "diningtable", "tvmonitor"} & set(asked)


def test_a_data_set_that_a_protocol_does_not_cover_is_an_error() -> None:
    with pytest.raises(OptionError, match="the protocol naclip does not cover 'lvis'; it covers voc20"):
        protocol("naclip").rule("lvis")


def test_a_protocol_sets_size_and_windows_of_a_method_that_has_them() -> None:
    sliding = card().model_copy(update={"method": "tcl", "settings": {"kp_weight": 0.3}})

    seen = protocol("naclip").rule("cityscapes").sight.applied_to(sliding)

    assert (seen.input.short_side, seen.input.long_side) == (560, 2048)
    assert seen.settings == {"kp_weight": 0.3, "window": 224, "stride": 112}


def test_where_two_of_a_protocols_rules_differ_the_authors_differ() -> None:
    # SCLIP's temperature, threshold and share on VOC21, NACLIP's whole images, ProxyCLIP's words: their configs/.
    sclip, naclip = protocol("sclip").rule("voc21"), protocol("naclip").rule("voc21")

    assert (sclip.scale, sclip.threshold, sclip.smallest_share, sclip.sight.short_side) == (65, 0.1, 0.1, 336)
    assert (naclip.sight.window, naclip.scale, protocol("naclip").refine) == (None, 40, "pamr")
    assert protocol("naclip").rule("ade20k").threshold is None
    assert protocol("proxyclip").rule("pc459").queries["airconditioner"] == ["air conditioner"]
    assert len(protocol("proxyclip").rule("coco-object").background) == 17
