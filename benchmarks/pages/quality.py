"""The figures of docs/quality.md: published ones from the data, our own from kept reports and the bundled card.

    python -m benchmarks.pages.quality docs/quality.md

writes them anew between the page's two markers. Reports are what `lexiseg eval --protocol ... --json` has written to
the folder of the page's name, here docs/quality/.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lexiseg_model.catalogue import bundled, read_card
from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.benchmarks.protocol import protocol
from lexiseg_model.evaluation.benchmarks.published import PublishedRow, published

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
NOTHING = "-"


def figures(reports: list[dict[str, Any]]) -> str:
    """Markdown: a row for each published table and each measured model, and where the figures come from.

    Args:
        reports: JSON of `BenchmarkReport`s.
    """
    datasets = list(protocol("tcl").datasets)
    sources = list(dict.fromkeys(row.source for row in published()))
    lines = [
        f"| method | {' | '.join(datasets)} | mean | protocol | source |",
        f"|---{'|---:' * len(datasets)}|---|---|---|",
        *(_published_line(row, datasets, sources) for row in published()),
        *_measured_lines(reports, datasets),
        "",
        "† not checked against the table that it comes from.",
        "",
    ]
    lines += [f"{number}. {source}" for number, source in enumerate(sources, 1)]
    notes = [f"- {row.label}: {row.notes}" for row in published() if row.notes]
    return "\n".join([*lines, "", *notes, "", *_bundled_lines()])


def with_figures(page: str, content: str) -> str:
    """The page with `content` between its markers.

    Raises:
        DatasetError: the page lacks a marker.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DatasetError(f"the page has no {BEGIN} followed by {END}")
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def read_reports(folder: Path) -> list[dict[str, Any]]:
    """Every report in a folder's JSON files, each of which holds one or a list of them."""
    reports: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_bytes())
        reports += content if isinstance(content, list) else [content]
    return reports


def _published_line(row: PublishedRow, datasets: list[str], sources: list[str]) -> str:
    mark = "" if row.verified else "†"
    cells = [f"{row.miou[name]}{mark}" if name in row.miou else NOTHING for name in datasets]
    about = (row.convention or "not stated", row.protocol or "its own", str(sources.index(row.source) + 1))
    return f"| {' | '.join((row.label, *cells, *about))} |"


def _measured_lines(reports: list[dict[str, Any]], datasets: list[str]) -> list[str]:
    """One row for each model, protocol and refinement that has been measured on whole splits; `tiny` has one anyhow."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {("tiny", "tcl", "none"): {}}
    for report in reports:
        if report["images"] == report["official_images"]:
            key = (report["model"], report["protocol"], report["refine"])
            rows.setdefault(key, {})[report["dataset"]] = f"**{report['miou']}**"
    return [
        f"| **{model}** (refine {refine}) | {' | '.join(row.get(name, NOTHING) for name in datasets)} "
        f"| by data set | {rules} | measured |"
        for (model, rules, refine), row in rows.items()
    ]


def _bundled_lines() -> list[str]:
    card = read_card(bundled()["tiny"])
    lines = [
        f"`{card.name}` {card.version} on the validation splits of its own training sets (from its card):",
        "",
        "| data set | images | mIoU | pixel accuracy |",
        "|---|---:|---:|---:|",
    ]
    return lines + [
        f"| {name} | {quality.images} | {quality.miou} | {quality.pixel_accuracy} |"
        for name, quality in card.quality.items()
    ]


def main(page: Path) -> None:
    """Writes the figures of one page anew."""
    text = page.read_text(encoding="utf-8")
    page.write_text(with_figures(text, figures(read_reports(page.with_suffix("")))), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
