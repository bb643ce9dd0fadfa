from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.pages.mask_quality import figures, main, published
from benchmarks.pages.quality import BEGIN, END, read_reports, with_figures

PAGE = Path(__file__).resolve().parents[3] / "docs" / "mask-quality.md"


def report(task: str, dataset: str, images: int, **more: Any) -> dict[str, Any]:
    kind = "annotated" if dataset.endswith(("-panoptic", "-instance")) else "components"
    figures_of: dict[str, dict[str, Any]] = {
        "panoptic": {"pq": 12.34, "sq": 70.1, "rq": 17.6},
        "instance": {"ap": 5.67, "ap50": 9.1, "ap75": None},
        "point": {"iou": 55.5, "iou_first": 44.4, "objects": 1234},
        "box": {"iou": 66.6, "iou_first": 60.6, "objects": 1234},
    }
    return {
        "task": task, "model": "mine", "model_version": "2", "dataset": dataset, "images": images,
        "official_images": 100, "instances_are": kind, "figures": figures_of[task], **more,
    }  # fmt: skip


def test_the_page_shows_the_figures_of_the_data() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == with_figures(page, figures(read_reports(PAGE.with_suffix(""))))


def test_every_published_figure_is_on_the_page_with_its_source() -> None:
    lines = figures([]).splitlines()

    for row in published().panoptic:
        cells = {" / ".join(map(str, values)) for values in row.figures.values()}
        assert len([line for line in lines if is_row(line, row.method, row.source, cells)]) == 1
    for prompts in published().prompts:
        cells = {f"{prompts.point_grid[name]} / {prompts.box[name]}" for name in prompts.box}
        assert len([line for line in lines if is_row(line, prompts.method, prompts.source, cells)]) == 1


def is_row(line: str, method: str, source: str, cells: set[str]) -> bool:
    return {method, source, *cells} <= {cell.strip() for cell in line.split("|")}


def test_measured_benchmarks_stand_beside_the_published() -> None:
    lines = figures(
        [
            report("panoptic", "ade20k-panoptic", 100),
            report("point", "coco-panoptic", 100, points="grid", grid=20),
            report("box", "coco-panoptic", 100),
            report("instance", "coco-instance", 100),
        ]
    ).splitlines()

    assert "| **mine 2** | 12.34 / 70.1 / 17.6 | - | - | measured |" in lines
    assert "| **mine 2** | - | - | 55.5 / 66.6 | measured |" in lines
    assert "| **mine 2** | coco-instance | 5.67 | 9.1 | - |" in lines


def test_all_tasks_of_a_set_of_ones_own_share_a_row() -> None:
    lines = figures(
        [
            report("point", "voc", 100, points="centre"),
            report("box", "voc", 100),
            report("panoptic", "voc", 100, refine="none"),
            report("box", "regions", 100),
        ]
    ).splitlines()

    assert "| **mine 2** | voc | 100 | 1,234 | 55.5 | 44.4 | - | 66.6 | 12.34 | - |" in lines
    assert "| **mine 2** | regions | 100 | 1,234 | - | - | - | 66.6 | - | - |" in lines


def test_a_part_of_a_split_is_no_figure() -> None:
    assert "66.6" not in figures([report("box", "voc", 99)])


def test_a_grid_of_another_size_is_not_the_published_measure() -> None:
    assert "55.5" not in figures([report("point", "coco-panoptic", 100, points="grid", grid=10)])


def test_reports_beside_the_page_are_written_into_it(tmp_path: Path) -> None:
    page = tmp_path / "masks.md"
    page.write_text(f"# Masks\n\n{BEGIN}\nold\n{END}\nThe end.\n")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "voc.json").write_text(json.dumps(report("box", "voc", 100)))

    main(page)

    text = page.read_text()
    assert "| **mine 2** | voc |" in text
    assert "old" not in text
    assert text.endswith("The end.\n")
