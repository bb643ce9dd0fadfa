from itertools import chain

import numpy as np
import pytest

from lexiseg_model.catalogue.models import find
from lexiseg_model.errors import OptionError
from lexiseg_train.data.benchmark import benchmark
from lexiseg_train.evaluation.benchmarks.run import names, protocol, questions
from tests.model.stand_in import card


def test_a_class_of_unpair_seg_is_the_best_of_its_texts_and_so_is_its_background() -> None:
    asked = questions(benchmark("voc21"), protocol("unpair-seg").rule("voc21"))

    assert asked.owner.tolist() == list(range(21))
    assert asked.entries[0].texts[:2] == ("background", "crops")
    assert asked.entries[1].texts == ("aeroplane", "airplane", "aeroplanes", "airplanes")


@pytest.mark.parametrize("name", names())
def test_renamed_classes_are_classes_of_the_data_set(name: str) -> None:
    for dataset in protocol(name).datasets:
        rule = protocol(name).rule(dataset)

        assert set(rule.queries) <= set(benchmark(dataset).classes), dataset
        assert all(chain(*rule.queries.values())), dataset
        assert "background" not in rule.queries, dataset  # it has a place of its own
        assert not rule.background or benchmark(dataset).background, dataset


def test_a_data_set_that_a_protocol_does_not_cover_is_an_error() -> None:
    with pytest.raises(OptionError, match="the protocol naclip does not cover 'lvis'; it covers voc20"):
        protocol("naclip").rule("lvis")


@pytest.mark.parametrize("method", ["tcl", "tipsv2", "one_of_another_package"])
def test_a_protocol_sets_size_and_windows_of_any_method_that_states_windows(method: str) -> None:
    sliding = card().model_copy(update={"method": method, "settings": {"kp_weight": 0.3, "window": None}})
    rule = protocol("naclip").rule("cityscapes")

    seen = rule.applied_to(sliding)

    assert (seen.input.short_side, seen.input.long_side) == (560, 2048)
    assert seen.settings == {"kp_weight": 0.3, "window": 224, "stride": 112}
    assert rule.as_applied(sliding) is rule


def test_a_model_without_windows_keeps_its_size_and_the_rule_says_so() -> None:
    rule = protocol("naclip").rule("cityscapes")
    whole = card().model_copy(update={"settings": {}})

    assert rule.applied_to(whole) is whole
    assert (rule.sight is None, rule.as_applied(whole).sight) == (False, None)


EIGHT = ("voc21", "voc20", "context60", "context59", "coco-object", "coco-stuff", "cityscapes", "ade20k")


@pytest.mark.parametrize("dataset", EIGHT)
def test_tcl_sees_each_of_its_eight_sets_alike_and_renames_no_class(dataset: str) -> None:
    rule = protocol("tcl").rule(dataset)

    assert rule.sight is not None
    assert (rule.sight.short_side, rule.sight.long_side, rule.sight.window, rule.sight.stride) == (448, 2048, 448, 224)
    assert rule.threshold == ("own" if benchmark(dataset).background else None)
    assert (rule.queries, rule.background) == ({}, [])


def test_trident_has_its_authors_thresholds_for_each_data_set() -> None:
    rule = protocol("trident").rule("cityscapes")

    trident, other = (rule.applied_to(find(name).card) for name in ("trident-b16", "dense-clip"))

    own = trident.settings
    assert (own["sam_factor"], own["sam_least"], trident.input.short_side) == (3.0, 0.1, 688)
    assert (own["sam_low_bound"], own["sam_strips"]) == (0.6, 2)
    assert "sam_factor" not in other.settings


def test_trident_asks_in_the_1887_rows_of_its_class_lists() -> None:
    asked = {name: questions(benchmark(name), protocol("trident").rule(name)) for name in protocol("trident").datasets}

    assert sum(each.owner.max() + 1 for each in asked.values()) == 1887
    # Its merging of texts knows several of the background alone.
    assert all(np.bincount(each.owner)[1:].max() == 1 for each in asked.values())
    names = {entry.name for entry in asked["ade847"].entries}
    assert names - {*benchmark("ade847").classes} == {"altar, communion table, lords table"}
