"""Figures of a benchmark run beside published figures."""

import json
from typing import Any

import numpy as np
import pytest

from lexiseg_model.data.benchmark import benchmark
from lexiseg_model.errors import OptionError
from lexiseg_model.evaluation.benchmarks.papers import PaperResult, lines_of, to_markdown
from lexiseg_model.evaluation.benchmarks.protocol import protocol
from lexiseg_model.evaluation.benchmarks.report import BenchmarkReport, published, summary
from lexiseg_model.evaluation.counts import count
from lexiseg_model.types import ModelCard
from tests.model.stand_in import card


def tcl_card() -> ModelCard:
    return card(name="my-tcl").model_copy(update={"method": "tcl"})


def report(name: str = "voc21", **changes: Any) -> BenchmarkReport:
    dataset = benchmark(name)
    counts = count(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), len(dataset.classes))
    values: dict[str, Any] = {
        "card": tcl_card(), "digest": "0123", "protocol": "tcl", "convention": dataset.miou,
        "rule": protocol("tcl").rule(name), "refine": "pamr", "benchmark": dataset, "split": "val",
        "images": dataset.split("val").images, "counts": counts,
    }  # fmt: skip
    return BenchmarkReport(**(values | changes))


def test_the_published_figure_of_the_same_measurement_stands_beside_ours() -> None:
    values = json.loads(json.dumps(report().to_json()))

    same = [row for row in values["published"] if row["same_measurement"]]
    assert [(row["method"], row["variant"], row["miou"]) for row in same] == [("TCL", "PAMR", 55.0)]
    assert values["published_miou"] == 55.0
    assert values["miou"] == pytest.approx((50 + 100 * 2 / 3) / 2, abs=0.01)
    assert (values["images"], values["official_images"]) == (1449, 1449)


@pytest.mark.parametrize("changes", [{"split": "train"}, {"protocol": "sclip"}, {"refine": "none"}, {"card": card()}])
def test_a_different_measurement_is_not_called_the_same(changes: dict[str, Any]) -> None:
    different = report(**changes)

    assert not any(different.repeats(row) for row in different.published if row.variant == "PAMR")
    assert different.published_miou != 55.0


def test_every_convention_is_reported_and_that_of_the_data_set_is_the_figure() -> None:
    # 151 classes more that nobody saw: only the one convention counts them.
    values = report("pc459", counts=count(np.array([0, 0, 1]), np.array([0, 2, 1]), 459)).to_json()

    assert values["miou_convention"] == "detectron2"
    assert values["miou"] == values["miou_by_convention"]["detectron2"] == 75.0
    assert values["miou_by_convention"]["mmseg"] == 50.0
    assert values["miou_by_convention"]["imagenet-s"] == pytest.approx(150 / 459, abs=0.01)


def test_markdown_sets_ours_above_the_published() -> None:
    lines = report().to_markdown().splitlines()

    ours = next(index for index, line in enumerate(lines) if line.startswith("| **my-tcl** (measured) | **58.33** |"))
    theirs = next(index for index, line in enumerate(lines) if line.startswith("| **TCL (PAMR)** | 55.0 |"))
    assert ours < theirs
    assert "| aeroplane | 66.67 |" in lines
    assert "| bicycle | - |" in lines


def test_the_summary_has_a_line_for_each_data_set() -> None:
    lines = summary([report("voc21"), report("ade20k", images=10)]).splitlines()

    assert lines[2] == "| voc21 | 1,449 of 1,449 | 58.33 | 51.2 (no PAMR), 55.0 (PAMR) |"
    assert lines[3] == "| ade20k | 10 of 2,000 | 58.33 | 14.9 (no PAMR), 17.1 (PAMR) |"


def test_every_figure_is_of_a_benchmark_and_has_a_source() -> None:
    for row in published():
        assert row.source, row.label
        assert row.miou, row.label
        for name, figure in row.miou.items():
            benchmark(name)
            assert 0 < figure < 100


def test_an_unknown_paper_is_refused() -> None:
    with pytest.raises(OptionError, match="no paper 'sam'; known papers: tcl, unpair-seg, s-seg"):
        lines_of("sam")


def test_the_table_has_ours_beside_the_published_figure_and_a_list_of_what_is_missing() -> None:
    first, second = [line for line in lines_of("tcl") if line.dataset in ("voc21", "ade20k") and line.refine == "pamr"]
    results = [PaperResult(first, {"miou": 50.5}, "5 of 1,449"), PaperResult(second, {}, missing="no such folder")]

    table = to_markdown("mine", "tcl", results)

    assert "| voc21 | semantic, masks refined by PAMR | miou | 50.50 | 55.0 (TCL (PAMR)) | 5 of 1,449 |" in table
    assert "| ade20k | semantic, masks refined by PAMR | miou | - | 17.1 (TCL (PAMR)) | - |" in table
    assert table.endswith("Not measured:\n\n- ade20k: no such folder\n")
