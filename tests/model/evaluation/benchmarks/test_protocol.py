from __future__ import annotations

from itertools import chain

import pytest

from lexiseg_model.data.benchmark import benchmark
from lexiseg_model.errors import OptionError
from lexiseg_model.evaluation.benchmarks.protocol import Sight, names, protocol, questions
from tests.model.stand_in import card

EIGHT = ["voc21", "context60", "coco-object", "voc20", "context59", "coco-stuff", "cityscapes", "ade20k"]
EVERY = [(name, dataset) for name in names() for dataset in protocol(name).datasets]


def texts(name: str, dataset: str) -> list[str]:
    return [entry.name for entry in questions(benchmark(dataset), protocol(name).rule(dataset)).entries]


def test_every_protocol_covers_the_data_sets_of_its_paper() -> None:
    papers = {
        "unpair-seg": {"ade847", "pc459", "ade20k", "context59", "voc20", "voc21", "cityscapes"},
        "s-seg": {"voc21", "context60", "coco-object", "voc20"},
    }

    policies = {"maskclip", "sclip", "naclip", "proxyclip", "corrclip", "trident"}
    assert set(names()) == {"tcl"} | papers.keys() | policies
    for name in names():
        assert papers.get(name, set(EIGHT)) <= set(protocol(name).datasets)


def test_a_class_of_unpair_seg_is_the_best_of_its_texts_and_so_is_its_background() -> None:
    asked = questions(benchmark("voc21"), protocol("unpair-seg").rule("voc21"))

    assert asked.owner.tolist() == list(range(21))
    assert asked.entries[0].texts[:2] == ("background", "crops")
    assert asked.entries[1].texts == ("aeroplane", "airplane", "aeroplanes", "airplanes")


def test_s_seg_has_groupvits_threshold_for_each_data_set() -> None:
    rules = protocol("s-seg")

    thresholds = {name: rule.threshold for name, rule in rules.datasets.items()}
    assert thresholds == {"voc21": 0.95, "context60": 0.35, "coco-object": 0.95, "voc20": None}


def test_the_unified_protocol_covers_every_benchmark_alike() -> None:
    rules = protocol("tcl")

    assert set(rules.datasets) - set(EIGHT) == {
        "ade847", "pc459", "lvis", "imagenet-s50", "imagenet-s300", "imagenet-s919"
    }  # fmt: skip
    sight = rules.rule("voc21").sight
    assert sight == Sight(short_side=448, long_side=2048, window=448, stride=224)
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

    seen = protocol("naclip").rule("cityscapes").applied_to(sliding)

    assert (seen.input.short_side, seen.input.long_side) == (560, 2048)
    assert seen.settings == {"kp_weight": 0.3, "window": 224, "stride": 112}


def test_where_two_of_a_protocols_rules_differ_the_authors_differ() -> None:
    # SCLIP's temperature, threshold and share on VOC21, NACLIP's whole images, ProxyCLIP's words: their configs/.
    sclip, naclip = protocol("sclip").rule("voc21"), protocol("naclip").rule("voc21")

    assert sclip.sight is not None
    assert naclip.sight is not None
    assert (sclip.scale, sclip.threshold, sclip.smallest_share, sclip.sight.short_side) == (65, 0.1, 0.1, 336)
    assert (naclip.sight.window, naclip.scale, protocol("naclip").refine) == (None, 40, "pamr")
    assert protocol("naclip").rule("ade20k").threshold is None
    assert protocol("proxyclip").rule("pc459").queries["airconditioner"] == ["air conditioner"]
    assert len(protocol("proxyclip").rule("coco-object").background) == 17
