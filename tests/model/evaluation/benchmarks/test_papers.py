"""What the papers measure, and what they print."""

from __future__ import annotations

import pytest

from lexiseg_model.errors import OptionError
from lexiseg_model.evaluation.benchmarks.papers import PaperResult, lines_of, to_markdown


@pytest.mark.parametrize(
    ("paper", "task", "dataset", "label", "figures"),
    [
        ("tcl", "semantic", "voc21", "TCL (PAMR)", {"miou": 55.0}),
        ("unpair-seg", "semantic", "pc459", "Unpair-Seg (v2)", {"miou": 19.5}),
        ("unpair-seg", "panoptic", "coco-panoptic", "Unpair-Seg v1", {"pq": 18.0, "sq": 72.6, "rq": 24.3}),
        ("unpair-seg", "point", "pidray/annotations.json", "Unpair-Seg v1", {"iou": 64.6}),
        ("unpair-seg", "box", "ndd20/annotations.json", "SAM ViT-L", {"iou": 89.7}),
        ("s-seg", "semantic", "context60", "S-Seg (26M pairs)", {"miou": 27.9}),
    ],
)
def test_published_figures_stand_in_their_lines(
    paper: str, task: str, dataset: str, label: str, figures: dict[str, float]
) -> None:
    lines = [line for line in lines_of(paper) if (line.task, line.dataset) == (task, dataset)]

    assert figures in [line.published.get(label) for line in lines]


def test_an_unknown_paper_is_refused() -> None:
    with pytest.raises(OptionError, match="no paper 'sam'; known papers: tcl, unpair-seg, s-seg"):
        lines_of("sam")


def test_the_table_has_ours_beside_the_published_figure_and_a_list_of_what_is_missing() -> None:
    first, second = [line for line in lines_of("tcl") if line.dataset in ("voc21", "ade20k") and line.refine == "pamr"]
    results = [
        PaperResult(first, {"miou": 50.5}, "5 of 1,449"),
        PaperResult(second, {}, missing="no such folder"),
    ]

    table = to_markdown("mine", "tcl", results)

    assert "| voc21 | semantic, masks refined by PAMR | miou | 50.50 | 55.0 (TCL (PAMR)) | 5 of 1,449 |" in table
    assert "| ade20k | semantic, masks refined by PAMR | miou | - | 17.1 (TCL (PAMR)) | - |" in table
    assert table.endswith("Not measured:\n\n- ade20k: no such folder\n")
