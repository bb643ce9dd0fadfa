"""Figures of a benchmark run beside published figures."""

import json
from itertools import product
from typing import Any

import numpy as np
import pytest

from lexiseg_model.cards import ModelCard
from lexiseg_model.errors import OptionError
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.s_seg.settings import SSegSettings
from lexiseg_model.methods.tcl.network import TclSettings
from lexiseg_model.methods.unpair_seg.settings import UnpairSegSettings
from lexiseg_train.data.benchmark import benchmark
from lexiseg_train.evaluation.benchmarks.report import (
    NO_FIGURE,
    PUBLISHED,
    BenchmarkReport,
    PaperResult,
    beside,
    lines_of,
    published,
    summary,
    to_markdown,
)
from lexiseg_train.evaluation.benchmarks.run import protocol
from lexiseg_train.evaluation.counts import count
from tests.model.stand_in import card


def tcl_card() -> ModelCard:
    return card(name="my-tcl").model_copy(update={"method": "tcl", "recipe": None})


def dense_clip(policy: str, **settings: Any) -> ModelCard:
    changes = {"method": "dense_clip", "recipe": None, "settings": {"policy": policy, **settings}}
    return card(name="mine").model_copy(update=changes)


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


@pytest.mark.parametrize(
    ("policy", "settings", "refine", "nearest"),
    [
        ("proxyclip", {"architecture": "ViT-L-14"}, "none",
         "ProxyCLIP (ViT-B/16, DINO B/8) 61.3, with architecture ViT-B-16, not ViT-L-14"),
        ("proxyclip", {"pretrained": None}, "none",
         "ProxyCLIP (ViT-B/16, DINO B/8) 61.3, with pretrained openai, not of a file"),
        ("naclip", {"architecture": "ViT-L-14"}, "pamr",
         "NACLIP (ViT-B/16, PAMR) 64.07, with architecture ViT-B-16, not ViT-L-14"),
        ("corrclip", {}, "regions",
         "CorrCLIP (MetaCLIP ViT-B/16, SAM 2 from 8 x 8 points) 73.9, with pretrained metaclip_fullcc, not openai"),
    ],
)  # fmt: skip
def test_of_another_backbone_or_other_weights_the_nearest_published_figure_is_named(
    policy: str, settings: dict[str, Any], refine: str, nearest: str
) -> None:
    protocol_name = policy.replace("_", "-")
    rule = protocol(protocol_name).rule("voc21")
    measured = report(card=dense_clip(policy, **settings), protocol=protocol_name, rule=rule, refine=refine)

    assert measured.published_miou is None
    assert measured.beside == f"no published figure for this combination; nearest: {nearest}"
    assert measured.beside in measured.to_markdown()
    assert not any(f"**{row.label}**" in measured.to_markdown() for row in published())


@pytest.mark.parametrize("recipe", [None, "recipe.yaml"])
@pytest.mark.parametrize(
    ("method", "settings", "dataset", "nearest"),
    [
        ("s_seg", {}, "voc21", "S-Seg (26M pairs) 53.2"),
        ("s_seg_plus", {}, "voc21", "S-Seg+ (26M pairs) 62.0"),
        ("unpair_seg", {"adapter": True}, "ade847", "Unpair-Seg (v2) 14.6"),
        ("unpair_seg", {"adapter": True}, "voc21", "Unpair-Seg (v1, Uni-OVSeg) 78.9"),
    ],
)
def test_a_figure_of_weights_that_were_never_released_is_the_nearest_at_most(
    recipe: str | None, method: str, settings: dict[str, Any], dataset: str, nearest: str
) -> None:
    model = card(name="mine").model_copy(update={"method": method, "recipe": recipe, "settings": settings})
    name = method.replace("_plus", "").replace("_", "-")
    measured = report(
        dataset, card=model, protocol=name, rule=protocol(name).rule(dataset), refine="none",
        convention=protocol(name).miou or "mmseg",
    )  # fmt: skip

    assert measured.published_miou is None
    assert measured.beside == f"{NO_FIGURE}; nearest: {nearest}, with the authors' weights, never released"


def test_every_combination_has_the_figure_of_its_own_row_or_none() -> None:
    rows = json.loads(PUBLISHED.read_bytes())["rows"]
    unknown = [row | {"weights": row.get("weights", {}) | {"architecture": "of nobody"}} for row in rows]
    names = sorted({name for row in rows for name in row["miou"]})

    wrong = []
    for model, run, name in product([*rows, *unknown], rows, names):
        settings = {key: value for key, value in model["model"].items() if key != "method"} | model.get("weights", {})
        changes = {"method": model["model"]["method"], "recipe": None, "settings": settings}
        measured = report(
            name, card=card(name="mine").model_copy(update=changes), protocol=run["protocol"],
            refine=run["refine"] or "none", convention=run["convention"] or "mmseg",
        )  # fmt: skip
        same = [
            row["miou"][name]
            for row in rows
            if name in row["miou"]
            and row.get("released", True)
            and row["model"] == model["model"]
            and row.get("weights", {}).items() <= model.get("weights", {}).items()
            and (row["protocol"], row["convention"]) == (run["protocol"], measured.convention)
            and row["refine"] in (None, measured.refine)
        ]
        if measured.published_miou != (same[-1] if same else None):
            wrong.append((model["variant"], run["variant"], name))

    assert wrong == []


def test_a_method_without_published_figures_has_no_nearest_one() -> None:
    assert report(card=card()).beside == "no published figure for this combination"


def test_the_defaults_are_those_of_the_settings() -> None:
    table = json.loads(PUBLISHED.read_bytes())["defaults"]

    by_method = {
        "dense_clip": DenseClipSettings(), "tcl": TclSettings(),
        "unpair_seg": UnpairSegSettings(), "s_seg": SSegSettings(),
    }  # fmt: skip
    assert table.keys() == by_method.keys()
    for method, settings in by_method.items():
        assert {name: getattr(settings, name) for name in table[method]} == table[method]


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        (False, "13.2 (Unpair-Seg v1, CLIP pooling)"),
        (True, f"{NO_FIGURE}; nearest: Unpair-Seg v1 18.0, with the authors' weights, never released"),
    ],
)
def test_a_paper_s_figures_are_of_the_same_stage(adapter: bool, expected: str) -> None:
    model = card(name="mine").model_copy(
        update={"method": "unpair_seg", "recipe": None, "settings": {"adapter": adapter}}
    )
    lines = {(line.dataset, line.task): line for line in lines_of("unpair-seg")}

    assert beside(lines["coco-panoptic", "panoptic"], "pq", model) == expected
    assert beside(lines["coco-panoptic", "point"], "iou", model) == "77.1 (Unpair-Seg v1)"


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

    assert lines[2] == "| voc21 | 1,449 of 1,449 | 58.33 | 55.0 (PAMR) |"
    assert lines[3] == "| ade20k | 10 of 2,000 | 58.33 | 17.1 (PAMR) |"


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

    table = to_markdown(tcl_card(), "tcl", results)

    assert "| voc21 | semantic, masks refined by PAMR | miou | 50.50 | 55.0 (TCL (PAMR)) | 5 of 1,449 |" in table
    assert "| ade20k | semantic, masks refined by PAMR | miou | - | 17.1 (TCL (PAMR)) | - |" in table
    assert table.endswith("Not measured:\n\n- ade20k: no such folder\n")
