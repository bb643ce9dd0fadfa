from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.pages.quality import BEGIN, END, figures, main, read_reports, with_figures
from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.benchmarks.published import published

PAGE = Path(__file__).resolve().parents[3] / "docs" / "quality.md"


def test_the_page_shows_the_figures_of_the_data() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == with_figures(page, figures(read_reports(PAGE.with_suffix(""))))


def test_every_published_figure_is_on_the_page_with_its_source() -> None:
    lines = figures([]).splitlines()

    for row in published():
        (line,) = [line for line in lines if line.startswith(f"| {row.label} |")]
        cells = [cell.strip().rstrip("†") for cell in line.split("|")]
        assert {str(figure) for figure in row.miou.values()} <= set(cells)
        assert f"{cells[-2]}. {row.source}" in lines


def test_a_measured_model_gets_a_line_of_its_own(tmp_path: Path) -> None:
    page = tmp_path / "quality.md"
    page.write_text(f"# Quality\n\n{BEGIN}\nold\n{END}\nThe end.\n")
    whole = {"model": "mine", "protocol": "tcl", "refine": "pamr", "images": 1449, "official_images": 1449}
    (tmp_path / "quality").mkdir()
    (tmp_path / "quality" / "mine.json").write_text(json.dumps([whole | {"dataset": "voc21", "miou": 54.32}]))
    part = whole | {"dataset": "voc20", "miou": 99.9, "images": 5}
    (tmp_path / "quality" / "part.json").write_text(json.dumps(part))

    main(page)

    text = page.read_text()
    assert "| **mine** (refine pamr) | **54.32** | - |" in text
    assert "99.9" not in text  # a part of a split is no figure
    assert "old" not in text
    assert text.endswith("The end.\n")


def test_a_page_without_the_markers_is_refused() -> None:
    with pytest.raises(DatasetError, match="the page has no"):
        with_figures("# Quality\n", "figures")
